#include "tests/crosscheck/lab_causes.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string_view>

#include "tests/crosscheck/world.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/interpret/system/descriptors.h"

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

/// The code segment that a gate names.
Descriptor gate_code(const LabStep& step, unsigned vector) {
  const std::uint64_t gate = step.before.idtr.base + vector * (long_active(step) ? 16ULL : 8ULL);
  const std::uint64_t selector = left_number(step, gate + 2, 2);
  const bool local = (selector & 4) != 0;
  const std::uint64_t table = local ? step.before.ldtr.base : step.before.gdtr.base;
  Descriptor code;
  code.low = left_number(step, table + (selector & 0xfff8), 8);
  return code;
}

/// A contributory exception has its handler in a segment with another base, or
/// where HLT is not allowed: there the right one goes on.
bool stray_gate(const LabStep& step) {
  if (!protected_mode(step)) return false;
  for (unsigned vector = kInvalidTss; vector <= kPageFault; ++vector) {
    const Descriptor code = gate_code(step, vector);
    const bool moved = !long_active(step) && code.base() != 0;
    const bool outer = step.cpl_before == 3 && (code.conforming() || code.dpl() == 3);
    if (code.code() && (moved || outer)) return true;
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

std::string wild_base(const LabStep& step) {
  const bool writes = step.name == "WRFSBASE" || step.name == "WRGSBASE";
  return writes && right_retired(step) && !Cpu::canonical(operand(step, 8))
             ? "WRFSBASE and WRGSBASE take bases that are not canonical"
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

std::string lar_of_16_bits(const LabStep& step) {
  if ((step.name != "LAR" && step.name != "LSL") || !long_active(step) || delivered(step))
    return {};
  constexpr std::array<unsigned, 4> kShort{1, 3, 4, 5};  // TSS, busy TSS, call and task gate
  const std::uint64_t selector = operand(step, 2);
  const std::uint64_t table = (selector & 4) != 0 ? step.before.ldtr.base : step.before.gdtr.base;
  Descriptor descriptor;
  descriptor.low = left_number(step, table + (selector & 0xfff8), 8);
  const bool is_short = !descriptor.code_or_data() &&
                        std::find(kShort.begin(), kShort.end(), descriptor.type()) != kShort.end();
  return is_short ? "LAR and LSL know 16-bit system descriptors in long mode" : "";
}

std::string unknown_cr4(const LabStep& step) {
  constexpr std::uint64_t kVmeAndPvi = 3;
  const bool loads = step.name == "MOV CRn, r" && (step.instruction.modrm >> 3 & 7) == 4;
  return loads && right_retired(step) && (operand(step, 4) & kVmeAndPvi) != 0
             ? "CR4.VME and CR4.PVI may be set although CPUID has no VME"
             : "";
}

std::string protection_for_stack(const LabStep& step) {
  const auto right = right_vector(step);
  const bool other = right ? *right != kStackFault : step.right_shut_down;
  if (!long_code(step) || left_vector(step) != kStackFault || !other) return {};
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

std::string upper_cr0(const LabStep& step) {
  const bool loads = step.name == "MOV CRn, r" && (step.instruction.modrm >> 3 & 7) == 0;
  return loads && long_code(step) && right_retired(step) && operand(step, 8) >> 32 != 0
             ? "MOV to CR0 ignores bits 63:32"
             : "";
}

/// A null SS is for 64-bit code only, and has its RPL.
std::string null_stack(const LabStep& step) {
  constexpr std::uint64_t kRpl = 3, kLong = 0x2000;
  std::uint64_t stack = step.before.segment[kSs].selector;
  std::uint64_t code = step.before.segment[kCs].selector;
  bool wide = step.before.segment[kCs].long_mode();
  for (const kvm::FieldValue& f : step.fields) {
    if (f.name == "ss.selector") stack = number(f.right);
    if (f.name == "cs.selector") code = number(f.right);
    if (f.name == "cs.attributes") wide = (number(f.right) & kLong) != 0;
  }
  const bool wrong = !wide || ((stack ^ code) & kRpl) != 0;
  return far_transfer(step) && long_active(step) && right_retired(step) && (stack & ~kRpl) == 0 &&
                 wrong
             ? "far returns take a null SS for any code"
             : "";
}

/// CF is lost between the rotation and its store.
std::string rotation_begun_again(const LabStep& step) {
  const bool rotates = step.name == "rcl" || step.name == "rcr";
  if (!rotates || !step.instruction.memory || delivered(step)) return {};
  const std::uint64_t at = operand_linear(step);
  const bool operand_only = all(step, [&](const kvm::FieldValue& f) {
    for (unsigned n = 0; n < step.instruction.operand_size; ++n) {
      const auto place = step.left.translate_for_debugger({at + n});
      if (place && place_of(f) == place->value) return true;
    }
    return f.name == "rflags";
  });
  return operand_only ? "RCL and RCR of memory lose CF when their store is begun again" : "";
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
  constexpr const char* kCause = "code segments with both L and D are accepted";
  const auto loaded = [](const kvm::FieldValue& f) {
    constexpr std::uint64_t kBoth = 0x6000;
    return f.name == "cs.attributes" && (number(f.right) & kBoth) == kBoth;
  };
  if (far_transfer(step) && right_retired(step) &&
      std::any_of(step.fields.begin(), step.fields.end(), loaded))
    return kCause;
  const bool lost = step.left.state.shutdown && far_transfer(step) && step.instruction.memory;
  const bool refused = left_vector(step) == kGeneralProtection && delivered(step);
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
  return selector != 0 && reserved ? kCause : "";
}

/// Of a handler's segment that is neither present nor 64-bit code.
std::string presence_first(const LabStep& step) {
  if (!long_active(step) || !delivered(step) || left_vector(step) != kGeneralProtection ||
      right_vector(step) != kSegmentNotPresent)
    return {};
  const std::uint64_t selector = left_number(step, frame_linear(step, 0), 2);
  const std::uint64_t base = (selector & 4) != 0 ? step.before.ldtr.base : step.before.gdtr.base;
  Descriptor code;
  code.low = left_number(step, base + (selector & 0xfff8), 8);
  const bool wrong = !code.long_mode() || code.big();
  return code.code() && !code.present() && wrong
             ? "a code segment's presence is looked at before L and D"
             : "";
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

std::string long_pause(const LabStep& step) {
  const bool pair =
      all(step, [](const kvm::FieldValue& f) { return f.name == "rax" || f.name == "r8"; });
  if (step.name != "pause" || delivered(step)) return {};
  return pair ? "PAUSE with REX.B exchanges RAX and R8"
              : "the step after PAUSE is two instructions long";
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
  return step.instruction.lock && step.instruction.row == kNoRow && right_retired(step) &&
                 left_vector(step) == kInvalidOpcode
             ? "LOCK is accepted where it is undefined"
             : "";
}

std::string enter_untried(const LabStep& step) {
  const bool faulted = left_vector(step) == kPageFault || step.left.state.shutdown;
  return step.name == "enter" && right_retired(step) && faulted ? kStackUntried : "";
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
  const bool wraps = Cpu::cut(sp - near, width) > Cpu::cut(sp + near, width);
  const std::uint64_t bp = step.before.gpr[kRbp];  // ENTER reads the frames below
  const bool nested = step.name == "enter" && Cpu::cut(bp - near, width) > Cpu::cut(bp, width);
  return wraps || nested;
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
  constexpr std::uint64_t kFrame = 128;
  const auto vector = left_vector(step);
  // The refusal may fail in turn, where the stack is what is refused.
  const bool push_failed =
      vector == kPageFault && step.before.gpr[kRsp] - step.left.state.cr2 < kFrame;
  const bool refused = delivered(step) && (vector == kDoubleFault || vector == kStackFault ||
                                           vector == kGeneralProtection || push_failed);
  return (refused || step.left.state.shutdown) && !long_code(step) && violates_segment(step)
             ? "limits and types of segments are not checked"
             : "";
}

/// What was pushed fell on the instruction, or on the tables that lead to the handler.
std::string frame_on_code(const LabStep& step) {
  const bool entered = delivered(step) || left_vector(step) || software_interrupt(step);
  if (!entered && !uses_stack(step.name)) return {};
  constexpr std::uint64_t kFrame = 64;
  const std::uint64_t code = step.before.gpr[kGprRip] + step.before.segment[kCs].base;
  const std::uint64_t low = frame_linear(step, 0);
  const bool on_code = low < code + step.instruction.length() && code < low + kFrame;
  const bool on_tables = entered && low < World::kCode && World::kGdt < low + kFrame;
  return on_code || on_tables
             ? "a delivery or push that overwrites what it depends on is begun again with that"
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
      vector == kGeneralProtection && left_number(step, frame_linear(step, 0), 2) <= kExternal;
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
  const bool call = step.name.starts_with("CALL ") && left_vector(step) == kGeneralProtection &&
                    right_vector(step) == kGeneralProtection;
  if (!call || left_number(step, frame_linear(step, 0), 2) != 0) return {};
  const std::uint64_t selector = right_number(step, frame_linear(step, 0), 2);
  const unsigned offset = step.instruction.operand_size == 2 ? 2 : step.instruction.operand_size;
  const std::uint64_t target = left_number(step, operand_linear(step) + offset, 2);
  return selector != 0 && selector == (target & 0xfffc)
             ? "far CALL past a limit pushes first, and names the selector"
             : "";
}

std::string supervisor_stack(const LabStep& step) {
  constexpr std::uint64_t kUser = 4, kNear = 64;
  const bool far =
      step.name.starts_with("RETF") || step.name == "IRET" || step.name.starts_with("CALL ");
  if (!far || step.cpl_before != 3 || left_vector(step) != kPageFault) return {};
  const std::uint64_t distance = step.left.state.cr2 - step.before.gpr[kRsp] + kNear;
  const std::uint64_t error = left_number(step, frame_linear(step, 0), 2);
  return distance < 2 * kNear && (error & kUser) != 0
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
  const bool refused = left_vector(step) == kGeneralProtection && wild &&
                       left_number(step, frame_linear(step, 0), 8) <= kExternal;
  return refused || saved_wild ? "gates to non-canonical addresses fault behind the delivery" : "";
}

std::string wide_real_stack(const LabStep& step) {
  constexpr unsigned kFrame = 6;
  if (protected_mode(step) || !step.before.segment[kSs].big()) return {};
  if (!left_vector(step) && !software_interrupt(step)) return {};
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
  if (instruction.row == kNoRow && instruction.opcode == 0xae)
    return "QEMU's processor ignores prefixes that make 0F AE undefined";
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
  // An emulation of an AMD processor refuses what Intel's take for a hint.
  if (step.name.starts_with("prefetch") && !step.instruction.memory) {
    return {"prefetches of a register are undefined on AMD's processors"};
  }
  for (const auto cause : {double_fault,
                           shadow_of_lss,
                           far_pointer,
                           null_task,
                           wild_table,
                           wild_base,
                           reserved_pointers,
                           unknown_cr4,
                           lar_of_16_bits,
                           missing_cr4,
                           protection_for_stack,
                           target_past_limit,
                           limit_of_long_code,
                           long_and_big,
                           presence_first,
                           wild_far_target,
                           wild_near_target,
                           own_bytes,
                           long_pause,
                           upper_cr0,
                           null_stack,
                           rotation_begun_again,
                           enter_untried,
                           enter_on_narrow_stack,
                           wrong_lock,
                           unnoticed,
                           wild_gate,
                           gate_past_limit,
                           call_past_limit,
                           wide_real_stack,
                           reads_pointer,
                           frame_on_code,
                           supervisor_stack}) {
    std::string text = cause(step);
    if (!text.empty()) return {text};
  }
  std::set<std::string> causes;
  for (const kvm::FieldValue& field : step.fields) {
    std::string text = lab_part(step, field);
    if (text.empty()) return {};
    causes.insert(std::move(text));
  }
  return {causes.begin(), causes.end()};
}

}  // namespace chronovisor::crosscheck
