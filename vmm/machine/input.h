// Owns the one port through which anything non-deterministic enters a machine.
// A live run and a replay differ only in which InputSource is plugged in. Knows
// no device and no file. Called from the machine's thread.
#pragma once

#include <cstdint>
#include <optional>

#include "base/units.h"
#include "vmm/bus/input_router.h"
#include "vmm/devices/core/input_output.h"

namespace chronovisor {

/// Where in the run an input is taken: at `position`, when `idle_ns` of virtual
/// time have been spent idle. Both count up.
struct InputStamp {
  Position position;
  std::uint64_t idle_ns = 0;
  auto operator<=>(const InputStamp&) const = default;
};

/// How an idle wait ended.
struct IdleOutcome {
  enum class Kind : std::uint8_t {
    deadline,  ///< virtual time goes on at the next timer
    early,     ///< ... or at `idle_ns`, because something came from outside
    forever,   ///< nothing can ever wake the machine
    stop,      ///< the run shall stop here, still idle
  };
  Kind kind = Kind::deadline;
  std::uint64_t idle_ns = 0;
};

class InputSource {
 public:
  virtual ~InputSource() = default;
  /// The next position after `now` at which take() must be asked again.
  [[nodiscard]] virtual Position next_look(Position now) = 0;
  /// Takes one input that is to be delivered exactly here.
  virtual std::optional<Input> take(InputStamp here, const InputRoom& room) = 0;
  /// The machine is halted and waits for an interrupt.
  /// @param deadline_idle_ns idle time at which the next timer is due, or kNever
  virtual IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) = 0;
};

/// No input at all; idle time warps to the next timer.
class NoInput final : public InputSource {
 public:
  [[nodiscard]] Position next_look(Position /*now*/) override { return {kNever}; }
  std::optional<Input> take(InputStamp /*here*/, const InputRoom& /*room*/) override {
    return std::nullopt;
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t deadline_idle_ns) override {
    return {deadline_idle_ns == kNever ? IdleOutcome::Kind::forever : IdleOutcome::Kind::deadline,
            deadline_idle_ns};
  }
};

}  // namespace chronovisor
