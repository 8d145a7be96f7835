#include "replica/protocol/backup.h"

#include <array>

#include "base/error.h"

namespace chronovisor::replica {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::bad_input, "replication: the primary " + what);
}

}  // namespace

const char* backup_state_name(BackupState state) {
  static constexpr std::array kNames = {"waiting",  "greeting", "joining", "following", "guarding",
                                        "claiming", "live",     "over",    "given up"};
  return kNames[static_cast<std::size_t>(state)];
}

bool BackupProtocol::linked() const {
  return state_ == BackupState::greeting || state_ == BackupState::joining || follows();
}

bool BackupProtocol::follows() const {
  return state_ == BackupState::following || state_ == BackupState::guarding ||
         state_ == BackupState::over || (state_ == BackupState::claiming && yielded_);
}

void BackupProtocol::link_up(const Nonce& nonce, std::uint64_t now_ns) {
  CHECK_THAT(state_ == BackupState::waiting, "a backup has one primary");
  now_ns_ = heard_ns_ = said_ns_ = now_ns;
  nonce_ = nonce;
  state_ = BackupState::greeting;
  reason_ = "somebody has connected";
}

void BackupProtocol::give_up(std::string reason) {
  state_ = BackupState::given_up;
  reason_ = std::move(reason);
}

void BackupProtocol::link_down(const std::string& reason, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if (!linked() || state_ == BackupState::over || state_ == BackupState::claiming) return;
  if (state_ != BackupState::guarding) {
    give_up(reason + ", before this backup protected it");
    return;
  }
  if (!has_arbiter_ || !primary_has_arbiter_) {
    give_up(reason + "; without an arbiter" +
            (has_arbiter_           ? " at the primary"
             : primary_has_arbiter_ ? " here"
                                    : "") +
            " nobody can say that the primary does not live on, so this backup does not take over");
    return;
  }
  state_ = BackupState::claiming;
  reason_ = reason;
  claim_at_ns_ = now_ns + timings_.grace_ns;
}

void BackupProtocol::claim() {
  claim_at_ns_ = now_ns_ + timings_.claim_ns;
  actions_.emplace_back(to_do::AskArbiter{{wanted(), node_}});
}

void BackupProtocol::receive(const Message& message, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if (!linked()) return;
  heard_ns_ = now_ns;
  if (const auto* hello = std::get_if<Hello>(&message)) return on(*hello);
  if (state_ == BackupState::greeting) refuse("does not begin with a greeting");
  if (const auto* alive = std::get_if<Alive>(&message)) return forget(alive->released);
  if (state_ == BackupState::joining) {
    if (const auto* past = std::get_if<Past>(&message)) return on(*past);
    if (const auto* end = std::get_if<PastEnd>(&message)) return on(*end);
  } else {
    if (const auto* log = std::get_if<Log>(&message)) return on(*log);
    if (const auto* marked = std::get_if<Marked>(&message)) return on(*marked);
    if (const auto* protect = std::get_if<Protect>(&message)) return on(*protect);
    if (const auto* yield = std::get_if<Yield>(&message)) return on(*yield);
    if (const auto* over = std::get_if<Over>(&message)) return on(*over);
  }
  refuse(std::string("says ") + message_name(message) + ", which is not for it to say here");
}

void BackupProtocol::on(const Hello& hello) {
  if (state_ != BackupState::greeting) refuse("greets twice");
  if (hello.role != Role::primary) refuse("is none");
  if (hello.behaviour != behaviour_) {
    refuse("has machines of behaviour version " + std::to_string(hello.behaviour) +
           ", this program has " + std::to_string(behaviour_));
  }
  const End own{node_, nonce_};
  session_ = session_of(hello.end, own);
  succession_ = succession_of(hello.end.node);
  send(Hello{kProtocolVersion, Role::backup, own, behaviour_});
  state_ = BackupState::joining;
  reason_ = "the recording so far comes";
}

void BackupProtocol::on(const Past& past) { actions_.emplace_back(to_do::TakePast{past.bytes}); }

void BackupProtocol::on(const PastEnd& end) {
  if (end.mark.number != 1 || end.mark.log_bytes != 0) refuse("begins with another mark");
  last_ = end.mark;
  ack_.held = 1;
  state_ = BackupState::following;
  reason_ = "the machine comes up to the primary's";
  actions_.emplace_back(to_do::BeginMachine{end.mark});
}

void BackupProtocol::on(const Log& log) {
  if (yielded_) refuse("goes on after it has yielded");
  log_bytes_ += log.bytes.size();
  actions_.emplace_back(to_do::TakeLog{log.bytes});
}

void BackupProtocol::on(const Marked& marked) {
  const Mark& mark = marked.mark;
  if (yielded_) refuse("goes on after it has yielded");
  const bool follows_on = mark.number == last_.number + 1 && mark.position >= last_.position &&
                          mark.idle_ns >= last_.idle_ns && mark.outputs >= last_.outputs;
  if (!follows_on) refuse("sends a mark that does not follow the one before");
  if (mark.log_bytes != log_bytes_) refuse("sends a mark without the log before it");
  last_ = mark;
  ack_.held = mark.number;
  actions_.emplace_back(to_do::RunTo{mark});
  forget(marked.released);
  acknowledge();
}

void BackupProtocol::forget(std::uint64_t released) {
  if (released <= released_) return;
  released_ = released;
  actions_.emplace_back(to_do::ForgetOutputs{released});
}

void BackupProtocol::on(const Protect& protect) {
  if (state_ != BackupState::following) refuse("protects itself twice");
  state_ = BackupState::guarding;
  reason_ = "this backup holds the log";
  primary_has_arbiter_ = protect.has_arbiter;
  forget(protect.released);
}

void BackupProtocol::on(const Yield& /*yield*/) {
  if (state_ != BackupState::guarding) refuse("yields to a backup that does not protect it");
  if (!has_arbiter_ || !primary_has_arbiter_) {
    actions_.emplace_back(to_do::DropLink{"a hand-over takes an arbiter at both ends"});
    give_up("a hand-over takes an arbiter at both ends");
    return;
  }
  yielded_ = true;
  state_ = BackupState::claiming;
  reason_ = "the primary has handed the session over";
  claim();
}

void BackupProtocol::on(const Over& over) {
  if (state_ == BackupState::claiming) refuse("ends what it has yielded");
  state_ = BackupState::over;
  reason_ = "the run is over";
  actions_.emplace_back(to_do::RunOut{over.guest_ended});
}

void BackupProtocol::executed(std::uint64_t number, Position position, Position compared) {
  ack_.executed = number;
  ack_.position = position;
  ack_.compared = compared;
}

void BackupProtocol::diverged(const Diverged& diverged) {
  if (linked()) {
    send(diverged);
    actions_.emplace_back(to_do::DropLink{"the machines differ"});
  }
  give_up("this machine differs from the primary's: digest " + diverged.found.hex() +
          " at position " + std::to_string(diverged.position.steps) + ", recorded " +
          diverged.expected.hex());
}

void BackupProtocol::verdict(const Verdict& verdict) {
  if (state_ != BackupState::claiming || verdict.session != wanted()) return;
  if (verdict.holder != node_) {
    const std::string why = has_session_ ? "another backup goes on" : "the primary goes on";
    actions_.emplace_back(to_do::DropLink{why});
    give_up(why + " (" + reason_ + ")");
    return;
  }
  if (!has_session_) {
    has_session_ = true;
    claim();
    return;
  }
  if (yielded_) send(Live{});
  state_ = BackupState::live;
  actions_.emplace_back(to_do::GoLive{});
}

void BackupProtocol::tick(std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if (state_ == BackupState::claiming && now_ns >= claim_at_ns_) claim();
  if (!linked()) return;
  if (now_ns - heard_ns_ >= timings_.silence_ns) {
    const std::string reason = "the primary has been silent for " +
                               std::to_string((now_ns - heard_ns_) / 1'000'000) + " ms";
    actions_.emplace_back(to_do::DropLink{reason});
    link_down(reason, now_ns);
    return;
  }
  if (state_ == BackupState::greeting || now_ns - said_ns_ < timings_.alive_ns) return;
  said_ns_ = now_ns;
  if (state_ == BackupState::joining) {
    send(Alive{});
  } else {
    acknowledge();
  }
}

}  // namespace chronovisor::replica
