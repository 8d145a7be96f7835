// Owns the routing of port and memory-mapped accesses to devices by address
// range. Knows no device type. Ranges are fixed at machine construction and
// are not state. One thread a machine.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"
#include "vmm/devices/core/device.h"

namespace chronovisor {

/// The 64 KiB of I/O ports. Nobody home reads as all ones; writes are dropped.
class PortBus {
 public:
  /// @param first_offset the offset the device sees at `first`
  void map(std::uint16_t first, std::uint32_t count, PortDevice& device,
           std::uint16_t first_offset = 0);
  [[nodiscard]] std::uint32_t read(std::uint16_t port, unsigned width);
  void write(std::uint16_t port, unsigned width, std::uint32_t value);

 private:
  struct Range {
    std::uint32_t first;
    std::uint32_t end;
    PortDevice* device;
    std::uint16_t first_offset;
  };
  [[nodiscard]] const Range* find(std::uint32_t port) const;
  std::vector<Range> ranges_;
};

/// Physical addresses that are not RAM. Nobody home reads as all ones.
class MmioBus {
 public:
  void map(GuestPhysical first, std::uint64_t size, MmioDevice& device);
  /// An access that crosses the end of a range is done byte by byte.
  [[nodiscard]] std::uint64_t read(GuestPhysical address, unsigned width);
  void write(GuestPhysical address, unsigned width, std::uint64_t value);

 private:
  struct Range {
    std::uint64_t first;
    std::uint64_t end;
    MmioDevice* device;
  };
  [[nodiscard]] const Range* find(std::uint64_t address) const;
  std::vector<Range> ranges_;
};

}  // namespace chronovisor
