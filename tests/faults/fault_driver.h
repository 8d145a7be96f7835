// What the fault drivers share: counting what happened, replaying a damaged
// recording and judging the result, and using all cores.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "recorder/format/recording_reader.h"
#include "timetravel/replay.h"

namespace chronovisor::testing {

/// Whether the driver was started with --all: every case, minutes of them, rather than
/// the part of them that the test suite runs.
inline bool all_cases(int argc, char** argv) {
  return std::any_of(argv + 1, argv + argc,
                     [](const char* word) { return std::string(word) == "--all"; });
}

/// Runs `body(i)` for i in [0, count) on all cores.
inline void on_all_cores(std::size_t count, const std::function<void(std::size_t)>& body) {
  constexpr std::size_t kPortion = 64;
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> threads;
  for (unsigned n = std::max(1U, std::thread::hardware_concurrency()); n > 0; --n) {
    threads.emplace_back([&] {
      while (true) {
        const std::size_t begin = next.fetch_add(kPortion);
        if (begin >= count) return;
        for (std::size_t i = begin; i < std::min(count, begin + kPortion); ++i) body(i);
      }
    });
  }
}

/// Counts by name, and failures with their first examples. Any thread.
class Tally {
 public:
  explicit Tally(std::string title) : title_(std::move(title)) {}

  void count(const std::string& what, std::uint64_t by = 1) {
    const std::lock_guard lock(mutex_);
    counts_[what] += by;
  }
  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (failures_++ < 10) std::printf("FAILED: %s: %s\n", title_.c_str(), what.c_str());
  }
  void expect(bool condition, const std::string& what) {
    if (!condition) fail(what);
  }
  /// Prints the figures. @return the exit status of the driver
  int finish() {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    std::printf("%s (%.1f s)\n", title_.c_str(), seconds);
    for (const auto& [what, number] : counts_) {
      std::printf("  %-52s %12llu\n", what.c_str(), static_cast<unsigned long long>(number));
    }
    std::printf("  %-52s %12llu\n", "FAILURES", static_cast<unsigned long long>(failures_));
    std::fflush(stdout);
    return failures_ == 0 ? 0 : 1;
  }

 private:
  std::string title_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> counts_;
  std::uint64_t failures_ = 0;
};

/// A part or an altered copy of bytes that somebody else keeps.
class BorrowedFile final : public InputFile {
 public:
  explicit BorrowedFile(ByteView bytes) : bytes_(bytes) {}
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    if (offset >= bytes_.size()) return 0;
    const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    return count;
  }
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  ByteView bytes_;
  std::string name_ = "damaged.cvr";
};

/// The digests that the sound recording has at any position, computed once each.
class Truth {
 public:
  explicit Truth(Bytes sound)
      : bytes_(std::move(sound)), reader_(std::make_shared<BorrowedFile>(ByteView(bytes_))) {}
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] const RecordingReader& reader() const { return reader_; }
  [[nodiscard]] Hash128 digest_at(Position position) {
    const std::lock_guard lock(mutex_);
    auto& known = digests_[position];
    if (!known) {
      ReplayOptions options;
      options.to = position;
      known = replay_recording(reader_, options, [](Position) {}).digest;
    }
    return *known;
  }

 private:
  Bytes bytes_;
  RecordingReader reader_;
  std::mutex mutex_;
  std::map<Position, std::optional<Hash128>> digests_;
};

enum class ReplayVerdict {
  right,    ///< it arrived in the true state
  refused,  ///< the reader said what is wrong
  wrong,    ///< it diverged, or arrived in another state
};

/// Replays all that is usable and compares the end with the truth.
inline ReplayVerdict judge_replay(const RecordingReader& reader, std::optional<Position> from,
                                  Truth& truth) {
  try {
    ReplayOptions options;
    options.from = from;
    const ReplayOutcome outcome = replay_recording(reader, options, [](Position) {});
    if (outcome.position != reader.usable_to()) return ReplayVerdict::wrong;
    return outcome.digest == truth.digest_at(outcome.position) ? ReplayVerdict::right
                                                               : ReplayVerdict::wrong;
  } catch (const Error& error) {
    return error.code() == ErrorCode::bad_input ? ReplayVerdict::refused : ReplayVerdict::wrong;
  }
}

inline const char* verdict_name(ReplayVerdict verdict) {
  switch (verdict) {
    case ReplayVerdict::right:
      return "replayed to the true state";
    case ReplayVerdict::refused:
      return "replay refused with a reason";
    case ReplayVerdict::wrong:
      return "replayed WRONGLY";
  }
  return "";
}

}  // namespace chronovisor::testing
