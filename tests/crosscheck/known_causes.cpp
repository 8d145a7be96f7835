#include "tests/crosscheck/known_causes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "tests/crosscheck/world.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::crosscheck {
namespace {

/// An operand lies at the very top of 4 GiB. Source: SDM vol. 3A, "Limit
/// Checking": with a limit of FFFFFFFFH such accesses may or may not fault.
bool operand_wraps(const Cpu& cpu, const Instruction& i) {
  constexpr std::uint64_t kTop = 0xfffffff1;
  if (i.address_size == 8) return false;
  const auto high = [&](std::uint64_t offset) { return Cpu::cut(offset, i.address_size) >= kTop; };
  if (i.row != kNoRow && (row_attributes(i) & kString) != 0)
    return high(cpu.state.gpr[kRdi]) || high(cpu.state.gpr[kRsi]);
  return i.memory && high(cpu.effective_address(i));
}

constexpr std::uint64_t kInvalidHandler = World::kHandlers + 6 * 16,
                        kNoDeviceHandler = World::kHandlers + 7 * 16,
                        kStackHandler = World::kHandlers + 12 * 16,
                        kProtectionHandler = World::kHandlers + 13 * 16,
                        kPageHandler = World::kHandlers + 14 * 16;

/// What the differences say of KVM's side; where a field does not differ, it
/// is as on the left.
class Difference {
 public:
  explicit Difference(const Observation& step) : step_(step) {}

  static std::uint64_t number(const std::string& text) {
    return text == "yes" || text == "no" ? 0 : std::stoull(text, nullptr, 16);
  }
  static bool memory(const kvm::FieldValue& f) { return f.name.starts_with("memory "); }
  static std::uint64_t address(const kvm::FieldValue& f) { return number(f.name.substr(7)); }
  [[nodiscard]] std::uint64_t right(std::string_view name, std::uint64_t left) const {
    for (const kvm::FieldValue& f : step_.fields)
      if (f.name == name) return number(f.right);
    return left;
  }
  [[nodiscard]] std::uint64_t left_rip() const { return step_.left.state.gpr[kGprRip]; }
  [[nodiscard]] std::uint64_t right_rip() const { return right("rip", left_rip()); }
  /// KVM executed the instruction, where the soft processor delivered an
  /// exception (Checker::differences takes the HLT of a handler off RIP).
  [[nodiscard]] bool right_retired() const {
    return step_.left.deliveries() != 0 &&
           right_rip() == step_.before.gpr[kGprRip] + step_.instruction.length() - 1;
  }
  /// Every field is memory or one of `names`.
  [[nodiscard]] bool within(std::initializer_list<std::string_view> names) const {
    return std::all_of(step_.fields.begin(), step_.fields.end(), [&](const kvm::FieldValue& f) {
      return memory(f) || std::find(names.begin(), names.end(), f.name) != names.end();
    });
  }
  [[nodiscard]] bool long64() const {
    return (step_.before.msr.efer & kEferLma) != 0 && step_.before.segment[kCs].long_mode();
  }
  /// Bytes of a stack word before the step.
  [[nodiscard]] unsigned stack_width() const {
    return long64() ? 8 : step_.before.segment[kSs].big() ? 4 : 2;
  }
  [[nodiscard]] std::uint64_t linear(unsigned segment, std::uint64_t offset) const {
    if (!long64()) return static_cast<std::uint32_t>(step_.before.segment[segment].base + offset);
    return segment == kFs || segment == kGs ? step_.before.segment[segment].base + offset : offset;
  }

 private:
  const Observation& step_;
};

std::uint64_t merged(std::uint64_t old, std::uint64_t value, unsigned bytes) {
  if (bytes == 2) return (old & ~0xffffULL) | (value & 0xffff);
  return bytes == 4 ? static_cast<std::uint32_t>(value) : value;
}

/// What ENTER with depth 0 makes of RSP and RBP when it pushes a stack word
/// whatever the operand size is, and writes nothing else.
/// Source: SDM vol. 2, "ENTER": the operand size decides what is pushed.
bool enter_pushed_stack_word(const Observation& step, const Difference& d) {
  if (step.name != "enter" || (step.instruction.immediate2 & 31) != 0) return false;
  const CpuState& before = step.before;
  const unsigned width = d.stack_width();
  const std::uint64_t frame = Cpu::cut(before.gpr[kRsp] - width, width);
  const std::uint64_t rsp =
      merged(before.gpr[kRsp], frame - (step.instruction.immediate & 0xffff), width);
  const std::uint64_t rbp = merged(before.gpr[kRbp], frame, width);
  return d.right("rsp", step.left.state.gpr[kRsp]) == rsp &&
         d.right("rbp", step.left.state.gpr[kRbp]) == rbp;
}

/// The differing bytes of memory lie in the frame of ENTER, and those that KVM
/// wrote are RBP's.
bool enter_memory(const Observation& step, const Difference& d) {
  const unsigned width = d.stack_width();
  constexpr unsigned kLargestOperand = 8;
  return std::all_of(step.fields.begin(), step.fields.end(), [&](const kvm::FieldValue& f) {
    if (!Difference::memory(f)) return true;
    for (unsigned below = 1; below <= kLargestOperand; ++below) {
      const std::uint64_t at = Cpu::cut(step.before.gpr[kRsp] - below, width);
      const auto place = step.left.translate_for_debugger({d.linear(kSs, at)});
      if (!place || place->value != Difference::address(f)) continue;
      const std::uint64_t byte = step.before.gpr[kRbp] >> (8 * (width - below)) & 0xff;
      return below > width || Difference::number(f.right) == byte;
    }
    return false;
  });
}

/// An access of `size` bytes at `offset` is refused before paging is looked at.
/// Source: SDM vol. 3A, "Limit Checking", "Type Checking"; vol. 1, "Canonical Addressing"
bool refused_by_segment(const Observation& step, const Difference& d, unsigned segment,
                        std::uint64_t offset, unsigned size) {
  if (d.long64()) {
    const std::uint64_t first = d.linear(segment, offset);
    return !Cpu::canonical(first) || !Cpu::canonical(first + size - 1);
  }
  const SegmentRegister& s = step.before.segment[segment];
  const bool execute_only = (s.type() & 0xa) == 8, expands_down = (s.type() & 0xc) == 4;
  const std::uint64_t last = offset + size - 1;
  const std::uint64_t top = s.big() ? 0xffffffff : 0xffff;
  const bool outside = expands_down ? offset <= s.limit || last > top : last > s.limit;
  return !s.present() || execute_only || outside;
}

/// CMPS whose first operand (DS:SI) cannot be read: KVM reports that fault, the
/// soft processor the one at ES:DI, as an Intel Xeon does: tests/cpu/native_facts_test.cpp.
bool first_operand_of_cmps(const Observation& step, const Difference& d) {
  if (step.name != "cmps" || !d.within({"rip", "cr2", "rsp"})) return false;
  const Instruction& i = step.instruction;
  const unsigned size = i.operand_size;
  const std::uint64_t offset = Cpu::cut(step.before.gpr[kRsi], i.address_size);
  const std::uint64_t first = d.linear(i.segment, offset);
  const std::uint64_t handler = d.right_rip();
  if (handler == kPageHandler) return d.right("cr2", step.left.state.cr2) - first < size;
  const bool refused = handler == (i.segment == kSs ? kStackHandler : kProtectionHandler);
  return refused && refused_by_segment(step, d, i.segment, offset, size);
}

/// The soft processor refuses (#GP) what KVM executes.
bool gp_not_raised(const Difference& d) {
  return d.left_rip() == kProtectionHandler && d.right_retired();
}

std::string cause(const Observation& step) {
  // One by one: clang 14 captures no structured bindings.
  const auto& name = step.name;
  const auto& fields = step.fields;
  const auto& bytes = step.bytes;
  const auto& before = step.before;
  const auto& left = step.left;
  const auto& instruction = step.instruction;
  const auto& exceptions = step.exceptions;
  const auto& stack = step.stack;
  const Difference d(step);
  const bool stack_is_odd = stack == StackKind::odd;
  const bool delivered = left.deliveries() != 0;
  const auto number = [](const std::string& text) { return Difference::number(text); };
  const auto all = [&](auto&& test) { return std::all_of(fields.begin(), fields.end(), test); };
  const auto accessed_bit = [&](const kvm::FieldValue& f) {
    if (!f.name.starts_with("memory ")) return false;
    const std::uint64_t at = number(f.name.substr(7));
    const bool table = at >= World::kTables && at < World::kUsedBytes;
    return table && ((number(f.left) ^ number(f.right)) & ~0x60ULL) == 0;
  };
  const auto only = [&](std::string_view wanted) {
    return fields.size() == 1 && fields[0].name == wanted;
  };
  const auto prefix = [&](std::string_view start) {
    return std::any_of(fields.begin(), fields.end(),
                       [&](const kvm::FieldValue& f) { return f.name.starts_with(start); });
  };
  const auto memory = [](const kvm::FieldValue& f) { return f.name.starts_with("memory "); };
  // SDM vol. 3A, "Accessed and Dirty Flags": whether a walk whose instruction then faults
  // sets them is open.
  if (delivered && all(accessed_bit)) return "A and D bits of an instruction that faults";
  const bool stores_word =
      name == "MOV r/m, Sreg" || name == "SLDT" || name == "STR" || name == "SMSW";
  // SDM vol. 2, "MOV", "SLDT", "STR", "SMSW": memory operands have 16 bits whatever the prefixes.
  const auto behind_word = [&](const kvm::FieldValue& f) {
    if (!memory(f)) return false;
    const std::uint64_t first = d.linear(instruction.segment, left.effective_address(instruction));
    for (unsigned n = 2; n < 8; ++n) {
      const auto place = left.translate_for_debugger({first + n});
      const std::uint64_t byte = name == "SMSW" ? before.cr0 >> (8 * n) & 0xff : 0;
      if (place && place->value == Difference::address(f)) return number(f.right) == byte;
    }
    return false;
  };
  if (stores_word && !delivered && instruction.memory && instruction.operand_size == 8 &&
      all([&](const kvm::FieldValue& f) { return behind_word(f) || accessed_bit(f); })) {
    return "stores of a selector or of CR0 with REX.W are 8 bytes wide";
  }
  if (delivered && first_operand_of_cmps(step, d))
    return "CMPS reports a fault at its first operand before one at its second";
  // SDM vol. 2, "LTR", "LLDT": #GP(selector). The frame's error code is what differs, at most
  // two bytes, TI first.
  if (delivered && (name == "LTR" || name == "LLDT") && d.left_rip() == kProtectionHandler &&
      fields.size() <= 2 && (number(fields[0].left) & 4) != 0 &&
      all([&](const kvm::FieldValue& f) { return memory(f) && number(f.right) == 0; })) {
    return "LTR and LLDT of an LDT selector: #GP(0)";
  }
  // SDM vol. 2, "CMPXCHG"; the destination of a failing one is unchanged on an Intel Xeon:
  // tests/cpu/native_facts_test.cpp.
  if (name == "cmpxchg" && !delivered && !instruction.memory && instruction.operand_size == 4 &&
      fields.size() == 1 && !left.flags.test(kZf) && number(fields[0].left) >> 32 != 0 &&
      number(fields[0].left) == before.gpr[instruction.rm] &&
      static_cast<std::uint32_t>(number(fields[0].left)) == number(fields[0].right)) {
    return "CMPXCHG r32 that fails clears the upper half of its destination";
  }
  if (!delivered && instruction.operand_size != d.stack_width() && d.within({"rsp", "rbp"}) &&
      enter_pushed_stack_word(step, d) && enter_memory(step, d)) {
    return "ENTER with a 66 prefix pushes a stack word, not an operand";
  }
  // SDM vol. 2, "LGDT": #GP(0) for a base that is not canonical.
  const std::string table_base = name == "LGDT" ? "gdtr.base" : "idtr.base";
  const std::uint64_t new_base = d.right(table_base, 0);
  const auto canonical57 = [](std::uint64_t value) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << 7) >> 7) == value;
  };
  if ((name == "LGDT" || name == "LIDT") && gp_not_raised(d) && prefix(table_base) &&
      !Cpu::canonical(new_base) && canonical57(new_base)) {
    return "LGDT and LIDT take bases that are canonical for 57 bits";
  }
  // SDM vol. 3A, "Segment Descriptor Tables in IA-32e Mode": bases are canonical.
  const std::uint64_t system_base = d.right(name == "LTR" ? "tr.base" : "ldtr.base", 0);
  if ((name == "LTR" || name == "LLDT") && gp_not_raised(d) && !Cpu::canonical(system_base) &&
      canonical57(system_base))
    return "LTR and LLDT take bases that are canonical for 57 bits";
  // SDM vol. 2, "MOV - Move to/from Control Registers": #GP(0) for bits 63:32.
  constexpr std::uint64_t kDefined =
      kCr0Pe | kCr0Mp | kCr0Em | kCr0Ts | kCr0Ne | kCr0Wp | kCr0Am | kCr0Nw | kCr0Cd | kCr0Pg;
  const std::uint64_t new_value = before.gpr[instruction.rm & 15U];
  if (name == "MOV CRn, r" && gp_not_raised(d) && d.long64() && instruction.reg == 0 &&
      new_value >> 32 != 0 && ((d.right("cr0", before.cr0) ^ new_value) & kDefined) == 0)
    return "MOV to CR ignores reserved upper bits";
  // CR4.VME and CR4.PVI, which our processor has not. SDM vol. 3A, "Control Registers".
  if (name == "MOV CRn, r" && d.right_retired() && instruction.reg == 4 && (new_value & 3) != 0 &&
      d.right("cr4", before.cr4) ==
          (d.long64() ? new_value : static_cast<std::uint32_t>(new_value)))
    return "MOV to CR4 takes VME and PVI on a processor without them";
  // SDM vol. 2, "MOV - Move to/from Debug Registers": DR4 and DR5 are DR6 and DR7, whose bits
  // 63:32 are refused.
  if (name == "MOV DRn, r" && gp_not_raised(d) && d.long64() &&
      (instruction.reg == 4 || instruction.reg == 5) && new_value >> 32 != 0)
    return "MOV to DR4 and DR5 takes reserved upper bits";
  const auto not_walked = [&](const kvm::FieldValue& f) {
    return accessed_bit({f.name, f.right, f.left});
  };
  if (name == "enter" && !delivered && all(not_walked))
    return "ENTER does not try the stack it leaves";
  // SDM vol. 3A, "Segment Descriptor Tables in IA-32e Mode": LDT and TSS descriptors have 16
  // bytes, compatibility mode included.
  if ((name == "LTR" || name == "LLDT") && gp_not_raised(d) && !d.long64() &&
      (before.msr.efer & kEferLma) != 0 && system_base >> 32 == 0)
    return "LTR and LLDT read 8 bytes of a descriptor in compatibility mode";
  // Left open by the manual: a segment register that was unusable when PE was cleared, loaded
  // in real mode. Ours has the usual limit and rights then, KVM's stays unusable.
  static constexpr std::array<std::string_view, kSegmentCount> kSegments{"es", "cs", "ss",
                                                                         "ds", "fs", "gs"};
  for (std::size_t n = 0; n < kSegments.size() && !delivered; ++n) {
    const auto of_it = [&](const kvm::FieldValue& f) {
      const std::string segment(kSegments[n]);
      return number(f.right) == 0 && (f.name == segment + ".attributes" ||
                                      f.name == segment + ".limit" || f.name == segment + ".base");
    };
    if ((before.cr0 & kCr0Pe) == 0 && !before.segment[n].present() && all(of_it))
      return "an unusable segment register stays so when real mode loads it";
  }
  // The selector of a far pointer wraps around at the top of the address size, as on an Intel
  // Xeon (LGS at FFFFFFFEH); KVM looks at offset and selector as one operand.
  const bool far_pointer = name.ends_with("m16:v") || name == "LES" || name == "LDS" ||
                           name == "LFS" || name == "LGS" || name == "LSS";
  const std::uint64_t pointer = instruction.memory ? left.effective_address(instruction) : 0;
  const bool wraps =
      instruction.address_size < 8 &&
      Cpu::cut(pointer + instruction.operand_size + 1, instruction.address_size) < pointer;
  if (far_pointer && instruction.memory && wraps && !delivered &&
      (d.right_rip() == kStackHandler + 1 || d.right_rip() == kProtectionHandler + 1))
    return "a far pointer does not wrap around at the top of its addresses";
  // SDM vol. 2, "ENTER": a write at the new top of the stack is tried.
  if (delivered && d.right_retired() && enter_pushed_stack_word(step, d))
    return "ENTER does not try the stack it leaves";
  // SDM vol. 2, "PAUSE"; measured: tests/cpu/native_facts_test.cpp.
  if (name == "pause" && !delivered &&
      all([](const kvm::FieldValue& f) { return f.name == "rax" || f.name == "r8"; }) &&
      d.right("rax", before.gpr[kRax]) == before.gpr[8] &&
      d.right("r8", before.gpr[8]) == before.gpr[kRax]) {
    return "PAUSE with REX.B exchanges RAX and R8";
  }
  // DR6.RTM and DR7.RTM, which a processor without RTM has not. SDM vol. 3B, "Debug Control
  // Register (DR7)".
  if (name == "MOV DRn, r" && !delivered &&
      ((only("dr7") && (number(fields[0].left) | 0x800) == number(fields[0].right)) ||
       (only("dr6") && (number(fields[0].left) & ~0x10000ULL) == number(fields[0].right)))) {
    return "MOV to DR6 and DR7 takes the bits of RTM on a processor without it";
  }
  // SDM vol. 3B, "Data Breakpoint Exception Conditions": a trap, which the soft processor holds
  // pending behind the instruction.
  if (only("pending_debug") && number(fields[0].right) == 0 && (left.state.dr7 & 0xff) != 0)
    return "data breakpoints are not looked at by emulated code";
  // SDM vol. 2, "AAM", "AAD": SF, ZF and PF follow from AL.
  const std::uint64_t ax = left.state.gpr[kRax] & 0xffff;
  const std::uint64_t of_ax = ((ax & 0x8000) != 0 ? kSf : 0U) | (ax == 0 ? kZf : 0U);
  if ((name == "aam" || name == "aad") && !delivered && only("rflags") &&
      ((number(fields[0].left) ^ number(fields[0].right)) & (kPf | kIf | kDf | kIoplMask)) == 0 &&
      (number(fields[0].right) & (kSf | kZf)) == of_ax)
    return "AAM and AAD take SF and ZF from AX";
  // SDM vol. 1, "Segmentation in 64-Bit Mode": CS, DS, ES and SS prefixes are ignored.
  const auto stack_or_protection = [](std::uint64_t rip) {
    return rip == kStackHandler || rip == kProtectionHandler;
  };
  if (delivered && only("rip") && d.long64() && stack_or_protection(number(fields[0].left)) &&
      stack_or_protection(number(fields[0].right))) {
    return "segment prefixes that 64-bit mode ignores choose between #SS and #GP";
  }
  const std::uint64_t left_rip = d.left_rip();
  const std::uint64_t right_rip = d.right_rip();
  // A hint changes nothing but RIP. An emulator that does not know it gives the guest's
  // handler, or native code behind it, some steps more.
  if (!delivered && name == "nop (hint)") {
    return "a step over a hint that the emulator does not know goes on too far";
  }
  // SDM vol. 2, "MOVNTI", "MOVNTDQ", "MOVNTPS": other prefixes and register operands are #UD.
  const bool passed = right_rip + 1 > before.gpr[kGprRip] &&
                      right_rip + 1 <= before.gpr[kGprRip] + kLongestInstruction;
  if (delivered && instruction.row == kNoRow && escape_followed_by(bytes, {0xc3, 0xe7, 0x2b}) &&
      left_rip == kInvalidHandler && (passed || right_rip == kNoDeviceHandler)) {
    return "non-temporal moves are not refused for a wrong prefix or a register operand";
  }
  // SDM vol. 1, "Transition Between x87 FPU and MMX Code": it is part of the instruction, and
  // one that faults has no effect.
  const bool mmx_move =
      name == "MOVQ mm, mm/m64" || name == "MOVQ mm/m64, mm" || name == "MOVNTQ m64, mm";
  if (delivered && mmx_move && instruction.memory && !prefix("x87.p") && !prefix("x87.e") &&
      d.right("x87.tag", left.state.x87.tag) == 0 &&
      d.right("x87.status", left.state.x87.status) == (left.state.x87.status & ~0x3800U) &&
      all([](const kvm::FieldValue& f) { return f.name == "x87.tag" || f.name == "x87.status"; })) {
    return "an MMX instruction that faults has entered the MMX state";
  }
  // SDM vol. 3A, "Priority Among Concurrent Events": #UD comes before faults of an operand.
  if (delivered && instruction.row == kNoRow && left_rip == kInvalidHandler &&
      (right_rip == kStackHandler || right_rip == kProtectionHandler ||
       right_rip == kPageHandler)) {
    return "an undefined instruction reads its operand before it is found undefined";
  }
  const bool refused = left_rip == kStackHandler || left_rip == kProtectionHandler;
  // SDM vol. 3A, "Type Checking": code segments and read-only data are never written.
  const unsigned type = before.segment[instruction.segment].type();
  const bool read_only = (type & 8) != 0 || (type & 2) == 0;
  if (delivered && instruction.memory && left_rip == kProtectionHandler && read_only &&
      right_rip == kPageHandler && instruction.address_size != 8) {
    return "the page of an operand is looked at before the segment is checked for writing";
  }
  if (delivered && refused && operand_wraps(left, instruction)) {
    return "accesses that wrap around at 4 GiB: left open by the manual";
  }
  const auto descriptor_accessed = [&](const kvm::FieldValue& f) {
    if (!memory(f)) return false;
    const std::uint64_t at = number(f.name.substr(7));
    const bool table =
        (at >= World::kGdt && at < World::kIdt) || (at >= World::kLdt && at < World::kCode);
    return table && (at & 7) == 5 && (number(f.left) ^ number(f.right)) == 1;
  };
  if (delivered && all(descriptor_accessed))
    return "the accessed bit of a descriptor, of an instruction that faults";
  const std::uint64_t to_page_end = 0x1000 - (left.effective_address(instruction) & 0xfff);
  const bool crosses = instruction.memory && to_page_end < instruction.operand_size;
  const bool right_faults = right_rip == kPageHandler + 1 || right_rip == kProtectionHandler + 1 ||
                            right_rip == kStackHandler + 1;
  if (stores_word && !delivered && crosses && (right_faults || all(accessed_bit)))
    return "stores of a selector or of CR0 need the whole operand's pages";
  if (exceptions == Exceptions::own_way && delivered && only("rsp") &&
      (left.state.cr0 & kCr0Pe) == 0 &&
      (number(fields[0].left) & 0xffff) == number(fields[0].right)) {
    return "the delivery of an exception in real mode clears the upper half of ESP";
  }
  if ((name == "SGDT" || name == "SIDT") && !delivered && instruction.operand_size == 2 &&
      fields.size() == 1 && memory(fields[0]) && number(fields[0].right) == 0) {
    return "SGDT and SIDT with a 16-bit operand store 24 bits of the base";
  }
  // SDM vol. 2, "LLDT": #GP(selector) when it is not in the GDT.
  if (name == "LLDT" && gp_not_raised(d) && (d.right("ldtr.selector", 0) & 4) != 0)
    return "LLDT takes a selector of the LDT";
  // SDM vol. 3A, "Fault Exceptions": the state before the instruction is restored; measured:
  // tests/cpu/native_facts_test.cpp. The bytes lie before the page that faulted.
  const auto before_fault = left.translate_for_debugger({left.state.cr2 - 1});
  const auto page_end = [&](const kvm::FieldValue& f) {
    const std::uint64_t at = memory(f) ? Difference::address(f) : 0;
    return before_fault && at <= before_fault->value && before_fault->value - at < 8;
  };
  if (delivered && left_rip == kPageHandler && (left.state.cr2 & 0xfff) == 0 &&
      all([&](const kvm::FieldValue& f) { return page_end(f) || accessed_bit(f); })) {
    return "a store across two pages writes the first before it faults at the second";
  }
  const bool own_way = exceptions == Exceptions::own_way && delivered;
  // The order of pushing a frame and of reading the handler's segment is open: it shows where
  // the stack lies in the GDT.
  const std::uint64_t stack_top = d.linear(kSs, before.gpr[kRsp]);
  const auto of_code_segment = [](const kvm::FieldValue& f) {
    return f.name == "cs.limit" || f.name == "cs.attributes" || f.name == "cs.base";
  };
  if (own_way && stack_top > World::kGdt && stack_top < World::kIdt && all(of_code_segment))
    return "the frame of an exception is pushed before its segment is read";
  if (own_way && only("rflags") && (number(fields[0].left) ^ number(fields[0].right)) == kAc) {
    return "the delivery of an exception clears AC";
  }
  if (own_way && stack_is_odd && d.within({"rsp"}))
    return "exceptions are delivered on a stack of another width than SS says";
  if (own_way && only("shutdown")) {
    return "exceptions are delivered without regard to gates and stack";
  }
  return {};
}

}  // namespace

bool escape_followed_by(const std::vector<std::uint8_t>& bytes,
                        std::initializer_list<std::uint8_t> opcodes) {
  const auto escape = std::find(bytes.begin(), bytes.end(), 0x0f);
  if (escape == bytes.end() || escape + 1 == bytes.end()) return false;
  return std::find(opcodes.begin(), opcodes.end(), escape[1]) != opcodes.end();
}

std::string known_cause(const Observation& step) {
  const std::string whole = cause(step);
  if (!whole.empty()) return whole;
  // The frame of an exception may meet a data breakpoint besides, and its delivery clear
  // AC: see above.
  const bool own_way = step.exceptions == Exceptions::own_way && step.left.deliveries() != 0;
  std::vector<kvm::FieldValue> rest;
  for (const kvm::FieldValue& f : step.fields) {
    const bool breakpoint = f.name == "pending_debug" && Difference::number(f.right) == 0;
    const bool clears_ac =
        own_way && f.name == "rflags" &&
        (Difference::number(f.left) ^ Difference::number(f.right)) == std::uint64_t{kAc};
    if (!clears_ac && (!breakpoint || (step.before.dr7 & 0xff) == 0)) rest.push_back(f);
  }
  if (rest.empty() || rest.size() == step.fields.size()) return {};
  return cause({step.name, rest, step.bytes, step.before, step.left, step.instruction,
                step.exceptions, step.stack});
}

}  // namespace chronovisor::crosscheck
