#include "tests/crosscheck/lab_causes.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string_view>

#include "tests/crosscheck/world.h"

namespace chronovisor::crosscheck {
namespace {

bool leaves_memory(std::uint64_t base, std::uint64_t limit, std::uint64_t memory_bytes) {
  return base >= memory_bytes || base + limit >= memory_bytes;
}

using Fields = std::vector<kvm::FieldValue>;

std::uint64_t number(const std::string& text) { return std::stoull(text, nullptr, 16); }

/// Where a memory field lies; everything else lies nowhere.
std::optional<std::uint64_t> place_of(const kvm::FieldValue& field) {
  constexpr std::string_view kMemory = "memory ";
  if (!field.name.starts_with(kMemory)) return std::nullopt;
  return number(field.name.substr(kMemory.size()));
}

bool all(const LabStep& step, const std::function<bool(const kvm::FieldValue&)>& test) {
  return std::all_of(step.fields.begin(), step.fields.end(), test);
}

/// The vector whose handler begins at `rip`.
std::optional<unsigned> vector_of(std::uint64_t rip) {
  if (rip < World::kHandlers || (rip & 15) != 0) return std::nullopt;
  const std::uint64_t vector = (rip - World::kHandlers) / 16;
  return vector < World::kVectors ? std::optional(static_cast<unsigned>(vector)) : std::nullopt;
}

bool delivered(const LabStep& step) { return step.left.deliveries() != 0; }

/// The vector whose handler the left one entered, by a fault or by INT.
std::optional<unsigned> left_vector(const LabStep& step) {
  return vector_of(step.left.state.gpr[kGprRip]);
}

std::optional<unsigned> right_vector(const LabStep& step) {
  return step.right_halted ? vector_of(static_cast<std::uint32_t>(step.right_rip) - 1)
                           : std::nullopt;
}

bool long_active(const LabStep& step) { return (step.before.msr.efer & kEferLma) != 0; }
bool long_code(const LabStep& step) {
  return long_active(step) && step.before.segment[kCs].long_mode();
}

/// A number of `size` bytes in the left one's memory; zeros where none is mapped.
std::uint64_t left_number(const LabStep& step, std::uint64_t linear, unsigned size) {
  std::uint64_t value = 0;
  for (unsigned n = 0; n < size; ++n) {
    const auto place = step.left.translate_for_debugger(linear + n);
    std::uint8_t byte = 0;
    if (place) (void)step.memory.read(*place, {&byte, 1});
    value |= std::uint64_t{byte} << (8 * n);
  }
  return value;
}

/// The same number on the right: what differs is in the fields.
std::uint64_t right_number(const LabStep& step, std::uint64_t linear, unsigned size) {
  std::uint64_t value = left_number(step, linear, size);
  for (unsigned n = 0; n < size; ++n) {
    const auto place = step.left.translate_for_debugger(linear + n);
    for (const kvm::FieldValue& f : step.fields) {
      if (!place || place_of(f) != place->value) continue;
      value = (value & ~(0xffULL << (8 * n))) | number(f.right) << (8 * n);
    }
  }
  return value;
}

/// The linear address of byte `n` of the frame that the left one pushed.
std::uint64_t frame_linear(const LabStep& step, std::uint64_t n) {
  const std::uint64_t base = step.left.long64() ? 0 : step.left.state.segment[kSs].base;
  return base + Cpu::cut(step.left.state.gpr[kRsp] + n, step.left.stack_width());
}

/// Whether a field is one of the frame's bytes from `first` on.
bool in_frame(const LabStep& step, const kvm::FieldValue& field, unsigned first, unsigned size) {
  for (unsigned n = 0; n < size; ++n) {
    const auto place = step.left.translate_for_debugger(frame_linear(step, first + n));
    if (place && place_of(field) == place->value) return true;
  }
  return false;
}

/// Bytes of one word of the left one's frame.
unsigned frame_word(const LabStep& step, unsigned vector) {
  if (long_active(step)) return 8;
  const std::uint64_t access = left_number(step, step.before.idtr.base + vector * 8ULL + 5, 1);
  return (access & 8) != 0 ? 4 : 2;
}

bool has_error_code(unsigned vector) {
  return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

bool protected_mode(const LabStep& step) { return (step.before.cr0 & kCr0Pe) != 0; }

bool software_interrupt(const LabStep& step) {
  return step.name == "INT imm8" || step.name == "INT3" || step.name == "INTO";
}

// Causes that explain a part of what differs: each says which fields.

bool page_fault_code(const LabStep& step, std::uint64_t left, std::uint64_t right) {
  constexpr std::uint64_t kPresent = 1, kWrite = 2, kReserved = 8;
  std::uint64_t lacks = 0;
  if ((right & kReserved) != 0) lacks |= kPresent;
  if (step.instruction.memory) lacks |= kWrite;
  return (left & right) == right && (left & ~right & ~lacks) == 0;
}

bool table_code(const LabStep& step, std::uint64_t left, std::uint64_t right) {
  constexpr std::uint64_t kExternal = 1, kIdt = 2;
  if ((right | kExternal) == left) return true;
  const bool idt = (left & 7 & ~kExternal) == kIdt;
  const std::uint64_t doubled = (left >> 3 << 4) | kIdt;
  return idt && long_active(step) && (right & ~kExternal) == doubled;
}

std::string error_code(const LabStep& step, const kvm::FieldValue& field) {
  constexpr unsigned kPageFault = 14;
  const auto vector = left_vector(step);
  if (!vector || !has_error_code(*vector) || !protected_mode(step)) return {};
  if (step.right_halted && right_vector(step) != vector) return {};
  constexpr unsigned kSize = 2;
  if (!in_frame(step, field, 0, kSize)) return {};
  const std::uint64_t left = left_number(step, frame_linear(step, 0), kSize);
  const std::uint64_t right = right_number(step, frame_linear(step, 0), kSize);
  if (*vector == kPageFault)
    return page_fault_code(step, left, right) ? "error codes of page faults lack W or P" : "";
  return table_code(step, left, right) ? "error codes lack EXT, or count by 16 in the IDT" : "";
}

std::string next_rip(const LabStep& step, const kvm::FieldValue& field) {
  const auto vector = left_vector(step);
  if (!vector || !software_interrupt(step) || !delivered(step) || !has_error_code(*vector))
    return {};
  const unsigned word = frame_word(step, *vector);
  if (!in_frame(step, field, word, word)) return {};
  const std::uint64_t at = frame_linear(step, word);
  return right_number(step, at, word) == left_number(step, at, word) + step.instruction.length()
             ? "the frame of a fault in INT n's delivery holds the next RIP"
             : "";
}

std::string stack_segment_of_ist(const LabStep& step, const kvm::FieldValue& field) {
  const auto vector = left_vector(step);
  if (!vector || !long_active(step) || step.left.cpl() != step.cpl_before) return {};
  const std::uint64_t gate = step.before.idtr.base + *vector * 16ULL;
  if ((left_number(step, gate + 4, 1) & 7) == 0) return {};
  const bool null = field.name.starts_with("ss.") && (number(field.right) & ~3ULL) == 0;
  return null ? "SS is made null when the interrupt stack table gives a stack" : "";
}

std::string pointer_accessed(const LabStep& step, const kvm::FieldValue& field) {
  const auto at = place_of(field);
  const bool pointer = at && *at >= World::kTables && *at < World::kTables + 32 && (*at & 7) == 0;
  const bool pae = (step.left.state.cr0 & kCr0Pg) != 0 && !long_active(step);
  constexpr std::uint64_t kAccessed = 0x20;
  return pointer && pae && (number(field.left) ^ number(field.right)) == kAccessed
             ? "PAE page-directory pointers get an A bit"
             : "";
}

std::string accessed_bits(const LabStep& step, const kvm::FieldValue& field) {
  const auto at = place_of(field);
  const bool table = at && *at >= World::kTables && *at < World::kTablesEnd;
  const bool bits = ((number(field.left) ^ number(field.right)) & ~0x60ULL) == 0;
  return delivered(step) && table && bits ? "A and D bits of an instruction that faults" : "";
}

std::string null_ldt(const LabStep& step, const kvm::FieldValue& field) {
  const bool loads_null = step.name == "LLDT" && (step.left.state.ldtr.selector & ~3U) == 0;
  return !delivered(step) && loads_null && field.name == "ldtr.attributes"
             ? "LLDT of a null selector keeps the attributes"
             : "";
}

// Causes that explain all of it.

std::string double_fault(const LabStep& step) {
  constexpr unsigned kDoubleFault = 8;
  const auto right = right_vector(step);
  const bool left_double = left_vector(step) == kDoubleFault && delivered(step);
  const bool contributory = right && *right >= 10 && *right <= 14;
  const bool later = (left_double && (contributory || step.right_shut_down)) ||
                     (step.left.state.shutdown && (contributory || right == kDoubleFault));
  return later ? "a fault in the delivery of #PF or of an injected exception is not a double fault"
               : "";
}

std::string shadow_of_lss(const LabStep& step) {
  return step.name == "LSS" && !delivered(step) ? "the step after LSS is two instructions long"
                                                : "";
}

std::string far_pointer(const LabStep& step) {
  const bool loads = step.name == "LFS" || step.name == "LGS" || step.name == "LSS";
  return loads && step.instruction.operand_size == 8
             ? "LFS, LGS and LSS with REX.W read a pointer of 48 bits"
             : "";
}

std::string null_task(const LabStep& step) {
  const auto null = [](const kvm::FieldValue& f) {
    return f.name == "tr.selector" && (number(f.right) & ~3ULL) == 0;
  };
  const bool loaded = std::any_of(step.fields.begin(), step.fields.end(), null);
  return step.name == "LTR" && delivered(step) && loaded ? "LTR takes a null selector" : "";
}

/// The soft processor could not even deliver what the other one does not notice.
std::string unnoticed(const LabStep& step) {
  const bool retired = !step.right_halted && !step.right_shut_down;
  return step.left.state.shutdown && retired && !long_code(step)
             ? "limits and types of segments are not checked"
             : "";
}

std::string wild_gate(const LabStep& step) {
  if (!long_active(step) || !step.right_halted) return {};
  std::uint64_t rsp = step.left.state.gpr[kRsp];
  for (const kvm::FieldValue& f : step.fields)
    if (f.name == "rsp") rsp = number(f.right);
  const std::uint64_t saved = right_number(step, rsp + 8, 8);
  if (Cpu::canonical(saved)) return {};
  for (unsigned vector = 0; vector < World::kVectors; ++vector) {
    const std::uint64_t gate = step.before.idtr.base + vector * 16ULL;
    const std::uint64_t offset = left_number(step, gate, 2) | left_number(step, gate + 6, 6) << 16;
    if (offset == saved) return "gates to non-canonical addresses fault behind the delivery";
  }
  return {};
}

std::string wide_real_stack(const LabStep& step) {
  constexpr unsigned kFrame = 6;
  if (protected_mode(step) || !step.before.segment[kSs].big() || !left_vector(step)) return {};
  const std::uint64_t base = step.before.segment[kSs].base;
  const std::uint64_t narrow = base + Cpu::cut(step.before.gpr[kRsp] - kFrame, 2);
  const bool frames = all(step, [&](const kvm::FieldValue& f) {
    const auto at = place_of(f);
    return f.name == "rsp" || in_frame(step, f, 0, kFrame) ||
           (at && *at >= narrow && *at < narrow + kFrame);
  });
  return frames ? "interrupts in real mode use 16 bits of a 32-bit stack" : "";
}

}  // namespace

bool in_laboratory() {
  constexpr unsigned kHypervisorLeaf = 0x40000000;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx >> 31) == 0) return false;
  __cpuid(kHypervisorLeaf, eax, ebx, ecx, edx);
  std::array<char, 12> name{};
  std::memcpy(name.data(), &ebx, 4);
  std::memcpy(name.data() + 4, &ecx, 4);
  std::memcpy(name.data() + 8, &edx, 4);
  return std::string_view(name.data(), name.size()) == "TCGTCGTCGTCG";
}

std::string kept_from_lab(const Cpu& cpu, const std::string& name, std::uint64_t memory_bytes) {
  const CpuState& s = cpu.state;
  if (name == "INT1") return "QEMU's processor has no INT1";
  if ((s.cr0 & kCr0Pg) != 0) return {};
  const bool protected_mode = (s.cr0 & kCr0Pe) != 0;
  if (leaves_memory(s.idtr.base, s.idtr.limit, memory_bytes))
    return "the interrupt table lies where no memory is";
  if (protected_mode && leaves_memory(s.gdtr.base, s.gdtr.limit, memory_bytes))
    return "the descriptor table lies where no memory is";
  return {};
}

std::vector<std::string> lab_causes(const LabStep& step) {
  for (const auto cause : {double_fault, shadow_of_lss, far_pointer, null_task, unnoticed,
                           wild_gate, wide_real_stack}) {
    std::string text = cause(step);
    if (!text.empty()) return {text};
  }
  std::set<std::string> causes;
  for (const kvm::FieldValue& field : step.fields) {
    std::string text;
    for (const auto cause :
         {error_code, next_rip, stack_segment_of_ist, pointer_accessed, accessed_bits, null_ldt}) {
      if (text.empty()) text = cause(step, field);
    }
    if (text.empty()) return {};
    causes.insert(std::move(text));
  }
  return {causes.begin(), causes.end()};
}

}  // namespace chronovisor::crosscheck
