#include "session/go_live.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/error.h"
#include "host/console_output.h"
#include "host/host.h"
#include "host/live_input.h"
#include "recorder/edit/new_file.h"
#include "recorder/format/file.h"
#include "recorder/format/recorded_media.h"
#include "recorder/live/recording_child.h"
#include "session/media_beyond.h"
#include "session/run_summary.h"

namespace chronovisor::session {
namespace {

constexpr std::string_view kFilePrefix = "file:";

/// A pseudo-terminal: the guest at one end, whoever opens its path at the other.
class PseudoTerminal {
 public:
  PseudoTerminal() : guest_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    std::array<char, 128> path{};
    if (guest_ < 0 || grantpt(guest_) != 0 || unlockpt(guest_) != 0 ||
        ptsname_r(guest_, path.data(), path.size()) != 0) {
      fail("make a pseudo-terminal");
    }
    path_ = path.data();
    // Held open, so that the line is not down while nobody is there; and raw,
    // since echo is the guest's business.
    user_ = open(path_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    termios mode{};
    if (user_ < 0 || tcgetattr(user_, &mode) != 0) fail("open " + path_);
    cfmakeraw(&mode);
    tcsetattr(user_, TCSANOW, &mode);
  }
  ~PseudoTerminal() { close_both(); }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;

  [[nodiscard]] int guest_end() const { return guest_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail(const std::string& operation) {
    const int error_number = errno;
    close_both();
    throw file_error(ErrorCode::host, "--serial pty", operation, error_number);
  }
  void close_both() const {
    if (user_ >= 0) close(user_);
    if (guest_ >= 0) close(guest_);
  }

  int guest_ = -1;
  int user_ = -1;
  std::string path_;
};

/// What is typed into the terminal, if there is one.
class TerminalInput final : public InputSource {
 public:
  TerminalInput(std::shared_ptr<PseudoTerminal> terminal, IdlePolicy idle,
                std::function<bool()> cancelled)
      : terminal_(std::move(terminal)),
        live_(terminal_ ? terminal_->guest_end() : -1, false, idle, never_) {
    live_.stop_also_when(std::move(cancelled));
  }
  void set_on_wait(std::function<void()> on_wait) { live_.set_on_wait(std::move(on_wait)); }
  [[nodiscard]] Inbox& inbox() { return live_.inbox(); }
  [[nodiscard]] Position next_look(Position now) override { return live_.next_look(now); }
  std::optional<Input> take(InputStamp here, const InputRoom& room) override {
    return live_.take(here, room);
  }
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override {
    return live_.idle(here, deadline_idle_ns);
  }

 private:
  std::shared_ptr<PseudoTerminal> terminal_;
  std::atomic<bool> never_{false};
  LiveInput live_;
};

/// Shows the guest's output on the terminal. What nobody reads is dropped: the
/// recording has it.
class TerminalOutput final : public OutputObserver {
 public:
  explicit TerminalOutput(std::shared_ptr<PseudoTerminal> terminal)
      : terminal_(std::move(terminal)) {}
  void output(Position /*position*/, const Output& output) override {
    if (output.device != 0) return;
    if (output.kind != OutputKind::serial && output.kind != OutputKind::debug) return;
    if (write(terminal_->guest_end(), output.payload.data(), output.payload.size()) < 0) return;
  }

 private:
  std::shared_ptr<PseudoTerminal> terminal_;
};

std::unique_ptr<RecordingWriter> begin_recording(const std::string& file,
                                                 const RecordingReader& parent,
                                                 const StartCondition& start) {
  WriterOptions options;
  options.start = start.parent->position;
  auto writer = std::make_unique<RecordingWriter>(
      std::make_unique<PosixOutputFile>(file, ExistingFile::replace), FileId::random(),
      start.to_json(), options);
  copy_images(parent, *writer);
  return writer;
}

StartCondition start_at(Timeline& timeline, const std::string& idle) {
  Departure departure;
  departure.position = timeline.now().position;
  departure.deliveries = timeline.now().deliveries;
  departure.digest = timeline.machine().digest();
  departure.changed_by_hand = timeline.on_branch();
  StartCondition start = child_start(timeline.reader(), departure);
  start.engine = "soft";
  start.idle = idle;
  start.host = host_description();
  start.created_utc = utc_text(unix_seconds());
  return start;
}

void require_running_guest(Timeline& timeline) {
  require_guest_runs(timeline.reader(), timeline.on_branch() ? timeline.branch_from().position
                                                             : timeline.now().position);
  const EndReason reason = timeline.machine().ending().reason;
  if (reason == EndReason::none) return;
  throw Error(ErrorCode::usage, "the guest has ended here (" +
                                    std::string(end_reason_name(reason)) + "); go back first");
}

std::string report_of(const std::string& file, Position start, const RunOutcome& outcome,
                      const std::string& trouble) {
  if (!trouble.empty()) return file + ": the recording ended early: " + trouble;
  return file + ": recorded from position " + grouped(start.steps) + " to " +
         grouped(outcome.position.steps) + ", ended by " + exit_reason(outcome, Position{kNever});
}

}  // namespace

GoLiveOptions parse_go_live(const std::vector<std::string>& words) {
  GoLiveOptions options;
  const auto refuse = [](const std::string& why) {
    throw Error(ErrorCode::usage, why + "; go-live " + std::string(kGoLiveArguments));
  };
  for (std::size_t n = 0; n < words.size(); ++n) {
    const std::string& word = words[n];
    if (word == "--force") {
      options.force = true;
    } else if (word == "--serial" || word == "--idle") {
      if (++n == words.size()) refuse(word + " needs a value");
      (word == "--serial" ? options.serial : options.idle) = words[n];
    } else if (word.starts_with("--") || !options.file.empty()) {
      refuse("\"" + word + "\" is not understood");
    } else {
      options.file = word;
    }
  }
  if (options.file.empty()) refuse("a file for the new recording is needed");
  const bool to_file =
      options.serial.starts_with(kFilePrefix) && options.serial.size() > kFilePrefix.size();
  if (options.serial != "none" && options.serial != "pty" && !to_file) {
    refuse("--serial: \"" + options.serial + "\" is none of none, pty and file:PATH");
  }
  if (options.idle.empty()) options.idle = options.serial == "pty" ? "wait" : "warp";
  if (options.idle != "warp" && options.idle != "wait") {
    refuse("--idle: \"" + options.idle + "\" is neither warp nor wait");
  }
  return options;
}

GoLiveOptions allowed(GoLiveOptions options, const AllowedFiles& files) {
  options.file = files.path(options.file);
  if (options.serial.starts_with(kFilePrefix)) {
    options.serial =
        std::string(kFilePrefix) + files.path(options.serial.substr(kFilePrefix.size()));
  }
  return options;
}

GoneLive go_live(Timeline& timeline, const GoLiveOptions& options, std::function<bool()> cancelled,
                 std::function<void(const std::string&)> ended) {
  require_running_guest(timeline);
  const OutputPlan output{
      options.file, {timeline.reader().name()}, options.force, Replaceable::recordings};
  require_free_output(output);
  // What is being recorded is not there yet, so that only its name can be compared.
  if (options.serial == std::string(kFilePrefix) + options.file) {
    throw Error(ErrorCode::usage, "--serial: " + options.file + " is the recording");
  }
  require_free_serial(options.serial, output);
  GoneLive gone;
  gone.file = std::filesystem::absolute(options.file).lexically_normal().string();
  std::shared_ptr<PseudoTerminal> terminal;
  if (options.serial == "pty") {
    terminal = std::make_shared<PseudoTerminal>();
    gone.terminal = terminal->path();
    gone.line = terminal;
  }
  LiveRun run;
  if (terminal) {
    run.output = std::make_unique<TerminalOutput>(terminal);
  } else if (options.serial != "none") {
    run.output = std::make_unique<ConsoleOutput>(options.serial, nullptr);
  }
  auto input = std::make_unique<TerminalInput>(
      terminal, options.idle == "wait" ? IdlePolicy::wait : IdlePolicy::warp, std::move(cancelled));
  input->set_on_wait([&timeline] {
    if (timeline.live() != nullptr) timeline.live()->waiting();
  });
  Inbox& inbox = input->inbox();
  run.input = std::move(input);
  run.clock_ns = monotonic_ns;
  run.recorder.checkpoint_every_ns = kUsualCheckpointNs;
  run.recorder.begin_with_checkpoint = true;
  // Breakpoints make the processor look closer than the index counts on.
  run.recorder.index = false;
  if (MediaBeyond beyond = media_beyond(timeline.reader()); beyond.media) {
    run.media = std::move(beyond.media);
    run.media_after = std::make_shared<RecordedMedia>(timeline.reader());
    gone.discs =
        std::make_unique<DiscChanger>(beyond.images, inbox, timeline.machine().config().drives);
  }
  timeline.settle();
  const StartCondition start = start_at(timeline, options.idle);
  run.writer = begin_recording(gone.file, timeline.reader(), start);
  const Position from = start.parent->position;
  run.summary = [&timeline, from, began = monotonic_ns()](const RunOutcome& outcome) {
    const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
    return run_summary(outcome, from, Position{kNever}, seconds, timeline.machine());
  };
  run.ended = [file = gone.file, from, tell = std::move(ended)](const RunOutcome& outcome,
                                                                const std::string& trouble) {
    tell(report_of(file, from, outcome, trouble));
  };
  timeline.go_live(std::move(run));
  return gone;
}

}  // namespace chronovisor::session
