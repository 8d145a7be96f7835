// Owns the decision which instructions the host may execute for the guest and
// which the soft processor executes in its place, so that a step leaves the
// same state whichever engine took it: by reading the instruction table (what may
// not depend on the host), and by a trial of each row in each mode where it is met
// (what this KVM steps exactly). Immutable after construction but for what KVM turned out not to
// emulate. One thread an object.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "vmm/cpu/code/instruction.h"
#include "vmm/engine/kvm/step_probe.h"

namespace chronovisor::kvm {

struct Capabilities;

enum class StepRule : std::uint8_t {
  host,            ///< KVM may step it
  host_clears_af,  ///< KVM may step it; AF, undefined, becomes 0 as on the soft processor
  soft,            ///< its result depends on the host or on time, or KVM steps it wrongly
};

class StepPolicy {
 public:
  explicit StepPolicy(const Capabilities& capabilities);
  /// @param bytes of the instruction, for prefixes that decoding forgets
  /// @param world where it executes; none: never on the host
  [[nodiscard]] StepRule rule(const Instruction& instruction, ByteView bytes,
                              std::optional<StepWorld> world = StepWorld::long64) const;
  /// What the table's reading says of a row, before any trial.
  [[nodiscard]] StepRule row_rule(std::uint16_t row) const { return rows_[row].rule; }
  /// KVM could not emulate the instruction, or did not stop behind it: others of its
  /// kind go to the soft processor.
  void learn_unsupported(const Instruction& instruction);

 private:
  struct RowRule {
    StepRule rule = StepRule::soft;
    bool unsupported_registers = false;
    bool unsupported_memory = false;
  };
  std::vector<RowRule> rows_;
  std::shared_ptr<const ExactSteps> exact_;  ///< null: no trial was made
};

/// Whether the row changes SSE or x87 registers, so that they must be exchanged.
[[nodiscard]] bool touches_vector_state(const Instruction& instruction);

}  // namespace chronovisor::kvm
