// Owns places in a run as a processor's performance counters tell them, the
// counts that the soft processor keeps while it looks for one, and which counts
// a host's self-test found exact. Knows no recording and no host. Values; any
// thread.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace chronovisor {

class Cpu;

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
  bool operator==(const CounterTrust&) const = default;
};

/// What the soft processor counts while it is told to (Cpu::set_retired_counts),
/// and from where on it comes back after every step. Exact between two steps.
struct RetiredCounts {
  /// Jcc, JrCXZ and LOOPcc that retired, taken or not.
  std::uint64_t branches = 0;
  /// Instructions that retired; a REP instruction counts once, with its last
  /// iteration, as processors count it.
  std::uint64_t instructions = 0;
  /// Once both are reached, every step and every delivery ends run() with
  /// CpuStop::recheck. The branches are met exactly; the instructions within a
  /// block, up to kBlock late.
  std::uint64_t careful_from_branches = kNever;
  std::uint64_t careful_from_instructions = 0;
  static constexpr std::uint64_t kBlock = 64;

  [[nodiscard]] bool careful() const {
    return branches >= careful_from_branches && instructions >= careful_from_instructions;
  }
};

/// Hash of the sixteen general registers and of the flags, but for AF, which the
/// manual leaves undefined too often, and RF and TF, which exits and steps set.
[[nodiscard]] std::uint64_t registers_hash(const Cpu& cpu);
/// Where the processor stands, by `counts`.
[[nodiscard]] CountedPlace place_of(const Cpu& cpu, const RetiredCounts& counts);

}  // namespace chronovisor
