#include "session/delivery_walk.h"

#include <algorithm>

namespace chronovisor::session {

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
