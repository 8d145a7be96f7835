#include "timetravel/verify.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <iterator>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "timetravel/recorded_digests.h"
#include "timetravel/state_difference.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 10'000'000;
constexpr unsigned kMostJobs = 256;
/// Stretches of a shard: so many that each has several, however many jobs it has.
constexpr std::size_t kStretchesPerShard = 4;
constexpr auto kProgressInterval = std::chrono::milliseconds(100);

struct StretchOutcome {
  Position reached;
  Hash128 digest;
  std::uint64_t digests_checked = 0;
  std::uint64_t checkpoints_checked = 0;
  bool finished = false;
  bool interrupted = false;
  std::exception_ptr error;
};

/// A part of the recording that one machine runs through. All but `from`, `begin` and what
/// is atomic needs the crew's lock.
struct Stretch {
  std::optional<Position> from;  ///< as in ReplayOptions
  Position begin;
  Position end;
  bool taken = false;
  Position target{};  ///< where the machine is or runs to
  std::atomic<bool> stop{false};
  StretchOutcome outcome{};
};

/// By their beginnings; a stretch never moves. What lies between those of a shard is others'.
using Stretches = std::map<Position, Stretch>;

Stretch& add_stretch(Stretches& stretches, std::optional<Position> from, Position begin,
                     Position end) {
  Stretch& stretch = stretches[begin];
  stretch.from = from;
  stretch.begin = stretch.target = begin;
  stretch.end = end;
  return stretch;
}

/// Where machines can be put within a stretch, past `after`.
std::vector<Position> cuts_within(const RecordingReader& reader, Position after, Position end) {
  std::vector<Position> cuts;
  for (const CheckpointInfo& info : reader.checkpoints()) {
    if (info.position > after && info.position < end) cuts.push_back(info.position);
  }
  return cuts;
}

/// One stretch a job, of about as many checkpoints: those are taken by steps and by time. All
/// shards of a recording have to cut it at the same places, whatever jobs they have.
Stretches plan(const RecordingReader& reader, const VerifyOptions& options, Position end) {
  Position begin = reader.start();
  if (options.from) {
    const std::optional<std::size_t> checkpoint = reader.checkpoint_before(*options.from);
    if (!checkpoint) {
      throw Error(ErrorCode::bad_input, reader.name() + ": no checkpoint at or before position " +
                                            grouped(options.from->steps));
    }
    begin = reader.checkpoints()[*checkpoint].position;
  }
  Stretches stretches;
  Stretch* last = &add_stretch(stretches, options.from, begin, std::max(begin, end));
  const std::vector<Position> cuts = cuts_within(reader, begin, end);
  const std::size_t wanted = std::min<std::size_t>(
      cuts.size() + 1, options.shard.of > 1 ? options.shard.of * kStretchesPerShard
                                            : std::clamp(options.jobs, 1U, kMostJobs));
  for (std::size_t n = 1; n < wanted; ++n) {
    const Position cut = cuts[n * cuts.size() / wanted];
    if (cut <= last->begin) continue;
    last->end = cut;
    last = &add_stretch(stretches, cut, cut, end);
  }
  return stretches;
}

/// Those that a shard is to check.
Stretches own_of(Stretches all, const Shard& shard) {
  std::size_t number = 0;
  for (auto it = all.begin(); it != all.end(); ++number) {
    it = shard.takes(number) ? std::next(it) : all.erase(it);
  }
  return all;
}

std::uint64_t steps_of(const Stretches& stretches) {
  std::uint64_t steps = 0;
  for (const auto& [begin, stretch] : stretches) steps += stretch.end.steps - begin.steps;
  return steps;
}

/// Which stored contents were read and found sound, by any thread.
class SoundContents {
 public:
  /// Of `pages`, by place, those with contents that nobody has asked for yet.
  [[nodiscard]] std::vector<PageRecord> not_read(std::vector<PageRecord> pages) {
    std::erase_if(pages, [](const PageRecord& page) { return !page.place; });
    std::ranges::sort(pages, {}, &PageRecord::place);
    const std::lock_guard lock(mutex_);
    std::erase_if(pages, [this](const PageRecord& page) {
      const std::size_t place = *page.place;
      if (place >= asked_.size()) asked_.resize(place + 1 + place / 2);
      const bool was_asked = asked_[place];
      asked_[place] = true;
      return was_asked;
    });
    return pages;
  }

 private:
  std::mutex mutex_;
  std::vector<bool> asked_;  ///< by place
};

/// What the threads of one verification share.
struct Shared {
  Shared(const RecordingReader& recording, const VerifyOptions& how, Position until)
      : reader(recording), options(how), end(until), digests(recording) {}

  const RecordingReader& reader;
  const VerifyOptions& options;
  const Position end;
  const RecordedDigests digests;
  SoundContents sound;
  std::atomic<std::uint64_t> done{0};  ///< steps
};

/// Replays one stretch and checks what is recorded in it.
class StretchCheck {
 public:
  /// Says how far the machine at `here` is to run; `here` itself: the stretch is done.
  using NextTarget = std::function<Position(Position here, Position wanted)>;

  StretchCheck(Shared& shared, const Stretch& stretch, ReplayRun& run, NextTarget next_target)
      : reader_(shared.reader),
        shared_(shared),
        stretch_(stretch),
        run_(run),
        next_target_(std::move(next_target)) {}

  StretchOutcome check() {
    StretchOutcome outcome;
    while (true) {
      const Position here = run_.position();
      outcome.reached = here;
      check_digest(here, outcome);
      check_checkpoint(here, outcome);
      Position wanted{here.steps + kSliceSteps};
      if (const auto digest = shared_.digests.next_after(here)) wanted = std::min(wanted, *digest);
      const Position next = next_target_(here, wanted);
      if (next <= here) break;
      const ReplayRun::Arrival arrival = run_.run_to(next, stretch_.stop);
      shared_.done += run_.position().steps - here.steps;
      if (arrival == ReplayRun::Arrival::interrupted) {
        outcome.interrupted = true;
        return outcome;
      }
      if (arrival != ReplayRun::Arrival::arrived) {
        diverged("which goes on to position " + grouped(shared_.end.steps) + ": " + run_.trouble(),
                 next);
      }
    }
    if (outcome.reached == reader_.usable_to()) check_end(outcome);
    if (outcome.interrupted) return outcome;
    outcome.digest = run_.machine().digest();
    outcome.finished = true;
    return outcome;
  }

 private:
  /// The machine was put here; the stretch before checks what is recorded of this place.
  [[nodiscard]] bool checked_before(Position here) const {
    return here == stretch_.begin && stretch_.from != shared_.options.from;
  }

  [[noreturn]] void diverged(const std::string& how, Position where) const {
    throw DivergenceError(reader_.name() + ": the replay differs from the recording, " + how, where,
                          stretch_.from);
  }

  void check_digest(Position here, StretchOutcome& outcome) {
    const std::optional<Hash128> recorded = shared_.digests.at(here);
    if (!recorded) return;
    const Hash128 digest = run_.machine().digest();
    if (digest != *recorded) {
      diverged("at position " + grouped(here.steps) + ": digest " + digest.hex() + ", recorded " +
                   recorded->hex(),
               here);
    }
    if (!checked_before(here)) ++outcome.digests_checked;
  }

  /// A run that ended within a position did so in a state that no digest on arrival is of.
  void check_end(StretchOutcome& outcome) {
    const std::optional<RecordedEndState>& end = shared_.options.end_state;
    if (!end || shared_.digests.at(outcome.reached)) return;
    switch (run_.run_out(end->idle_ns, stretch_.stop)) {
      case ReplayRun::Arrival::ended:
        break;
      case ReplayRun::Arrival::interrupted:
        outcome.interrupted = true;
        return;
      case ReplayRun::Arrival::arrived:
      case ReplayRun::Arrival::off_track:
        diverged("which ends at position " + grouped(outcome.reached.steps) + ": " + run_.trouble(),
                 outcome.reached);
    }
    const Hash128 digest = run_.machine().digest();
    if (digest == end->digest) {
      ++outcome.digests_checked;
      return;
    }
    diverged("in its last state, at position " + grouped(outcome.reached.steps) + ": digest " +
                 digest.hex() + ", recorded " + end->digest.hex(),
             outcome.reached);
  }

  /// The digest says that the machine is right; this says that the checkpoint
  /// holds that same machine, whole.
  void check_checkpoint(Position here, StretchOutcome& outcome) {
    const std::optional<std::size_t> checkpoint = reader_.checkpoint_before(here);
    if (!checkpoint || reader_.checkpoints()[*checkpoint].position != here) return;
    if (!shared_.digests.at(here) || checked_before(here)) return;
    if (recorded_) {
      recorded_->move_to(*checkpoint);
    } else {
      recorded_.emplace(reader_, *checkpoint);
    }
    RecordedState& recorded = *recorded_;
    LiveState live(run_.machine());
    std::array<std::uint8_t, kPageSize> content{};
    for (const PageRecord& page : shared_.sound.not_read(reader_.page_delta(*checkpoint))) {
      reader_.read_page(page.content, content, page.place);  // throws when it is damaged
    }
    if (!same_pages(live.pages(), recorded.pages()) || live.sections() != recorded.sections()) {
      diverged("at position " + grouped(here.steps) +
                   ": the checkpoint there holds another state than its digest says",
               here);
    }
    ++outcome.checkpoints_checked;
  }

  static bool same_pages(const PageMap& left, const PageMap& right) {
    if (left.page_count() != right.page_count()) return false;
    bool same = true;
    left.for_each_difference(right, [&](std::uint64_t /*page*/) { same = false; });
    return same;
  }

  const RecordingReader& reader_;
  Shared& shared_;
  const Stretch& stretch_;
  ReplayRun& run_;
  NextTarget next_target_;
  std::optional<RecordedState> recorded_;  ///< the latest checkpoint passed
};

/// Gives stretches to threads, the earliest first; then halves of those that are left.
class Crew {
 public:
  Crew(const RecordingReader& reader, const VerifyOptions& options, Stretches stretches)
      : shared_(reader, options, stretches.rbegin()->second.end),
        stretches_(std::move(stretches)) {}

  void run(unsigned jobs, const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    const std::uint64_t total = steps_of(stretches_);
    if (shared_.options.cancel.requested()) cancel();
    std::vector<std::jthread> threads;
    working_ = jobs;
    for (unsigned n = jobs; n > 0; --n) threads.emplace_back([this] { work(); });
    std::unique_lock lock(mutex_);
    while (!idle_.wait_for(lock, kProgressInterval, [&] { return working_ == 0; })) {
      if (shared_.options.cancel.requested()) cancel();
      lock.unlock();
      progress(shared_.done, total);
      lock.lock();
    }
  }
  [[nodiscard]] const Stretches& stretches() const { return stretches_; }

 private:
  void work() {
    std::optional<ReplayRun> run;
    std::unique_lock lock(mutex_);
    while (Stretch* const mine = next()) {
      mine->taken = true;
      lock.unlock();
      StretchOutcome outcome;
      try {
        outcome = check(*mine, run);
      } catch (...) {
        outcome.error = std::current_exception();
        run.reset();
      }
      lock.lock();
      mine->outcome = std::move(outcome);
      if (mine->outcome.error != nullptr) stop_from(*mine);
    }
    if (--working_ == 0) idle_.notify_all();
  }

  StretchOutcome check(Stretch& mine, std::optional<ReplayRun>& run) {
    const VerifyOptions& options = shared_.options;
    if (run && mine.from && !options.prepare) {
      run->restart(*mine.from, options.tamper);
    } else {
      run.emplace(shared_.reader, mine.from, options.tamper);
      if (options.prepare) options.prepare(run->machine());
    }
    StretchCheck stretch(shared_, mine, *run, [&](Position here, Position wanted) {
      const std::lock_guard lock(mutex_);
      mine.target = std::max(here, std::min(wanted, mine.end));
      return mine.target;
    });
    return stretch.check();
  }

  // All of these need the lock.

  /// A stretch that nobody has taken; null: nothing is left to do.
  [[nodiscard]] Stretch* next() {
    if (cancelled_) return nullptr;
    for (auto& [begin, stretch] : stretches_) {
      if (!stretch.taken && !stretch.stop) return &stretch;
    }
    return divide();
  }

  /// Takes half of the stretch that has most steps left, by checkpoints.
  [[nodiscard]] Stretch* divide() {
    const auto left = [](const Stretch& stretch) {
      return stretch.stop ? 0 : stretch.end.steps - stretch.target.steps;
    };
    Stretch* longest = nullptr;
    for (auto& [begin, stretch] : stretches_) {
      if (longest == nullptr || left(stretch) > left(*longest)) longest = &stretch;
    }
    if (left(*longest) < std::max<std::uint64_t>(shared_.options.least_divided_steps, 2)) {
      return nullptr;
    }
    const std::vector<Position> cuts = cuts_within(shared_.reader, longest->target, longest->end);
    if (cuts.empty()) return nullptr;
    const Position cut = cuts[cuts.size() / 2];
    Stretch& half = add_stretch(stretches_, cut, cut, longest->end);
    longest->end = cut;
    return &half;
  }

  /// What comes after the earliest failure need not be known.
  void stop_from(const Stretch& failed) {
    for (auto it = stretches_.find(failed.begin); it != stretches_.end(); ++it) {
      it->second.stop = true;
    }
  }
  void cancel() {
    cancelled_ = true;
    for (auto& [begin, stretch] : stretches_) stretch.stop = true;
  }

  Shared shared_;
  Stretches stretches_;
  std::mutex mutex_;
  std::condition_variable idle_;
  unsigned working_ = 0;
  bool cancelled_ = false;
};

}  // namespace

VerifyOutcome verify_recording(const RecordingReader& reader, const VerifyOptions& options,
                               const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  const Position end = std::min(options.to, reader.usable_to());
  Stretches all = plan(reader, options, end);
  VerifyOutcome outcome;
  outcome.from = outcome.to = all.begin()->first;
  const Position last = all.rbegin()->first;
  Stretches own = own_of(std::move(all), options.shard);
  // There may be fewer checkpoints than shards.
  if (own.empty()) return outcome;
  const bool has_last = own.contains(last);
  Crew crew(reader, options, std::move(own));
  crew.run(std::clamp(options.jobs, 1U, kMostJobs), progress);
  const Stretches& stretches = crew.stretches();
  outcome.stretches = stretches.size();
  for (const auto& [begin, stretch] : stretches) {
    const StretchOutcome& part = stretch.outcome;
    if (part.error != nullptr) std::rethrow_exception(part.error);
    outcome.digests_checked += part.digests_checked;
    outcome.checkpoints_checked += part.checkpoints_checked;
    if (!part.finished) {
      outcome.interrupted = true;
      outcome.to = std::max(outcome.to, part.reached);
      break;
    }
    outcome.to = part.reached;
    outcome.digest = part.digest;
  }
  outcome.has_end = has_last && !outcome.interrupted;
  return outcome;
}

}  // namespace chronovisor
