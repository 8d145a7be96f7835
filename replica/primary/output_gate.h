// Owns the guest's outputs on their way out: numbered in their order, let out at once or held
// until a number is allowed, and how long they were held. Knows no log and no backup. The
// machine's thread puts outputs in; any one thread at a time lets them out.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/bus/output_router.h"

namespace chronovisor::replica {

/// What became of outputs, for people.
struct OutputCounts {
  std::uint64_t made = 0;
  std::uint64_t released = 0;
  std::uint64_t held = 0;  ///< now
  std::uint64_t held_bytes = 0;
  std::uint64_t median_held_ns = 0;  ///< of the latest ones that had to wait
  std::uint64_t longest_held_ns = 0;
};

class OutputGate final : public OutputObserver {
 public:
  /// Before any limit is set, all outputs leave, or none does.
  enum class Begins : std::uint8_t { open, closed };
  explicit OutputGate(Begins begins) : limit_(begins == Begins::open ? kNever : 0) {}

  /// Who gets what leaves. To be set up while nothing can leave.
  [[nodiscard]] OutputRouter& outside() { return outside_; }

  void output(Position position, const Output& output) override;
  /// Outputs numbered below `limit` may leave from here on, others not.
  void allow(std::uint64_t limit);
  /// What is numbered below `number` has left elsewhere, and is dropped.
  void forget(std::uint64_t number);
  /// The next output has this number; what was held before is dropped.
  void begin_at(std::uint64_t number);

  [[nodiscard]] std::uint64_t made() const;
  [[nodiscard]] std::uint64_t released() const;
  [[nodiscard]] std::uint64_t held_bytes() const { return held_bytes_; }
  [[nodiscard]] OutputCounts counts() const;

 private:
  struct Held {
    Position position;
    OutputKind kind = OutputKind::serial;
    std::uint16_t device = 0;
    Bytes payload;
    std::uint64_t since_ns = 0;
  };
  void note_held(std::uint64_t ns);
  void drop_before(std::uint64_t number);

  mutable std::mutex mutex_;
  OutputRouter outside_;
  std::deque<Held> held_;  ///< those numbered from made_ - held_.size() on
  std::atomic<std::uint64_t> held_bytes_{0};
  std::uint64_t made_ = 0;
  std::uint64_t released_ = 0;  ///< outputs below this number have left
  std::uint64_t limit_;
  std::vector<std::uint64_t> held_ns_;  ///< the latest, in no order
  std::size_t next_held_ns_ = 0;
  std::uint64_t longest_held_ns_ = 0;
};

}  // namespace chronovisor::replica
