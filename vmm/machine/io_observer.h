// Owns the view of a guest's accesses to devices, ports and registers in memory, with their
// values. It is no state, and the guest cannot notice it. The machine's thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"

namespace chronovisor {

struct IoAccess {
  enum class Space : std::uint8_t { port, memory };
  Position position;  ///< of the step that makes it
  Space space = Space::port;
  bool write = false;
  std::uint64_t address = 0;
  unsigned width = 1;       ///< bytes
  std::uint64_t value = 0;  ///< written, or what was read
  std::string_view device;  ///< name of the section of who is there; empty: nobody
};

/// Told of accesses by Machine::set_io_observer: of reads when they are done, of writes before.
class IoObserver {
 public:
  virtual ~IoObserver() = default;
  virtual void accessed(const IoAccess& access) = 0;
};

}  // namespace chronovisor
