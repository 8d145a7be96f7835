// Owns the decision which instructions the host may execute for the guest and
// which the soft processor executes in its place, so that a step leaves the
// same state whichever engine took it. Decided once a row of the instruction
// table. Immutable after construction but for what KVM turned out not to
// emulate. One thread an object.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "vmm/cpu/code/instruction.h"

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
  [[nodiscard]] StepRule rule(const Instruction& instruction, ByteView bytes) const;
  /// KVM could not emulate the instruction: others of its kind go to the soft processor.
  void learn_unsupported(const Instruction& instruction);

 private:
  struct RowRule {
    StepRule rule = StepRule::soft;
    bool unsupported_registers = false;
    bool unsupported_memory = false;
  };
  std::vector<RowRule> rows_;
};

/// Whether the row changes SSE or x87 registers, so that they must be exchanged.
[[nodiscard]] bool touches_vector_state(const Instruction& instruction);

}  // namespace chronovisor::kvm
