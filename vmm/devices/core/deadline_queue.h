// Owns when the devices of a machine next do something by themselves. A device
// says that its deadline may have changed; it is asked for it when somebody
// wants to know. Knows no device type. One thread a machine.
#pragma once

#include <cstdint>
#include <vector>

#include "base/units.h"

namespace chronovisor {

class Device;

/// Ties, and all that is due at one time, are served in the order in which the
/// devices were added, which is that of the machine's model. That order is part
/// of what a guest sees.
class DeadlineQueue {
 public:
  /// @return the device's place
  unsigned add(Device& device);
  /// The deadline of the device at `place` may have changed.
  void changed(unsigned place) {
    Entry& entry = entries_[place];
    if (entry.stale) return;
    entry.stale = true;
    stale_.push_back(place);
  }
  void all_changed();
  /// The earliest deadline in ns of virtual time; kNever if there is none.
  [[nodiscard]] std::uint64_t next_ns() {
    if (!stale_.empty()) refresh();
    return next_ns_;
  }
  /// Lets every device that is due at `now` advance, once.
  void advance(VirtualTime now);

 private:
  struct Entry {
    Device* device;
    std::uint64_t deadline_ns = kNever;
    bool stale = false;
  };
  void refresh();
  std::vector<Entry> entries_;
  std::vector<unsigned> stale_;
  std::uint64_t next_ns_ = kNever;
};

}  // namespace chronovisor
