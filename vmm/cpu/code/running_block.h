// Owns where execution is: the block that runs, the instruction in it, and the
// steps that retired before. Plain data, kept by whoever executes (the
// interpreter, translated code) and read by all others; exact at every moment.
// One thread a machine.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"
#include "vmm/cpu/code/instruction.h"

namespace chronovisor {

struct RunningBlock {
  std::uint64_t steps = 0;       ///< retired before `begin`
  std::uint64_t iterations = 0;  ///< of the REP instruction at `current`
  const Instruction* begin = idle_instruction();
  const Instruction* current = idle_instruction();
  const Instruction* end = idle_instruction() + 1;  ///< execution stops before this one
  std::uint64_t rip = 0;                            ///< IP of `begin`
  /// Most iterations the REP instruction at the end of the block may do.
  std::uint64_t repeat_budget = 1;
  bool pause = false;  ///< something must be looked at after `current`

  /// Where `begin` and `current` point while no instruction executes.
  [[nodiscard]] static const Instruction* idle_instruction() {
    static constexpr std::array<Instruction, 2> kIdle{};
    return kIdle.data();
  }
  [[nodiscard]] bool idle() const { return current == idle_instruction(); }
  [[nodiscard]] Position position() const {
    return {steps + static_cast<std::uint64_t>(current - begin) + iterations};
  }
  /// IP of the instruction that executes.
  [[nodiscard]] std::uint64_t instruction_rip() const { return rip + current->start_offset; }
  /// Nothing executes any more; `steps` is set by the caller.
  void become_idle() {
    iterations = 0;
    begin = current = idle_instruction();
    end = current + 1;
  }
};

}  // namespace chronovisor
