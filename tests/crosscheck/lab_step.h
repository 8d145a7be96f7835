// Owns the reading of one step that the two processors made differently: its
// exceptions, the frames in memory, its operands. Knows no causes. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/engine/kvm/lock_step.h"
#include "vmm/memory/ram.h"

namespace chronovisor::crosscheck {

/// One step as both processors made it.
struct LabStep {
  const std::string& name;  ///< of the instruction's row
  const Instruction& instruction;
  const std::vector<kvm::FieldValue>& fields;  ///< that differ
  const CpuState& before;
  unsigned cpl_before = 0;
  std::uint64_t operand_offset = 0;  ///< of the memory operand, before it
  const Cpu& left;                   ///< after it
  const Ram& memory;                 ///< of the left one, after it
  std::uint64_t right_rip = 0;       ///< behind a handler's HLT, where `right_halted`
  bool right_halted = false;
  bool right_shut_down = false;
};

constexpr const char* kLaterDoubleFault =
    "a fault in the delivery of #PF or of an injected exception is not a double fault";
constexpr const char* kPointerAccessed = "PAE page-directory pointers get an A bit";
constexpr const char* kNullLdt = "LLDT of a null selector keeps the attributes";
constexpr const char* kStackUntried = "ENTER does not try the stack it leaves";

/// A field's value; 0 for one that is not a number.
[[nodiscard]] std::uint64_t number(const std::string& text);
/// Where a memory field lies; everything else lies nowhere.
[[nodiscard]] std::optional<std::uint64_t> place_of(const kvm::FieldValue& field);
[[nodiscard]] bool all(const LabStep& step,
                       const std::function<bool(const kvm::FieldValue&)>& test);
[[nodiscard]] bool long_active(const LabStep& step);
[[nodiscard]] bool long_code(const LabStep& step);
[[nodiscard]] bool protected_mode(const LabStep& step);
/// Before the step or after it.
[[nodiscard]] bool paged(const LabStep& step);
[[nodiscard]] bool delivered(const LabStep& step);
/// A number of `size` bytes in the left one's memory; zeros where none is mapped.
[[nodiscard]] std::uint64_t left_number(const LabStep& step, std::uint64_t linear, unsigned size);
/// The same number on the right: what differs is in the fields.
[[nodiscard]] std::uint64_t right_number(const LabStep& step, std::uint64_t linear, unsigned size);
/// Where a gate leads, by the table that was in force before the step.
[[nodiscard]] std::uint64_t gate_target(const LabStep& step, unsigned vector);
/// The vector whose gate leads to `rip`; 8 where it is one of several.
[[nodiscard]] std::optional<unsigned> vector_of(const LabStep& step, std::uint64_t rip);
/// The vector whose handler the left one entered, by a fault or by INT.
[[nodiscard]] std::optional<unsigned> left_vector(const LabStep& step);
[[nodiscard]] std::optional<unsigned> right_vector(const LabStep& step);
/// The linear address of byte `n` of the frame that the left one pushed.
[[nodiscard]] std::uint64_t frame_linear(const LabStep& step, std::uint64_t n);
/// Whether a field is one of the frame's bytes from `first` on.
[[nodiscard]] bool in_frame(const LabStep& step, const kvm::FieldValue& field, unsigned first,
                            unsigned size);
/// Bytes of one word of the left one's frame.
[[nodiscard]] unsigned frame_word(const LabStep& step, unsigned vector);
[[nodiscard]] bool has_error_code(unsigned vector);
/// The right one executed it, where the left one found a fault.
[[nodiscard]] bool right_retired(const LabStep& step);
/// The linear address of the memory operand.
[[nodiscard]] std::uint64_t operand_linear(const LabStep& step);
[[nodiscard]] std::uint64_t operand(const LabStep& step, unsigned size);
[[nodiscard]] bool software_interrupt(const LabStep& step);
[[nodiscard]] bool uses_stack(const std::string& name);
[[nodiscard]] bool far_transfer(const LabStep& step);

}  // namespace chronovisor::crosscheck
