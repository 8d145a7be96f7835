#include "vmm/devices/legacy/debug_exit.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

void DebugExit::declare(Declaration& declaration) {
  port_ = declaration.ports(port_, ports_, *this);
}

void DebugExit::visit_state(StateVisitor& /*visitor*/) {}
void DebugExit::reset() {}

std::uint32_t DebugExit::read_port(std::uint16_t /*offset*/, unsigned width) {
  return width >= 4 ? 0xffffffff : (1U << (8 * width)) - 1;
}

void DebugExit::write_port(std::uint16_t offset, unsigned /*width*/, std::uint32_t value) {
  if (offset == 0) control_.debug_exit(value, port_);
}

}  // namespace chronovisor
