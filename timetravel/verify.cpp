#include "timetravel/verify.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "timetravel/state_difference.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 10'000'000;
/// Stretches a thread gets on average: enough to even out, few enough that restoring the
/// first checkpoint of each, and translating anew what is hot, does not matter much.
constexpr std::size_t kStretchesPerJob = 2;
constexpr unsigned kMostJobs = 256;
constexpr auto kProgressInterval = std::chrono::milliseconds(100);

/// Stretches of a shard: so many that each has several, however many jobs it has.
constexpr std::size_t kStretchesPerShard = 4;

/// A part of the recording that one machine runs through.
struct Stretch {
  std::optional<Position> from;  ///< as in ReplayOptions
  Position begin;
  Position end;
  bool is_last = true;  ///< otherwise what is recorded at its end counts for the next one
};

struct StretchOutcome {
  Position reached;
  Hash128 digest;
  std::uint64_t digests_checked = 0;
  std::uint64_t checkpoints_checked = 0;
  bool finished = false;
  bool interrupted = false;
  std::exception_ptr error;
};

std::vector<Stretch> plan(const RecordingReader& reader, const VerifyOptions& options,
                          Position end) {
  Position begin = reader.start();
  if (options.from) {
    const std::optional<std::size_t> checkpoint = reader.checkpoint_before(*options.from);
    if (!checkpoint) {
      throw Error(ErrorCode::bad_input, reader.name() + ": no checkpoint at or before position " +
                                            grouped(options.from->steps));
    }
    begin = reader.checkpoints()[*checkpoint].position;
  }
  std::vector<Stretch> stretches{{options.from, begin, std::max(begin, end)}};
  const bool sharded = options.shard.of > 1;
  const unsigned jobs = std::clamp(options.jobs, 1U, kMostJobs);
  if (jobs == 1 && !sharded) return stretches;
  std::vector<Position> cuts;
  for (const CheckpointInfo& info : reader.checkpoints()) {
    if (info.position > begin && info.position < end) cuts.push_back(info.position);
  }
  // All shards of a recording have to cut it at the same places.
  const std::size_t wanted = std::min<std::size_t>(
      cuts.size() + 1, sharded ? options.shard.of * kStretchesPerShard : jobs * kStretchesPerJob);
  for (std::size_t n = 1; n < wanted; ++n) {
    const Position cut = cuts[n * cuts.size() / wanted];
    if (cut <= stretches.back().begin) continue;
    stretches.back().end = cut;
    stretches.back().is_last = false;
    stretches.push_back({cut, cut, end});
  }
  return stretches;
}

/// Those that a shard is to check.
std::vector<Stretch> own_of(const std::vector<Stretch>& all, const Shard& shard) {
  std::vector<Stretch> own;
  for (std::size_t n = 0; n < all.size(); ++n) {
    if (shard.takes(n)) own.push_back(all[n]);
  }
  return own;
}

std::uint64_t steps_of(const std::vector<Stretch>& stretches) {
  std::uint64_t steps = 0;
  for (const Stretch& stretch : stretches) steps += stretch.end.steps - stretch.begin.steps;
  return steps;
}

/// Replays one stretch and checks what is recorded in it.
class StretchCheck {
 public:
  StretchCheck(const RecordingReader& reader, const std::map<Position, Hash128>& digests,
               const Stretch& stretch, const VerifyOptions& options, const std::atomic<bool>& stop,
               std::atomic<std::uint64_t>& done)
      : reader_(reader),
        digests_(digests),
        stretch_(stretch),
        stop_(stop),
        done_(done),
        run_(reader, stretch.from, options.tamper) {
    if (options.prepare) options.prepare(run_.machine());
  }

  StretchOutcome check() {
    StretchOutcome outcome;
    while (true) {
      const Position here = run_.position();
      outcome.reached = here;
      const bool counts = stretch_.is_last || here < stretch_.end;
      if (check_digest(here) && counts) ++outcome.digests_checked;
      if (check_checkpoint(here) && counts) ++outcome.checkpoints_checked;
      if (here >= stretch_.end) break;
      Position next = std::min(stretch_.end, Position{here.steps + kSliceSteps});
      if (const auto digest = digests_.upper_bound(here); digest != digests_.end()) {
        next = std::min(next, digest->first);
      }
      const ReplayRun::Arrival arrival = run_.run_to(next, stop_);
      done_ += run_.position().steps - here.steps;
      if (arrival == ReplayRun::Arrival::interrupted) {
        outcome.interrupted = true;
        return outcome;
      }
      if (arrival != ReplayRun::Arrival::arrived) {
        diverged("which goes on to position " + grouped(stretch_.end.steps) + ": " + run_.trouble(),
                 next);
      }
    }
    outcome.digest = run_.machine().digest();
    outcome.finished = true;
    return outcome;
  }

 private:
  [[noreturn]] void diverged(const std::string& how, Position where) const {
    throw DivergenceError(reader_.name() + ": the replay differs from the recording, " + how, where,
                          stretch_.from);
  }

  /// @return whether there is one
  bool check_digest(Position here) {
    const auto recorded = digests_.find(here);
    if (recorded == digests_.end()) return false;
    const Hash128 digest = run_.machine().digest();
    if (digest != recorded->second) {
      diverged("at position " + grouped(here.steps) + ": digest " + digest.hex() + ", recorded " +
                   recorded->second.hex(),
               here);
    }
    return true;
  }

  /// The digest says that the machine is right; this says that the checkpoint
  /// holds that same machine, whole. @return whether there is one
  bool check_checkpoint(Position here) {
    const std::optional<std::size_t> checkpoint = reader_.checkpoint_before(here);
    if (!checkpoint || reader_.checkpoints()[*checkpoint].position != here) return false;
    if (!digests_.contains(here)) return false;
    if (recorded_) {
      recorded_->move_to(*checkpoint);
    } else {
      recorded_.emplace(reader_, *checkpoint);
    }
    RecordedState& recorded = *recorded_;
    LiveState live(run_.machine());
    for (const PageRecord& page : reader_.page_delta(*checkpoint)) {
      std::array<std::uint8_t, kPageSize> content{};
      recorded.read_page(page.page, content);  // throws when the content is damaged
    }
    if (!same_pages(live.pages(), recorded.pages()) || live.sections() != recorded.sections()) {
      diverged("at position " + grouped(here.steps) +
                   ": the checkpoint there holds another state than its digest says",
               here);
    }
    return true;
  }

  static bool same_pages(const PageMap& left, const PageMap& right) {
    if (left.page_count() != right.page_count()) return false;
    bool same = true;
    left.for_each_difference(right, [&](std::uint64_t /*page*/) { same = false; });
    return same;
  }

  const RecordingReader& reader_;
  const std::map<Position, Hash128>& digests_;
  const Stretch& stretch_;
  const std::atomic<bool>& stop_;
  std::atomic<std::uint64_t>& done_;
  ReplayRun run_;
  std::optional<RecordedState> recorded_;  ///< the latest checkpoint passed
};

/// Gives stretches to threads, the earliest first.
class Crew {
 public:
  Crew(const RecordingReader& reader, const VerifyOptions& options, std::vector<Stretch> stretches)
      : reader_(reader),
        options_(options),
        digests_(recorded_digests(reader)),
        stretches_(std::move(stretches)),
        outcomes_(stretches_.size()),
        stops_(stretches_.size()),
        first_failed_(stretches_.size()) {}

  void run(unsigned jobs, const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    const std::uint64_t total = steps_of(stretches_);
    if (options_.cancel.requested()) stop_from(0);
    std::vector<std::jthread> threads;
    working_ = static_cast<unsigned>(std::min<std::size_t>(jobs, stretches_.size()));
    for (unsigned n = working_; n > 0; --n) threads.emplace_back([this] { work(); });
    std::unique_lock lock(mutex_);
    while (!idle_.wait_for(lock, kProgressInterval, [&] { return working_ == 0; })) {
      if (options_.cancel.requested()) stop_from(0);
      lock.unlock();
      progress(done_, total);
      lock.lock();
    }
  }
  [[nodiscard]] const std::vector<StretchOutcome>& outcomes() const { return outcomes_; }

 private:
  void work() {
    while (true) {
      std::size_t mine = 0;
      {
        const std::lock_guard lock(mutex_);
        if (next_ >= stretches_.size() || next_ > first_failed_ || stops_[next_]) {
          if (--working_ == 0) idle_.notify_all();
          return;
        }
        mine = next_++;
      }
      StretchOutcome outcome;
      try {
        StretchCheck check(reader_, digests_, stretches_[mine], options_, stops_[mine], done_);
        outcome = check.check();
      } catch (...) {
        outcome.error = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      if (outcome.error != nullptr) {
        first_failed_ = std::min(first_failed_, mine);
        stop_from(first_failed_ + 1);
      }
      outcomes_[mine] = std::move(outcome);
    }
  }

  /// What comes after the earliest failure need not be known.
  void stop_from(std::size_t first) {
    for (std::size_t n = first; n < stops_.size(); ++n) stops_[n] = true;
  }

  const RecordingReader& reader_;
  const VerifyOptions& options_;
  const std::map<Position, Hash128> digests_;
  const std::vector<Stretch> stretches_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<StretchOutcome> outcomes_;
  std::vector<std::atomic<bool>> stops_;
  std::size_t next_ = 0;
  std::size_t first_failed_;
  unsigned working_ = 0;
  std::atomic<std::uint64_t> done_{0};
};

}  // namespace

VerifyOutcome verify_recording(const RecordingReader& reader, const VerifyOptions& options,
                               const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  const Position end = std::min(options.to, reader.usable_to());
  const std::vector<Stretch> all = plan(reader, options, end);
  std::vector<Stretch> stretches = own_of(all, options.shard);
  VerifyOutcome outcome;
  outcome.from = all.front().begin;
  outcome.to = outcome.from;
  outcome.stretches = stretches.size();
  // There may be fewer checkpoints than shards.
  if (stretches.empty()) return outcome;
  const bool has_last = stretches.back().is_last;
  Crew crew(reader, options, std::move(stretches));
  crew.run(std::clamp(options.jobs, 1U, kMostJobs), progress);
  for (const StretchOutcome& stretch : crew.outcomes()) {
    if (stretch.error != nullptr) std::rethrow_exception(stretch.error);
    outcome.digests_checked += stretch.digests_checked;
    outcome.checkpoints_checked += stretch.checkpoints_checked;
    if (!stretch.finished) {
      outcome.interrupted = true;
      outcome.to = std::max(outcome.to, stretch.reached);
      break;
    }
    outcome.to = stretch.reached;
    outcome.digest = stretch.digest;
  }
  outcome.has_end = has_last && !outcome.interrupted;
  return outcome;
}

}  // namespace chronovisor
