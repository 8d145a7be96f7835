// Owns the playing of a script to a machine, by virtual time: an input source in front of
// another one, whose inputs go through. What it waits for it looks up when asked. The
// machine's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "host/input_script.h"
#include "vmm/machine/input.h"

namespace chronovisor {

class ScriptedInput final : public InputSource {
 public:
  /// Whether something that the script waits for is there.
  using Seen = std::function<bool(const ScriptStep& step)>;

  /// @param end called where the script says that the run ends
  /// @param ns_per_step of the machine's clock
  /// @param beside where other inputs come from; it must outlive this
  ScriptedInput(std::vector<ScriptStep> steps, std::uint64_t ns_per_step, InputSource& beside,
                Seen seen, std::function<void()> end);

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;
  /// Steps that were not reached.
  [[nodiscard]] std::size_t left() const { return steps_.size() - next_; }

 private:
  [[nodiscard]] std::uint64_t time_of(InputStamp stamp) const {
    return stamp.position.steps * ns_per_step_ + stamp.idle_ns;
  }

  std::vector<ScriptStep> steps_;
  std::uint64_t ns_per_step_;
  InputSource& beside_;
  Seen seen_;
  std::function<void()> end_;
  std::size_t next_ = 0;
  std::uint64_t due_ns_ = 0;        ///< of the next step
  std::uint64_t seen_idle_ns_ = 0;  ///< idle time when last asked
};

}  // namespace chronovisor
