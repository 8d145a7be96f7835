// Owns the running of one guest on two machines step by step, one of them with
// an engine to be checked, and the finding of the first difference between
// them in a register, a flag or a byte of memory. Knows no console and no
// files. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vmm/machine/machine.h"

namespace chronovisor::kvm {

struct FieldValue {
  std::string name;
  std::string left;   ///< of the first machine
  std::string right;  ///< of the second
};

/// The first place where the machines differ.
struct StepDifference {
  Moment before;          ///< of both machines, when they agreed last
  std::uint64_t rip = 0;  ///< of the step that made the difference
  std::uint64_t linear_rip = 0;
  unsigned code_bits = 64;                ///< 16, 32 or 64: how to disassemble
  std::vector<std::uint8_t> instruction;  ///< bytes at RIP
  std::vector<FieldValue> fields;
};

struct LockStepOutcome {
  std::uint64_t events = 0;  ///< steps and deliveries compared
  Moment end;
  Ending ending;  ///< of the first machine
  std::optional<StepDifference> difference;
};

/// Every register and flag in which two processors differ.
[[nodiscard]] std::vector<FieldValue> compare_processors(const Cpu& left, const Cpu& right);

/// Runs both machines, which must be at the same place, until they differ, the
/// guest ends, or `limit`. `progress` is called now and then.
LockStepOutcome run_in_lock_step(Machine& left, Machine& right, Position limit,
                                 const std::function<bool(Position)>& go_on);

}  // namespace chronovisor::kvm
