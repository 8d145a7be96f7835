#include "replica/primary/primary.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "vmm/machine/behaviour.h"

namespace chronovisor::replica {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
/// Without a backup, one is looked for so often.
constexpr std::uint64_t kRetryNs = 200 * kMs;
constexpr int kWaitMs = 20;
/// So much may wait for the socket before more is read from the file.
constexpr std::size_t kMostUnsent = 1U << 20;
/// How long the end of a run waits for its last outputs.
constexpr std::uint64_t kLastOutputsNs = 3'000 * kMs;
/// A machine that is asked to stand comes by within this.
constexpr std::uint64_t kHandOverNs = 2'000 * kMs;
constexpr std::chrono::milliseconds kLookAgain{10};

}  // namespace

NodeId random_node() { return {host_entropy(), host_entropy()}; }
Nonce random_nonce() { return {host_entropy(), host_entropy()}; }

Primary::Primary(PrimarySetup setup, OutputGate& gate)
    : setup_(std::move(setup)),
      gate_(gate),
      desk_(std::move(setup_.arbiter)),
      event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      protocol_(random_node(), desk_.has_arbiter(), kMachineBehaviourVersion, {}),
      thread_([this] { loop(); }) {}

Primary::~Primary() {
  quit_ = true;
  wake();
  thread_.join();
}

void Primary::wake() const {
  const std::uint64_t one = 1;
  while (write(event_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void Primary::settle() {
  gate_.allow(protocol_.releasable());
  protocol_.released(gate_.released());
  const PrimaryState state = protocol_.state();
  stopped_ = state == PrimaryState::stopped;
  const auto& backup = protocol_.backup();
  const std::uint64_t here = protocol_.last_mark().position.steps;
  lag_steps_ = backup && backup->executed != 0 && here > backup->position.steps
                   ? here - backup->position.steps
                   : 0;
  if (wants_yield_ && state != PrimaryState::guarded) hand_over_ended(protocol_.reason());
  changed_.notify_all();
  // Somebody who connects and is none of ours is not told of again and again.
  const bool is_news = state != told_ || protocol_.reason() != told_reason_;
  if (!is_news || state == PrimaryState::greeting) return;
  told_ = state;
  told_reason_ = protocol_.reason();
  setup_.tell(std::string(primary_state_name(state)) + ": " + protocol_.reason());
}

void Primary::mark(Position position, std::uint64_t idle_ns, std::uint64_t file_bytes) {
  {
    const std::lock_guard lock(mutex_);
    protocol_.released(gate_.released());
    marked_bytes_ = file_bytes;
    protocol_.marked({0, position, idle_ns, gate_.made(), file_bytes});
    settle();
  }
  wake();
}

void Primary::hand_over_ended(const std::string& result) {
  wants_yield_ = false;
  hand_over_pending_ = false;
  hand_over_result_ = result;
  changed_.notify_all();
}

bool Primary::yield() {
  std::unique_lock lock(mutex_);
  wants_yield_ = false;
  protocol_.hand_over();
  settle();
  wake();
  const auto undecided = [&] {
    return protocol_.state() == PrimaryState::yielding ||
           protocol_.state() == PrimaryState::claiming;
  };
  while (undecided()) changed_.wait_for(lock, kLookAgain);
  hand_over_ended(protocol_.handed_over() ? "" : protocol_.reason());
  return protocol_.handed_over();
}

std::string Primary::hand_over() {
  std::unique_lock lock(mutex_);
  if (protocol_.state() != PrimaryState::guarded) {
    return std::string("there is no backup that protects: ") +
           primary_state_name(protocol_.state()) + ", " + protocol_.reason();
  }
  hand_over_pending_ = true;
  wants_yield_ = true;
  const std::uint64_t until_ns = monotonic_ns() + kHandOverNs;
  while (hand_over_pending_) {
    changed_.wait_for(lock, kLookAgain);
    if (wants_yield_ && monotonic_ns() >= until_ns) {
      hand_over_ended("the machine did not stop for it");
    }
  }
  return hand_over_result_;
}

/// Whether nothing is left to wait for at the end of a run; needs the lock.
bool Primary::all_is_out() const {
  switch (protocol_.state()) {
    case PrimaryState::guarded:
    case PrimaryState::arming:
      return over_sent_ && gate_.released() >= gate_.made();
    case PrimaryState::claiming:
    case PrimaryState::yielding:
      return false;
    case PrimaryState::alone:
    case PrimaryState::greeting:
    case PrimaryState::joining:
    case PrimaryState::stopped:
      return true;
  }
  return true;
}

void Primary::over(bool guest_ended) {
  std::unique_lock lock(mutex_);
  protocol_.over(guest_ended);
  settle();
  wake();
  const std::uint64_t until_ns = monotonic_ns() + kLastOutputsNs;
  while (monotonic_ns() < until_ns && !all_is_out()) changed_.wait_for(lock, kLookAgain);
}

PrimaryStatus Primary::status() const {
  const std::lock_guard lock(mutex_);
  PrimaryStatus status;
  status.state = protocol_.state();
  status.reason = protocol_.reason();
  status.session = protocol_.session().hex();
  status.position = protocol_.last_mark().position;
  status.marks = protocol_.last_mark().number;
  status.backup = protocol_.backup();
  status.lag_steps = lag_steps_;
  const std::uint64_t sent_to = sent_to_;
  status.lag_bytes = status.backup && marked_bytes_ > sent_to ? marked_bytes_ - sent_to : 0;
  status.sent_bytes = sent_bytes_;
  status.outputs = gate_.counts();
  status.slowed_ns = slowed_ns_;
  return status;
}

// ---- the thread ----------------------------------------------------------------------------

void Primary::loop() {
  while (!quit_) {
    if (!link_) look_for_backup();
    wait();
    try {
      serve();
    } catch (const Error& error) {
      lose(error.what());
    }
  }
}

void Primary::wait() const {
  std::array<pollfd, 2> wait{{{event_.get(), POLLIN, 0}, {-1, 0, 0}}};
  if (link_) wait[1] = {link_->descriptor(), link_->events(), 0};
  (void)poll(wait.data(), wait.size(), kWaitMs);
  std::uint64_t count = 0;
  while (read(event_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
}

void Primary::look_for_backup() {
  const std::uint64_t now_ns = monotonic_ns();
  if (setup_.backups.empty() || now_ns < next_try_ns_) return;
  {
    const std::lock_guard lock(mutex_);
    if (protocol_.state() != PrimaryState::alone || protocol_.last_mark().number == 0) return;
  }
  next_try_ns_ = now_ns + kRetryNs;
  const Address& address = setup_.backups[next_backup_++ % setup_.backups.size()];
  try {
    if (!tail_) tail_ = std::make_unique<LogTail>(setup_.recording);
    Descriptor socket = connect_to(address);
    link_ = std::make_unique<Link>(
        make_channel(address, std::move(socket), ChannelEnd::connects, setup_.key));
  } catch (const Error&) {
    return;  // nobody is there yet
  }
  const std::lock_guard lock(mutex_);
  protocol_.link_up(random_nonce(), monotonic_ns());
  perform(protocol_.take_actions());
}

void Primary::serve() {
  if (const auto verdict = desk_.take_verdict()) {
    const std::lock_guard lock(mutex_);
    protocol_.verdict(*verdict);
    settle();
  }
  if (link_) {
    link_->read();
    while (link_) {
      const auto message = link_->next();
      if (!message) break;
      const std::lock_guard lock(mutex_);
      protocol_.receive(*message, monotonic_ns());
      if (std::holds_alternative<Hello>(*message)) link_->set_session(protocol_.session());
      settle();
      perform(protocol_.take_actions());
    }
  }
  {
    const std::lock_guard lock(mutex_);
    protocol_.tick(monotonic_ns());
    settle();
    perform(protocol_.take_actions());
  }
  if (!link_) return;
  pump_past();
  pump_marks();
  const std::uint64_t before = link_->sent_bytes();
  link_->write();
  sent_bytes_ += link_->sent_bytes() - before;
  if (over_queued_ && link_->unsent_bytes() == 0) over_sent_ = true;
}

void Primary::lose(const std::string& reason) {
  link_.reset();
  const std::lock_guard lock(mutex_);
  protocol_.link_down(reason, monotonic_ns());
  settle();
  perform(protocol_.take_actions());
}

void Primary::perform(const std::vector<PrimaryAction>& actions) {
  for (const PrimaryAction& action : actions) {
    if (const auto* ask = std::get_if<to_do::AskArbiter>(&action)) {
      desk_.ask(ask->claim);
    } else if (std::holds_alternative<to_do::DropLink>(action)) {
      link_.reset();
    } else if (const auto* mark = std::get_if<to_do::SendMark>(&action)) {
      marks_to_send_.push_back(mark->mark);
    } else if (std::holds_alternative<to_do::SendPast>(action)) {
      past_goes_ = true;
      sent_to_ = 0;
      log_bytes_ = 0;
      marks_to_send_.clear();
    } else if (const auto* send = std::get_if<to_do::Send>(&action)) {
      // Whatever is said comes after the log before it.
      while (link_ && !marks_to_send_.empty()) {
        const Mark next = marks_to_send_.front();
        marks_to_send_.pop_front();
        send_log(next);
      }
      if (link_) link_->send(send->message);
      if (std::holds_alternative<Over>(send->message)) over_queued_ = true;
    }
  }
  if (!link_) {
    past_goes_ = false;
    marks_to_send_.clear();
  }
}

/// Sends what there is of the recording, until the end of what was last marked is reached.
void Primary::pump_past() {
  while (past_goes_ && link_->unsent_bytes() < kMostUnsent) {
    std::uint64_t to = 0;
    {
      const std::lock_guard lock(mutex_);
      to = marked_bytes_;
      if (sent_to_ == to) {
        past_goes_ = false;
        protocol_.past_sent();
        perform(protocol_.take_actions());
        return;
      }
    }
    const std::size_t piece = std::min<std::uint64_t>(kMostPiece, to - sent_to_);
    Bytes bytes = tail_->read(sent_to_, piece);
    if (bytes.empty()) throw Error(ErrorCode::host, setup_.recording + ": was cut");
    sent_to_ += bytes.size();
    link_->send(Past{std::move(bytes)});
  }
}

void Primary::pump_marks() {
  while (link_ && link_->unsent_bytes() < kMostUnsent) {
    const std::lock_guard lock(mutex_);
    if (marks_to_send_.empty()) return;
    const Mark mark = marks_to_send_.front();
    marks_to_send_.pop_front();
    send_log(mark);
  }
}

/// Needs the lock. `mark.log_bytes` is how much of the file leads to it.
void Primary::send_log(const Mark& mark) {
  const Bytes log = tail_->log_between(sent_to_, mark.log_bytes);
  sent_to_ = mark.log_bytes;
  log_bytes_ += log.size();
  for (std::size_t at = 0; at < log.size(); at += kMostPiece) {
    const auto piece = ByteView(log).subspan(at, std::min(kMostPiece, log.size() - at));
    link_->send(Log{Bytes(piece.begin(), piece.end())});
  }
  Mark complete = mark;
  complete.log_bytes = log_bytes_;
  link_->send(Marked{complete, gate_.released()});
}

}  // namespace chronovisor::replica
