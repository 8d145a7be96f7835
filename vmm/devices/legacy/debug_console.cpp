#include "vmm/devices/legacy/debug_console.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

DebugConsole::DebugConsole(OutputSink& output) : output_(output) {}

void DebugConsole::declare(Declaration& declaration) { declaration.ports(0xe9, 1, *this); }

void DebugConsole::visit_state(StateVisitor& /*visitor*/) {}
void DebugConsole::reset() {}

std::uint8_t DebugConsole::read_byte(std::uint16_t offset) { return offset == 0 ? 0xe9 : 0xff; }

void DebugConsole::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 0) output_.put({OutputKind::debug, 0, {&value, 1}});
}

}  // namespace chronovisor
