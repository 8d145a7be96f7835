// Owns the InputSource of a replay: hands out the inputs of a recording at
// exactly the stamps they were taken at. One thread a machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "recorder/format/recording_reader.h"
#include "vmm/machine/input.h"

namespace chronovisor {

class ReplayInput final : public InputSource {
 public:
  /// The reader must outlive this.
  explicit ReplayInput(const RecordingReader& reader);
  /// The machine was put at `position`, on arrival.
  void rewind_to(Position position);
  /// The recording ends within the position where its last inputs are: once they were taken
  /// and so much was waited in all, an idle wait stops the machine.
  void stop_at_end(std::uint64_t idle_ns) { end_idle_ns_ = idle_ns; }
  /// Called before an idle wait passes, with its nanoseconds: for who shows a replay at its
  /// pace. May be empty.
  void set_on_idle(std::function<void(std::uint64_t)> on_idle) { on_idle_ = std::move(on_idle); }

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;

 private:
  IdleOutcome recorded_outcome(InputStamp here, std::uint64_t deadline_idle_ns);

  const RecordingReader& reader_;
  std::optional<InputCursor> cursor_;
  std::optional<std::uint64_t> end_idle_ns_;
  std::function<void(std::uint64_t)> on_idle_;
};

}  // namespace chronovisor
