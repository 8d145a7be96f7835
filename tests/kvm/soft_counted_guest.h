// Owns a counted guest that the soft processor executes, under counters that can
// skid, over-count at the host's interrupts and lose overflows. What they do wrong
// is a pure function of a seed. One thread, the machine's.
#pragma once

#include <array>
#include <cstdint>

#include "tests/oracle/random.h"
#include "vmm/engine/kvm/hardware_counter.h"
#include "vmm/machine/machine.h"

namespace chronovisor::test {

/// What the counters do wrong.
struct CounterFaults {
  std::uint64_t most_skid = 0;        ///< branches beyond the overflow
  unsigned loses_percent = 0;         ///< of overflows that are never seen
  unsigned extra_branch_percent = 0;  ///< of the host's interrupts that count one too many
  unsigned extra_instruction_percent = 0;
  bool hides_deliveries = false;  ///< the guest stands in a handler, and nothing tells why
};

class SoftCountedGuest final : public kvm::CountedGuest {
 public:
  SoftCountedGuest(Machine& machine, Cpu& cpu, const CounterFaults& faults, std::uint64_t seed)
      : machine_(machine), cpu_(cpu), faults_(faults), random_(seed, 11) {
    cpu_.set_retired_counts(&counts_);
  }
  ~SoftCountedGuest() override { cpu_.set_retired_counts(nullptr); }
  SoftCountedGuest(const SoftCountedGuest&) = delete;
  SoftCountedGuest& operator=(const SoftCountedGuest&) = delete;

  void restart_counts() override {
    counts_ = {};
    extra_branches_ = extra_instructions_ = 0;
  }
  [[nodiscard]] CountedPlace place() const override {
    CountedPlace place = place_of(cpu_, counts_);
    place.branches += extra_branches_;
    place.instructions += extra_instructions_;
    return place;
  }
  CpuStop run_about(std::uint64_t branches) override {
    const bool lost = random_.chance(faults_.loses_percent);
    const std::uint64_t about = 1 + random_.below(2 * branches);
    counts_.careful_from_branches =
        counts_.branches +
        (lost ? 8 * about
              : about + (faults_.most_skid == 0 ? 0 : random_.below(faults_.most_skid)));
    // The host's timer ends a run whose overflow is not seen.
    const Position timer{cpu_.position().steps + 200 + random_.below(40 * branches)};
    const CpuStop stop = cpu_.run(timer, 0);
    counts_.careful_from_branches = kNever;
    host_interrupt();
    return told(stop);
  }
  CpuStop step() override { return told(cpu_.run({cpu_.position().steps + 1}, 0)); }
  [[nodiscard]] bool spins_in_place() const override {
    const std::uint64_t linear = cpu_.state.gpr[kGprRip] + cpu_.state.segment[kCs].base;
    std::array<std::uint8_t, 2> code{};
    const auto physical = cpu_.translate_for_debugger({linear});
    if (!physical || machine_.ram().read(*physical, code) != code.size()) return false;
    const bool branch = code[0] == 0xeb || (code[0] & 0xf0) == 0x70 || (code[0] & 0xfc) == 0xe0;
    return branch && code[1] == 0xfe && code[0] != 0xe2;  // LOOP changes RCX
  }
  [[nodiscard]] bool on_arrival() const override {
    return faults_.hides_deliveries || cpu_.deliveries() == 0;
  }
  /// Extra counts since the latest restart: tests look at it, the engine cannot.
  [[nodiscard]] bool miscounted() const { return extra_branches_ + extra_instructions_ != 0; }

 private:
  /// The counts end a run as a device does, and a device may be touched on arrival.
  [[nodiscard]] CpuStop told(CpuStop stop) const {
    if (stop != CpuStop::recheck && stop != CpuStop::budget) return stop;
    return cpu_.recheck_requested() ? CpuStop::recheck : CpuStop::budget;
  }
  void host_interrupt() {
    if (random_.chance(faults_.extra_branch_percent)) ++extra_branches_;
    if (random_.chance(faults_.extra_instruction_percent)) ++extra_instructions_;
  }

  Machine& machine_;
  Cpu& cpu_;
  CounterFaults faults_;
  oracle::Random random_;
  RetiredCounts counts_;
  std::uint64_t extra_branches_ = 0, extra_instructions_ = 0;
};

}  // namespace chronovisor::test
