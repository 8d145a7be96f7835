#include "vmm/devices/legacy/post_port.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

void PostPort::declare(Declaration& declaration) { declaration.ports(0x80, 1, *this); }

void PostPort::visit_state(StateVisitor& visitor) { visitor.field("code", code_); }
void PostPort::reset() { code_ = 0; }

std::uint8_t PostPort::read_byte(std::uint16_t offset) { return offset == 0 ? code_ : 0xff; }

void PostPort::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 0) code_ = value;
}

}  // namespace chronovisor
