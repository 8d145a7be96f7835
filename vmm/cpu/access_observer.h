// Owns the view of a processor that an access observer has: which code ran and
// which data was touched since the observer was set, by linear address, told
// at first touches only; and of every write that a device made to memory. The guest cannot notice
// it. Knows no file. Called on the machine's thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"

namespace chronovisor {

class AccessObserver {
 public:
  virtual ~AccessObserver() = default;
  /// Instructions in [address, address + size) may execute from here on, in
  /// this order, without being told again.
  virtual void executes(std::uint64_t address, std::uint64_t size) = 0;
  /// One data access that took the slow path.
  virtual void accessed(std::uint64_t address, std::uint64_t size, bool write) = 0;
  /// Reads of the page at `linear_page` take the fast path from here on.
  virtual void reads_page(std::uint64_t linear_page) = 0;
  /// Asked before writes of the page take the fast path.
  /// @return false to be told of each write instead
  virtual bool writes_page(std::uint64_t linear_page) = 0;
  /// A device wrote these bytes of RAM itself. `device` names its state section.
  virtual void device_wrote(std::string_view device, GuestPhysical address, std::uint64_t size) = 0;
};

}  // namespace chronovisor
