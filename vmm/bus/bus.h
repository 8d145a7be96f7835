// Owns the routing of port and memory-mapped accesses to devices by address
// range. Knows no device type. Ranges are fixed when the machine is assembled, or
// follow a device's window; neither is state of the bus. One thread a machine.
//
// Where ranges overlap, Precedence (core/window.h) says who answers: a guest may
// put a BAR anywhere, and what it covers of something else stays out of reach.
// RAM is looked at before this bus, so a range over RAM never answers.
#pragma once

#include <cstdint>
#include <optional>

#include "base/units.h"
#include "vmm/bus/range_map.h"
#include "vmm/devices/core/device.h"

namespace chronovisor {

/// The 64 KiB of I/O ports. Nobody home reads as all ones; writes are dropped.
class PortBus {
 public:
  /// @param first_offset the offset the device sees at `first`
  void map(std::uint16_t first, std::uint32_t count, PortDevice& device,
           std::uint16_t first_offset = 0);
  void add(Window& window, PortDevice& device, Precedence precedence = Precedence::bus);
  [[nodiscard]] std::uint32_t read(std::uint16_t port, unsigned width);
  /// Who answers there now; null: nobody.
  [[nodiscard]] const PortDevice* device_at(std::uint16_t port) const {
    const auto* const range = map_.find(port);
    return range == nullptr ? nullptr : range->target;
  }
  void write(std::uint16_t port, unsigned width, std::uint32_t value);

 private:
  RangeMap<PortDevice> map_{0xffff};
};

/// Physical addresses that are not RAM. Nobody home reads as all ones.
class MmioBus {
 public:
  void map(GuestPhysical first, std::uint64_t size, MmioDevice& device);
  void add(Window& window, MmioDevice& device, Precedence precedence = Precedence::bus);
  /// An access that crosses the end of a range is done byte by byte.
  [[nodiscard]] std::uint64_t read(GuestPhysical address, unsigned width);
  void write(GuestPhysical address, unsigned width, std::uint64_t value);
  /// Who answers there now; null: nobody.
  [[nodiscard]] const MmioDevice* device_at(GuestPhysical address) const {
    const auto* const range = map_.find(address.value);
    return range == nullptr ? nullptr : range->target;
  }
  /// @see MmioDevice::peek_mmio
  [[nodiscard]] std::optional<std::uint8_t> peek(GuestPhysical address) const;

 private:
  RangeMap<MmioDevice> map_{~std::uint64_t{0}};
};

}  // namespace chronovisor
