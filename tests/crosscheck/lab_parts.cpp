#include "tests/crosscheck/lab_causes.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "tests/crosscheck/world.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor::crosscheck {
namespace {

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
  if (!vector || !software_interrupt(step) || !delivered(step)) return {};
  const unsigned word = protected_mode(step) ? frame_word(step, *vector) : 2;
  const unsigned first = protected_mode(step) && has_error_code(*vector) ? word : 0;
  if (!in_frame(step, field, first, word)) return {};
  const std::uint64_t at = frame_linear(step, first);
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
  const bool pae = paged(step) && !long_active(step);
  constexpr std::uint64_t kAccessed = 0x20;
  return pointer && pae && (number(field.left) ^ number(field.right)) == kAccessed
             ? kPointerAccessed
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
  return !delivered(step) && loads_null && field.name == "ldtr.attributes" ? kNullLdt : "";
}

/// Another fault came before.
std::string earlier_page_fault(const LabStep& step, const kvm::FieldValue& field) {
  const bool left_double = left_vector(step) == kDoubleFault && delivered(step);
  return left_double && field.name == "cr2" ? kLaterDoubleFault : "";
}

/// With it, the D bit of the page where the descriptor is.
std::string code_not_accessed(const LabStep& step, const kvm::FieldValue& field) {
  if (!far_transfer(step) && !left_vector(step)) return {};
  constexpr std::uint64_t kCodeType = 0x18, kAccessed = 1, kDirty = 0x40;
  const std::uint64_t left = number(field.left), right = number(field.right);
  const auto at = place_of(field);
  const bool descriptor =
      at && (*at & 7) == 5 && (left & kCodeType) == kCodeType &&
      ((*at >= World::kGdt && *at < World::kIdt) || (*at >= World::kLdt && *at < World::kCode));
  const bool page = at && *at >= World::kTables && *at < World::kTablesEnd;
  const bool accessed =
      (descriptor || field.name == "cs.attributes") && left != right && left == (right | kAccessed);
  const bool dirty = page && left != right && left == (right | kDirty);
  return accessed || dirty ? "the accessed bit of a code segment is not set" : "";
}

std::string accessed_bit_at(const LabStep& step, const kvm::FieldValue& field) {
  const bool moved = field.name == "cr2" && number(field.left) == number(field.right) + 1;
  const bool access = (number(field.left) & 7) == 5;
  return moved && access && delivered(step)
             ? "the fault of setting an accessed bit names the word, not the byte"
             : "";
}

std::string whole_push(const LabStep& step, const kvm::FieldValue& field) {
  const bool pushes = step.name.starts_with("PUSH ") && step.instruction.operand_size == 4;
  if (!pushes || delivered(step) || number(field.right) != 0) return {};
  return in_frame(step, field, 2, 2) ? "PUSH of a segment register writes all 4 bytes" : "";
}

std::string partial_frame(const LabStep& step, const kvm::FieldValue& field) {
  const auto at = place_of(field);
  if (!at || !delivered(step)) return {};
  constexpr std::uint64_t kFrame = 48;
  const std::uint64_t base = long_active(step) ? 0 : step.before.segment[kSs].base;
  const std::uint64_t aligned = long_active(step) ? ~std::uint64_t{15} : ~std::uint64_t{0};
  const std::uint64_t inner = left_number(step, step.before.tr.base + 4, long_active(step) ? 8 : 4);
  const std::uint64_t top = step.cpl_before == 0 ? base + step.before.gpr[kRsp] : inner;
  for (std::uint64_t n = 1; n <= kFrame; ++n) {
    const auto place = step.left.translate_for_debugger({(top & aligned) - n});
    if (place && place->value == *at)
      return "a frame is written in part before a push of it faults";
  }
  return {};
}

std::string new_top_of_stack(const LabStep& step, const kvm::FieldValue& field) {
  const auto at = place_of(field);
  const bool table = at && *at >= World::kTables && *at < World::kTablesEnd;
  const std::uint64_t left = number(field.left), right = number(field.right);
  const bool bits = (left & right) == right && ((left ^ right) & ~0x60ULL) == 0;
  return step.name == "enter" && table && bits ? kStackUntried : "";
}

std::string still_unusable(const LabStep& step, const kvm::FieldValue& field) {
  if (protected_mode(step) || number(field.right) != 0) return {};
  constexpr std::array<std::string_view, 6> kNames{"es.", "cs.", "ss.", "ds.", "fs.", "gs."};
  for (unsigned n = 0; n < kNames.size(); ++n) {
    const bool hidden = field.name.starts_with(kNames[n]) && !field.name.ends_with("selector");
    if (hidden && !step.before.segment[n].present())
      return "a register that was null in protected mode stays unusable in real mode";
  }
  return {};
}

/// The limit is stored before the base's page is found missing.
std::string partly_stored(const LabStep& step, const kvm::FieldValue& field) {
  constexpr unsigned kImage = 10;
  if ((step.name != "SGDT" && step.name != "SIDT") || left_vector(step) != kPageFault) return {};
  for (unsigned n = 0; n < kImage; ++n) {
    const auto place = step.left.translate_for_debugger({operand_linear(step) + n});
    if (place && place_of(field) == place->value)
      return "SGDT and SIDT write a part before they fault";
  }
  return {};
}

std::string partly_pushed(const LabStep& step, const kvm::FieldValue& field) {
  const bool several = step.name == "enter" || step.name == "pusha";
  const auto at = place_of(field);
  const bool failed = left_vector(step) == kPageFault || left_vector(step) == kDoubleFault;
  if (!several || !at || !failed) return {};
  constexpr std::uint64_t kReach = 512;
  const std::uint64_t base = long_code(step) ? 0 : step.before.segment[kSs].base;
  for (std::uint64_t n = 1; n <= kReach; ++n) {
    const auto place = step.left.translate_for_debugger({base + step.before.gpr[kRsp] - n});
    if (place && place->value == *at) return "ENTER and PUSHA write a part before they fault";
  }
  return {};
}

std::string pusha_from_below(const LabStep& step, const kvm::FieldValue& field) {
  const bool failed = left_vector(step) == kPageFault || left_vector(step) == kDoubleFault;
  if (step.name != "pusha" || !failed) return {};
  constexpr std::uint64_t kRegisters = 8;
  const std::uint64_t lowest =
      step.before.segment[kSs].base +
      Cpu::cut(step.before.gpr[kRsp] - kRegisters * step.instruction.operand_size,
               step.before.segment[kSs].big() ? 4 : 2);
  const std::uint64_t left = number(field.left), right = number(field.right);
  const auto at = place_of(field);
  const bool table = at && *at >= World::kTables && *at < World::kTablesEnd;
  const bool page_above = table && (left & right) == right && ((left ^ right) & ~0x60ULL) == 0;
  const bool below = field.name == "cr2" && right == lowest && left > right;
  return below || page_above ? "PUSHA pushes from below" : "";
}

}  // namespace

std::string lab_part(const LabStep& step, const kvm::FieldValue& field) {
  for (const auto cause :
       {error_code, next_rip, stack_segment_of_ist, pointer_accessed, accessed_bits, null_ldt,
        earlier_page_fault, code_not_accessed, still_unusable, partly_pushed, partly_stored,
        pusha_from_below, accessed_bit_at, whole_push, partial_frame, new_top_of_stack}) {
    std::string text = cause(step, field);
    if (!text.empty()) return text;
  }
  return {};
}

}  // namespace chronovisor::crosscheck
