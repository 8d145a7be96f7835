#include "tests/crosscheck/lab_causes.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string_view>

#include "tests/crosscheck/world.h"
#include "vmm/cpu/decode/decoder.h"
#include "vmm/cpu/system/descriptors.h"

namespace chronovisor::crosscheck {
namespace {

/// What was loaded with CR3 is not what lies there now.
bool pointers_moved(const CpuState& state, const Ram& memory) {
  constexpr std::uint64_t kAccessed = 0x20;
  for (unsigned n = 0; n < state.pdpte.size(); ++n) {
    std::array<std::uint8_t, 8> bytes{};
    bytes.fill(0xff);  // what is read where no memory is
    (void)memory.read({(state.cr3 & ~std::uint64_t{31}) + n * 8ULL}, bytes);
    std::uint64_t entry = 0;
    std::memcpy(&entry, bytes.data(), sizeof(entry));
    if (((entry ^ state.pdpte[n]) & ~kAccessed) != 0) return true;
  }
  return false;
}

bool leaves_memory(std::uint64_t base, std::uint64_t limit, std::uint64_t memory_bytes) {
  return base >= memory_bytes || base + limit >= memory_bytes;
}

constexpr const char* kLaterDoubleFault =
    "a fault in the delivery of #PF or of an injected exception is not a double fault";
constexpr const char* kPointerAccessed = "PAE page-directory pointers get an A bit";
constexpr const char* kNullLdt = "LLDT of a null selector keeps the attributes";
constexpr unsigned kDoubleFault = 8, kInvalidTss = 10, kProtection = 13, kPageFault = 14;

/// A field's value; 0 for one that is not a number.
std::uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 16); }

/// Where a memory field lies; everything else lies nowhere.
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

/// Before the step or after it.
bool paged(const LabStep& step) { return ((step.before.cr0 | step.left.state.cr0) & kCr0Pg) != 0; }

bool delivered(const LabStep& step) { return step.left.deliveries() != 0; }

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

/// Where a gate leads, by the table that was in force before the step.
std::uint64_t gate_target(const LabStep& step, unsigned vector) {
  const std::uint64_t base = step.before.idtr.base;
  if (!protected_mode(step)) return left_number(step, base + vector * 4ULL, 2);
  const std::uint64_t gate = base + vector * (long_active(step) ? 16ULL : 8ULL);
  const std::uint64_t low = left_number(step, gate, 2);
  if (long_active(step)) return low | left_number(step, gate + 6, 6) << 16;
  const bool wide = (left_number(step, gate + 5, 1) & 8) != 0;
  return wide ? low | left_number(step, gate + 6, 2) << 16 : low;
}

/// The vector whose gate leads to `rip`; 8 where it is one of several.
std::optional<unsigned> vector_of(const LabStep& step, std::uint64_t rip) {
  std::optional<unsigned> found;
  for (unsigned vector = 0; vector < World::kVectors; ++vector)
    if (gate_target(step, vector) == rip && (!found || vector == kDoubleFault)) found = vector;
  return found;
}

/// The vector whose handler the left one entered, by a fault or by INT.
std::optional<unsigned> left_vector(const LabStep& step) {
  return vector_of(step, step.left.state.gpr[kGprRip]);
}

std::optional<unsigned> right_vector(const LabStep& step) {
  return step.right_halted ? vector_of(step, step.right_rip - 1) : std::nullopt;
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
  return vector == 8 || (vector >= kInvalidTss && vector <= kPageFault) || vector == 17;
}

/// The right one executed it, where the left one found a fault.
bool right_retired(const LabStep& step) {
  return (delivered(step) || step.left.state.shutdown) && !step.right_halted &&
         !step.right_shut_down;
}

/// The linear address of the memory operand.
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

std::string double_fault_flag(const LabStep& step, const kvm::FieldValue& field) {
  const auto vector = left_vector(step);
  if (vector != kDoubleFault || !delivered(step)) return {};
  if (field.name == "cr2") return kLaterDoubleFault;
  const unsigned word = protected_mode(step) ? frame_word(step, kDoubleFault) : 2;
  const bool resume = in_frame(step, field, 3 * word + 2, 1);
  return resume && number(field.left) == 0 && number(field.right) == 1
             ? "the frame of #DF behind an injected fault holds RF"
             : "";
}

bool far_transfer(const LabStep& step) {
  return step.name.starts_with("RETF") || step.name == "IRET" || step.name.starts_with("CALL ") ||
         step.name.starts_with("JMP ");
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
    const auto place = step.left.translate_for_debugger((top & aligned) - n);
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
  return step.name == "enter" && table && bits ? "ENTER does not try the stack it leaves" : "";
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
    const auto place = step.left.translate_for_debugger(operand_linear(step) + n);
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
    const auto place = step.left.translate_for_debugger(base + step.before.gpr[kRsp] - n);
    if (place && place->value == *at) return "ENTER and PUSHA write a part before they fault";
  }
  return {};
}

std::string pusha_from_below(const LabStep& step, const kvm::FieldValue& field) {
  const bool failed = left_vector(step) == kPageFault || left_vector(step) == kDoubleFault;
  if (step.name != "pusha" || !failed || field.name != "cr2") return {};
  constexpr std::uint64_t kRegisters = 8;
  const std::uint64_t size = step.instruction.operand_size;
  return number(field.left) - number(field.right) == (kRegisters - 1) * size
             ? "PUSHA pushes from below"
             : "";
}

// Causes that explain all of it.

/// What was read is an entry whose A bit differs.
std::string reads_pointer(const LabStep& step) {
  if (!paged(step) || long_active(step)) return {};
  constexpr std::uint64_t kReach = 16;
  const auto near = [](std::uint64_t address) {
    return address + kReach >= World::kTables && address < World::kTables + 32;
  };
  const bool string =
      step.instruction.row != kNoRow && (row_attributes(step.instruction) & kString) != 0;
  if (uses_stack(step.name) && near(step.before.gpr[kRsp])) return kPointerAccessed;
  const bool reads = string ? near(step.before.gpr[kRsi]) || near(step.before.gpr[kRdi])
                            : step.instruction.memory && near(step.operand_offset);
  const bool pae = (step.left.state.cr4 & kCr4Pae) != 0;
  return reads && pae ? kPointerAccessed : "";
}

/// The code segment that a gate outside long mode names.
Descriptor gate_code(const LabStep& step, unsigned vector) {
  const std::uint64_t selector = left_number(step, step.before.idtr.base + vector * 8ULL + 2, 2);
  const bool local = (selector & 4) != 0;
  const std::uint64_t table = local ? step.before.ldtr.base : step.before.gdtr.base;
  Descriptor code;
  code.low = left_number(step, table + (selector & 0xfff8), 8);
  return code;
}

/// A contributory exception has its handler in a segment with another base.
bool stray_gate(const LabStep& step) {
  if (!protected_mode(step) || long_active(step)) return false;
  for (unsigned vector = kInvalidTss; vector <= kPageFault; ++vector) {
    const Descriptor code = gate_code(step, vector);
    if (code.code() && code.base() != 0) return true;
  }
  return false;
}

std::string double_fault(const LabStep& step) {
  const auto right = right_vector(step);
  const bool left_double = left_vector(step) == kDoubleFault && delivered(step);
  const bool contributory = right && *right >= kInvalidTss && *right <= kPageFault;
  // A handler elsewhere: what lies there was executed, up to some HLT.
  const bool strayed =
      step.right_halted && (!right || (*right == kDoubleFault && stray_gate(step)));
  const bool later = (left_double && (contributory || strayed || step.right_shut_down)) ||
                     (step.left.state.shutdown && (contributory || right == kDoubleFault));
  return later ? kLaterDoubleFault : "";
}

std::string shadow_of_lss(const LabStep& step) {
  const bool loads = step.name == "LSS" || step.name == "POP SS" || step.name == "MOV SS, r/m16";
  return loads && !delivered(step) ? "the step after a load of SS is two instructions long" : "";
}

std::string far_pointer(const LabStep& step) {
  const bool loads = step.name == "LFS" || step.name == "LGS" || step.name == "LSS";
  return loads && step.instruction.operand_size == 8
             ? "LFS, LGS and LSS with REX.W read a pointer of 48 bits"
             : "";
}

std::string null_task(const LabStep& step) {
  const bool null = (operand(step, 2) & ~3ULL) == 0;
  return step.name == "LTR" && right_retired(step) && null ? "LTR takes a null selector" : "";
}

std::string wild_table(const LabStep& step) {
  if ((step.name != "LGDT" && step.name != "LIDT") || !step.instruction.memory) return {};
  const std::uint64_t base = left_number(step, operand_linear(step) + 2, 8);
  constexpr unsigned kPrefixed = 2;
  const auto narrow = [&](const kvm::FieldValue& f) {
    constexpr std::uint64_t k24Bits = 0xffffff;
    return (f.name == "gdtr.base" || f.name == "idtr.base") && number(f.right) == (base & k24Bits);
  };
  const bool cut = std::any_of(step.fields.begin(), step.fields.end(), narrow);
  if (step.instruction.operand_size == kPrefixed && long_code(step) && cut)
    return "LGDT and LIDT with a 66 prefix load 24 bits in 64-bit mode";
  return long_code(step) && right_retired(step) && !Cpu::canonical(base)
             ? "LGDT and LIDT take bases that are not canonical"
             : "";
}

std::string reserved_pointers(const LabStep& step) {
  constexpr std::uint64_t kPresent = 1, kReserved = 0xffffff00000001e6ULL;
  const bool loads = step.name == "MOV CRn, r" && (step.instruction.modrm >> 3 & 7) == 3;
  if (!loads || !right_retired(step) || !paged(step) || long_active(step)) return {};
  const std::uint64_t table = operand(step, 4) & ~31ULL;
  for (unsigned n = 0; n < 4; ++n) {
    std::array<std::uint8_t, 8> bytes{};
    bytes.fill(0xff);  // what is read where no memory is
    (void)step.memory.read({table + n * 8ULL}, bytes);
    std::uint64_t entry = 0;
    std::memcpy(&entry, bytes.data(), sizeof(entry));
    if ((entry & kPresent) != 0 && (entry & kReserved) != 0)
      return "PAE page-directory pointers may have reserved bits set";
  }
  return {};
}

std::string unknown_cr4(const LabStep& step) {
  constexpr std::uint64_t kVmeAndPvi = 3;
  const bool loads = step.name == "MOV CRn, r" && (step.instruction.modrm >> 3 & 7) == 4;
  return loads && right_retired(step) && (operand(step, 4) & kVmeAndPvi) != 0
             ? "CR4.VME and CR4.PVI may be set although CPUID has no VME"
             : "";
}

std::string protection_for_stack(const LabStep& step) {
  constexpr unsigned kStack = 12;
  const auto right = right_vector(step);
  const bool other = right ? *right != kStack : step.right_shut_down;
  if (!long_code(step) || left_vector(step) != kStack || !other) return {};
  const bool operand_is_wild =
      step.instruction.memory && step.instruction.segment == kSs &&
      (!Cpu::canonical(step.operand_offset) || !Cpu::canonical(step.operand_offset + 16));
  const bool wild = operand_is_wild || !Cpu::canonical(step.before.gpr[kRsp]) ||
                    !Cpu::canonical(step.before.gpr[kRbp]);
  return wild ? "non-canonical stack addresses raise #GP" : "";
}

/// This KVM offers its guests less than the machine's CPUID says.
std::string missing_cr4(const LabStep& step) {
  const bool loads = step.name == "MOV CRn, r" && (step.instruction.modrm >> 3 & 7) == 4;
  const bool refused = !delivered(step) && (step.right_halted || step.right_shut_down);
  return loads && refused && (operand(step, 4) & (kCr4Umip | kCr4Pcide)) != 0
             ? "CR4.UMIP and CR4.PCIDE cannot be set: this KVM lacks the features"
             : "";
}

std::string limit_of_long_code(const LabStep& step) {
  const std::uint64_t rip = step.left.state.gpr[kGprRip];
  const bool past = step.left.long64() && rip > step.left.state.segment[kCs].limit;
  return far_transfer(step) && !delivered(step) && past &&
                 (step.right_halted || step.right_shut_down)
             ? "far transfers to 64-bit code are held to its limit"
             : "";
}

/// A code segment with both L and D is reserved.
std::string long_and_big(const LabStep& step) {
  const bool lost = step.left.state.shutdown && far_transfer(step) && step.instruction.memory;
  const bool refused = left_vector(step) == kProtection && delivered(step);
  if (!long_active(step) || !(lost || refused)) return {};
  constexpr std::uint64_t kTable = 4;
  const std::uint64_t selector =
      lost ? left_number(step, operand_linear(step) + step.instruction.operand_size, 2)
           : left_number(step, frame_linear(step, 0), 2);
  const std::uint64_t base =
      (selector & kTable) != 0 ? step.before.ldtr.base : step.before.gdtr.base;
  const std::uint64_t flags = left_number(step, base + (selector & 0xfff8) + 6, 1);
  const std::uint64_t access = left_number(step, base + (selector & 0xfff8) + 5, 1);
  const bool reserved = (flags & 0x60) == 0x60 && (access & 0x18) == 0x18;
  return selector != 0 && reserved ? "code segments with both L and D are accepted" : "";
}

std::string wild_far_target(const LabStep& step) {
  return far_transfer(step) && long_active(step) && right_retired(step) &&
                 !Cpu::canonical(step.right_rip)
             ? "branches to non-canonical addresses do not fault"
             : "";
}

std::string wild_near_target(const LabStep& step) {
  const bool near = step.name == "jmp rm" || step.name == "call rm" || step.name.starts_with("ret");
  return near && right_retired(step) && long_code(step)
             ? "branches to non-canonical addresses do not fault"
             : "";
}

/// An instruction that writes into its own bytes is begun again with them.
std::string own_bytes(const LabStep& step) {
  if (!step.instruction.memory) return {};
  constexpr std::uint64_t kWidest = 8;
  const std::uint64_t code = step.before.gpr[kGprRip] + step.before.segment[kCs].base;
  const std::uint64_t at = operand_linear(step);
  return at < code + step.instruction.length() && code < at + kWidest
             ? "an instruction that overwrites itself is begun again with what it wrote"
             : "";
}

std::string exchanging_pause(const LabStep& step) {
  const bool pair =
      all(step, [](const kvm::FieldValue& f) { return f.name == "rax" || f.name == "r8"; });
  return step.name == "pause" && pair ? "PAUSE with REX.B exchanges RAX and R8" : "";
}

std::string enter_on_narrow_stack(const LabStep& step) {
  const bool mixed =
      step.name == "enter" && step.left.stack_width() == 2 && step.instruction.operand_size == 4;
  const bool upper = std::any_of(step.fields.begin(), step.fields.end(), [](const auto& f) {
    return f.name == "rbp" && ((number(f.left) ^ number(f.right)) & 0xffff) == 0;
  });
  return mixed && upper ? "ENTER with a 66 prefix lets ESP wrap around at 32 bits, not 16" : "";
}

std::string wrong_lock(const LabStep& step) {
  constexpr unsigned kInvalid = 6;
  return step.instruction.lock && step.instruction.row == kNoRow && right_retired(step) &&
                 left_vector(step) == kInvalid
             ? "LOCK is accepted where it is undefined"
             : "";
}

std::string enter_untried(const LabStep& step) {
  const bool faulted = left_vector(step) == kPageFault || step.left.state.shutdown;
  return step.name == "enter" && right_retired(step) && faulted
             ? "ENTER does not try the stack it leaves"
             : "";
}

std::string target_past_limit(const LabStep& step) {
  if (!far_transfer(step) || !right_retired(step) || long_code(step)) return {};
  std::uint64_t limit = step.before.segment[kCs].limit;
  for (const kvm::FieldValue& f : step.fields)
    if (f.name == "cs.limit") limit = number(f.right);
  return step.right_rip > limit ? "limits and types of segments are not checked" : "";
}

/// A push or pop of the step, by SP or by BP, or of a delivery on the same stack,
/// reaches over the end of it.
bool violates_stack(const LabStep& step) {
  if (!uses_stack(step.name) && step.cpl_before != 0) return false;
  constexpr std::uint64_t kReach = 64;
  const SegmentRegister& ss = step.before.segment[kSs];
  const unsigned width = ss.big() ? 4 : 2;
  const std::uint64_t sp = step.name == "leave" ? step.before.gpr[kRbp] : step.before.gpr[kRsp];
  for (const std::uint64_t at : {sp - kReach, sp - 1, sp, sp + kReach}) {
    if (!within_segment(ss, Cpu::cut(at, width), 1)) return true;
  }
  const std::uint64_t near = width == 2 ? kReach : kReach / 4;
  return Cpu::cut(sp - near, width) > Cpu::cut(sp + near, width);
}

bool violates_code(const LabStep& step) {
  const std::uint64_t last = step.before.gpr[kGprRip] + kLongestInstruction - 1;
  return !within_segment(step.before.segment[kCs], last, 1);
}

/// An access of the step that a segment does not allow.
bool violates_segment(const LabStep& step) {
  if (violates_stack(step) || violates_code(step)) return true;
  const auto& i = step.instruction;
  const auto bad = [&](unsigned index, std::uint64_t offset) {
    const SegmentRegister& segment = step.before.segment[index];
    const unsigned type = segment.type();
    const bool code = (type & 8) != 0;
    const bool writable = (type & 2) != 0;
    return !segment.present() || code || !writable || !within_segment(segment, offset, 1) ||
           !within_segment(segment, offset, i.operand_size);
  };
  if (i.row == kNoRow) return false;
  if ((row_attributes(i) & kString) != 0)
    return bad(kEs, Cpu::cut(step.before.gpr[kRdi], i.address_size)) ||
           bad(i.segment, Cpu::cut(step.before.gpr[kRsi], i.address_size));
  if (!i.memory) return false;
  return bad(i.segment, step.operand_offset);
}

/// Whatever follows from an access that the other one does not refuse.
std::string unnoticed(const LabStep& step) {
  constexpr unsigned kStack = 12;
  constexpr std::uint64_t kFrame = 128;
  const auto vector = left_vector(step);
  // The refusal may fail in turn, where the stack is what is refused.
  const bool push_failed =
      vector == kPageFault && step.before.gpr[kRsp] - step.left.state.cr2 < kFrame;
  const bool refused = delivered(step) && (vector == kDoubleFault || vector == kStack ||
                                           vector == kProtection || push_failed);
  return (refused || step.left.state.shutdown) && !long_code(step) && violates_segment(step)
             ? "limits and types of segments are not checked"
             : "";
}

/// What was pushed fell on the instruction.
std::string frame_on_code(const LabStep& step) {
  if (!left_vector(step) && !uses_stack(step.name)) return {};
  constexpr std::uint64_t kFrame = 64;
  const std::uint64_t code = step.before.gpr[kGprRip] + step.before.segment[kCs].base;
  const std::uint64_t low = frame_linear(step, 0);
  return low < code + step.instruction.length() && code < low + kFrame
             ? "a delivery or push that overwrites its instruction is begun again with the new one"
             : "";
}

/// A gate leads past the limit of its code segment. What the other one then
/// executes there may be anything.
std::string gate_past_limit(const LabStep& step) {
  if (!protected_mode(step) || long_active(step)) return {};
  if (!delivered(step) && !step.left.state.shutdown) return {};
  constexpr std::uint64_t kExternal = 1;
  const auto vector = left_vector(step);
  const bool refused =
      vector == kProtection && left_number(step, frame_linear(step, 0), 2) <= kExternal;
  if (!refused && vector != kDoubleFault && !step.left.state.shutdown) return {};
  for (unsigned n = 0; n < World::kVectors; ++n) {
    const Descriptor code = gate_code(step, n);
    if (code.code() && code.present() && gate_target(step, n) > code.limit())
      return "gates to past the limit of their code segment are not refused";
  }
  return {};
}

/// The target's limit is looked at behind the pushes, and the selector named.
std::string call_past_limit(const LabStep& step) {
  const bool call = step.name.starts_with("CALL ") && left_vector(step) == kProtection &&
                    right_vector(step) == kProtection;
  if (!call || left_number(step, frame_linear(step, 0), 2) != 0) return {};
  const std::uint64_t selector = right_number(step, frame_linear(step, 0), 2);
  const unsigned offset = step.instruction.operand_size == 2 ? 2 : step.instruction.operand_size;
  const std::uint64_t target = left_number(step, operand_linear(step) + offset, 2);
  return selector != 0 && selector == (target & 0xfffc)
             ? "far CALL past a limit pushes first, and names the selector"
             : "";
}

std::string supervisor_stack(const LabStep& step) {
  constexpr std::uint64_t kPresentAndUser = 5, kNear = 64;
  const bool far =
      step.name.starts_with("RETF") || step.name == "IRET" || step.name.starts_with("CALL ");
  if (!far || step.cpl_before != 3 || left_vector(step) != kPageFault) return {};
  const std::uint64_t distance = step.left.state.cr2 - step.before.gpr[kRsp] + kNear;
  const std::uint64_t error = left_number(step, frame_linear(step, 0), 2);
  return distance < 2 * kNear && (error & kPresentAndUser) == kPresentAndUser
             ? "far transfers at CPL 3 use the stack with the supervisor's rights"
             : "";
}

std::string wild_gate(const LabStep& step) {
  if (!long_active(step) || !(step.right_halted || step.right_shut_down)) return {};
  bool wild = false, saved_wild = false;
  std::uint64_t rsp = step.left.state.gpr[kRsp];
  for (const kvm::FieldValue& f : step.fields)
    if (f.name == "rsp") rsp = number(f.right);
  const std::uint64_t saved = right_number(step, rsp + 8, 8);
  for (unsigned vector = 0; vector < World::kVectors; ++vector) {
    const std::uint64_t offset = gate_target(step, vector);
    wild = wild || !Cpu::canonical(offset);
    saved_wild = saved_wild || (!Cpu::canonical(offset) && offset == saved);
  }
  // #GP(EXT) names no selector: the target of a gate is what it is about.
  constexpr std::uint64_t kExternal = 1;
  const bool refused = left_vector(step) == kProtection && wild &&
                       left_number(step, frame_linear(step, 0), 8) <= kExternal;
  return refused || saved_wild ? "gates to non-canonical addresses fault behind the delivery" : "";
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

std::string kept_from_lab(const Cpu& cpu, const Ram& memory, const Instruction& instruction,
                          const std::string& name) {
  const CpuState& s = cpu.state;
  if (name == "INT1") return "QEMU's processor has no INT1";
  const std::uint8_t even = instruction.opcode & 0xfeU;
  const unsigned extension = instruction.modrm >> 3 & 7;
  if (name == "test" && even == 0xf6 && extension == 1)
    return "QEMU's processor has no F6 /1 and F7 /1";
  if (instruction.row == kNoRow && even == 0xc6 && extension != 0)
    return "QEMU's processor executes all of C6 and C7 as MOV";
  if (instruction.row == kNoRow && instruction.opcode == 0x8f && extension != 0)
    return "QEMU's processor executes all of 8F as POP";
  const bool pae = (s.cr0 & kCr0Pg) != 0 && (s.cr4 & kCr4Pae) != 0 && !cpu.long_mode_active();
  if (pae && pointers_moved(s, memory))
    return "PAE page-directory pointers are read from memory at every entry";
  if ((s.cr0 & kCr0Pg) != 0) return {};
  const bool protected_mode = (s.cr0 & kCr0Pe) != 0;
  if (leaves_memory(s.idtr.base, s.idtr.limit, memory.size()))
    return "the interrupt table lies where no memory is";
  if (protected_mode && leaves_memory(s.gdtr.base, s.gdtr.limit, memory.size()))
    return "the descriptor table lies where no memory is";
  constexpr std::uint64_t kFrame = 64;
  const std::uint64_t base = s.segment[kSs].base;
  for (const std::uint64_t sp : {s.gpr[kRsp], s.gpr[kRsp] - kFrame}) {
    const auto at = static_cast<std::uint32_t>(base + Cpu::cut(sp, cpu.stack_width()));
    if (at >= memory.size()) return "the stack lies where no memory is";
  }
  return {};
}

bool harmless(const std::vector<std::string>& causes) {
  return std::all_of(causes.begin(), causes.end(), [](const std::string& cause) {
    return cause == kPointerAccessed || cause == kNullLdt;
  });
}

std::vector<std::string> lab_causes(const LabStep& step) {
  for (const auto cause : {double_fault,      shadow_of_lss,      far_pointer,
                           null_task,         wild_table,         reserved_pointers,
                           unknown_cr4,       missing_cr4,        protection_for_stack,
                           target_past_limit, limit_of_long_code, long_and_big,
                           wild_far_target,   wild_near_target,   own_bytes,
                           exchanging_pause,  enter_untried,      enter_on_narrow_stack,
                           wrong_lock,        unnoticed,          wild_gate,
                           gate_past_limit,   call_past_limit,    wide_real_stack,
                           reads_pointer,     frame_on_code,      supervisor_stack}) {
    std::string text = cause(step);
    if (!text.empty()) return {text};
  }
  std::set<std::string> causes;
  for (const kvm::FieldValue& field : step.fields) {
    std::string text;
    for (const auto cause :
         {error_code, next_rip, stack_segment_of_ist, pointer_accessed, accessed_bits, null_ldt,
          double_fault_flag, code_not_accessed, still_unusable, partly_pushed, partly_stored,
          pusha_from_below, accessed_bit_at, whole_push, partial_frame, new_top_of_stack}) {
      if (text.empty()) text = cause(step, field);
    }
    if (text.empty()) return {};
    causes.insert(std::move(text));
  }
  return {causes.begin(), causes.end()};
}

}  // namespace chronovisor::crosscheck
