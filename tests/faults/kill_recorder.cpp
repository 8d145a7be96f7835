// Kills the program with SIGKILL 200 times (without --all 60 times) at random moments
// while it records a real guest. Every file that was begun must open, be sound up to where it was
// flushed, and verify; what the guest had said more than 100 ms (and a margin
// for a busy host) before the kill must be in it, and at most 1 MiB is missing.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "tests/faults/fault_driver.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kKills = 200, kFewKills = 60;
constexpr int kSkipped = 77;
constexpr int kLongestMs = 700;
/// One in so many kills comes later in the boot.
constexpr std::size_t kLateEvery = 8;
constexpr int kLatestMs = 4000;
constexpr milliseconds kLongestStart{30'000};
/// One in so many kills falls anywhere after the launch, also before the guest runs.
constexpr std::size_t kFromLaunchEvery = 10;
constexpr std::size_t kMostLostBytes = 1U << 20;
constexpr milliseconds kPromise{100};
/// What is added is for a host that runs other things instead of us.
constexpr milliseconds kMostLostTime{kPromise + milliseconds{400}};
/// One in so many files is replayed whole.
constexpr std::size_t kVerifyEvery = 4;

/// What a command prints on stdout; empty when it fails.
std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    text.append(buffer.data(), got);
  }
  if (::pclose(pipe) != 0) return {};
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// What the guest had said, and when.
struct Said {
  struct Piece {
    milliseconds age;     ///< at the kill
    std::size_t end = 0;  ///< bytes said with it
  };
  std::string all;
  std::vector<Piece> pieces;

  /// How long before the kill the first byte from `kept` on had been said.
  [[nodiscard]] milliseconds age_of_loss(std::size_t kept) const {
    for (const Piece& piece : pieces) {
      if (piece.end > kept) return piece.age;
    }
    return milliseconds{0};
  }
};

enum class KillClock { from_launch, from_first_output };

/// Starts the program, listens to the guest, and kills it `length` after it was
/// launched or after the guest's first output.
Said record_and_kill(const std::vector<std::string>& command, milliseconds length,
                     KillClock clock) {
  std::array<int, 2> pipe_ends{};
  if (::pipe2(pipe_ends.data(), O_CLOEXEC) != 0) throw Error(ErrorCode::host, "pipe");
  const pid_t child = ::fork();
  if (child < 0) throw Error(ErrorCode::host, "fork");
  if (child == 0) {
    ::dup2(pipe_ends[1], STDOUT_FILENO);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(pipe_ends[1]);
  Said said;
  std::vector<std::pair<Clock::time_point, std::size_t>> history;
  bool started = clock == KillClock::from_launch;
  Clock::time_point end = Clock::now() + (started ? length : kLongestStart);
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    pollfd wait{pipe_ends[0], POLLIN, 0};
    const auto left = std::chrono::duration_cast<milliseconds>(end - now).count() + 1;
    if (::poll(&wait, 1, static_cast<int>(left)) <= 0) continue;
    std::array<char, 65536> buffer{};
    const ssize_t got = ::read(pipe_ends[0], buffer.data(), buffer.size());
    if (got <= 0) break;
    said.all.append(buffer.data(), static_cast<std::size_t>(got));
    history.emplace_back(Clock::now(), said.all.size());
    if (!started) {
      started = true;
      end = Clock::now() + length;
    }
  }
  ::kill(child, SIGKILL);
  const Clock::time_point killed = Clock::now();
  ::waitpid(child, nullptr, 0);
  ::close(pipe_ends[0]);
  for (const auto& [when, size] : history) {
    said.pieces.push_back({std::chrono::duration_cast<milliseconds>(killed - when), size});
  }
  return said;
}

std::string console_of(const RecordingReader& reader) {
  std::string text;
  reader.for_each_console([&](const ConsoleView& view) {
    if (view.channel != ConsoleChannel::serial0) return;
    text.append(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size());
  });
  return text;
}

/// The oldest output that any kill lost, in ms, and how many kills lost some
/// that was older than promised: a busy host stops the recorder, too.
std::atomic<std::int64_t> oldest_lost{0};
std::atomic<std::size_t> late{0};

void note_lost(milliseconds age) {
  if (age > kPromise) ++late;
  std::int64_t seen = oldest_lost;
  while (seen < age.count() && !oldest_lost.compare_exchange_weak(seen, age.count())) {
  }
}

/// Kills that hit a guest at work; without many of them nothing is shown.
std::atomic<std::size_t> running{0};

void judge(const std::string& path, const Said& said, bool replay, Tally& tally) {
  if (!std::filesystem::exists(path)) {
    tally.expect(said.all.empty(), path + ": the guest ran without a file");
    tally.count("killed before the file was there");
    return;
  }
  try {
    const RecordingReader reader(path);
    tally.count("files that open");
    const std::string console = console_of(reader);
    const milliseconds lost_age = said.age_of_loss(console.size());
    tally.expect(lost_age <= kMostLostTime, path + ": console output said " +
                                                std::to_string(lost_age.count()) +
                                                " ms before the kill is lost");
    note_lost(lost_age);
    tally.expect(said.all.size() <= console.size() + kMostLostBytes, path + ": over 1 MiB is lost");
    const std::size_t common = std::min(console.size(), said.all.size());
    tally.expect(console.compare(0, common, said.all, 0, common) == 0,
                 path + ": another console than was shown");
    tally.count("console bytes shown", said.all.size());
    if (said.all.size() > console.size())
      tally.count("console bytes lost", said.all.size() - console.size());
    tally.count("steps kept", reader.usable_to().steps);
    tally.count("checkpoints kept", reader.checkpoints().size());
    for (const Damage& damage : reader.verify_bytes()) {
      tally.expect(damage.kind == DamageKind::unfinished || damage.kind == DamageKind::torn_tail,
                   damage.message);
    }
    if (reader.usable_to() == Position{0}) {
      tally.count("killed before anything was recorded");
      return;
    }
    tally.count("kills of a guest that was running");
    ++running;
    if (!replay) return;
    const ReplayOutcome outcome = replay_recording(reader, {}, [](Position) {});
    tally.expect(outcome.position == reader.usable_to(), path + ": replay stops early");
    tally.count("replayed and verified to the last flush");
    tally.count("digests equal", outcome.digests_checked);
  } catch (const Error& error) {
    // A kill within the first few system calls leaves less than a header.
    if (error.code() != ErrorCode::bad_input || !said.all.empty() ||
        std::filesystem::file_size(path) >= 4096) {
      tally.fail(path + ": " + error.what());
      return;
    }
    tally.count("killed before the metadata was whole");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: fault_kill_recorder CHRONOVISOR SOURCE-ROOT [--all]\n");
    return 2;
  }
  const std::string root = argv[2];
  const std::string kernel =
      output_of("'" + root + "/scripts/fetch-kernel' linux-image-cloud-amd64 2>/dev/null");
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("chronovisor-kill-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string initrd = (folder / "initrd.gz").string();
  if (kernel.empty() ||
      std::system(
          ("'" + root + "/scripts/build-initramfs' '" + initrd + "' >/dev/null 2>&1").c_str()) !=
          0) {
    std::printf("SKIPPED: no kernel or no initramfs\n");
    std::filesystem::remove_all(folder);
    return kSkipped;
  }
  const std::size_t kills = all_cases(argc, argv) ? kKills : kFewKills;
  Tally tally(std::to_string(kills) + " kills of a recorder of " + kernel);
  std::atomic<std::size_t> next{0};
  {
    std::vector<std::jthread> threads;
    for (unsigned t = std::max(1U, std::thread::hardware_concurrency()); t > 0; --t) {
      threads.emplace_back([&] {
        for (std::size_t n = next++; n < kills; n = next++) {
          std::mt19937_64 random(n + 1);
          const std::string path = (folder / (std::to_string(n) + ".cvr")).string();
          const Said said = record_and_kill(
              {argv[1], "record", "-o", path, "--kernel", kernel, "--initrd", initrd, "--append",
               "console=ttyS0 earlyprintk=ttyS0 nokaslr panic=-1", "--memory", "128M", "--idle",
               "warp", "--sync", n % 2 == 0 ? "none" : "interval"},
              milliseconds(random() % (n % kLateEvery == 3 ? kLatestMs : kLongestMs)),
              n % kFromLaunchEvery == 0 ? KillClock::from_launch : KillClock::from_first_output);
          judge(path, said, n % kVerifyEvery == 1, tally);
          std::filesystem::remove(path);
          tally.count("kills");
        }
      });
    }
  }
  std::filesystem::remove_all(folder);
  tally.count("oldest output lost, ms", static_cast<std::size_t>(oldest_lost.load()));
  tally.count("kills that lost output older than 100 ms", late);
  tally.expect(running >= kills / 2, "most kills came before the guest had run");
  return tally.finish();
}
