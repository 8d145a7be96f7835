#include "vmm/engine/kvm/hardware_counter.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/hash.h"
#include "tests/oracle/random.h"

namespace {

using namespace chronovisor;
using kvm::Arrival;
using kvm::CountedPlace;
using kvm::SearchLimits;
using oracle::Random;

enum class Overcounts { branches, instructions, both };

/// What a simulated counter does wrong.
struct Faults {
  std::uint64_t most_skid = 0;      ///< branches beyond the overflow
  unsigned overcounts_percent = 0;  ///< of host interrupts that count one branch too many
  unsigned loses_percent = 0;       ///< of overflows that are never seen
  Overcounts what = Overcounts::branches;
};

/// A program of nested loops whose registers change, with REP instructions and
/// spinning waits in which only the counts change; and two counters over it.
class SimulatedGuest final : public kvm::CountedGuest {
 public:
  SimulatedGuest(std::uint64_t program, const Faults& faults, std::uint64_t weather)
      : random_(program, 1), weather_(weather, 2), faults_(faults) {}

  /// The true position: tests look at it, the search cannot.
  [[nodiscard]] std::uint64_t truth() const { return steps_; }

  void restart_counts() override { branches_ = instructions_ = 0; }
  [[nodiscard]] CountedPlace place() const override {
    return {branches_, instructions_, rip_, rcx_, registers_};
  }
  CpuStop run_about(std::uint64_t branches) override {
    const bool lost = weather_.chance(faults_.loses_percent);
    // An overflow that is lost leaves the guest running until the host's timer.
    const std::uint64_t skid = faults_.most_skid == 0 ? 0 : weather_.below(faults_.most_skid + 1);
    const std::uint64_t target =
        branches_ + (lost ? weather_.below(4 * branches + 64) : branches + skid);
    while (branches_ < target) {
      step();
      if (weather_.below(4000) == 0) host_interrupt();
    }
    host_interrupt();
    return CpuStop::budget;
  }
  CpuStop step() override {
    retire();
    return CpuStop::budget;
  }
  [[nodiscard]] bool spins_in_place() const override { return rip_ == kSpin; }
  [[nodiscard]] bool on_arrival() const override { return true; }

 private:
  void retire() {
    ++steps_;
    ++instructions_;
    if (rip_ == kRep && rcx_ > 1) {
      --rcx_;
      --instructions_;  // hardware counts a REP instruction once
      return;
    }
    if (rip_ == kBranch) ++branches_;
    if (rip_ == kPoll) {
      rip_ = kPollBranch;
      return;
    }
    if (rip_ == kPollBranch) {
      ++branches_;
      if (--polls_ != 0) {
        rip_ = kPoll;
        return;
      }
    }
    if (rip_ == kSpin) {
      ++branches_;
      if (--spins_ != 0) {
        return;  // registers do not change
      }
    }
    advance();
  }
  static constexpr std::uint64_t kPoll = 1, kPollBranch = 2, kBranch = 4, kRep = 6, kSpin = 8;
  void host_interrupt() {
    if (!weather_.chance(faults_.overcounts_percent)) return;
    if (faults_.what != Overcounts::instructions) ++branches_;
    if (faults_.what != Overcounts::branches && weather_.chance(70)) ++instructions_;
  }
  void advance() {
    if (rip_ != kBranch || registers_ % 3 == 0) {
      rip_ = (rip_ + 1) % 10;
    } else {
      rip_ = 0;
    }
    registers_ = registers_ * 6364136223846793005ULL + 1442695040888963407ULL;
    if (rip_ == kRep) rcx_ = 1 + (registers_ >> 40) % 9;
    if (rip_ == kPoll) polls_ = 1 + (registers_ >> 35) % 50;
    if (rip_ == kSpin) spins_ = 1 + (registers_ >> 33) % 50;
  }

  Random random_;
  Random weather_;
  Faults faults_;
  std::uint64_t steps_ = 0, branches_ = 0, instructions_ = 0;
  std::uint64_t rip_ = 0, rcx_ = 0, registers_ = random_.bits();
  std::uint64_t spins_ = 0, polls_ = 0;
};

struct Score {
  unsigned exact = 0, said_no = 0, elsewhere = 0;
};

/// Records `count` interrupts at random places and looks for each again.
Score replay_interrupts(const Faults& recording, const Faults& replay, unsigned count,
                        std::uint64_t seed) {
  Score score;
  Random random(seed, 3);
  for (unsigned n = 0; n < count; ++n) {
    const std::uint64_t program = seed * 100'000 + n;
    SimulatedGuest recorded(program, recording, program + 7);
    recorded.restart_counts();
    if (random.chance(50)) recorded.run_about(1 + random.below(1500));
    for (std::uint64_t steps = random.below(600); steps != 0; --steps) recorded.step();
    const SearchLimits limits{128, 100'000};
    const std::optional<CountedPlace> place = kvm::recordable_place(recorded, {true, true}, limits);
    if (!place) {
      ++score.said_no;
      continue;
    }
    SimulatedGuest replayed(program, replay, program + 13);
    replayed.restart_counts();
    switch (kvm::run_to_place(replayed, *place, limits)) {
      case Arrival::exact:
        replayed.truth() == recorded.truth() ? ++score.exact : ++score.elsewhere;
        break;
      default:
        ++score.said_no;
        break;
    }
  }
  return score;
}

}  // namespace

TEST_CASE("with counters that only skid within the margin, every interrupt is found exactly") {
  const Score score = replay_interrupts({}, {100, 0, 0}, 10'000, 1);
  CHECK(score.exact == 10'000);
}

TEST_CASE("skid beyond the margin is said, never silently elsewhere") {
  const Score score = replay_interrupts({}, {600, 0, 0}, 10'000, 2);
  CHECK(score.elsewhere == 0);
  CHECK(score.said_no > 0);
  CHECK(score.exact > 0);
}

TEST_CASE("lost overflows are said or made good, never silently elsewhere") {
  const Score score = replay_interrupts({}, {100, 0, 30}, 10'000, 3);
  CHECK(score.elsewhere == 0);
  CHECK(score.exact > 2'000);
}

TEST_CASE("over-counting of either count, in either run, is said, never silently elsewhere") {
  std::uint64_t seed = 4;
  for (const Overcounts what : {Overcounts::branches, Overcounts::instructions}) {
    CAPTURE(static_cast<int>(what));
    const Score in_replay = replay_interrupts({}, {100, 50, 0, what}, 10'000, seed++);
    CHECK(in_replay.elsewhere == 0);
    CHECK(in_replay.exact > 0);
    CHECK(replay_interrupts({0, 50, 0, what}, {100, 0, 0, what}, 10'000, seed++).elsewhere == 0);
    CHECK(replay_interrupts({0, 30, 0, what}, {100, 30, 20, what}, 10'000, seed++).elsewhere == 0);
  }
}

TEST_CASE("the self-test trusts what is exact and refuses counters that are both wrong") {
  const auto judge = [](const Faults& faults) {
    std::vector<CountedPlace> measured;
    CountedPlace truth;
    for (std::uint64_t run = 0; run <= 100; ++run) {
      SimulatedGuest guest(5, run == 0 ? Faults{} : faults, run);
      guest.restart_counts();
      if (run != 0) guest.run_about(50);
      while (guest.truth() < 20'000) guest.step();
      if (run == 0) {
        truth = guest.place();
      } else {
        measured.push_back(guest.place());
      }
    }
    return kvm::judge_counters(measured, truth);
  };
  CHECK(judge({100, 0, 0}).branches_exact);
  CHECK(judge({100, 0, 20}).usable());
  const kvm::CounterTrust half = judge({100, 20, 0, Overcounts::branches});
  CHECK_FALSE(half.branches_exact);
  CHECK(half.instructions_exact);
  CHECK(half.usable());
  CHECK_FALSE(judge({100, 20, 0, Overcounts::both}).usable());
  CHECK_FALSE(kvm::judge_counters({}, {}).usable());
}

TEST_CASE("a counter that was not tested, or counted wrongly, is not usable") {
  kvm::CounterReport report;
  CHECK_FALSE(report.usable());
  report.present = true;
  CHECK_FALSE(report.usable());
  CHECK_FALSE(report.trust().usable());
  report.deterministic = true;
  CHECK(report.usable());
  CHECK(report.trust() == CounterTrust{true, false});
  CHECK_FALSE(kvm::test_hardware_counter(false).usable());
  CHECK_FALSE(kvm::test_hardware_counter(false).problem.empty());
}
