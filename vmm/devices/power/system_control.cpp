#include "vmm/devices/power/system_control.h"

#include <utility>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

void SystemControl::on_reset_request(std::function<void()> callback) {
  reset_request_ = std::move(callback);
}

void SystemControl::declare(Declaration& declaration) { declaration.ports(0x92, 1, *this); }

void SystemControl::visit_state(StateVisitor& visitor) { visitor.field("value", value_); }
void SystemControl::reset() { value_ = kA20; }

std::uint8_t SystemControl::read_byte(std::uint16_t offset) { return offset == 0 ? value_ : 0xff; }

void SystemControl::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset != 0) return;
  const bool reset_rises = (value & ~value_ & 1) != 0;
  value_ = value & 0x03;
  if (reset_rises && reset_request_) reset_request_();
}

}  // namespace chronovisor
