// Owns a PS/2 keyboard of 101 or 102 keys: its commands, its scan codes in sets 1 to 3,
// and the repeating of a key that is held, by virtual time. Knows no controller. One
// thread a machine.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-key)".
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/state.h"
#include "base/units.h"
#include "vmm/devices/input/ps2_queue.h"
#include "vmm/devices/input/scan_codes.h"

namespace chronovisor {

/// Answers take no time. LEDs are kept for whoever looks.
class Ps2Keyboard {
 public:
  /// The scan code sets that it has. Machines of older recordings have one that refuses the
  /// third, as later keyboards do.
  enum class Sets : std::uint8_t { two = 2, three = 3 };

  /// Lets keys be pressed and released.
  /// @param codes of set 1, whatever set the guest chose: as a PC's software names keys
  void press(ByteView codes, std::uint64_t now_ns);
  /// All codes of one key would be taken.
  [[nodiscard]] bool has_room() const { return queue_.room() >= kLongestKey; }

  /// A byte from the controller.
  void write(std::uint8_t value, Sets sets);
  [[nodiscard]] bool has_output() const { return queue_.count != 0; }
  [[nodiscard]] std::uint8_t take();

  /// When the key that is held repeats next; kNever: none.
  [[nodiscard]] std::uint64_t next_repeat_ns() const { return repeat_ns_; }
  void advance(std::uint64_t now_ns);

  void reset();
  void visit_state(StateVisitor& visitor, const std::string& prefix, Sets sets);

 private:
  /// Bits of a key's kind in set 3.
  static constexpr std::uint8_t kRepeats = 1;
  static constexpr std::uint8_t kTellsRelease = 2;
  static constexpr unsigned kLongestKey = 8;  ///< of Pause

  void command(std::uint8_t value);
  void argument(std::uint8_t value, Sets sets);
  void set_defaults();
  void set_all_kinds(std::uint8_t kind);
  void stop_repeating();
  void send_key(std::uint8_t prefix, std::uint8_t code, bool released);
  void send_set3(std::uint8_t key, bool released);
  /// A key that was pressed: whether it repeats while it is held.
  [[nodiscard]] bool repeats(std::uint8_t prefix, std::uint8_t code) const;
  [[nodiscard]] std::uint64_t delay_ns() const;
  [[nodiscard]] std::uint64_t period_ns() const;

  Ps2Queue queue_;
  std::uint8_t awaits_ = 0;  ///< the command whose argument comes next, or 0
  std::uint8_t set_ = 2;
  std::uint8_t leds_ = 0;
  std::uint8_t typematic_ = 0;
  std::uint8_t last_sent_ = 0;  ///< for the resend command
  bool scanning_ = true;
  std::uint8_t prefix_ = 0;       ///< of a key whose code comes with the next byte
  std::uint8_t held_prefix_ = 0;  ///< of the key that repeats
  std::uint8_t held_code_ = 0;    ///< in set 1; 0: none
  std::uint64_t repeat_ns_ = kNever;
  std::array<std::uint8_t, kSet3Codes> kinds_{};  ///< of keys, by their codes of set 3
};

}  // namespace chronovisor
