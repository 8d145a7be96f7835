#include "vmm/devices/input/ps2_controller.h"

#include <utility>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/input/i8042_bits.h"
#include "vmm/devices/input/scan_codes.h"

namespace chronovisor {

using namespace i8042_bits;

namespace {

constexpr std::uint8_t kReleased = 0xf0;

}  // namespace

Ps2Controller::Ps2Controller(const Clock& clock) : clock_(clock) { reset(); }

void Ps2Controller::on_reset_request(std::function<void()> callback) {
  reset_request_ = std::move(callback);
}

void Ps2Controller::declare(Declaration& declaration) {
  const std::uint16_t data = declaration.ports(0x60, 1, *this, 0);
  const std::uint16_t command = declaration.ports(0x64, 1, *this, 4);
  const std::uint8_t keyboard = declaration.interrupt(keyboard_irq_, 1, Trigger::edge);
  const std::uint8_t mouse = declaration.interrupt(mouse_irq_, 12, Trigger::edge);
  declaration.receives(InputKind::key, *this);
  declaration.receives(InputKind::mouse, *this);
  declaration.deadlines();
  declaration.firmware().fixed.i8042 = true;
  declaration.acpi_device(
      "KBD0", aml::sequence({aml::name("_HID", aml::eisa_id("PNP0303")),
                             aml::name("_CRS", aml::resources({aml::io_ports(data, 1),
                                                               aml::io_ports(command, 1),
                                                               aml::irq(keyboard)}))}));
  declaration.acpi_device("MOU0",
                          aml::sequence({aml::name("_HID", aml::eisa_id("PNP0F13")),
                                         aml::name("_CRS", aml::resources({aml::irq(mouse)}))}));
}

void Ps2Controller::receive(const Input& input) {
  if (input.kind == InputKind::mouse) {
    mouse_.move(Ps2Mouse::movement_of(input.payload));
  } else {
    keyboard_.press(input.payload, clock_.now().ns);
  }
  refill();
  deadline_changed();
}

bool Ps2Controller::has_room(InputKind kind) const {
  return kind == InputKind::mouse || keyboard_.has_room();
}

void Ps2Controller::advance(VirtualTime now) {
  keyboard_.advance(now.ns);
  refill();
  deadline_changed();
}

void Ps2Controller::reset() {
  ram_ = {};
  ram_[0] = kConfigKeyboardInterrupt | kConfigSystem | kConfigMouseOff | kConfigTranslate;
  output_port_ = kOutputNotReset | kOutputA20;
  output_buffer_ = 0;
  output_full_ = false;
  output_from_ = From::controller;
  last_was_command_ = false;
  data_for_ = DataFor::keyboard;
  ram_index_ = 0;
  answers_ = {};
  answers_from_ = {};
  released_ = false;
  keyboard_.reset();
  mouse_.reset();
  update_lines();
}

void Ps2Controller::visit_state(StateVisitor& visitor) {
  visitor.field("ram", ram_);
  visitor.field("output_port", output_port_);
  visitor.field("output_buffer", output_buffer_);
  visitor.field("output_full", output_full_);
  visitor.field("output_from", output_from_);
  visitor.field("last_was_command", last_was_command_);
  visitor.field("data_for", data_for_);
  visitor.field("ram_index", ram_index_);
  answers_.visit(visitor, "answers.");
  answers_from_.visit(visitor, "answers_from.");
  visitor.field("released", released_);
  keyboard_.visit_state(visitor, "keyboard.", scan_code_sets());
  mouse_.visit_state(visitor, "mouse.");
  keyboard_irq_.visit_state(visitor, "keyboard_irq");
  mouse_irq_.visit_state(visitor, "mouse_irq");
  ram_index_ &= 0x1f;
  // They are one ring.
  answers_from_.head = answers_.head;
  answers_from_.count = answers_.count;
}

void Ps2Controller::answer(std::uint8_t byte, From shown_as) {
  answers_.push(byte);
  answers_from_.push(static_cast<std::uint8_t>(shown_as));
  refill();
}

void Ps2Controller::fill(std::uint8_t byte, From from) {
  output_buffer_ = byte;
  output_from_ = from;
  output_full_ = true;
}

bool Ps2Controller::take_from_keyboard() {
  const std::uint8_t byte = keyboard_.take();
  if ((ram_[0] & kConfigTranslate) == 0) {
    fill(byte, From::keyboard);
    return true;
  }
  if (byte == kReleased) {
    released_ = true;
    return false;
  }
  const bool released = std::exchange(released_, false);
  fill(static_cast<std::uint8_t>(translated(byte) | (released ? 0x80 : 0)), From::keyboard);
  return true;
}

/// The controller's own answers go first; a device waits while it is off.
void Ps2Controller::refill() {
  while (!output_full_) {
    if (answers_.count != 0) {
      const std::uint8_t from = answers_from_.pop();
      fill(answers_.pop(), from <= static_cast<std::uint8_t>(From::mouse) ? static_cast<From>(from)
                                                                          : From::controller);
    } else if (keyboard_.has_output() && (ram_[0] & kConfigKeyboardOff) == 0) {
      if (!take_from_keyboard()) continue;
    } else if (mouse_.has_output() && (ram_[0] & kConfigMouseOff) == 0) {
      fill(mouse_.take(), From::mouse);
    }
    break;
  }
  update_lines();
}

void Ps2Controller::update_lines() {
  const bool mouse = output_from_ == From::mouse;
  keyboard_irq_.set(output_full_ && !mouse && (ram_[0] & kConfigKeyboardInterrupt) != 0);
  mouse_irq_.set(output_full_ && mouse && (ram_[0] & kConfigMouseInterrupt) != 0);
}

void Ps2Controller::request_reset() {
  if (reset_request_) reset_request_();
}

std::uint8_t Ps2Controller::read_byte(std::uint16_t offset) {
  if (offset == 4) {
    return static_cast<std::uint8_t>(
        kStatusUnlocked | (output_full_ ? kStatusOutputFull : 0) |
        (output_full_ && output_from_ == From::mouse ? kStatusMouse : 0) |
        ((ram_[0] & kConfigSystem) != 0 ? kStatusSystem : 0) |
        (last_was_command_ ? kStatusCommand : 0));
  }
  if (offset != 0) return 0xff;
  const std::uint8_t value = output_buffer_;
  if (output_full_) {
    output_full_ = false;
    update_lines();  // falls before the next byte raises it: one edge a byte
    refill();
  }
  return value;
}

void Ps2Controller::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 4) {
    last_was_command_ = true;
    write_command(value);
  } else if (offset == 0) {
    last_was_command_ = false;
    write_data(value);
  }
  refill();
  deadline_changed();
}

void Ps2Controller::write_command(std::uint8_t command) {
  data_for_ = DataFor::keyboard;
  if (command >= 0x20 && command <= 0x3f) {
    answer(ram_[command & 0x1f]);
    return;
  }
  if (command >= 0x60 && command <= 0x7f) {
    ram_index_ = command & 0x1f;
    data_for_ = DataFor::controller_ram;
    return;
  }
  if (command >= 0xf0) {  // pulse the output port bits that are 0; bit 0 is reset
    if ((command & 1) == 0) request_reset();
    return;
  }
  switch (command) {
    case 0xa4:  // is a password installed?
      answer(0xf1);
      break;
    case 0xa7:
      ram_[0] |= kConfigMouseOff;
      break;
    case 0xa8:
      ram_[0] &= static_cast<std::uint8_t>(~kConfigMouseOff);
      break;
    case 0xa9:  // mouse interface test
    case 0xab:  // keyboard interface test
      answer(0x00);
      break;
    case 0xaa:  // self-test
      ram_[0] |= kConfigSystem;
      answer(0x55);
      break;
    case 0xad:
      ram_[0] |= kConfigKeyboardOff;
      break;
    case 0xae:
      ram_[0] &= static_cast<std::uint8_t>(~kConfigKeyboardOff);
      break;
    case 0xc0:  // input port: keyboard not locked
      answer(0x80);
      break;
    case 0xd0:
      answer(static_cast<std::uint8_t>(
          output_port_ | (output_full_ && output_from_ != From::mouse ? kOutputKeyboardFull : 0) |
          (output_full_ && output_from_ == From::mouse ? kOutputMouseFull : 0)));
      break;
    case 0xd1:
      data_for_ = DataFor::output_port;
      break;
    case 0xd2:
      data_for_ = DataFor::keyboard_buffer;
      break;
    case 0xd3:
      data_for_ = DataFor::mouse_buffer;
      break;
    case 0xd4:
      data_for_ = DataFor::mouse;
      break;
    case 0xdd:  // A20 closed and open: other makers' short forms
    case 0xdf:
      output_port_ = static_cast<std::uint8_t>((output_port_ & ~kOutputA20) |
                                               (command == 0xdf ? kOutputA20 : 0));
      break;
    case 0xe0:  // test inputs: clock and data idle
      answer(0x00);
      break;
    default:
      break;
  }
}

void Ps2Controller::write_data(std::uint8_t value) {
  const DataFor data_for = std::exchange(data_for_, DataFor::keyboard);
  switch (data_for) {
    case DataFor::controller_ram:
      ram_[ram_index_] = value;
      break;
    case DataFor::output_port:
      write_output_port(value);
      break;
    case DataFor::keyboard_buffer:
      answer(value, From::keyboard);
      break;
    case DataFor::mouse_buffer:
      answer(value, From::mouse);
      break;
    case DataFor::mouse:
      ram_[0] &= static_cast<std::uint8_t>(~kConfigMouseOff);
      mouse_.write(value);
      break;
    case DataFor::keyboard:
      // A command turns the interface on again.
      ram_[0] &= static_cast<std::uint8_t>(~kConfigKeyboardOff);
      released_ = false;
      keyboard_.write(value, scan_code_sets());
      break;
  }
}

void Ps2Controller::write_output_port(std::uint8_t value) {
  output_port_ = static_cast<std::uint8_t>((value & 0xcf) | kOutputNotReset);
  if ((value & kOutputNotReset) == 0) request_reset();
}

}  // namespace chronovisor
