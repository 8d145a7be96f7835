#include "vmm/devices/legacy/debug_console.h"

#include <utility>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

DebugConsole::DebugConsole(OutputSink& output, std::string name, std::uint16_t port)
    : output_(output), name_(std::move(name)), port_(port) {}

void DebugConsole::declare(Declaration& declaration) {
  number_ = declaration.number();
  declaration.ports(port_, 1, *this);
}

void DebugConsole::visit_state(StateVisitor& /*visitor*/) {}
void DebugConsole::reset() {}

std::uint8_t DebugConsole::read_byte(std::uint16_t offset) { return offset == 0 ? 0xe9 : 0xff; }

void DebugConsole::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 0) output_.put({OutputKind::debug, number_, {&value, 1}});
}

}  // namespace chronovisor
