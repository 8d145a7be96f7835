// Owns what a machine's shape says of devices that are there when they are asked for, and
// their names. Knows no device. Values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace chronovisor {

enum class ExtraDevice : std::uint8_t {
  tablet,    ///< virtio-input: a pointer that has a place on the screen
  rng,       ///< virtio-rng, from the machine's seed
  console,   ///< virtio-console
  hpet,      ///< high precision event timer
  parallel,  ///< a printer's port
};

inline constexpr std::array kExtraDevices{ExtraDevice::tablet, ExtraDevice::rng,
                                          ExtraDevice::console, ExtraDevice::hpet,
                                          ExtraDevice::parallel};

/// As it is written: "tablet".
[[nodiscard]] constexpr std::string_view extra_device_name(ExtraDevice device) {
  switch (device) {
    case ExtraDevice::tablet:
      return "tablet";
    case ExtraDevice::rng:
      return "rng";
    case ExtraDevice::console:
      return "console";
    case ExtraDevice::hpet:
      return "hpet";
    case ExtraDevice::parallel:
      return "parallel";
  }
  return "unknown";
}
/// Nothing: there is no such device.
[[nodiscard]] constexpr std::optional<ExtraDevice> find_extra_device(std::string_view name) {
  for (const ExtraDevice device : kExtraDevices) {
    if (extra_device_name(device) == name) return device;
  }
  return std::nullopt;
}

/// Which of them a machine has.
struct ExtraDevices {
  std::uint8_t bits = 0;  ///< 1 << ExtraDevice

  [[nodiscard]] constexpr bool has(ExtraDevice device) const {
    return (bits >> static_cast<unsigned>(device) & 1U) != 0;
  }
  constexpr void add(ExtraDevice device) {
    bits |= static_cast<std::uint8_t>(1U << static_cast<unsigned>(device));
  }
  [[nodiscard]] constexpr bool none() const { return bits == 0; }
  bool operator==(const ExtraDevices&) const = default;
};

}  // namespace chronovisor
