// Owns who is told of what a machine puts out: of everything, or of one kind and
// device. Output is not state. Knows no device. One thread a machine.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "base/units.h"
#include "vmm/devices/core/input_output.h"

namespace chronovisor {

/// Told of output as the guest makes it. Kinds that it does not know are not
/// for it.
class OutputObserver {
 public:
  virtual ~OutputObserver() = default;
  virtual void output(Position position, const Output& output) = 0;
};

class OutputRouter {
 public:
  /// Tells `observer` of everything, until detach(). It must not go away before.
  void attach(OutputObserver& observer) { entries_.push_back({std::nullopt, &observer}); }
  void attach(OutputKind kind, std::uint16_t device, OutputObserver& observer) {
    entries_.push_back({std::pair(kind, device), &observer});
  }
  void detach(OutputObserver& observer) {
    std::erase_if(entries_, [&](const Entry& entry) { return entry.observer == &observer; });
  }
  /// In the order in which they were attached.
  void put(Position position, const Output& output) const {
    for (const Entry& entry : entries_) {
      if (!entry.only || *entry.only == std::pair(output.kind, output.device)) {
        entry.observer->output(position, output);
      }
    }
  }

 private:
  struct Entry {
    std::optional<std::pair<OutputKind, std::uint16_t>> only;
    OutputObserver* observer;
  };
  std::vector<Entry> entries_;
};

/// Listens to everything for as long as it lives.
class Listening {
 public:
  /// @param observer may be null: nobody listens
  Listening(OutputRouter& router, OutputObserver* observer) : router_(router), observer_(observer) {
    if (observer_ != nullptr) router_.attach(*observer_);
  }
  ~Listening() {
    if (observer_ != nullptr) router_.detach(*observer_);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  OutputRouter& router_;
  OutputObserver* observer_;
};

}  // namespace chronovisor
