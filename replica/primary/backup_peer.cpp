#include "replica/primary/backup_peer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
/// What the heap hands out again without asking the host for memory each time.
constexpr std::size_t kPieceBytes = 64U << 10;
static_assert(kPieceBytes <= kMostPiece);

}  // namespace

NodeId random_node() { return {host_entropy(), host_entropy()}; }
Nonce random_nonce() { return {host_entropy(), host_entropy()}; }

BackupPeer::BackupPeer(Setup setup, Sharing& sharing)
    : setup_(std::move(setup)),
      sharing_(sharing),
      desk_(setup_.arbiter),
      event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      protocol_(setup_.node, desk_.has_arbiter(), kMachineBehaviourVersion, {}),
      thread_([this] { loop(); }) {}

void BackupPeer::stop() {
  quit_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
}

void BackupPeer::wake() const {
  const std::uint64_t one = 1;
  while (write(event_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

std::uint64_t BackupPeer::lag_steps() const {
  const auto& said = protocol_.backup();
  const std::uint64_t here = protocol_.last_mark().position.steps;
  return said && said->executed != 0 && here > said->position.steps ? here - said->position.steps
                                                                    : 0;
}

PeerStatus BackupPeer::status() const {
  PeerStatus status;
  status.address = setup_.address.text();
  status.state = protocol_.state();
  status.reason = protocol_.reason();
  status.session = protocol_.session().hex();
  status.said = protocol_.backup();
  status.lag_steps = lag_steps();
  const std::uint64_t sent_to = sent_to_;
  if (status.said && sharing_.marked_bytes > sent_to) {
    status.lag_bytes = sharing_.marked_bytes - sent_to;
  }
  status.sent_bytes = sent_bytes_;
  status.cpu_ns = cpu_ns_;
  return status;
}

bool BackupPeer::knows_the_end() const {
  switch (protocol_.state()) {
    case PrimaryState::guarded:
    case PrimaryState::arming:
      return over_sent_ && sharing_.gate.released() >= sharing_.gate.made();
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

// ---- the thread ----------------------------------------------------------------------------

void BackupPeer::loop() {
  std::unique_lock working(working_);
  while (!quit_) {
    if (!link_) look_for_backup();
    wait(working);
    try {
      serve();
    } catch (const Error& error) {
      lose(error.what());
    }
    cpu_ns_ = thread_cpu_ns();
  }
}

void BackupPeer::wait(std::unique_lock<std::mutex>& working) {
  std::array<pollfd, 2> wait{{{event_.get(), POLLIN, 0}, {-1, 0, 0}}};
  if (link_) wait[1] = {link_->descriptor(), link_->events(), 0};
  working.unlock();
  (void)poll(wait.data(), wait.size(), kWaitMs);
  std::uint64_t count = 0;
  while (read(event_.get(), &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  working.lock();
}

void BackupPeer::send_marked() {
  const std::unique_lock working(working_, std::try_to_lock);
  if (!working || !link_ || past_goes_ || !failure_.empty()) return wake();
  try {
    {
      const std::lock_guard lock(sharing_.mutex);
      perform(protocol_.take_actions());
    }
    if (link_ && !past_goes_) pump();
    if (!link_ || past_goes_ || link_->unsent_bytes() != 0) wake();
  } catch (const Error& error) {
    failure_ = error.what();
    wake();
  }
}

void BackupPeer::look_for_backup() {
  const std::uint64_t now_ns = monotonic_ns();
  if (now_ns < next_try_ns_) return;
  {
    const std::lock_guard lock(sharing_.mutex);
    const bool may = protocol_.state() == PrimaryState::alone && sharing_.segment != nullptr;
    if (!may || protocol_.last_mark().number == 0) return;
  }
  next_try_ns_ = now_ns + kRetryNs;
  try {
    Descriptor socket = connect_to(setup_.address);
    link_ = std::make_unique<Link>(
        make_channel(setup_.address, std::move(socket), ChannelEnd::connects, setup_.key));
  } catch (const Error&) {
    return;  // nobody is there yet
  }
  const std::lock_guard lock(sharing_.mutex);
  protocol_.link_up(random_nonce(), monotonic_ns());
  perform(protocol_.take_actions());
}

void BackupPeer::serve() {
  while (const auto verdict = desk_.take_verdict()) {
    const std::lock_guard lock(sharing_.mutex);
    protocol_.verdict(*verdict);
    sharing_.settle();
  }
  if (link_) {
    link_->read();
    while (link_) {
      const auto message = link_->next();
      if (!message) break;
      const std::lock_guard lock(sharing_.mutex);
      protocol_.receive(*message, monotonic_ns());
      if (std::holds_alternative<Hello>(*message)) link_->set_session(protocol_.session());
      sharing_.settle();
      perform(protocol_.take_actions());
    }
  }
  // After what was read: a backup that goes says why before.
  const std::string failure = std::exchange(failure_, {});
  if (link_ && !failure.empty()) throw Error(ErrorCode::host, failure);
  {
    const std::lock_guard lock(sharing_.mutex);
    protocol_.tick(monotonic_ns());
    sharing_.settle();
    perform(protocol_.take_actions());
  }
  if (!link_) return;
  pump_past();
  pump();
  if (link_ && over_queued_ && link_->unsent_bytes() == 0) over_sent_ = true;
}

void BackupPeer::pump() {
  pump_marks();
  if (!link_) return;
  const std::uint64_t before = link_->sent_bytes();
  link_->write();
  sent_bytes_ += link_->sent_bytes() - before;
}

void BackupPeer::lose(const std::string& reason) {
  link_.reset();
  const std::lock_guard lock(sharing_.mutex);
  protocol_.link_down(reason, monotonic_ns());
  sharing_.settle();
  perform(protocol_.take_actions());
}

void BackupPeer::perform(const std::vector<PrimaryAction>& actions) {
  for (const PrimaryAction& action : actions) {
    if (const auto* ask = std::get_if<to_do::AskArbiter>(&action)) {
      desk_.ask(ask->claim);
    } else if (std::holds_alternative<to_do::DropLink>(action)) {
      link_.reset();
    } else if (const auto* mark = std::get_if<to_do::SendMark>(&action)) {
      marks_to_send_.push_back(mark->mark);
    } else if (std::holds_alternative<to_do::SendPast>(action)) {
      past_goes_ = true;
      from_.emplace(sharing_.segment);
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
    from_.reset();
    marks_to_send_.clear();
  }
}

/// Sends what there is of the recording: of the segment where it began, to that one's end or
/// to what was last marked.
void BackupPeer::pump_past() {
  while (past_goes_ && link_->unsent_bytes() < kMostUnsent) {
    std::uint64_t to = 0;
    {
      const std::lock_guard lock(sharing_.mutex);
      const LogSegment& segment = from_->segment();
      const std::uint64_t end = segment.end;
      const bool is_ended = end != kNever;
      to = is_ended ? end : sharing_.marked_bytes;
      if (from_->at() == to) {
        past_goes_ = false;
        protocol_.past_sent(is_ended ? segment.last : protocol_.last_mark());
        perform(protocol_.take_actions());
        return;
      }
    }
    Bytes bytes = from_->take_bytes(to, kPieceBytes);
    if (bytes.empty()) throw Error(ErrorCode::host, "the recording was cut");
    sent_to_ = from_->at();
    link_->send(Past{std::move(bytes)});
  }
}

void BackupPeer::pump_marks() {
  while (link_ && link_->unsent_bytes() < kMostUnsent) {
    Mark mark;
    {
      const std::lock_guard lock(sharing_.mutex);
      if (marks_to_send_.empty()) return;
      mark = marks_to_send_.front();
      marks_to_send_.pop_front();
    }
    send_log(mark);  // the machine's next mark does not wait for the file
  }
}

/// `mark.log_bytes` is how much of the log leads to it.
void BackupPeer::send_log(const Mark& mark) {
  const Bytes log = from_->take_log(mark.log_bytes);
  sent_to_ = from_->at();
  log_bytes_ += log.size();
  for (std::size_t at = 0; at < log.size(); at += kMostPiece) {
    const auto piece = ByteView(log).subspan(at, std::min(kMostPiece, log.size() - at));
    link_->send(Log{Bytes(piece.begin(), piece.end())});
  }
  Mark complete = mark;
  complete.log_bytes = log_bytes_;
  link_->send(Marked{complete, sharing_.gate.released()});
}

}  // namespace chronovisor::replica
