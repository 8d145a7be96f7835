#include "replica/primary/primary.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "host/host.h"

namespace chronovisor::replica {
namespace {

/// How long the end of a run waits for its last outputs.
constexpr std::uint64_t kLastOutputsNs = 3'000'000'000;
/// A machine that is asked to stand comes by within this.
constexpr std::uint64_t kHandOverNs = 2'000'000'000;
constexpr std::chrono::milliseconds kLookAgain{10};

/// How much a state decides for the whole machine, beside those of other backups.
std::size_t weight(PrimaryState state) {
  static constexpr std::array kLightestFirst = {
      PrimaryState::alone,   PrimaryState::greeting, PrimaryState::joining,  PrimaryState::arming,
      PrimaryState::guarded, PrimaryState::claiming, PrimaryState::yielding, PrimaryState::stopped};
  return static_cast<std::size_t>(std::ranges::find(kLightestFirst, state) -
                                  kLightestFirst.begin());
}

}  // namespace

Primary::Primary(PrimarySetup setup, OutputGate& gate)
    : setup_(std::move(setup)), sharing_(gate), told_(setup_.backups.size()) {
  sharing_.settle = [this] { settle(); };
  const NodeId node = random_node();
  // Their threads may settle as soon as there is one.
  const std::lock_guard lock(sharing_.mutex);
  for (const Address& address : setup_.backups) {
    peers_.push_back(std::make_unique<BackupPeer>(
        BackupPeer::Setup{address, setup_.key, setup_.arbiter, node}, sharing_));
  }
}

Primary::~Primary() {
  // Each of them may look at all others until it has stopped.
  for (const auto& peer : peers_) peer->stop();
}

void Primary::wake() const {
  for (const auto& peer : peers_) peer->wake();
}

/// The backup whose state says how the machine stands; null without any.
const BackupPeer* Primary::deciding() const {
  const auto most = std::ranges::max_element(
      peers_, {}, [](const auto& peer) { return weight(peer->protocol().state()); });
  return most == peers_.end() ? nullptr : most->get();
}

/// The backup that protects and is the least behind; null without one.
BackupPeer* Primary::nearest() const {
  BackupPeer* found = nullptr;
  for (const auto& peer : peers_) {
    if (peer->protocol().state() != PrimaryState::guarded) continue;
    if (found == nullptr || peer->lag_steps() < found->lag_steps()) found = peer.get();
  }
  return found;
}

std::string Primary::why() const {
  const BackupPeer* const peer = deciding();
  return peer == nullptr ? "no --replicate says where a backup is" : peer->protocol().reason();
}

void Primary::settle() {
  std::uint64_t limit = kNever;
  std::uint64_t lag = 0;
  bool stops = false;
  for (const auto& peer : peers_) {
    limit = std::min(limit, peer->protocol().releasable());
    stops = stops || peer->protocol().state() == PrimaryState::stopped;
    lag = std::max(lag, peer->lag_steps());
  }
  sharing_.gate.allow(limit);
  for (const auto& peer : peers_) peer->protocol().released(sharing_.gate.released());
  stopped_ = stopped_ || stops;
  lag_steps_ = lag;
  if (wants_yield_ && nearest() == nullptr) hand_over_ended(why());
  sharing_.changed.notify_all();
  tell();
}

void Primary::tell() {
  for (std::size_t n = 0; n < peers_.size(); ++n) {
    const PrimaryProtocol& protocol = peers_[n]->protocol();
    const PrimaryState state = protocol.state();
    const bool is_news = state != told_[n].state || protocol.reason() != told_[n].reason;
    // Somebody who connects and is none of ours is not told of again and again.
    if (!is_news || state == PrimaryState::greeting) continue;
    told_[n] = {state, protocol.reason()};
    const std::string whose = peers_.size() == 1 ? "" : setup_.backups[n].text() + ": ";
    setup_.tell(whose + primary_state_name(state) + ": " + protocol.reason());
  }
}

void Primary::mark_locked(Position position, std::uint64_t idle_ns, std::uint64_t log_bytes) {
  const OutputGate& gate = sharing_.gate;
  sharing_.marked_bytes = log_bytes;
  last_ = {last_.number + 1, position, idle_ns, gate.made(), log_bytes};
  for (const auto& peer : peers_) {
    peer->protocol().released(gate.released());
    peer->protocol().marked(last_);
  }
  settle();
}

void Primary::mark(Position position, std::uint64_t idle_ns, std::uint64_t file_bytes) {
  const std::uint64_t began_ns = monotonic_ns();
  {
    const std::lock_guard lock(sharing_.mutex);
    if (!sharing_.segment && !peers_.empty()) {
      sharing_.segment = std::make_shared<LogSegment>(setup_.recording, 0);
    }
    const std::uint64_t begin = sharing_.segment ? sharing_.segment->begin : 0;
    mark_locked(position, idle_ns, begin + file_bytes);
  }
  for (const auto& peer : peers_) peer->send_marked();
  longest_stop_ns_ = std::max(longest_stop_ns_.load(), monotonic_ns() - began_ns);
}

void Primary::segment_begun(Position position, std::uint64_t idle_ns, std::uint64_t ended_bytes) {
  {
    const std::lock_guard lock(sharing_.mutex);
    // Before the first mark nobody has had anything of the segment that ended.
    if (!sharing_.segment) return;
    LogSegment& ended = *sharing_.segment;
    mark_locked(position, idle_ns, ended.begin + ended_bytes);
    ended.last = last_;
    ended.next = std::make_shared<LogSegment>(setup_.recording, last_.log_bytes);
    ended.end = last_.log_bytes;
    sharing_.segment = ended.next;
  }
  wake();
}

void Primary::hand_over_ended(const std::string& result) {
  wants_yield_ = false;
  hand_over_pending_ = false;
  hand_over_result_ = result;
  sharing_.changed.notify_all();
}

bool Primary::yield() {
  std::unique_lock lock(sharing_.mutex);
  wants_yield_ = false;
  BackupPeer* const heir = nearest();
  if (heir == nullptr) {
    hand_over_ended(why());
    return false;
  }
  const PrimaryProtocol& protocol = heir->protocol();
  heir->protocol().hand_over();
  settle();
  wake();
  const auto undecided = [&] {
    return protocol.state() == PrimaryState::yielding || protocol.state() == PrimaryState::claiming;
  };
  while (undecided()) sharing_.changed.wait_for(lock, kLookAgain);
  hand_over_ended(protocol.handed_over() ? "" : protocol.reason());
  return protocol.handed_over();
}

std::string Primary::hand_over() {
  std::unique_lock lock(sharing_.mutex);
  if (nearest() == nullptr) {
    const BackupPeer* const peer = deciding();
    return "there is no backup that protects: " +
           (peer == nullptr ? ""
                            : std::string(primary_state_name(peer->protocol().state())) + ", ") +
           why();
  }
  hand_over_pending_ = true;
  wants_yield_ = true;
  const std::uint64_t until_ns = monotonic_ns() + kHandOverNs;
  while (hand_over_pending_) {
    sharing_.changed.wait_for(lock, kLookAgain);
    if (wants_yield_ && monotonic_ns() >= until_ns) {
      hand_over_ended("the machine did not stop for it");
    }
  }
  return hand_over_result_;
}

void Primary::over(bool guest_ended) {
  std::unique_lock lock(sharing_.mutex);
  for (const auto& peer : peers_) peer->protocol().over(guest_ended);
  settle();
  wake();
  const std::uint64_t until_ns = monotonic_ns() + kLastOutputsNs;
  const auto all_know = [&] {
    return stopped_ || std::ranges::all_of(peers_, &BackupPeer::knows_the_end);
  };
  while (monotonic_ns() < until_ns && !all_know()) sharing_.changed.wait_for(lock, kLookAgain);
}

PrimaryStatus Primary::status() const {
  const std::lock_guard lock(sharing_.mutex);
  PrimaryStatus status;
  if (const BackupPeer* const peer = deciding()) status.state = peer->protocol().state();
  status.reason = why();
  status.position = last_.position;
  status.marks = last_.number;
  for (const auto& peer : peers_) {
    status.backups.push_back(peer->status());
    const PeerStatus& one = status.backups.back();
    status.lag_steps = std::max(status.lag_steps, one.lag_steps);
    status.lag_bytes = std::max(status.lag_bytes, one.lag_bytes);
    status.sent_bytes += one.sent_bytes;
    status.cpu_ns += one.cpu_ns;
  }
  status.outputs = sharing_.gate.counts();
  status.cpu_ns += mark_cpu_ns_;
  status.slowed_ns = slowed_ns_;
  status.longest_stop_ns = longest_stop_ns_;
  return status;
}

}  // namespace chronovisor::replica
