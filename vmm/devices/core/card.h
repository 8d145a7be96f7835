// Owns what a machine's shape says of its network cards. Knows no device. Values; any
// thread.
#pragma once

#include <array>
#include <cstdint>

namespace chronovisor {

using MacAddress = std::array<std::uint8_t, 6>;

/// What a machine has of a network card. It is part of the machine's shape.
struct CardConfig {
  /// Intel's 82540EM, or virtio-net.
  enum class Model : std::uint8_t { e1000, virtio };
  Model model = Model::e1000;
  MacAddress address{};
  bool operator==(const CardConfig&) const = default;
};

/// The address of card `number` unless another one is asked for, as QEMU numbers them.
[[nodiscard]] constexpr MacAddress usual_mac_address(unsigned number) {
  return {0x52, 0x54, 0x00, 0x12, 0x34, static_cast<std::uint8_t>(0x56 + number)};
}

}  // namespace chronovisor
