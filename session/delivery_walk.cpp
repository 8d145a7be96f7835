#include "session/delivery_walk.h"

#include <algorithm>

namespace chronovisor::session {
namespace {

/// Of Linux's 32-bit programs.
constexpr std::uint8_t kCallVector = 0x80;

}  // namespace

void DeliveryWalk::learn_gates() {
  for (const InterruptGate& gate : interrupt_gates(timeline_.machine())) {
    const auto same_handler = [&](const InterruptGate& other) {
      return other.address == gate.address;
    };
    const auto same = [&](const InterruptGate& other) {
      return same_handler(other) && other.vector == gate.vector;
    };
    if (std::any_of(gates_.begin(), gates_.end(), same)) continue;
    if (std::none_of(gates_.begin(), gates_.end(), same_handler)) {
      stops_.breakpoints.push_back(
          {gate.address, [](Machine& there) { return there.moment().deliveries > 0; }});
    }
    gates_.push_back(gate);
  }
}

void DeliveryWalk::add_call_entry(const CallEntry& entry) {
  const bool known = std::any_of(call_entries_.begin(), call_entries_.end(),
                                 [&](const CallEntry& e) { return e.address == entry.address; });
  if (known || entry.address == 0) return;
  call_entries_.push_back(entry);
  stops_.breakpoints.push_back(
      {entry.address, [](Machine& there) { return there.moment().deliveries == 0; }});
}

void DeliveryWalk::learn_call_entries() {
  const Cpu& cpu = timeline_.machine().cpu();
  const CpuMsrs& msr = cpu.state.msr;
  if (!cpu.protected_mode()) return;
  // Whether they are enabled here, too, says nothing of elsewhere.
  add_call_entry({msr.lstar, false});
  add_call_entry({msr.cstar, true});
  if ((msr.sysenter_cs & ~std::uint64_t{3}) != 0) add_call_entry({msr.sysenter_eip, true});
  for (const InterruptGate& gate : interrupt_gates(timeline_.machine())) {
    if (gate.vector == kCallVector) add_call_entry({gate.address, true});
  }
}

std::optional<SystemCall> DeliveryWalk::system_call() const {
  if (timeline_.now().deliveries > 0) return std::nullopt;
  const Cpu& cpu = timeline_.machine().cpu();
  const auto entry =
      std::find_if(call_entries_.begin(), call_entries_.end(),
                   [here = cpu.linear_rip()](const CallEntry& e) { return e.address == here; });
  if (entry == call_entries_.end()) return std::nullopt;
  return SystemCall{static_cast<std::uint32_t>(cpu.state.gpr[kRax]), entry->narrow};
}

std::vector<std::uint8_t> DeliveryWalk::vectors_of(std::uint64_t handler) const {
  std::vector<std::uint8_t> vectors;
  for (const InterruptGate& gate : gates_) {
    if (gate.address == handler) vectors.push_back(gate.vector);
  }
  return vectors;
}

std::optional<std::uint64_t> DeliveryWalk::next(Position to, CancelToken cancel) {
  const TravelResult result = timeline_.run_forward(stops_, cancel, to);
  if (result.stop != TravelStop::breakpoint) return std::nullopt;
  return result.address;
}

}  // namespace chronovisor::session
