#include "vmm/bus/input_router.h"

#include <string>

#include "base/error.h"

namespace chronovisor {

void InputRouter::add(InputKind kind, std::uint16_t device, InputReceiver& receiver) {
  const bool added = receivers_.emplace(std::pair(kind, device), &receiver).second;
  CHECK_THAT(added, "two receivers for one kind of input and device");
}

InputReceiver* InputRouter::find(InputKind kind, std::uint16_t device) const {
  const auto found = receivers_.find({kind, device});
  return found == receivers_.end() ? nullptr : found->second;
}

bool InputRouter::has_room(InputKind kind, std::uint16_t device) const {
  const InputReceiver* receiver = find(kind, device);
  return receiver != nullptr && receiver->has_room(kind);
}

void InputRouter::deliver(const Input& input) const {
  InputReceiver* receiver = find(input.kind, input.device);
  if (receiver == nullptr) {
    throw Error(ErrorCode::bad_input, "the input log has an event of kind " +
                                          std::to_string(static_cast<unsigned>(input.kind)) +
                                          " for device " + std::to_string(input.device) +
                                          ", which this machine does not have");
  }
  receiver->receive(input);
}

}  // namespace chronovisor
