// Owns finding a place in a guest's run by the host's performance counters:
// run freely until shortly before it, then step to it exactly. The counters
// and the guest stand behind CountedGuest, so that the search can be tested
// against counters that skid, over-count and lose overflows. Not yet run on
// hardware: no host with such a counter was at hand. One thread a guest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace chronovisor::kvm {

/// A place in a run, as far as counters and registers can tell. Between two
/// places that agree in all of this nothing that executes can tell either, but
/// for memory that a spinning loop only reads.
struct CountedPlace {
  std::uint64_t branches = 0;      ///< retired conditional branches since the last event
  std::uint64_t instructions = 0;  ///< retired instructions since then: guards the first count
  std::uint64_t rip = 0;
  std::uint64_t rcx = 0;        ///< tells the iterations of a REP instruction apart
  std::uint64_t registers = 0;  ///< hash of all general registers and flags
  bool operator==(const CountedPlace&) const = default;
};

/// A guest that runs under counters. Counts start at 0 after restart_counts().
class CountedGuest {
 public:
  virtual ~CountedGuest() = default;
  virtual void restart_counts() = 0;
  [[nodiscard]] virtual CountedPlace place() const = 0;
  /// Runs until the branch counter overflows after `branches` more, and some
  /// way beyond (skid); or until the host interrupts, with no overflow seen.
  virtual void run_about(std::uint64_t branches) = 0;
  /// Executes one instruction, or one iteration of a REP instruction.
  virtual void step() = 0;
  /// The instruction at RIP is a branch to itself: its turns differ in nothing
  /// but the counts.
  [[nodiscard]] virtual bool spins_in_place() const = 0;
};

enum class Arrival : std::uint8_t {
  exact,      ///< the guest is at the place
  overshot,   ///< it ran past: go back to a checkpoint and use a wider margin
  not_there,  ///< it was stepped past the count without meeting the place: the
              ///< counts of the recording, or of this run, are not to be trusted
};

struct SearchLimits {
  std::uint64_t margin_branches = 128;   ///< stop this early, for the skid
  std::uint64_t most_steps = 1'000'000;  ///< between two conditional branches
};

/// Which of the two counts a host's self-test found exact.
struct CounterTrust {
  bool branches_exact = false;
  bool instructions_exact = false;
  /// Either one is enough. With exact instructions a place that matches is the
  /// place, whatever the branches say; with exact branches the place lies
  /// between two known branches, where RIP, RCX and the registers tell it.
  /// When both can be wrong a loop can hide one error behind the other, and
  /// counting by hardware is refused.
  [[nodiscard]] bool usable() const { return branches_exact || instructions_exact; }
};
/// Judges counts taken at one and the same place in many runs.
[[nodiscard]] CounterTrust judge_counters(std::span<const CountedPlace> measured,
                                          const CountedPlace& truth);

/// Where an event may be recorded: here, or the first place from here on that
/// is not one of the turns of a branch to itself.
/// @return nothing when the guest spins in place: no event can be recorded
[[nodiscard]] std::optional<CountedPlace> recordable_place(CountedGuest& guest,
                                                           const SearchLimits& limits);

/// Brings `guest` to `target`, whose counts are since the same restart.
[[nodiscard]] Arrival run_to_place(CountedGuest& guest, const CountedPlace& target,
                                   const SearchLimits& limits);

/// What was found out about this host's counters.
struct CounterReport {
  bool present = false;        ///< the guest-only events could be opened
  bool deterministic = false;  ///< every run of the known loop gave the true count
  unsigned runs = 0;
  std::string problem;  ///< why it cannot be used
  std::string remedy;
  /// Counting by hardware refuses to be used otherwise.
  [[nodiscard]] bool usable() const { return present && deterministic; }
};

/// Opens the counter and counts 100 runs of a loop of known length in a guest.
[[nodiscard]] CounterReport test_hardware_counter(bool kvm_usable,
                                                  const std::string& device = "/dev/kvm");

}  // namespace chronovisor::kvm
