// Owns the face of one PCI function toward the bus, and of the bus toward it.
// Knows neither. One thread a machine.
#pragma once

#include <compare>
#include <cstdint>

namespace chronovisor {

/// The configuration space of one function. Accesses never cross a dword.
class PciFunction {
 public:
  virtual ~PciFunction() = default;
  virtual std::uint32_t read_config(std::uint8_t offset, unsigned width) = 0;
  virtual void write_config(std::uint8_t offset, unsigned width, std::uint32_t value) = 0;
};

/// A place on bus 0 and beyond.
struct PciAddress {
  std::uint8_t bus = 0;
  std::uint8_t device = 0;
  std::uint8_t function = 0;
  auto operator<=>(const PciAddress&) const = default;
};

/// What PCI functions are plugged into.
class PciBus {
 public:
  virtual ~PciBus() = default;
  /// At machine construction. `function` must outlive the bus.
  virtual void add(PciAddress address, PciFunction& function) = 0;
};

}  // namespace chronovisor
