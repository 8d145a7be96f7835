// Owns the recognition of a guest that goes round in a loop and gets nowhere: looks at
// the processor now and then, between slices of the run, and says when it has been in
// the same few places, with the same registers, for too long. Knows no instructions.
// The guest cannot notice it. One thread.
//
// A loop that counts, hashes or copies has other registers each time it is looked at;
// one that waits for a port, for a word of memory or for nothing has the same ones.
// Where a port is read all the time, or the kernel has panicked, the same places are
// enough: delays read clocks.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/units.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// An instruction of the loop, and the processor before it.
struct LoopStep {
  std::uint64_t rip = 0;
  std::uint64_t linear_rip = 0;
  unsigned code_bits = 16;
  std::array<std::uint64_t, 16> gpr{};
  std::array<std::uint64_t, 6> segment_base{};  ///< by SegmentIndex
  std::optional<std::uint16_t> port;            ///< that it read
};

struct StuckGuest {
  Position since;    ///< no progress from here on
  Position noticed;  ///< up to here
  bool panicked = false;
  bool whole_turn = false;  ///< `loop` is one turn; otherwise its first steps
  std::vector<LoopStep> loop{};
};

class StuckWatch {
 public:
  /// A guest counts as stuck after so many steps without progress; at least
  /// kLeastSamples looks.
  explicit StuckWatch(std::uint64_t after_steps) : after_steps_(after_steps) {}

  /// Something came of the run: output, input, an idle wait.
  void progress(Position here);
  void panicked() { panicked_ = true; }
  void port_read() { ++port_reads_; }
  /// Looks at the processor between two slices.
  /// @return whether the guest is stuck, where it is now being in its loop
  bool look(const Machine& machine);
  [[nodiscard]] Position since() const { return since_; }
  [[nodiscard]] bool has_panicked() const { return panicked_; }

  static constexpr std::uint64_t kLeastSamples = 16;

 private:
  /// How often what was seen had been seen shortly before.
  class Recurrence {
   public:
    /// @return how often `value` was seen before, since it came in
    std::uint64_t add(std::uint64_t value);
    void clear() { *this = {}; }
    [[nodiscard]] std::uint64_t hits() const { return hits_; }

   private:
    struct Seen {
      std::uint64_t value = 0;
      std::uint64_t times = 0;
    };
    std::array<Seen, 32> seen_{};
    std::uint64_t hits_ = 0;
  };
  void restart(Position here);
  [[nodiscard]] bool mostly(std::uint64_t count) const { return count * 4 >= samples_ * 3; }

  std::uint64_t after_steps_;
  Position since_;
  Position last_look_;
  std::uint64_t samples_ = 0;
  Recurrence states_;
  Recurrence places_;
  std::uint64_t port_reads_ = 0;     ///< since the last look
  std::uint64_t polling_looks_ = 0;  ///< with many of them
  bool panicked_ = false;
};

}  // namespace chronovisor
