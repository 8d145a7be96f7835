#include "vmm/devices/input/i8042.h"

#include <utility>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/input/i8042_bits.h"

namespace chronovisor {

using namespace i8042_bits;

namespace {

constexpr std::uint8_t kAck = 0xfa;
constexpr std::uint8_t kResend = 0xfe;

}  // namespace

void I8042::on_reset_request(std::function<void()> callback) {
  reset_request_ = std::move(callback);
}

I8042::I8042() { reset(); }

void I8042::declare(Declaration& declaration) {
  declaration.ports(0x60, 1, *this, 0);
  declaration.ports(0x64, 1, *this, 4);
  declaration.interrupt(irq_, 1, Trigger::edge);
  declaration.receives(InputKind::key, *this);
  declaration.firmware().fixed.i8042 = true;
}

void I8042::receive(const Input& input) {
  for (const std::uint8_t byte : input.payload) receive_scan_code(byte);
}

bool I8042::has_room(InputKind /*kind*/) const { return can_receive(); }

void I8042::reset() {
  ram_ = {};
  ram_[0] = kConfigKeyboardInterrupt | kConfigSystem | kConfigMouseOff | kConfigTranslate;
  output_port_ = kOutputNotReset | kOutputA20;
  output_buffer_ = 0;
  output_full_ = false;
  last_was_command_ = false;
  data_for_ = DataFor::keyboard;
  ram_index_ = 0;
  controller_queue_ = {};
  keyboard_queue_ = {};
  keyboard_awaits_ = 0;
  scan_code_set_ = 2;
  last_sent_ = 0;
  scanning_ = true;
  update_line();
}

void I8042::visit_state(StateVisitor& visitor) {
  visitor.field("ram", ram_);
  visitor.field("output_port", output_port_);
  visitor.field("output_buffer", output_buffer_);
  visitor.field("output_full", output_full_);
  visitor.field("last_was_command", last_was_command_);
  visitor.field("data_for", data_for_);
  visitor.field("ram_index", ram_index_);
  controller_queue_.visit(visitor, "controller_queue.");
  keyboard_queue_.visit(visitor, "keyboard_queue.");
  visitor.field("keyboard_awaits", keyboard_awaits_);
  visitor.field("scan_code_set", scan_code_set_);
  visitor.field("last_sent", last_sent_);
  visitor.field("scanning", scanning_);
  irq_.visit_state(visitor, "level");
  ram_index_ &= 0x1f;
}

bool I8042::can_receive() const { return keyboard_queue_.count < Ps2Queue::kBytes; }

void I8042::receive_scan_code(std::uint8_t byte) {
  if (scanning_) from_keyboard(byte);
}

void I8042::from_keyboard(std::uint8_t byte) {
  keyboard_queue_.push(byte);
  refill();
}

/// An answer of the keyboard, which the controller translates like any scan code.
/// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard Controller",
/// scan code translation; codes above 84H pass as they are.
void I8042::keyboard_answer(std::uint8_t byte) {
  if ((ram_[0] & kConfigTranslate) != 0) {
    switch (byte) {
      case 0x00:
        byte = 0xff;
        break;
      case 0x01:
        byte = 0x43;
        break;
      case 0x02:
        byte = 0x41;
        break;
      case 0x03:
        byte = 0x3f;
        break;
      case 0x83:
        byte = 0x41;
        break;
      default:
        break;
    }
  }
  from_keyboard(byte);
}

void I8042::answer(std::uint8_t byte) {
  controller_queue_.push(byte);
  refill();
}

/// The controller's own answers go first; the keyboard waits while it is off.
void I8042::refill() {
  if (!output_full_) {
    if (controller_queue_.count != 0) {
      output_buffer_ = controller_queue_.pop();
      output_full_ = true;
    } else if (keyboard_queue_.count != 0 && (ram_[0] & kConfigKeyboardOff) == 0) {
      output_buffer_ = keyboard_queue_.pop();
      last_sent_ = output_buffer_;
      output_full_ = true;
    }
  }
  update_line();
}

void I8042::update_line() {
  const bool level = output_full_ && (ram_[0] & kConfigKeyboardInterrupt) != 0;
  irq_.set(level);
}

void I8042::request_reset() {
  if (reset_request_) reset_request_();
}

std::uint8_t I8042::read_byte(std::uint16_t offset) {
  if (offset == 4) {
    return static_cast<std::uint8_t>(kStatusUnlocked | (output_full_ ? kStatusOutputFull : 0) |
                                     ((ram_[0] & kConfigSystem) != 0 ? kStatusSystem : 0) |
                                     (last_was_command_ ? kStatusCommand : 0));
  }
  if (offset != 0) return 0xff;
  const std::uint8_t value = output_buffer_;
  if (output_full_) {
    output_full_ = false;
    update_line();  // falls before the next byte raises it: one edge a byte
    refill();
  }
  return value;
}

void I8042::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset == 4) {
    last_was_command_ = true;
    write_command(value);
  } else if (offset == 0) {
    last_was_command_ = false;
    write_data(value);
  }
}

void I8042::write_command(std::uint8_t command) {
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
    case 0xa9:  // auxiliary interface test: no such port
      answer(0xff);
      break;
    case 0xaa:  // self-test
      ram_[0] |= kConfigSystem;
      answer(0x55);
      break;
    case 0xab:  // keyboard interface test
      answer(0x00);
      break;
    case 0xad:
      ram_[0] |= kConfigKeyboardOff;
      break;
    case 0xae:
      ram_[0] &= static_cast<std::uint8_t>(~kConfigKeyboardOff);
      refill();
      break;
    case 0xc0:  // input port: keyboard not locked
      answer(0x80);
      break;
    case 0xd0:
      answer(static_cast<std::uint8_t>(output_port_ | (output_full_ ? kOutputKeyboardFull : 0)));
      break;
    case 0xd1:
      data_for_ = DataFor::output_port;
      break;
    case 0xd2:
    case 0xd3:  // without an auxiliary port the byte comes back as the keyboard's
      data_for_ = DataFor::keyboard_buffer;
      break;
    case 0xd4:  // to the auxiliary device: nobody
      data_for_ = DataFor::ignored;
      break;
    case 0xe0:  // test inputs: clock and data idle
      answer(0x00);
      break;
    default:
      break;  // 0xa7 and 0xa8 too: the auxiliary port stays off
  }
}

void I8042::write_data(std::uint8_t value) {
  const DataFor data_for = std::exchange(data_for_, DataFor::keyboard);
  switch (data_for) {
    case DataFor::controller_ram:
      ram_[ram_index_] = ram_index_ == 0 ? value | kConfigMouseOff : value;
      refill();
      break;
    case DataFor::output_port:
      write_output_port(value);
      break;
    case DataFor::keyboard_buffer:
      answer(value);
      break;
    case DataFor::ignored:
      answer(kResend);
      break;
    case DataFor::keyboard:
      if (keyboard_awaits_ != 0) {
        keyboard_argument(value);
      } else {
        keyboard_command(value);
      }
      break;
  }
}

void I8042::write_output_port(std::uint8_t value) {
  output_port_ = static_cast<std::uint8_t>(value | kOutputNotReset);
  if ((value & kOutputNotReset) == 0) request_reset();
}

void I8042::keyboard_command(std::uint8_t value) {
  // A command turns the interface on again, and what was queued is dropped.
  ram_[0] &= static_cast<std::uint8_t>(~kConfigKeyboardOff);
  if (value == kResend) {
    from_keyboard(last_sent_);
    return;
  }
  keyboard_queue_ = {};
  switch (value) {
    case 0xed:  // LEDs
    case 0xf0:  // scan code set
    case 0xf3:  // typematic rate
      keyboard_awaits_ = value;
      from_keyboard(kAck);
      break;
    case 0xee:  // echo
      from_keyboard(0xee);
      break;
    case 0xf2:  // identify: an MF2 keyboard
      from_keyboard(kAck);
      from_keyboard(0xab);
      keyboard_answer(0x83);
      break;
    case 0xf4:
      scanning_ = true;
      from_keyboard(kAck);
      break;
    case 0xf5:  // defaults, and off
    case 0xf6:  // defaults
      scanning_ = value == 0xf6;
      scan_code_set_ = 2;
      from_keyboard(kAck);
      break;
    case 0xff:  // reset, self-test passed
      scanning_ = true;
      scan_code_set_ = 2;
      from_keyboard(kAck);
      from_keyboard(0xaa);
      break;
    default:
      from_keyboard(value >= 0xed ? kAck : kResend);
      break;
  }
}

void I8042::keyboard_argument(std::uint8_t value) {
  const std::uint8_t command = std::exchange(keyboard_awaits_, 0);
  from_keyboard(kAck);
  if (command != 0xf0) return;
  if (value == 0) {
    keyboard_answer(scan_code_set_);
  } else if (value <= 3) {
    scan_code_set_ = value;
  }
}

}  // namespace chronovisor
