#include "vmm/devices/network/e1000_eeprom.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kClock = 1U << 0;
constexpr std::uint32_t kSelect = 1U << 1;
constexpr std::uint32_t kDataIn = 1U << 2;
constexpr std::uint32_t kDataOut = 1U << 3;
constexpr std::uint32_t kFlashWrites = 3U << 4;
constexpr std::uint32_t kRequest = 1U << 6;
constexpr std::uint32_t kGrant = 1U << 7;
constexpr std::uint32_t kPresent = 1U << 8;
constexpr std::uint32_t kKept = kClock | kSelect | kDataIn | kFlashWrites | kRequest;

constexpr std::uint8_t kInstructionBits = 9;  // a start bit, two of opcode, six of address
constexpr std::uint16_t kRead = 6;
constexpr std::uint16_t kBits = E1000Eeprom::kWords * 16;

constexpr std::uint32_t kStartRead = 1U << 0;
constexpr std::uint32_t kReadDone = 1U << 4;

/// All words add up to this.
constexpr std::uint16_t kChecksum = 0xbaba;

}  // namespace

E1000Eeprom::E1000Eeprom(const MacAddress& address) {
  words_.fill(0);
  for (unsigned n = 0; n < 3; ++n) {
    words_[n] = static_cast<std::uint16_t>(address[2 * n] | address[2 * n + 1] << 8);
  }
  words_[0x08] = 0x3000;  // the board's part number
  words_[0x09] = 0x1000;
  words_[0x0a] = 0x6403;  // initialisation control 1, with its signature
  words_[0x0b] = 0x001e;  // subsystem
  words_[0x0c] = 0x8086;
  words_[0x0d] = 0x100e;  // device and vendor
  words_[0x0e] = 0x8086;
  words_[0x0f] = 0x3040;  // initialisation control 2
  words_[0x23] = 0x2700;
  words_[0x2f] = 0x0602;  // LEDs
  std::uint16_t sum = 0;
  for (unsigned n = 0; n + 1 < kWords; ++n) sum = static_cast<std::uint16_t>(sum + words_[n]);
  words_[kWords - 1] = static_cast<std::uint16_t>(kChecksum - sum);
}

void E1000Eeprom::reset() {
  wires_ = 0;
  word_register_ = 0;
  shifted_in_ = 0;
  bits_in_ = 0;
  reading_ = false;
  next_bit_ = 0;
}

void E1000Eeprom::visit_state(StateVisitor& visitor) {
  visitor.field("eeprom.wires", wires_);
  visitor.field("eeprom.word_register", word_register_);
  visitor.field("eeprom.shifted_in", shifted_in_);
  visitor.field("eeprom.bits_in", bits_in_);
  visitor.field("eeprom.reading", reading_);
  visitor.field("eeprom.next_bit", next_bit_);
  next_bit_ %= kBits;
}

/// The line is high while nothing drives it.
bool E1000Eeprom::data_out() const {
  if (!reading_) return true;
  return (words_[next_bit_ / 16] >> (15 - next_bit_ % 16) & 1) != 0;
}

std::uint32_t E1000Eeprom::read_control() const {
  const std::uint32_t grant = (wires_ & kRequest) != 0 ? kGrant : 0;
  return wires_ | kPresent | grant | (data_out() ? kDataOut : 0);
}

void E1000Eeprom::write_control(std::uint32_t value) {
  const std::uint32_t before = wires_;
  wires_ = value & kKept;
  if ((wires_ & kSelect) == 0) return;
  if ((before & kSelect) == 0) {
    shifted_in_ = 0;
    bits_in_ = 0;
    reading_ = false;
    next_bit_ = 0;
  }
  if (((wires_ ^ before) & kClock) == 0) return;
  if ((wires_ & kClock) != 0) {
    clock_rises((wires_ & kDataIn) != 0);
  } else if (reading_) {
    next_bit_ = static_cast<std::uint16_t>((next_bit_ + 1) % kBits);
  }
}

void E1000Eeprom::clock_rises(bool data_in) {
  if (reading_ || bits_in_ >= kInstructionBits) return;
  shifted_in_ = static_cast<std::uint16_t>(shifted_in_ << 1 | (data_in ? 1 : 0));
  if (++bits_in_ < kInstructionBits || shifted_in_ >> 6 != kRead) return;
  reading_ = true;
  // The falling edge of this clock brings the first bit out.
  next_bit_ = static_cast<std::uint16_t>(((shifted_in_ & 63) * 16 + kBits - 1) % kBits);
}

void E1000Eeprom::write_word_register(std::uint32_t value) {
  word_register_ = value & 0xff00;
  if ((value & kStartRead) == 0) return;
  const unsigned address = value >> 8 & 0xff;
  const std::uint32_t word = address < kWords ? words_[address] : 0xffff;
  word_register_ |= word << 16 | kReadDone;
}

}  // namespace chronovisor
