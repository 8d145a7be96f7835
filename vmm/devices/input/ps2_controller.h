// Owns the keyboard controller of a PC with its two ports: the 8042's commands, the
// translation of scan codes, and what of its two devices the guest reads next. The
// devices have an owner each (ps2_keyboard.h, ps2_mouse.h). One thread a machine.
//
// Ports: data at offset 0, command and status at offset 4.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
// Device Controller".
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/input/ps2_keyboard.h"
#include "vmm/devices/input/ps2_mouse.h"

namespace chronovisor {

/// Every answer is ready at once (the input buffer never shows full). The A20 gate is
/// always open; its bit in the output port only reads back.
class Ps2Controller final : public Device, public BytePortDevice, public InputReceiver {
 public:
  explicit Ps2Controller(const Clock& clock);
  /// Command FEH, a pulse or an output-port write that takes bit 0 low.
  void on_reset_request(std::function<void()> callback);

  [[nodiscard]] std::string_view name() const override { return "ps2"; }
  [[nodiscard]] StateVersions state_versions() const override { return {1, 2}; }
  void declare(Declaration& declaration) override;
  /// A key: codes of set 1. A mouse: Ps2Mouse::payload_of.
  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override {
    return keyboard_.next_repeat_ns();
  }
  void advance(VirtualTime now) override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  /// What the next byte written to port 60H is for.
  enum class DataFor : std::uint8_t {
    keyboard = 0,
    controller_ram = 1,
    output_port = 2,
    keyboard_buffer = 3,
    mouse_buffer = 4,
    mouse = 5,
  };
  enum class From : std::uint8_t { controller = 0, keyboard = 1, mouse = 2 };

  [[nodiscard]] Ps2Keyboard::Sets scan_code_sets() const {
    return state_version() >= 2 ? Ps2Keyboard::Sets::three : Ps2Keyboard::Sets::two;
  }

  void write_command(std::uint8_t command);
  void write_data(std::uint8_t value);
  void write_output_port(std::uint8_t value);
  void answer(std::uint8_t byte, From shown_as = From::controller);
  void refill();
  /// Takes a byte of the keyboard. @return whether it is one for the guest
  [[nodiscard]] bool take_from_keyboard();
  void fill(std::uint8_t byte, From from);
  void update_lines();
  void request_reset();

  const Clock& clock_;
  std::array<std::uint8_t, 32> ram_{};  ///< byte 0 is the configuration byte
  std::uint8_t output_port_ = 0;
  std::uint8_t output_buffer_ = 0;
  bool output_full_ = false;
  From output_from_ = From::controller;
  bool last_was_command_ = false;
  DataFor data_for_ = DataFor::keyboard;
  std::uint8_t ram_index_ = 0;
  Ps2Queue answers_;
  Ps2Queue answers_from_;  ///< what each of them is shown as
  bool released_ = false;  ///< F0H came, which translation puts into the next byte
  Ps2Keyboard keyboard_;
  Ps2Mouse mouse_;
  InterruptPin keyboard_irq_;
  InterruptPin mouse_irq_;

  std::function<void()> reset_request_;
};

}  // namespace chronovisor
