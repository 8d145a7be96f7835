// Owns the point at which a machine that is recorded and replicated meets both: an input
// source in front of the live one. Whenever the machine asks, it decides whether a mark is
// due, flushes the log, and waits where the policy says so. The machine's thread.
//
// Marks: when an output waits, at most every 0.5 ms, or at once from a machine that falls idle;
// else every 20 ms. One that runs is asked every 1,000,000 steps, and every 100,000 while an
// output waits; a guest that puts something out touches a device, after which it is asked as well.
//
// A backup that is too far behind slows the machine gently: from 100,000,000 steps on by 1 ms each
// 1,000,000 steps, and by 1 ms more for each further 10,000,000, at most 20 ms. With more than 8
// MiB of outputs waiting the machine stands until some have left.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "recorder/format/recording_writer.h"
#include "replica/primary/primary.h"
#include "vmm/machine/input.h"

namespace chronovisor::replica {

class GatedInput final : public InputSource {
 public:
  /// @param writer the one at work; a flight recording has others later
  /// @param stop set when the machine must not run on
  GatedInput(InputSource& beside, Primary& primary, OutputGate& gate,
             std::function<RecordingWriter&()> writer, std::atomic<bool>& stop)
      : beside_(beside), primary_(primary), gate_(gate), writer_(std::move(writer)), stop_(stop) {}

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;
  /// The live source calls this while the machine waits, at least every 100 ms.
  void waiting();
  /// The run has ended here; waits until what it put out has left.
  void ended(InputStamp here, bool guest_ended);
  /// The backup is live by a hand-over.
  [[nodiscard]] bool handed_over() const { return handed_over_; }

 private:
  /// Whether the guest has put out something since the last mark.
  [[nodiscard]] bool output_waits() const { return gate_.made() != marked_outputs_; }
  void attend(InputStamp here);
  void mark(InputStamp here, std::uint64_t now_ns);
  void slow_down(Position here, std::uint64_t now_ns);

  InputSource& beside_;
  Primary& primary_;
  OutputGate& gate_;
  std::function<RecordingWriter&()> writer_;
  std::atomic<bool>& stop_;
  InputStamp marked_;
  std::uint64_t marked_outputs_ = 0;
  std::uint64_t marked_ns_ = 0;
  Position slowed_at_;
  InputStamp waits_at_;
  bool any_mark_ = false;
  bool handed_over_ = false;
};

}  // namespace chronovisor::replica
