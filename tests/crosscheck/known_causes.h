// Owns the rules by which a difference between the soft processor and KVM is
// known not to be the soft processor's fault: docs/KVM.md has the table. Pure
// functions of one step. Any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/engine/kvm/lock_step.h"

namespace chronovisor::crosscheck {

/// How this KVM delivers exceptions: see Capabilities::checks_gates.
enum class Exceptions : std::uint8_t { as_documented, own_way };

/// Whether SS's width is what the mode would have.
enum class StackKind : std::uint8_t { usual, odd };

/// A step as both processors left it: `before` is what both began with, `left`
/// the soft processor afterwards.
struct Observation {
  const std::string& name;  ///< of the instruction's row
  const std::vector<kvm::FieldValue>& fields;
  const std::vector<std::uint8_t>& bytes;  ///< of the instruction
  const CpuState& before;
  const Cpu& left;
  const Instruction& instruction;
  Exceptions exceptions;
  StackKind stack;
};

/// Why a difference is not the soft processor's fault: a defect of this KVM
/// that docs/KVM.md describes; empty when it is none of those.
[[nodiscard]] std::string known_cause(const Observation& step);

/// A two-byte opcode out of `opcodes`, behind whatever prefixes.
[[nodiscard]] bool escape_followed_by(const std::vector<std::uint8_t>& bytes,
                                      std::initializer_list<std::uint8_t> opcodes);

}  // namespace chronovisor::crosscheck
