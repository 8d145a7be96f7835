// Owns which receiver takes which input: by its kind and the number of its
// device. Knows no device. One thread a machine.
#pragma once

#include <map>
#include <utility>

#include "vmm/devices/core/input_output.h"

namespace chronovisor {

/// What the machine could take right now.
class InputRoom {
 public:
  virtual ~InputRoom() = default;
  /// Nobody there has no room.
  [[nodiscard]] virtual bool has_room(InputKind kind, std::uint16_t device) const = 0;
};

class InputRouter final : public InputRoom {
 public:
  /// At machine construction; one receiver an input. It must outlive this.
  void add(InputKind kind, std::uint16_t device, InputReceiver& receiver);
  [[nodiscard]] bool has_room(InputKind kind, std::uint16_t device) const override;
  /// Whether there is a receiver.
  [[nodiscard]] bool receives(InputKind kind, std::uint16_t device) const {
    return find(kind, device) != nullptr;
  }
  /// Throws Error{bad_input} when this machine has no such device.
  void deliver(const Input& input) const;

 private:
  [[nodiscard]] InputReceiver* find(InputKind kind, std::uint16_t device) const;
  std::map<std::pair<InputKind, std::uint16_t>, InputReceiver*> receivers_;
};

}  // namespace chronovisor
