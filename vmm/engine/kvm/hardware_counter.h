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

#include "vmm/cpu/counted_place.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor::kvm {

using chronovisor::CountedPlace;
using chronovisor::CounterTrust;

/// A guest that runs under counters. Counts start at 0 after restart_counts().
/// What the host executes in the guest's stead at an exit counts as retired.
class CountedGuest {
 public:
  virtual ~CountedGuest() = default;
  virtual void restart_counts() = 0;
  [[nodiscard]] virtual CountedPlace place() const = 0;
  /// Runs until the branch counter overflows after `branches` more, and some
  /// way beyond (skid); or until the host interrupts, with no overflow seen: both
  /// are CpuStop::budget. Otherwise what the guest did that ended it: `recheck` (it
  /// touched a device), `halted` or `shutdown`.
  virtual CpuStop run_about(std::uint64_t branches) = 0;
  /// Executes one instruction, or one iteration of a REP instruction.
  /// @return as run_about()
  virtual CpuStop step() = 0;
  /// The instruction at RIP is a branch to itself: its turns differ in nothing
  /// but the counts.
  [[nodiscard]] virtual bool spins_in_place() const = 0;
  /// Nothing was delivered since the latest instruction or iteration retired.
  [[nodiscard]] virtual bool on_arrival() const = 0;
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

/// Judges counts taken at one and the same place in many runs.
[[nodiscard]] CounterTrust judge_counters(std::span<const CountedPlace> measured,
                                          const CountedPlace& truth);

/// Whether an event may be recorded where `guest` is: nothing else that it can be
/// taken for lies between the same counts. With exact instructions that is
/// everywhere but in the turns of a branch to itself. With exact branches alone a
/// loop without a conditional branch could pass the place many times, so it must
/// be the first place behind one: `behind_branch` says that it is.
[[nodiscard]] bool recordable_here(const CountedGuest& guest, const CounterTrust& trust,
                                   bool behind_branch);
/// Steps `guest` to where an event may be recorded: here, or the first such place
/// from here on.
/// @return nothing when there is none within the limits, or something else ends
/// a step before: no event can be recorded
[[nodiscard]] std::optional<CountedPlace> recordable_place(CountedGuest& guest,
                                                           const CounterTrust& trust,
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
  /// What a CountedEngine over this host's counters may rely on: branches alone, as
  /// no instruction that exits to the host is a conditional branch.
  [[nodiscard]] CounterTrust trust() const { return {usable(), false}; }
};

/// Opens the counter and counts 100 runs of a loop of known length in a guest.
[[nodiscard]] CounterReport test_hardware_counter(bool kvm_usable,
                                                  const std::string& device = "/dev/kvm");

}  // namespace chronovisor::kvm
