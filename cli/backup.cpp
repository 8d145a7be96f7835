// backup: follows a run elsewhere, step by step behind it, and goes on in its place.
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/keep_option.h"
#include "cli/network_options.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "cli/replication.h"
#include "host/console_output.h"
#include "host/host.h"
#include "host/live_input.h"
#include "host/network/card_links.h"
#include "recorder/edit/new_file.h"
#include "recorder/format/start_condition.h"
#include "replica/backup/announcement.h"
#include "replica/backup/follower.h"
#include "replica/status.h"
#include "session/media_beyond.h"
#include "session/run_summary.h"

namespace chronovisor::cli {
namespace {

struct BackupOptions {
  std::string listen;
  std::string output;
  ReplicationOptions replication;
  NetOptions nets;
  std::string serial = "stdio";
  std::string idle = "wait";
  std::string keep;
  bool force = false;
  bool json = false;
};

/// Whom a control socket asks at the moment.
class StatusDesk {
 public:
  using Answer = std::function<std::string(const std::string& word)>;
  void set(Answer answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  [[nodiscard]] std::string ask(const std::string& word) {
    const std::lock_guard lock(mutex_);
    return answer_ ? answer_(word) : R"({"role": "backup", "state": "waiting"})";
  }

 private:
  std::mutex mutex_;
  Answer answer_;
};

/// What a machine that goes live is connected to.
class Outside {
 public:
  Outside(const BackupOptions& options, const std::vector<NetworkOptions>& networks,
          std::atomic<bool>& stop)
      : console_(options.serial, options.json ? stderr : stdout),
        live_(options.serial == "stdio" ? STDIN_FILENO : -1, false,
              options.idle == "wait" ? IdlePolicy::wait : IdlePolicy::warp, stop),
        links_(networks, live_.inbox()) {
    console_.stop_on_failure(stop);
  }
  [[nodiscard]] LiveInput& input() { return live_; }
  /// What leaves goes to the console and the cards' networks.
  void connect(OutputRouter& outputs, const MachineConfig& machine, Position position) {
    outputs.attach(console_);
    links_.connect(outputs);
    for (std::size_t card = 0; card < machine.cards.size(); ++card) {
      const Bytes frame = replica::announcement(machine.cards[card].address);
      outputs.put(position, {OutputKind::frame, static_cast<std::uint16_t>(card), frame});
    }
  }
  void finish() { console_.finish(); }

 private:
  ConsoleOutput console_;
  LiveInput live_;
  CardLinks links_;
};

/// One primary, from its greeting to what came of it.
class Following {
 public:
  enum class End : std::uint8_t { another, done, guest_failed, interrupted };

  Following(const BackupOptions& options, const Descriptor& listener, StatusDesk& desk)
      : options_(options),
        desk_(desk),
        past_file_(options.output + ".joining"),
        blocks_(options.output),
        log_(blocks_),
        gate_(replica::OutputGate::Begins::closed) {
    if (!options.keep.empty()) keep_ = parse_keep(options.keep);
    replica::BackupSetup setup;
    setup.address = replica::parse_address(options.listen, "--listen");
    if (!options.replication.peer.psk_file.empty()) {
      setup.key = replica::read_preshared_key(options.replication.peer.psk_file);
    }
    setup.arbiter = replica::make_arbiter(options.replication.peer.arbiter, setup.key);
    setup.past = past_file_;
    setup.tell = [](const std::string& words) {
      std::fprintf(stderr, "chronovisor: backup: %s\n", words.c_str());
    };
    link_.emplace(std::move(setup), listener, log_, gate_);
    desk_.set([this](const std::string& word) {
      if (word == "status") return replica::status_json(link_->status());
      return std::string(R"({"error": "a backup has nothing to hand over"})");
    });
  }
  ~Following() { desk_.set(nullptr); }
  Following(const Following&) = delete;
  Following& operator=(const Following&) = delete;

  End run() {
    if (!link_->wait_for_past(stop_signal())) {
      std::filesystem::remove(past_file_);
      return stop_signal() ? End::interrupted : End::another;
    }
    const auto past = std::make_shared<const RecordingReader>(past_file_);
    // What is open is read on; nobody else needs it.
    std::filesystem::remove(past_file_);
    networks_ = plug_networks(options_.nets, start_of(*past).machine.cards);
    session::MediaBeyond beyond = session::media_beyond(*past);
    for (const std::string& trouble : beyond.missing) {
      std::fprintf(stderr, "chronovisor: warning: %s\n", trouble.c_str());
    }
    const auto segment_begun = [this](std::uint64_t ended_bytes) {
      const Machine& machine = follower_->machine();
      if (replication_) {
        replication_->segment_begun({machine.position(), machine.idle_ns()}, ended_bytes);
      }
    };
    follower_.emplace(
        past, beyond.media, options_.output, keep_,
        replica::Follower::Parts{*link_, log_, gate_, blocks_, stop_, stop_signal(),
                                 [this]() -> InputSource& { return go_live(); }, segment_begun});
    const std::uint64_t began_ns = monotonic_ns();
    const RunOutcome outcome = follower_->run();
    Machine& machine = follower_->machine();
    if (replication_) {
      replication_->ended({machine.position(), machine.idle_ns()},
                          machine.ending().reason != EndReason::none);
    }
    const bool over = replication_ || machine.ending().reason != EndReason::none ||
                      log_.what_then() == replica::ReceivedLog::Then::stop;
    if (!over) return stop_signal() ? End::interrupted : End::another;
    return finish(outcome, static_cast<double>(monotonic_ns() - began_ns) / 1e9);
  }

 private:
  InputSource& go_live() {
    outside_.emplace(options_, networks_, stop_);
    LiveInput& live = outside_->input();
    const auto writer = [this]() -> RecordingWriter& { return follower_->writer(); };
    replication_.emplace(options_.replication, options_.output, gate_, live, writer, stop_);
    live.set_on_wait([this] {
      follower_->waiting();
      replication_->waiting();
    });
    desk_.set([this](const std::string& word) { return replication_->answer(word); });
    outside_->connect(gate_.outside(), follower_->machine().config(),
                      follower_->machine().position());
    gate_.allow(kNever);
    std::fprintf(stderr, "chronovisor: backup: live from position %s\n",
                 grouped(follower_->machine().position().steps).c_str());
    return replication_->input();
  }

  End finish(const RunOutcome& outcome, double seconds) {
    Machine& machine = follower_->machine();
    nlohmann::ordered_json summary = nlohmann::ordered_json::parse(
        run_summary(outcome, follower_->start(), {kNever}, seconds, machine));
    summary["went_live"] = replication_.has_value();
    follower_->finish(summary.dump());
    summary["file"] = options_.output;
    if (options_.json) std::printf("%s\n", summary.dump(2).c_str());
    std::fprintf(stderr, "chronovisor: %s: %s steps, ended by %s, digest %s\n",
                 options_.output.c_str(), grouped(outcome.position.steps).c_str(),
                 exit_reason(outcome, {kNever}).c_str(), outcome.digest.hex().c_str());
    const bool lost = replication_ && replication_->lost();
    if (outside_) outside_->finish();
    if (lost) throw Error(ErrorCode::host, "another machine has taken over from this one");
    return outcome.panicked ? End::guest_failed : End::done;
  }

  const BackupOptions& options_;
  StatusDesk& desk_;
  std::string past_file_;
  std::optional<KeepPolicy> keep_;
  std::atomic<bool> stop_{false};
  replica::BlockStore blocks_;
  replica::ReceivedLog log_;
  replica::OutputGate gate_;
  std::vector<NetworkOptions> networks_;
  std::optional<Outside> outside_;
  std::optional<replica::BackupLink> link_;
  std::optional<replica::Follower> follower_;
  std::optional<Replication> replication_;
};

int backup(const BackupOptions& options) {
  require_file_name(options.output);
  require_free_output({options.output, {}, options.force, Replaceable::recordings});
  require_free_serial(options.serial, {options.output, {}, options.force});
  if (!options.keep.empty()) {
    (void)parse_keep(options.keep);
    for (const char* suffix : {FlightRecorder::kOlderSuffix, FlightRecorder::kNewSuffix}) {
      require_free_output({options.output + suffix, {}, options.force, Replaceable::recordings});
    }
  }
  const replica::Address address = replica::parse_address(options.listen, "--listen");
  const replica::PresharedKey key =
      options.replication.peer.psk_file.empty()
          ? replica::PresharedKey{}
          : replica::read_preshared_key(options.replication.peer.psk_file);
  replica::require_secure(address, key, "--listen");
  const Descriptor listener = replica::listen_at(address);
  StatusDesk desk;
  std::optional<replica::ControlServer> control;
  if (!options.replication.peer.control.empty()) {
    control.emplace(options.replication.peer.control,
                    [&](const std::string& word) { return desk.ask(word); });
  }
  watch_stop_signals();
  while (true) {
    const Following::End end = Following(options, listener, desk).run();
    if (end == Following::End::another) continue;
    if (address.kind == replica::Address::Kind::unix_socket) std::remove(address.place.c_str());
    if (end == Following::End::interrupted) {
      throw Error(ErrorCode::host, "interrupted before this backup had anything to take over");
    }
    return end == Following::End::done ? kDone : kGuestFailed;
  }
}

}  // namespace

void add_backup(Command& app, Action& action) {
  auto options = std::make_shared<BackupOptions>();
  Command command = app.add_subcommand(
      "backup", "Follow a run that is replicated, and go on in its place when it fails");
  command.add_option("--listen", options->listen, "Where the primary connects")
      .type_name("unix:PATH|tcp:HOST:PORT")
      .required();
  add_output_option(command, options->output, "The recording to write").required();
  add_force_flag(command, options->force, Replaceable::recordings);
  add_replication_options(command, options->replication);
  add_plug_options(command, options->nets);
  command
      .add_option("--serial", options->serial,
                  "The guest's serial line once it is live here (stdio)")
      .type_name(kSerialValues);
  command
      .add_option("--idle", options->idle,
                  "Once it is live here: warp to the next timer, or wait as the clock does (wait)")
      .type_name("warp|wait")
      .one_of({"warp", "wait"});
  add_keep_option(command, options->keep);
  command.add_flag("--json", options->json, "Report the outcome as one JSON object on stdout");
  command.callback([options, &action] { action = [options] { return backup(*options); }; });
}

}  // namespace chronovisor::cli
