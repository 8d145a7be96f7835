#include "vmm/devices/input/ps2_keyboard.h"

#include <utility>

namespace chronovisor {
namespace {

constexpr std::uint8_t kAck = 0xfa;
constexpr std::uint8_t kResend = 0xfe;
constexpr std::uint8_t kSelfTestPassed = 0xaa;
constexpr std::uint8_t kReleasedSet2 = 0xf0;
constexpr std::uint8_t kReleasedSet1 = 0x80;
constexpr std::uint8_t kExtended = 0xe0;
constexpr std::uint8_t kPause = 0xe1;
constexpr std::uint8_t kSecondOfPause = 1;      // no prefix: its first code came
constexpr std::uint8_t kUsualTypematic = 0x2b;  // 500 ms, then 10.9 a second

}  // namespace

std::uint64_t Ps2Keyboard::delay_ns() const {
  constexpr std::uint64_t kQuarterNs = 250'000'000;
  return ((typematic_ >> 5 & 3U) + 1) * kQuarterNs;
}

/// (8 + A) × 2^B / 240 seconds.
std::uint64_t Ps2Keyboard::period_ns() const {
  const std::uint64_t units = std::uint64_t{8U + (typematic_ & 7U)} << (typematic_ >> 3 & 3U);
  return units * 1'000'000'000 / 240;
}

void Ps2Keyboard::set_defaults() {
  set_ = 2;
  typematic_ = kUsualTypematic;
  for (unsigned key = 0; key < kSet3Codes; ++key) {
    const KeyKind kind = usual_kind(static_cast<std::uint8_t>(key));
    kinds_[key] = static_cast<std::uint8_t>((kind.repeats ? kRepeats : 0) |
                                            (kind.tells_release ? kTellsRelease : 0));
  }
  stop_repeating();
}

void Ps2Keyboard::set_all_kinds(std::uint8_t kind) { kinds_.fill(kind); }

void Ps2Keyboard::stop_repeating() {
  held_prefix_ = 0;
  held_code_ = 0;
  repeat_ns_ = kNever;
}

void Ps2Keyboard::reset() {
  queue_ = {};
  awaits_ = 0;
  leds_ = 0;
  last_sent_ = 0;
  scanning_ = true;
  prefix_ = 0;
  set_defaults();
}

void Ps2Keyboard::visit_state(StateVisitor& visitor, const std::string& prefix, Sets sets) {
  queue_.visit(visitor, prefix + "queue.");
  visitor.field(prefix + "awaits", awaits_);
  visitor.field(prefix + "set", set_);
  visitor.field(prefix + "leds", leds_);
  visitor.field(prefix + "typematic", typematic_);
  visitor.field(prefix + "last_sent", last_sent_);
  visitor.field(prefix + "scanning", scanning_);
  visitor.field(prefix + "prefix", prefix_);
  visitor.field(prefix + "held_prefix", held_prefix_);
  visitor.field(prefix + "held_code", held_code_);
  visitor.field(prefix + "repeat_ns", repeat_ns_);
  if (sets == Sets::three) visitor.field(prefix + "kinds", kinds_);
  const unsigned most = sets == Sets::three ? 3 : 2;
  if (set_ == 0 || set_ > most) set_ = 2;
  typematic_ &= 0x7f;
  if (held_code_ == 0) repeat_ns_ = kNever;
}

std::uint8_t Ps2Keyboard::take() {
  last_sent_ = queue_.pop();
  return last_sent_;
}

bool Ps2Keyboard::repeats(std::uint8_t prefix, std::uint8_t code) const {
  if (set_ != 3) return true;
  const std::uint8_t key = set3_of_set1(prefix, code);
  return key != 0 && (kinds_[key] & kRepeats) != 0;
}

void Ps2Keyboard::send_set3(std::uint8_t key, bool released) {
  if (key == 0 || (released && (kinds_[key] & kTellsRelease) == 0)) return;
  if (!scanning_ || queue_.room() < (released ? 2U : 1U)) return;
  if (released) queue_.push(kReleasedSet2);
  queue_.push(key);
}

/// Codes that find no room are lost, all of them or none.
void Ps2Keyboard::send_key(std::uint8_t prefix, std::uint8_t code, bool released) {
  if (set_ == 3) {
    send_set3(set3_of_set1(prefix, code), released);
    return;
  }
  const unsigned bytes = 1U + (prefix != 0 ? 1 : 0) + (released && set_ != 1 ? 1 : 0);
  if (!scanning_ || queue_.room() < bytes) return;
  if (prefix != 0) queue_.push(prefix);
  if (set_ == 1) {
    queue_.push(static_cast<std::uint8_t>(code | (released ? kReleasedSet1 : 0)));
    return;
  }
  if (released) queue_.push(kReleasedSet2);
  queue_.push(set2_of_set1(code));
}

void Ps2Keyboard::press(ByteView codes, std::uint64_t now_ns) {
  for (const std::uint8_t byte : codes) {
    if (byte == kExtended || byte == kPause) {
      prefix_ = byte;
      continue;
    }
    const bool released = (byte & kReleasedSet1) != 0;
    const auto code = static_cast<std::uint8_t>(byte & ~kReleasedSet1);
    // Pause is two codes behind one prefix, and does not repeat; in set 3 it is one.
    if (prefix_ != kSecondOfPause) {
      send_key(prefix_, code, released);
    } else if (set_ != 3) {
      send_key(0, code, released);
    }
    if (prefix_ == kPause || prefix_ == kSecondOfPause) {
      prefix_ = prefix_ == kPause ? kSecondOfPause : std::uint8_t{0};
      continue;
    }
    if (!released && scanning_ && !repeats(prefix_, code)) {
      stop_repeating();
    } else if (!released && scanning_) {
      held_prefix_ = prefix_;
      held_code_ = code;
      repeat_ns_ = now_ns + delay_ns();
    } else if (code == held_code_ && prefix_ == held_prefix_) {
      stop_repeating();
    }
    prefix_ = 0;
  }
}

void Ps2Keyboard::advance(std::uint64_t now_ns) {
  if (now_ns < repeat_ns_) return;
  send_key(held_prefix_, held_code_, false);
  repeat_ns_ = now_ns + period_ns();
}

void Ps2Keyboard::write(std::uint8_t value, Sets sets) {
  if (awaits_ != 0 && value < 0xed) {
    argument(value, sets);
  } else {
    awaits_ = 0;
    command(value);
  }
}

void Ps2Keyboard::command(std::uint8_t value) {
  if (value == kResend) {
    queue_.push(last_sent_);
    return;
  }
  queue_ = {};
  switch (value) {
    case 0xed:  // LEDs
    case 0xf0:  // scan code set
    case 0xf3:  // typematic rate
    case 0xfb:  // one key's kind, of set 3: keys follow
    case 0xfc:
    case 0xfd:
      awaits_ = value;
      queue_.push(kAck);
      break;
    case 0xee:  // echo
      queue_.push(0xee);
      break;
    case 0xf2:  // identify: an MF2 keyboard
      queue_.push(kAck);
      queue_.push(0xab);
      queue_.push(0x83);
      break;
    case 0xf4:
      scanning_ = true;
      queue_.push(kAck);
      break;
    case 0xf5:  // defaults, and off
    case 0xf6:  // defaults
      set_defaults();
      scanning_ = value == 0xf6;
      queue_.push(kAck);
      break;
    case 0xf7:  // all keys' kind, of set 3: they repeat
      set_all_kinds(kRepeats);
      queue_.push(kAck);
      break;
    case 0xf8:  // tell that they are released
      set_all_kinds(kTellsRelease);
      queue_.push(kAck);
      break;
    case 0xf9:  // neither
      set_all_kinds(0);
      queue_.push(kAck);
      break;
    case 0xfa:  // both
      set_all_kinds(kRepeats | kTellsRelease);
      queue_.push(kAck);
      break;
    case 0xff:
      reset();
      queue_.push(kAck);
      queue_.push(kSelfTestPassed);
      break;
    default:
      queue_.push(kResend);
      break;
  }
}

void Ps2Keyboard::argument(std::uint8_t value, Sets sets) {
  const std::uint8_t command = std::exchange(awaits_, std::uint8_t{0});
  switch (command) {
    case 0xed:
      leds_ = value & 7;
      break;
    case 0xf3:
      typematic_ = value & 0x7f;
      break;
    case 0xf0:
      if (value > static_cast<std::uint8_t>(sets)) {
        queue_.push(kResend);
        return;
      }
      queue_.push(kAck);
      if (value == 0) {
        queue_.push(set_);
      } else {
        set_ = value;
      }
      return;
    default:  // one key's kind
      if (value < kSet3Codes) {
        kinds_[value] = command == 0xfb ? kRepeats : command == 0xfc ? kTellsRelease : 0;
      }
      awaits_ = command;  // as many keys as there come
      break;
  }
  queue_.push(kAck);
}

}  // namespace chronovisor
