// Owns a PS/2 mouse with a wheel: its commands, and movements until the guest takes
// them. Knows no controller. One thread a machine.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; the knocks by which a
// wheel and further buttons are switched on are Microsoft's.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/state.h"
#include "vmm/devices/input/ps2_queue.h"

namespace chronovisor {

/// Answers take no time, and a packet is made as soon as the one before was taken: the
/// sampling rate is kept and changes nothing. Movements that cannot be sent add up.
class Ps2Mouse {
 public:
  /// Buttons as they are now (bit 0 left, 1 right, 2 middle, 3 and 4 the further ones),
  /// and how far it went since: to the right, down, and the wheel, away from the user
  /// negative.
  struct Movement {
    std::uint8_t buttons = 0;
    std::int16_t right = 0;
    std::int16_t down = 0;
    std::int8_t wheel = 0;
  };
  /// Six bytes, little-endian, in that order; nothing of another size is one.
  static constexpr std::size_t kMovementBytes = 6;
  [[nodiscard]] static Movement movement_of(ByteView payload);
  [[nodiscard]] static Bytes payload_of(const Movement& movement);

  void move(const Movement& movement);
  /// A byte from the controller.
  void write(std::uint8_t value);
  [[nodiscard]] bool has_output() const { return queue_.count != 0; }
  [[nodiscard]] std::uint8_t take();

  void reset();
  void visit_state(StateVisitor& visitor, const std::string& prefix);

 private:
  void command(std::uint8_t value);
  void argument(std::uint8_t value);
  void set_defaults();
  void make_packet();
  void send_if_due();
  [[nodiscard]] std::uint8_t flags() const;

  Ps2Queue queue_;
  std::uint8_t awaits_ = 0;
  std::uint8_t id_ = 0;  ///< 0, 3 with a wheel, 4 with further buttons
  std::uint8_t rate_ = 100;
  std::uint8_t resolution_ = 2;
  bool double_scale_ = false;
  bool remote_ = false;
  bool wrap_ = false;
  bool reporting_ = false;
  std::uint8_t last_sent_ = 0;
  std::array<std::uint8_t, 2> last_rates_{};  ///< before rate_, the latest first
  std::uint8_t buttons_ = 0;
  bool buttons_changed_ = false;
  std::int32_t right_ = 0;
  std::int32_t up_ = 0;
  std::int32_t wheel_ = 0;
};

}  // namespace chronovisor
