// Owns the InputSource that finds out where the events of a counted recording
// belong: the soft processor counts, and each event is handed out at exactly its
// place. Where a place is never met that is said, with its event; nothing is ever
// delivered elsewhere. One thread a machine.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "recorder/format/input_log.h"
#include "recorder/format/recording_reader.h"
#include "vmm/cpu/counted_place.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

class CountedInput final : public InputSource {
 public:
  using Found = std::function<void(const InputEvent&)>;

  /// Feeds `machine`, which stands at the recording's start and is made to count;
  /// `found` is told of every event with its position. Reader and machine must
  /// outlive this.
  CountedInput(const RecordingReader& reader, Machine& machine, Found found);
  ~CountedInput() override;
  CountedInput(const CountedInput&) = delete;
  CountedInput& operator=(const CountedInput&) = delete;

  // take() and idle() throw Error{divergence} when an event's place is never met,
  // and Error{bad_input} when the recording is damaged.
  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;
  /// The guest ended, by itself. Throws Error{divergence} unless it is to.
  void guest_ended();

  /// Where the recorded run ends; nothing before that was found.
  [[nodiscard]] const std::optional<Position>& end() const { return end_; }
  /// Events found so far, the end not counted.
  [[nodiscard]] std::uint64_t events() const { return number_; }
  /// Becomes true once the end is found: the machine need not run on.
  [[nodiscard]] const std::atomic<bool>& done() const { return done_; }

 private:
  [[nodiscard]] const CountedEvent* peek();
  void load_chunk();
  void aim();
  void found(const CountedEvent& event, InputStamp here);
  void finish(Position here);
  [[nodiscard]] bool is_here(const CountedEvent& event) const;
  void require_reachable(const CountedEvent& event, Position here);
  void require_idle_time(const CountedEvent& event, InputStamp here) const;
  [[nodiscard]] Error lost(const std::string& reason) const;

  const RecordingReader& reader_;
  Machine& machine_;
  Found found_;
  RetiredCounts counts_;
  CounterTrust trust_;
  std::size_t chunk_ = 0;  ///< the next to be read
  std::vector<CountedEvent> events_;
  std::size_t next_ = 0;
  std::uint64_t number_ = 0;      ///< of the next event in the recording, from 0
  Position last_;                 ///< where the event before was
  std::uint64_t seen_count_ = 0;  ///< the counts move on, or the place is never met
  Position seen_at_;
  std::optional<Position> end_;
  std::atomic<bool> done_{false};
};

}  // namespace chronovisor
