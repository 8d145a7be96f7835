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
/// Keys go down and up no faster: what a viewer pastes would fill the short queue that a guest's
/// drivers keep for a program that reads them later.
constexpr std::uint64_t kKeyNs = 1'000'000;
/// Frames that wait for room are offered again after so many steps, and one that finds
/// the guest idle arrives after so long.
constexpr std::uint64_t kFrameRoomSteps = 20'000;
constexpr std::uint64_t kFrameNs = 1'000;
/// While frames may come the inbox is looked at every so many steps, which costs no call to the
/// host, but interrupts the run. The longer none came the more seldom: a guest that does not
/// idle while it waits for the answer to its answer has it soon, and a card that nobody talks
/// to costs nothing.
struct FramePoll {
  std::uint64_t since_last_frame;  ///< steps, up to here
  std::uint64_t every_steps;
};
constexpr std::array<FramePoll, 3> kFramePolls{
    {{1'000'000, 20'000}, {50'000'000, 100'000}, {kNever, 400'000}}};
/// How long a wait goes on before the stop flag is looked at.
constexpr std::uint64_t kWaitSliceNs = 100'000'000;
/// In the beginning of a wait the recorder is called more often: what it holds
/// back is due within that time, and nothing comes after it.
constexpr std::uint64_t kFirstSliceNs = 20'000'000;
constexpr std::uint64_t kFirstSlicesEndNs = 200'000'000;
constexpr std::uint8_t kEscape = 0x01;  // Ctrl-A
constexpr std::size_t kMostPending = 65536;

/// How long the next of its kind waits after such an input; 0: not at all.
std::uint64_t pace_ns(const Input& input) {
  if (input.kind == InputKind::serial_byte) return kCharacterNs;
  return input.kind == InputKind::key ? kKeyNs : 0;
}
bool is_frame(const Input& input) { return input.kind == InputKind::network_frame; }

}  // namespace

LiveInput::LiveInput(int fd, bool escapes, IdlePolicy idle, std::atomic<bool>& stop)
    : fd_(fd), escapes_(escapes), idle_(idle), stop_(stop), closed_(fd < 0) {
  if (fd_ >= 0) {
    saved_flags_ = fcntl(fd_, F_GETFL);
    fcntl(fd_, F_SETFL, saved_flags_ | O_NONBLOCK);
  }
}

LiveInput::~LiveInput() {
  if (fd_ >= 0) fcntl(fd_, F_SETFL, saved_flags_);
}

/// How long it takes until the guest has what waits for it.
std::uint64_t LiveInput::arrival_ns() const {
  std::uint64_t soonest = kKeyNs;
  for (const auto& [key, lane] : lanes_) {
    if (lane.waiting.empty() || !lane.room) continue;
    const Input& first = lane.waiting.front();
    if (is_frame(first)) return kFrameNs;
    if (first.kind != InputKind::key) soonest = kCharacterNs;
  }
  return soonest;
}

/// A guest that made room and fell idle was not asked again since. It is once where it
/// stands, or it would be woken for nothing for ever.
void LiveInput::ask_for_room_again(Position here) {
  for (auto& [key, lane] : lanes_) {
    if (lane.waiting.empty() || lane.room || !is_frame(lane.waiting.front())) continue;
    if (lane.asked_again == here) continue;
    lane.asked_again = here;
    lane.room = true;
  }
}

/// What the guest could take now; bytes it has no room for wait.
bool LiveInput::anything_to_deliver() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const auto& entry) {
    const Lane& lane = entry.second;
    return !lane.waiting.empty() &&
           (lane.room || lane.waiting.front().kind == InputKind::serial_closed);
  });
}

Position LiveInput::next_look(Position now) {
  const Position soonest{now.steps + 1};
  Position next{kNever};
  if (!closed_ || inbox_.open()) next = std::max(next_poll_, soonest);
  for (const auto& [key, lane] : lanes_) {
    if (!lane.waiting.empty()) next = std::min(next, std::max(lane.next, soonest));
  }
  return next;
}

/// A line that has gone away belongs behind what came over it.
void LiveInput::queue(Input input) {
  const InputKind lane =
      input.kind == InputKind::serial_closed ? InputKind::serial_byte : input.kind;
  lanes_[{lane, input.device}].waiting.push_back(std::move(input));
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
    if (byte != kEscape) queue({InputKind::serial_byte, 0, {kEscape}});
    queue({InputKind::serial_byte, 0, {byte}});
    return;
  }
  if (escapes_ && byte == kEscape) {
    escape_seen_ = true;
    return;
  }
  queue({InputKind::serial_byte, 0, {byte}});
}

bool LiveInput::may_read_serial() {
  return !closed_ && lanes_[{InputKind::serial_byte, 0}].waiting.size() < kMostPending;
}

void LiveInput::read_serial() {
  if (!may_read_serial()) return;
  std::array<std::uint8_t, 4096> buffer{};
  const ssize_t got = read(fd_, buffer.data(), buffer.size());
  if (got > 0) {
    for (ssize_t n = 0; n < got; ++n) accept(buffer[static_cast<std::size_t>(n)]);
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    closed_ = true;
    queue({InputKind::serial_closed, 0, {}});
  }
}

void LiveInput::look(std::uint64_t timeout_ns) {
  if (timeout_ns > 0 && !inbox_.fresh()) {
    // A descriptor below 0 is not looked at.
    std::array<pollfd, 2> wait{
        {{inbox_.wait_fd(), POLLIN, 0}, {may_read_serial() ? fd_ : -1, POLLIN, 0}}};
    const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                           static_cast<long>(timeout_ns % 1'000'000'000)};
    if (ppoll(wait.data(), wait.size(), &timeout, nullptr) <= 0) return;
  }
  for (Input& input : inbox_.take_all()) queue(std::move(input));
  read_serial();
}

std::uint64_t LiveInput::poll_steps(Position here) const {
  if (!inbox_.open()) return kPollSteps;
  const std::uint64_t since = here.steps - last_frame_.steps;
  return std::find_if(kFramePolls.begin(), kFramePolls.end() - 1,
                      [since](const FramePoll& poll) { return since < poll.since_last_frame; })
      ->every_steps;
}

std::optional<Input> LiveInput::take(InputStamp here, const InputRoom& room) {
  if (here.position >= next_poll_) {
    look(0);
    next_poll_ = {here.position.steps + poll_steps(here.position)};
  }
  for (auto& [key, lane] : lanes_) {
    if (lane.waiting.empty()) continue;
    const Input& first = lane.waiting.front();
    const std::uint64_t pace = pace_ns(first);
    lane.room = first.kind == InputKind::serial_closed || room.has_room(first.kind, first.device);
    if (!lane.room) {
      lane.next = {here.position.steps + (is_frame(first) ? kFrameRoomSteps : kCharacterNs)};
    }
    if (!lane.room || (pace != 0 && here.position < lane.next)) continue;
    Input input = std::move(lane.waiting.front());
    lane.waiting.pop_front();
    inbox_.delivered(input);
    if (is_frame(input)) last_frame_ = here.position;
    if (pace != 0) lane.next = {here.position.steps + pace};
    return input;
  }
  return std::nullopt;
}

/// The guest is idle and the lines are not: what waits arrives.
void LiveInput::deliver_now(Position here) {
  for (auto& [key, lane] : lanes_) {
    if (!lane.waiting.empty()) lane.next = here;
  }
}

IdleOutcome LiveInput::idle(InputStamp here, std::uint64_t deadline_idle_ns) {
  if (!anything_to_deliver()) look(0);
  ask_for_room_again(here.position);
  if (must_stop()) return {IdleOutcome::Kind::stop, 0};
  if (anything_to_deliver()) {
    deliver_now(here.position);
    const std::uint64_t arrival = here.idle_ns + arrival_ns();
    if (arrival < deadline_idle_ns) return {IdleOutcome::Kind::early, arrival};
    return {IdleOutcome::Kind::deadline, deadline_idle_ns};
  }
  if (deadline_idle_ns != kNever && idle_ == IdlePolicy::warp) {
    return {IdleOutcome::Kind::deadline, deadline_idle_ns};
  }
  const std::uint64_t began = monotonic_ns();
  const std::uint64_t span = deadline_idle_ns == kNever ? kNever : deadline_idle_ns - here.idle_ns;
  while (true) {
    // What is closed now has pushed whatever it had.
    const bool over = deadline_idle_ns == kNever && closed_ && !inbox_.open();
    if (over) look(0);
    if (over && !anything_to_deliver()) return {IdleOutcome::Kind::forever, 0};
    const std::uint64_t waited = monotonic_ns() - began;
    if (waited >= span) return {IdleOutcome::Kind::deadline, deadline_idle_ns};
    if (must_stop()) return {IdleOutcome::Kind::stop, 0};
    const std::uint64_t slice =
        std::min(span - waited, waited < kFirstSlicesEndNs ? kFirstSliceNs : kWaitSliceNs);
    if (!over) look(slice);
    if (on_wait_) on_wait_();
    if (anything_to_deliver()) {
      deliver_now(here.position);
      const std::uint64_t arrival =
          here.idle_ns + std::max<std::uint64_t>(monotonic_ns() - began, 1);
      if (arrival >= deadline_idle_ns) return {IdleOutcome::Kind::deadline, deadline_idle_ns};
      return {IdleOutcome::Kind::early, arrival};
    }
  }
}

}  // namespace chronovisor
