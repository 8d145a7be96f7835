#include "timetravel/divergence.h"

#include <algorithm>
#include <vector>

#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSliceSteps = 20'000'000;

/// Runs to `target`. Throws Error{host} when cancelled.
bool arrives(ReplayRun& run, Position target, const SearchControl& control) {
  while (run.position() < target) {
    const Position next = std::min(target, Position{run.position().steps + kSliceSteps});
    const ReplayRun::Arrival arrival = run.run_to(next, control.cancel);
    if (arrival == ReplayRun::Arrival::interrupted) {
      throw Error(ErrorCode::host, "interrupted while explaining a divergence");
    }
    if (arrival != ReplayRun::Arrival::arrived) return false;
    control.progress(next);
  }
  return true;
}

/// Other ways to the same place, the nearest first.
std::vector<ReplaySide> other_ways(const RecordingReader& reader, const ReplaySide& side,
                                   Position at) {
  std::vector<ReplaySide> ways;
  if (at > reader.start() && reader.checkpoint_before({at.steps - 1})) {
    ways.push_back({reader, Position{at.steps - 1}, std::nullopt});
  }
  if (side.from || ways.empty()) ways.push_back({reader, std::nullopt, std::nullopt});
  return ways;
}

std::string way_name(const ReplaySide& side) {
  if (!side.from) return "the start";
  return "the checkpoint at position " + grouped(side.base().steps);
}

/// What is known when no other way gives the recorded state: the interval.
void compare_with_checkpoint(const RecordingReader& reader, const ReplaySide& side,
                             Divergence& divergence, const SearchControl& control) {
  ReplayRun run(reader, side.from, side.tamper);
  const bool arrived = arrives(run, divergence.first_different, control);
  divergence.code = code_point(run.machine());
  if (!arrived) {
    divergence.explanation =
        "the replay does not get there: " + run.trouble() + "; nor does it when begun elsewhere";
    return;
  }
  const std::optional<std::size_t> checkpoint =
      reader.checkpoint_before(divergence.first_different);
  if (!checkpoint || reader.checkpoints()[*checkpoint].position != divergence.first_different) {
    divergence.explanation =
        "the recording has a digest there but no state, and every way of replaying it here gives "
        "the same other state: the program that recorded it behaved differently";
    return;
  }
  LiveState replayed(run.machine());
  RecordedState recorded(reader, *checkpoint);
  divergence.difference = compare_states(replayed, recorded);
  divergence.state_compared = true;
  divergence.compared_at = divergence.first_different;
  divergence.explanation =
      divergence.difference.empty()
          ? "the recorded state equals the replayed one and only the recorded digest differs: it "
            "was "
            "made by another version of the program, or wrongly"
          : "every way of replaying it here gives the same other state: the program that recorded "
            "it behaved differently somewhere in this interval";
}

/// explain_divergence, but for what the recording's metadata may say of it.
Divergence find_divergence(const RecordingReader& reader, const ReplayOptions& how,
                           Position noticed, const SearchControl& control) {
  const std::map<Position, Hash128> digests = recorded_digests(reader);
  const ReplaySide side{reader, how.from, how.tamper};
  Divergence divergence;
  divergence.noticed = noticed;
  // A replay that stopped in the middle is compared at the next recorded digest.
  const auto next = digests.lower_bound(noticed);
  const Position at = next != digests.end() ? next->first : noticed;
  divergence.first_different = at;
  divergence.last_equal = side.base();
  if (next != digests.begin()) {
    divergence.last_equal = std::max(divergence.last_equal, std::prev(next)->first);
  }

  for (const ReplaySide& way : other_ways(reader, side, at)) {
    {
      ReplayRun run(reader, way.from);
      if (!arrives(run, at, control)) continue;
      if (next != digests.end() && run.machine().digest() != next->second) continue;
    }
    const Position from = std::max(side.base(), way.base());
    auto found =
        find_first_difference(side, way, std::min(from, at), at, SearchStride::even, control);
    if (!found) {
      divergence.recurred = false;
      divergence.explanation =
          "run again, the replay had the recorded state: the difference does not "
          "repeat, so look at the host's memory and at anything that is not "
          "deterministic in the program";
      return divergence;
    }
    divergence.exact = !found->from_the_start;
    divergence.last_equal = found->last_equal;
    divergence.first_different = found->first_different;
    divergence.code = std::move(found->step);
    divergence.difference = std::move(found->difference);
    divergence.state_compared = true;
    divergence.compared_at = found->first_different;
    divergence.explanation = "a replay from " + way_name(way) +
                             " has the recorded state; this one, from " + way_name(side) +
                             ", has not";
    if (!found->left_trouble.empty()) divergence.explanation += ": " + found->left_trouble;
    return divergence;
  }
  compare_with_checkpoint(reader, side, divergence, control);
  return divergence;
}

}  // namespace

Divergence explain_divergence(const RecordingReader& reader, const ReplayOptions& how,
                              Position noticed, const SearchControl& control) {
  Divergence divergence = find_divergence(reader, how, noticed, control);
  const std::uint32_t recorded = start_of(reader).machine.behaviour_version;
  if (divergence.recurred && recorded != kMachineBehaviourVersion) {
    divergence.explanation += "; the machine it was recorded on behaves as version " +
                              std::to_string(recorded) + ", this program's as version " +
                              std::to_string(kMachineBehaviourVersion) +
                              ": a correction made in between may be the cause, and the program "
                              "that recorded it can replay it";
  }
  return divergence;
}

}  // namespace chronovisor
