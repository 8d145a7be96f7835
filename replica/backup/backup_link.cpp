#include "replica/backup/backup_link.h"

#include <poll.h>

#include <array>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "host/network/sockets.h"
#include "replica/primary/primary.h"
#include "vmm/machine/behaviour.h"

namespace chronovisor::replica {
namespace {

constexpr int kWaitMs = 10;
constexpr std::chrono::milliseconds kLookAgain{20};
/// How long a last word may take to be said.
constexpr std::chrono::milliseconds kLastWord{500};

}  // namespace

BackupLink::BackupLink(BackupSetup setup, const Descriptor& listener, ReceivedLog& log,
                       OutputGate& gate)
    : setup_(std::move(setup)),
      listener_(listener),
      log_(log),
      gate_(gate),
      desk_(std::move(setup_.arbiter)),
      protocol_(random_node(), desk_.has_arbiter(), kMachineBehaviourVersion, {}),
      thread_([this] { loop(); }) {}

BackupLink::~BackupLink() {
  quit_ = true;
  thread_.join();
}

bool BackupLink::wait_for_past(const std::atomic<bool>& stop) {
  std::unique_lock lock(mutex_);
  while (!stop && !past_is_there_ && protocol_.state() != BackupState::given_up) {
    changed_.wait_for(lock, kLookAgain);
  }
  return !stop && past_is_there_ && protocol_.state() != BackupState::given_up;
}

void BackupLink::diverged(const Diverged& diverged) {
  std::unique_lock lock(mutex_);
  protocol_.diverged(diverged);
  changed_.wait_for(lock, kLastWord, [&] { return told_ == BackupState::given_up; });
}

BackupStatus BackupLink::status() const {
  const std::lock_guard lock(mutex_);
  BackupStatus status{protocol_.state(),     protocol_.reason(),       protocol_.session().hex(),
                      protocol_.last_mark(), protocol_.acknowledged(), 0};
  const std::uint64_t here = position_;
  status.acknowledged.position = {here};
  if (status.last.position.steps > here) status.lag_steps = status.last.position.steps - here;
  return status;
}

void BackupLink::loop() {
  while (!quit_) {
    wait();
    try {
      serve();
    } catch (const Error& error) {
      lose(error.what());
    }
  }
}

void BackupLink::wait() const {
  pollfd wait{listener_.get(), POLLIN, 0};
  if (link_) wait = {link_->descriptor(), link_->events(), 0};
  const bool is_waiting = told_ == BackupState::waiting;
  if (!link_ && !is_waiting) wait.fd = -1;
  (void)poll(&wait, 1, kWaitMs);
}

void BackupLink::accept_primary() {
  Descriptor socket = accept_peer(listener_);
  if (!socket.open()) return;
  link_ = std::make_unique<Link>(
      make_channel(setup_.address, std::move(socket), ChannelEnd::accepts, setup_.key));
  const std::lock_guard lock(mutex_);
  protocol_.link_up(random_nonce(), monotonic_ns());
  settle();
}

void BackupLink::serve() {
  if (!link_ && told_ == BackupState::waiting) accept_primary();
  if (const auto verdict = desk_.take_verdict()) {
    const std::lock_guard lock(mutex_);
    protocol_.verdict(*verdict);
    perform(protocol_.take_actions());
    settle();
  }
  if (link_) link_->read();
  while (link_) {
    const auto message = link_->next();
    if (!message) break;
    const std::lock_guard lock(mutex_);
    protocol_.executed(log_.executed(), {position_}, {compared_});
    protocol_.receive(*message, monotonic_ns());
    // The greeting itself goes out under no session.
    std::vector<BackupAction> actions = protocol_.take_actions();
    if (std::holds_alternative<Hello>(*message) && link_) link_->set_session(protocol_.session());
    perform(std::move(actions));
    settle();
  }
  const std::lock_guard lock(mutex_);
  protocol_.executed(log_.executed(), {position_}, {compared_});
  protocol_.tick(monotonic_ns());
  perform(protocol_.take_actions());
  settle();
  if (link_) link_->write();
}

void BackupLink::lose(const std::string& reason) {
  link_.reset();
  const std::lock_guard lock(mutex_);
  protocol_.link_down(reason, monotonic_ns());
  perform(protocol_.take_actions());
  settle();
}

void BackupLink::settle() {
  const BackupState state = protocol_.state();
  if (state == told_) return;
  told_ = state;
  if (state == BackupState::given_up) log_.then(ReceivedLog::Then::give_up);
  setup_.tell(std::string(backup_state_name(state)) + ": " + protocol_.reason());
  changed_.notify_all();
}

void BackupLink::perform(std::vector<BackupAction> actions) {
  for (BackupAction& action : actions) {
    if (const auto* send = std::get_if<to_do::Send>(&action)) {
      if (link_) link_->send(send->message);
    } else if (const auto* past = std::get_if<to_do::TakePast>(&action)) {
      if (!past_) {
        past_ = std::make_unique<PosixOutputFile>(setup_.past, ExistingFile::replace);
        Bytes head = past->bytes;
        head.resize(std::min(head.size(), kFileHeaderSize));
        log_.set_file(decode_file_header(head, "the primary's recording").id);
      }
      past_->append(past->bytes);
    } else if (const auto* begin = std::get_if<to_do::BeginMachine>(&action)) {
      if (!past_) throw Error(ErrorCode::bad_input, "the primary's recording is empty");
      past_.reset();
      log_.mark(begin->mark);
      past_is_there_ = true;
      changed_.notify_all();
    } else if (const auto* log = std::get_if<to_do::TakeLog>(&action)) {
      log_.append(log->bytes);
    } else if (const auto* run = std::get_if<to_do::RunTo>(&action)) {
      log_.mark(run->mark);
    } else if (const auto* forget = std::get_if<to_do::ForgetOutputs>(&action)) {
      gate_.forget(forget->before);
    } else if (const auto* ask = std::get_if<to_do::AskArbiter>(&action)) {
      desk_.ask(ask->claim);
    } else if (std::holds_alternative<to_do::GoLive>(action)) {
      log_.then(ReceivedLog::Then::live);
    } else if (const auto* run_out = std::get_if<to_do::RunOut>(&action)) {
      log_.then(run_out->guest_ended ? ReceivedLog::Then::run_on : ReceivedLog::Then::stop);
    } else if (std::holds_alternative<to_do::DropLink>(action)) {
      // What was said last is told, if it can be.
      if (link_) {
        try {
          link_->write();
        } catch (const Error&) {
          // The other end is gone already.
        }
      }
      link_.reset();
    }
  }
}

}  // namespace chronovisor::replica
