#include "timetravel/lockstep.h"

#include <algorithm>
#include <array>

namespace chronovisor {
namespace {

/// Positions compared in one pass over an interval.
constexpr std::uint64_t kProbes = 1024;
constexpr std::uint64_t kProgressSteps = 20'000'000;
constexpr std::size_t kMostCodeBytes = 15;

/// Both replays, at the same position.
class Pair {
 public:
  Pair(const ReplaySide& left, const ReplaySide& right, const SearchControl& control)
      : left_(left.reader, left.from, left.tamper),
        right_(right.reader, right.from, right.tamper),
        control_(control) {}

  /// Runs both on to `target`; a side that cannot arrive stays behind.
  void run_to(Position target) {
    left_arrival_ = run_side(left_, target, left_arrival_);
    right_arrival_ = run_side(right_, target, right_arrival_);
    control_.progress(target);
  }

  [[nodiscard]] bool equal() {
    if (left_arrival_ != right_arrival_) return false;
    if (left_arrival_ != ReplayRun::Arrival::arrived &&
        left_.machine().moment() != right_.machine().moment()) {
      return false;
    }
    return left_.machine().digest() == right_.machine().digest();
  }
  [[nodiscard]] Machine& left() { return left_.machine(); }
  [[nodiscard]] Machine& right() { return right_.machine(); }
  [[nodiscard]] const std::string& left_trouble() const { return left_.trouble(); }
  [[nodiscard]] const std::string& right_trouble() const { return right_.trouble(); }

 private:
  ReplayRun::Arrival run_side(ReplayRun& run, Position target, ReplayRun::Arrival before) {
    if (before != ReplayRun::Arrival::arrived) return before;
    ReplayRun::Arrival arrival = before;
    while (arrival == ReplayRun::Arrival::arrived && run.position() < target) {
      const Position next = std::min(target, Position{run.position().steps + kProgressSteps});
      arrival = run.run_to(next, control_.cancel);
      control_.progress(next);
    }
    if (arrival == ReplayRun::Arrival::interrupted) {
      throw Error(ErrorCode::host, "interrupted while looking for the first difference");
    }
    return arrival;
  }

  ReplayRun left_;
  ReplayRun right_;
  const SearchControl& control_;
  ReplayRun::Arrival left_arrival_ = ReplayRun::Arrival::arrived;
  ReplayRun::Arrival right_arrival_ = ReplayRun::Arrival::arrived;
};

FirstDifference difference_of(Pair& pair, Position last_equal, Position first_different,
                              CodePoint step) {
  FirstDifference found;
  found.last_equal = last_equal;
  found.first_different = first_different;
  found.step = std::move(step);
  found.left_trouble = pair.left_trouble();
  found.right_trouble = pair.right_trouble();
  LiveState left(pair.left());
  LiveState right(pair.right());
  found.difference = compare_states(left, right);
  return found;
}

/// The distance from one probe to the next.
std::uint64_t next_distance(SearchStride stride, std::uint64_t distance, std::uint64_t span) {
  if (stride == SearchStride::growing) return distance == 0 ? 1 : distance * 2;
  return std::max<std::uint64_t>(1, (span + kProbes - 1) / kProbes);
}

}  // namespace

Position ReplaySide::base() const {
  if (!from) return reader.start();
  const std::optional<std::size_t> checkpoint = reader.checkpoint_before(*from);
  return checkpoint ? reader.checkpoints()[*checkpoint].position : reader.start();
}

CodePoint code_point(Machine& machine) {
  const Cpu& cpu = machine.cpu();
  CodePoint point;
  point.rip = cpu.rip();
  const SegmentRegister& cs = cpu.state.segment[kCs];
  point.linear = cpu.long64() ? point.rip : static_cast<std::uint32_t>(point.rip + cs.base);
  point.bits = cpu.long64() ? 64 : (cs.big() ? 32 : 16);
  for (std::size_t i = 0; i < kMostCodeBytes; ++i) {
    const std::optional<GuestPhysical> address = cpu.translate_for_debugger({point.linear + i});
    std::array<std::uint8_t, 1> byte{};
    if (!address || machine.look(*address, byte) != 1) break;
    point.bytes.push_back(byte[0]);
  }
  return point;
}

std::optional<FirstDifference> find_first_difference(const ReplaySide& left,
                                                     const ReplaySide& right, Position from,
                                                     Position to, SearchStride stride,
                                                     const SearchControl& control) {
  Position low = from;
  Position high = to;
  bool first_pass = true;
  while (true) {
    Pair pair(left, right, control);
    pair.run_to(low);
    if (first_pass && !pair.equal()) {
      FirstDifference found = difference_of(pair, low, low, code_point(pair.left()));
      found.from_the_start = true;
      return found;
    }
    const std::uint64_t span = high.steps - low.steps;
    std::uint64_t distance = 0;
    bool differs = false;
    while (low < high) {
      distance = next_distance(stride, distance, span);
      const Position probe{std::min(high.steps, low.steps + std::min(distance, high.steps))};
      CodePoint step;
      if (probe.steps == low.steps + 1) step = code_point(pair.left());
      pair.run_to(probe);
      if (pair.equal()) {
        low = probe;
        continue;
      }
      if (probe.steps == low.steps + 1) return difference_of(pair, low, probe, std::move(step));
      high = probe;
      differs = true;
      break;
    }
    if (!differs) return std::nullopt;
    stride = SearchStride::even;
    first_pass = false;
  }
}

}  // namespace chronovisor
