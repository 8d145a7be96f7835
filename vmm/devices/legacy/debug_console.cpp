#include "vmm/devices/legacy/debug_console.h"

namespace chronovisor {

DebugConsole::DebugConsole(ByteSink& output) : output_(output) {}

void DebugConsole::visit_state(StateVisitor& /*visitor*/) {}
void DebugConsole::reset() {}

std::uint8_t DebugConsole::read_byte(std::uint16_t offset) { return offset == 0 ? 0xe9 : 0xff; }

void DebugConsole::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 0) output_.write_byte(value);
}

}  // namespace chronovisor
