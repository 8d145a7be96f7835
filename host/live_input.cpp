#include "host/live_input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "host/host.h"

namespace chronovisor {
namespace {

/// The outside is looked at about every 10 ms of work.
constexpr std::uint64_t kPollSteps = 1'000'000;
/// A character takes this long at 115,200 baud; input does not come faster.
constexpr std::uint64_t kCharacterNs = 86'806;
/// How long a wait goes on before the stop flag is looked at.
constexpr std::uint64_t kWaitSliceNs = 100'000'000;
/// In the beginning of a wait the recorder is called more often: what it holds
/// back is due within that time, and nothing comes after it.
constexpr std::uint64_t kFirstSliceNs = 20'000'000;
constexpr std::uint64_t kFirstSlicesEndNs = 200'000'000;
constexpr std::uint8_t kEscape = 0x01;  // Ctrl-A
constexpr std::size_t kMostPending = 65536;

}  // namespace

LiveInput::LiveInput(int fd, bool escapes, IdlePolicy idle, std::atomic<bool>& stop)
    : fd_(fd),
      escapes_(escapes),
      idle_(idle),
      stop_(stop),
      closed_(fd < 0),
      closed_delivered_(fd < 0) {
  if (fd_ >= 0) {
    saved_flags_ = fcntl(fd_, F_GETFL);
    fcntl(fd_, F_SETFL, saved_flags_ | O_NONBLOCK);
  }
}

LiveInput::~LiveInput() {
  if (fd_ >= 0) fcntl(fd_, F_SETFL, saved_flags_);
}

/// What the guest could take now; bytes it has no room for wait.
bool LiveInput::anything_to_deliver() const {
  return (!pending_.empty() && room_) || (pending_.empty() && closed_ && !closed_delivered_);
}

Position LiveInput::next_look(Position now) {
  Position next{kNever};
  if (!closed_) next = std::max(next_poll_, Position{now.steps + 1});
  if (!pending_.empty() || (closed_ && !closed_delivered_))
    next = std::min(next, std::max(next_byte_, Position{now.steps + 1}));
  return next;
}

void LiveInput::accept(std::uint8_t byte) {
  if (escapes_ && escape_seen_) {
    escape_seen_ = false;
    if (byte == 'x' || byte == 'q') {
      stop_ = true;
      return;
    }
    if (byte == 'h' || byte == '?') {
      std::fputs("\r\nCtrl-A x ends the recording; Ctrl-A Ctrl-A sends Ctrl-A\r\n", stderr);
      return;
    }
    if (byte != kEscape) pending_.push_back(kEscape);
    pending_.push_back(byte);
    return;
  }
  if (escapes_ && byte == kEscape) {
    escape_seen_ = true;
    return;
  }
  pending_.push_back(byte);
}

void LiveInput::read_input(std::uint64_t timeout_ns) {
  if (closed_ || pending_.size() >= kMostPending) return;
  if (timeout_ns > 0) {
    pollfd wait{fd_, POLLIN, 0};
    const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                           static_cast<long>(timeout_ns % 1'000'000'000)};
    if (ppoll(&wait, 1, &timeout, nullptr) <= 0) return;
  }
  std::array<std::uint8_t, 4096> buffer{};
  const ssize_t got = read(fd_, buffer.data(), buffer.size());
  if (got > 0) {
    for (ssize_t n = 0; n < got; ++n) accept(buffer[static_cast<std::size_t>(n)]);
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    closed_ = true;
  }
}

std::optional<Input> LiveInput::take(InputStamp here, const InputRoom& room) {
  if (here.position >= next_poll_) {
    read_input(0);
    next_poll_ = {here.position.steps + kPollSteps};
  }
  if (!pending_.empty()) {
    room_ = room.has_room(InputKind::serial_byte, 0);
    if (!room_) next_byte_ = {here.position.steps + kCharacterNs};
    if (!room_ || here.position < next_byte_) return std::nullopt;
    const std::uint8_t byte = pending_.front();
    pending_.pop_front();
    next_byte_ = {here.position.steps + kCharacterNs};
    return Input{InputKind::serial_byte, 0, {byte}};
  }
  if (closed_ && !closed_delivered_) {
    closed_delivered_ = true;
    return Input{InputKind::serial_closed, 0, {}};
  }
  return std::nullopt;
}

IdleOutcome LiveInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  if (!anything_to_deliver()) read_input(0);
  if (must_stop()) return {IdleOutcome::Kind::stop, 0};
  if (anything_to_deliver()) {
    // The guest is idle and the line is not: the next character arrives.
    next_byte_ = here.position;
    const std::uint64_t arrival = here.idle_ns + kCharacterNs;
    if (arrival < deadline_idle_ns) return {IdleOutcome::Kind::early, arrival};
    return {IdleOutcome::Kind::deadline, deadline_idle_ns};
  }
  if (deadline_idle_ns == kNever && closed_) return {IdleOutcome::Kind::forever, 0};
  if (deadline_idle_ns != kNever && idle_ == IdlePolicy::warp) {
    return {IdleOutcome::Kind::deadline, deadline_idle_ns};
  }
  const std::uint64_t began = monotonic_ns();
  const std::uint64_t span = deadline_idle_ns == kNever ? kNever : deadline_idle_ns - here.idle_ns;
  while (true) {
    const std::uint64_t waited = monotonic_ns() - began;
    if (waited >= span) return {IdleOutcome::Kind::deadline, deadline_idle_ns};
    if (must_stop()) return {IdleOutcome::Kind::stop, 0};
    const std::uint64_t slice =
        std::min(span - waited, waited < kFirstSlicesEndNs ? kFirstSliceNs : kWaitSliceNs);
    if (closed_) {
      const timespec pause{0, static_cast<long>(slice)};
      nanosleep(&pause, nullptr);
    } else {
      read_input(slice);
    }
    if (on_wait_) on_wait_();
    if (anything_to_deliver()) {
      next_byte_ = here.position;
      const std::uint64_t arrival =
          here.idle_ns + std::max<std::uint64_t>(monotonic_ns() - began, 1);
      if (arrival >= deadline_idle_ns) return {IdleOutcome::Kind::deadline, deadline_idle_ns};
      return {IdleOutcome::Kind::early, arrival};
    }
  }
}

}  // namespace chronovisor
