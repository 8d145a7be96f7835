#include "vmm/devices/input/ps2_mouse.h"

#include <algorithm>
#include <utility>

namespace chronovisor {
namespace {

constexpr std::uint8_t kAck = 0xfa;
constexpr std::uint8_t kResend = 0xfe;
constexpr std::uint8_t kError = 0xfc;
constexpr std::uint8_t kSelfTestPassed = 0xaa;
constexpr std::int32_t kMostPending = 0xffff;
constexpr std::int32_t kMostMovement = 255;
constexpr std::int32_t kMostWheel = 7;

std::int32_t added(std::int32_t pending, std::int32_t more) {
  return std::clamp(pending + more, -kMostPending, kMostPending);
}

/// Takes as much as a packet holds.
std::int32_t take_part(std::int32_t& pending, std::int32_t least, std::int32_t most) {
  const std::int32_t part = std::clamp(pending, least, most);
  pending -= part;
  return part;
}

}  // namespace

Ps2Mouse::Movement Ps2Mouse::movement_of(ByteView payload) {
  Movement movement;
  if (payload.size() != kMovementBytes) return movement;
  movement.buttons = payload[0];
  movement.right = static_cast<std::int16_t>(payload[1] | payload[2] << 8);
  movement.down = static_cast<std::int16_t>(payload[3] | payload[4] << 8);
  movement.wheel = static_cast<std::int8_t>(payload[5]);
  return movement;
}

Bytes Ps2Mouse::payload_of(const Movement& movement) {
  ByteWriter out;
  out.integer(movement.buttons);
  out.integer(movement.right);
  out.integer(movement.down);
  out.integer(movement.wheel);
  return out.take();
}

void Ps2Mouse::set_defaults() {
  rate_ = 100;
  resolution_ = 2;
  double_scale_ = false;
  remote_ = false;
  reporting_ = false;
  right_ = up_ = wheel_ = 0;
  buttons_changed_ = false;
}

void Ps2Mouse::reset() {
  queue_ = {};
  awaits_ = 0;
  id_ = 0;
  wrap_ = false;
  last_sent_ = 0;
  last_rates_ = {};
  buttons_ = 0;
  set_defaults();
}

void Ps2Mouse::visit_state(StateVisitor& visitor, const std::string& prefix) {
  queue_.visit(visitor, prefix + "queue.");
  visitor.field(prefix + "awaits", awaits_);
  visitor.field(prefix + "id", id_);
  visitor.field(prefix + "rate", rate_);
  visitor.field(prefix + "resolution", resolution_);
  visitor.field(prefix + "double_scale", double_scale_);
  visitor.field(prefix + "remote", remote_);
  visitor.field(prefix + "wrap", wrap_);
  visitor.field(prefix + "reporting", reporting_);
  visitor.field(prefix + "last_sent", last_sent_);
  visitor.field(prefix + "last_rates", last_rates_);
  visitor.field(prefix + "buttons", buttons_);
  visitor.field(prefix + "buttons_changed", buttons_changed_);
  visitor.field(prefix + "right", right_);
  visitor.field(prefix + "up", up_);
  visitor.field(prefix + "wheel", wheel_);
  for (std::int32_t* pending : {&right_, &up_, &wheel_}) *pending = added(*pending, 0);
}

void Ps2Mouse::move(const Movement& movement) {
  const auto buttons = static_cast<std::uint8_t>(movement.buttons & 0x1f);
  buttons_changed_ = buttons_changed_ || buttons != buttons_;
  buttons_ = buttons;
  right_ = added(right_, movement.right);
  up_ = added(up_, -std::int32_t{movement.down});
  wheel_ = added(wheel_, movement.wheel);
  send_if_due();
}

/// One packet waits at a time, so that what follows adds up.
void Ps2Mouse::send_if_due() {
  const bool news = buttons_changed_ || right_ != 0 || up_ != 0 || (id_ != 0 && wheel_ != 0);
  if (news && reporting_ && !remote_ && !wrap_ && queue_.count == 0) make_packet();
}

void Ps2Mouse::make_packet() {
  const std::int32_t right = take_part(right_, -kMostMovement, kMostMovement);
  const std::int32_t up = take_part(up_, -kMostMovement, kMostMovement);
  buttons_changed_ = false;
  queue_.push(static_cast<std::uint8_t>((buttons_ & 7) | 0x08 | (right < 0 ? 0x10 : 0) |
                                        (up < 0 ? 0x20 : 0)));
  queue_.push(static_cast<std::uint8_t>(right));
  queue_.push(static_cast<std::uint8_t>(up));
  if (id_ == 0) {
    wheel_ = 0;
    return;
  }
  const std::int32_t wheel = take_part(wheel_, -kMostWheel - 1, kMostWheel);
  auto last = static_cast<std::uint8_t>(wheel);
  if (id_ == 4) last = static_cast<std::uint8_t>((last & 0x0f) | (buttons_ & 0x18) << 1);
  queue_.push(last);
}

std::uint8_t Ps2Mouse::take() {
  last_sent_ = queue_.pop();
  send_if_due();
  return last_sent_;
}

std::uint8_t Ps2Mouse::flags() const {
  return static_cast<std::uint8_t>((remote_ ? 0x40 : 0) | (reporting_ ? 0x20 : 0) |
                                   (double_scale_ ? 0x10 : 0) | ((buttons_ & 1) << 2) |
                                   ((buttons_ & 4) >> 1) | ((buttons_ & 2) >> 1));
}

void Ps2Mouse::write(std::uint8_t value) {
  if (wrap_ && value != 0xec && value != 0xff) {
    queue_.push(value);
    return;
  }
  if (awaits_ != 0) {
    argument(value);
  } else {
    command(value);
  }
}

void Ps2Mouse::argument(std::uint8_t value) {
  const std::uint8_t command = std::exchange(awaits_, std::uint8_t{0});
  queue_ = {};
  queue_.push(kAck);
  if (command == 0xe8) {
    resolution_ = value & 3;
    return;
  }
  const std::array<std::uint8_t, 3> knock{last_rates_[1], last_rates_[0], value};
  last_rates_ = {value, last_rates_[0]};
  rate_ = value;
  if (knock == std::array<std::uint8_t, 3>{200, 100, 80}) id_ = std::max<std::uint8_t>(id_, 3);
  if (knock == std::array<std::uint8_t, 3>{200, 200, 80}) id_ = 4;
}

void Ps2Mouse::command(std::uint8_t value) {
  if (value == kResend) {
    queue_.push(last_sent_);
    return;
  }
  queue_ = {};
  queue_.push(kAck);
  switch (value) {
    case 0xe6:
    case 0xe7:
      double_scale_ = value == 0xe7;
      break;
    case 0xe8:  // resolution
    case 0xf3:  // rate
      awaits_ = value;
      break;
    case 0xe9:
      queue_.push(flags());
      queue_.push(resolution_);
      queue_.push(rate_);
      break;
    case 0xea:
      remote_ = false;
      break;
    case 0xeb:
      make_packet();
      break;
    case 0xec:
    case 0xee:
      wrap_ = value == 0xee;
      break;
    case 0xf0:
      remote_ = true;
      break;
    case 0xf2:
      queue_.push(id_);
      break;
    case 0xf4:
    case 0xf5:
      reporting_ = value == 0xf4;
      right_ = up_ = wheel_ = 0;
      buttons_changed_ = false;
      break;
    case 0xf6:
      set_defaults();
      break;
    case 0xff:
      reset();
      queue_.push(kAck);
      queue_.push(kSelfTestPassed);
      queue_.push(id_);
      break;
    default:
      queue_ = {};
      queue_.push(kError);
      break;
  }
}

}  // namespace chronovisor
