#include "vmm/devices/legacy/debug_exit.h"

#include <utility>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

DebugExit::DebugExit(std::function<void(std::uint32_t)> on_exit) : on_exit_(std::move(on_exit)) {}

void DebugExit::declare(Declaration& declaration) { declaration.ports(0xf4, 4, *this); }

void DebugExit::visit_state(StateVisitor& /*visitor*/) {}
void DebugExit::reset() {}

std::uint32_t DebugExit::read_port(std::uint16_t /*offset*/, unsigned width) {
  return width >= 4 ? 0xffffffff : (1U << (8 * width)) - 1;
}

void DebugExit::write_port(std::uint16_t offset, unsigned /*width*/, std::uint32_t value) {
  if (offset == 0 && on_exit_) on_exit_(value);
}

}  // namespace chronovisor
