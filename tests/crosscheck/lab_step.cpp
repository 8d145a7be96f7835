#include "tests/crosscheck/lab_step.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "tests/crosscheck/world.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor::crosscheck {

std::uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 16); }

std::optional<std::uint64_t> place_of(const kvm::FieldValue& field) {
  constexpr std::string_view kMemory = "memory ";
  if (!field.name.starts_with(kMemory)) return std::nullopt;
  return number(field.name.substr(kMemory.size()));
}

bool all(const LabStep& step, const std::function<bool(const kvm::FieldValue&)>& test) {
  return std::all_of(step.fields.begin(), step.fields.end(), test);
}

bool long_active(const LabStep& step) { return (step.before.msr.efer & kEferLma) != 0; }
bool long_code(const LabStep& step) {
  return long_active(step) && step.before.segment[kCs].long_mode();
}
bool protected_mode(const LabStep& step) { return (step.before.cr0 & kCr0Pe) != 0; }

bool paged(const LabStep& step) { return ((step.before.cr0 | step.left.state.cr0) & kCr0Pg) != 0; }

bool delivered(const LabStep& step) { return step.left.deliveries() != 0; }

std::uint64_t left_number(const LabStep& step, std::uint64_t linear, unsigned size) {
  std::uint64_t value = 0;
  for (unsigned n = 0; n < size; ++n) {
    const auto place = step.left.translate_for_debugger({linear + n});
    std::uint8_t byte = 0;
    if (place) (void)step.memory.read(*place, {&byte, 1});
    value |= std::uint64_t{byte} << (8 * n);
  }
  return value;
}

std::uint64_t right_number(const LabStep& step, std::uint64_t linear, unsigned size) {
  std::uint64_t value = left_number(step, linear, size);
  for (unsigned n = 0; n < size; ++n) {
    const auto place = step.left.translate_for_debugger({linear + n});
    for (const kvm::FieldValue& f : step.fields) {
      if (!place || place_of(f) != place->value) continue;
      value = (value & ~(0xffULL << (8 * n))) | number(f.right) << (8 * n);
    }
  }
  return value;
}

std::uint64_t gate_target(const LabStep& step, unsigned vector) {
  const std::uint64_t base = step.before.idtr.base;
  if (!protected_mode(step)) return left_number(step, base + vector * 4ULL, 2);
  const std::uint64_t gate = base + vector * (long_active(step) ? 16ULL : 8ULL);
  const std::uint64_t low = left_number(step, gate, 2);
  if (long_active(step)) return low | left_number(step, gate + 6, 6) << 16;
  const bool wide = (left_number(step, gate + 5, 1) & 8) != 0;
  return wide ? low | left_number(step, gate + 6, 2) << 16 : low;
}

std::optional<unsigned> vector_of(const LabStep& step, std::uint64_t rip) {
  std::optional<unsigned> found;
  for (unsigned vector = 0; vector < World::kVectors; ++vector)
    if (gate_target(step, vector) == rip && (!found || vector == kDoubleFault)) found = vector;
  return found;
}

std::optional<unsigned> left_vector(const LabStep& step) {
  return vector_of(step, step.left.state.gpr[kGprRip]);
}

std::optional<unsigned> right_vector(const LabStep& step) {
  return step.right_halted ? vector_of(step, step.right_rip - 1) : std::nullopt;
}

std::uint64_t frame_linear(const LabStep& step, std::uint64_t n) {
  const std::uint64_t base = step.left.long64() ? 0 : step.left.state.segment[kSs].base;
  return base + Cpu::cut(step.left.state.gpr[kRsp] + n, step.left.stack_width());
}

bool in_frame(const LabStep& step, const kvm::FieldValue& field, unsigned first, unsigned size) {
  for (unsigned n = 0; n < size; ++n) {
    const auto place = step.left.translate_for_debugger({frame_linear(step, first + n)});
    if (place && place_of(field) == place->value) return true;
  }
  return false;
}

unsigned frame_word(const LabStep& step, unsigned vector) {
  if (long_active(step)) return 8;
  const std::uint64_t access = left_number(step, step.before.idtr.base + vector * 8ULL + 5, 1);
  return (access & 8) != 0 ? 4 : 2;
}

bool has_error_code(unsigned vector) {
  return vector == 8 || (vector >= kInvalidTss && vector <= kPageFault) || vector == 17;
}

bool right_retired(const LabStep& step) {
  return (delivered(step) || step.left.state.shutdown) && !step.right_halted &&
         !step.right_shut_down;
}

std::uint64_t operand_linear(const LabStep& step) {
  const unsigned segment = step.instruction.segment;
  const bool based = !long_code(step) || segment == kFs || segment == kGs;
  const std::uint64_t linear =
      step.operand_offset + (based ? step.before.segment[segment].base : 0);
  return long_code(step) ? linear : static_cast<std::uint32_t>(linear);
}

std::uint64_t operand(const LabStep& step, unsigned size) {
  if (step.instruction.memory) return left_number(step, operand_linear(step), size);
  return Cpu::cut(step.before.gpr[step.instruction.rm], size);
}

bool software_interrupt(const LabStep& step) {
  return step.name == "INT imm8" || step.name == "INT3" || step.name == "INTO";
}

bool uses_stack(const std::string& name) {
  constexpr std::array<std::string_view, 13> kStarts{"push", "pop",  "enter", "leave", "call",
                                                     "ret",  "PUSH", "POP",   "CALL",  "RETF",
                                                     "IRET", "INT",  "pusha"};
  return std::any_of(kStarts.begin(), kStarts.end(),
                     [&](std::string_view start) { return name.starts_with(start); });
}

bool far_transfer(const LabStep& step) {
  return step.name.starts_with("RETF") || step.name == "IRET" || step.name.starts_with("CALL ") ||
         step.name.starts_with("JMP ");
}

}  // namespace chronovisor::crosscheck
