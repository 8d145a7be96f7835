// Owns the 8042 keyboard controller and a minimal keyboard behind it: the
// keyboard answers every command a driver probes with, and passes on scan codes
// that the machine gives it. There is no auxiliary (mouse) port: config bit 5
// is stuck at 1, which drivers read as "no such port". One thread a machine.
//
// Ports: data at offset 0, command and status at offset 4.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
// Auxiliary Device Controller".
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/input/ps2_queue.h"

namespace chronovisor {

/// Every answer is ready at once (the input buffer never shows full). The A20
/// gate is always open; its bit in the output port only reads back.
class I8042 final : public Device, public BytePortDevice, public InputReceiver {
 public:
  I8042();
  /// Command 0xfe, a pulse or an output-port write that takes bit 0 low.
  void on_reset_request(std::function<void()> callback);

  /// A byte from the keyboard, as the guest shall read it (scan code set 1 when
  /// the guest has translation on). Lost when the keyboard's buffer is full or
  /// the guest has turned scanning off.
  void receive_scan_code(std::uint8_t byte);
  [[nodiscard]] bool can_receive() const;

  [[nodiscard]] std::string_view name() const override { return "i8042"; }
  void declare(Declaration& declaration) override;
  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  /// What the next byte written to port 0x60 is for.
  enum class DataFor : std::uint8_t {
    keyboard = 0,
    controller_ram = 1,
    output_port = 2,
    keyboard_buffer = 3,
    ignored = 4,
  };
  void write_command(std::uint8_t command);
  void write_data(std::uint8_t value);
  void keyboard_command(std::uint8_t value);
  void keyboard_argument(std::uint8_t value);
  void write_output_port(std::uint8_t value);
  void answer(std::uint8_t byte);
  void from_keyboard(std::uint8_t byte);
  void keyboard_answer(std::uint8_t byte);
  void refill();
  void update_line();
  void request_reset();

  std::array<std::uint8_t, 32> ram_{};  ///< byte 0 is the configuration byte
  std::uint8_t output_port_ = 0;
  std::uint8_t output_buffer_ = 0;
  bool output_full_ = false;
  bool last_was_command_ = false;
  DataFor data_for_ = DataFor::keyboard;
  std::uint8_t ram_index_ = 0;
  Ps2Queue controller_queue_;
  Ps2Queue keyboard_queue_;
  std::uint8_t keyboard_awaits_ = 0;  ///< the command whose argument comes next, or 0
  std::uint8_t scan_code_set_ = 2;
  std::uint8_t last_sent_ = 0;  ///< by the keyboard, for its resend command
  bool scanning_ = true;
  InterruptPin irq_;

  std::function<void()> reset_request_;
};

}  // namespace chronovisor
