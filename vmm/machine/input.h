// Owns the one port through which anything non-deterministic enters a machine.
// A live run and a replay differ only in which InputSource is plugged in. Knows
// no device and no file. Called from the machine's thread.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/units.h"

namespace chronovisor {

/// What comes from outside. The numbers are those of the input log on disk.
enum class InputKind : std::uint8_t {
  serial_byte = 1,    ///< payload: the byte; device: the port, 0 = COM1
  serial_closed = 2,  ///< the other end of the line went away; nothing is delivered
  wakeup = 3,         ///< an idle wait ended before the next timer; payload: new idle ns, 8 bytes
  key = 4,            ///< payload: scan code bytes
  mouse = 5,          ///< reserved: no such device yet
  network_frame = 6,  ///< reserved
  cd_change = 7,      ///< reserved
  power_button = 8,   ///< pressed and released
  reset_button = 9,
  clock = 10,  ///< virtual time goes on; payload: new idle ns, 8 bytes, but no further than a timer
};

struct Input {
  InputKind kind = InputKind::serial_byte;
  std::uint8_t device = 0;
  Bytes payload;
};

/// Where in the run an input is taken: at `position`, when `idle_ns` of virtual
/// time have been spent idle. Both count up.
struct InputStamp {
  Position position;
  std::uint64_t idle_ns = 0;
  auto operator<=>(const InputStamp&) const = default;
};

/// What the machine could take right now.
struct InputRoom {
  bool serial = false;  ///< the receiver of COM1 has room
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
  virtual std::optional<Input> take(InputStamp here, InputRoom room) = 0;
  /// The machine is halted and waits for an interrupt.
  /// @param deadline_idle_ns idle time at which the next timer is due, or kNever
  virtual IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) = 0;
};

/// No input at all; idle time warps to the next timer.
class NoInput final : public InputSource {
 public:
  [[nodiscard]] Position next_look(Position /*now*/) override { return {kNever}; }
  std::optional<Input> take(InputStamp /*here*/, InputRoom /*room*/) override {
    return std::nullopt;
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t deadline_idle_ns) override {
    return {deadline_idle_ns == kNever ? IdleOutcome::Kind::forever : IdleOutcome::Kind::deadline,
            deadline_idle_ns};
  }
};

}  // namespace chronovisor
