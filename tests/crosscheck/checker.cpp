#include "tests/crosscheck/checker.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "tests/crosscheck/lab_causes.h"
#include "vmm/cpu/decode/decoder.h"
#include "vmm/cpu/instruction_table.h"

namespace chronovisor::crosscheck {
namespace {

constexpr unsigned kMostSteps = 40;
constexpr std::uint64_t kUsedBytes = 0x60000;

/// Time, entropy, ports, MSRs: no two processors agree, or KVM hides them.
constexpr std::array<std::string_view, 26> kNotComparable{
    "CPUID",         "RDMSR",     "WRMSR",       "RDTSC",       "RDTSCP",       "RDPMC",
    "RDRAND",        "RDSEED",    "HLT",         "IN AL, imm8", "IN eAX, imm8", "OUT imm8, AL",
    "OUT imm8, eAX", "IN AL, DX", "IN eAX, DX",  "OUT DX, AL",  "OUT DX, eAX",  "INSB",
    "INSW/INSD",     "OUTSB",     "OUTSW/OUTSD", "SWAPGS",      "MOV r, DRn",   "MOV DRn, r",
    "INVD",          "WBINVD"};
/// They show TF, which stepping sets, to the guest.
constexpr std::array<std::string_view, 3> kShowTrapFlag{"pushf", "popf", "SYSCALL"};

/// What some KVMs do in their own way; the self-test shows it.
constexpr std::array<std::string_view, 4> kSoftwareInterrupts{"INT3", "INT imm8", "INTO", "INT1"};
constexpr std::array<std::string_view, 4> kFastCalls{"SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT"};

constexpr std::array<std::string_view, 4> kBaseAccess{"RDFSBASE", "RDGSBASE", "WRFSBASE",
                                                      "WRGSBASE"};

template <std::size_t N>
bool listed(const std::array<std::string_view, N>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

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

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%llx", static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

Checker::Checker(const kvm::Capabilities& capabilities)
    : capabilities_(capabilities),
      left_ram_(World::kMemory),
      right_ram_(World::kMemory),
      left_(left_ram_, environment_),
      right_(right_ram_, environment_),
      stepper_(right_, right_ram_, capabilities, kvm::InterruptTable::guest),
      laboratory_(in_laboratory()) {
  stepper_.give_up_when(&watchdog_.tired());
}

bool Checker::fetch(Instruction& instruction) {
  const bool wide = left_.long64();
  const std::uint64_t rip = left_.state.gpr[kGprRip];
  if (!wide && rip > left_.state.segment[kCs].limit) return false;
  const std::uint64_t linear =
      wide ? rip : static_cast<std::uint32_t>(rip + left_.state.segment[kCs].base);
  bytes_.clear();
  for (unsigned n = 0; n < kLongestInstruction; ++n) {
    const auto physical = left_.translate_for_debugger(linear + n);
    std::array<std::uint8_t, 1> byte{};
    if (!physical || left_ram_.read(*physical, byte) != 1) break;
    bytes_.push_back(byte[0]);
  }
  const DecodeMode mode{wide, left_.protected_mode() && !left_.virtual8086(),
                        static_cast<std::uint8_t>(left_.code_width())};
  instruction.start_offset = 0;
  if (decode(mode, bytes_, instruction) != DecodeStatus::ok) return false;
  bytes_.resize(instruction.length());
  name_ = instruction.row == kNoRow ? "(undefined)"
                                    : std::string(instruction_table()[instruction.row].name);
  return true;
}

bool Checker::comparable(const Instruction& instruction) const {
  if (instruction.row == kNoRow) return true;
  if (listed(kNotComparable, name_)) return false;
  // In the shadow of STI this KVM's steps are two instructions long.
  const bool raises_if = name_ == "STI" || name_ == "IRET" || name_ == "popf";
  if (!capabilities_.steps_sti && raises_if && !left_.flags.test(kIf)) return false;
  if (!capabilities_.hides_trap_flag && listed(kShowTrapFlag, name_)) return false;
  if (!capabilities_.software_interrupts && listed(kSoftwareInterrupts, name_)) return false;
  if (!capabilities_.fast_calls && listed(kFastCalls, name_)) return false;
  if (!capabilities_.steps_base_access && listed(kBaseAccess, name_)) return false;
  if (!capabilities_.checks_iret && name_ == "IRET") return false;
  const std::size_t first_x87 =
      integer_rows().size() + control_rows().size() + system_rows().size();
  return instruction.row < first_x87;
}

/// How the frame of a handler that was entered may be laid out: the gate decides
/// about the width of its words, the vector about the error code.
std::vector<Checker::FrameShape> Checker::frame_shapes() const {
  if ((before_.msr.efer & kEferLma) != 0) return {{8, 2}, {8, 3}};
  if ((before_.cr0 & kCr0Pe) == 0) return {{2, 2}};
  return {{2, 2}, {2, 3}, {4, 2}, {4, 3}};
}

/// The right byte differs from the left one as the flags in the frame of an
/// exception do under this KVM: they show the TF that stepping sets, lack RF, or
/// show the RF of the fault before a #DF. Only #DF, whose frame has an error
/// code, leaves RF as it was on the left.
bool Checker::frame_flag(std::uint64_t at, std::uint8_t a, std::uint8_t b) const {
  if ((a ^ b) != 1) return false;
  constexpr unsigned kTrapByte = 1, kResumeByte = 2, kWithErrorCode = 3;
  const bool shows = (b & 1) != 0;
  const std::uint64_t base = left_.long64() ? 0 : left_.state.segment[kSs].base;
  const auto is_at = [&](std::uint64_t offset) {
    const auto place = left_.translate_for_debugger(
        base + Cpu::cut(left_.state.gpr[kRsp] + offset, left_.stack_width()));
    return place && place->value == at;
  };
  for (const FrameShape& shape : frame_shapes()) {
    const unsigned flags = shape.word * shape.words_below_flags;
    if (shows && is_at(flags + kTrapByte)) return true;
    const bool resume =
        shows ? shape.words_below_flags == kWithErrorCode : !capabilities_.pushes_resume_flag;
    if (resume && is_at(flags + kResumeByte)) return true;
  }
  return false;
}

void Checker::compare_memory(bool delivered, std::vector<kvm::FieldValue>& fields) {
  std::vector<std::uint32_t> pages = left_ram_.dirty_pages();
  for (const std::uint64_t page : stepper_.collect_dirty_pages())
    pages.push_back(static_cast<std::uint32_t>(page));
  std::sort(pages.begin(), pages.end());
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
  for (const std::uint32_t page : pages) {
    high_pages_.insert(page);
    const std::uint64_t first = std::uint64_t{page} * kPageSize;
    if (std::memcmp(left_ram_.host(first), right_ram_.host(first), kPageSize) == 0) continue;
    for (std::uint64_t at = first; at < first + kPageSize; ++at) {
      const std::uint8_t a = *left_ram_.host(at), b = *right_ram_.host(at);
      if (a == b) continue;
      // The frame of an exception shows the TF that stepping sets.
      if (delivered && frame_flag(at, a, b)) continue;
      fields.push_back({"memory " + hex(at), hex(a), hex(b)});
    }
    std::memcpy(right_ram_.host(first), left_ram_.host(first), kPageSize);
  }
  left_ram_.new_epoch();
  left_.drop_write_tags();
  right_ram_.new_epoch();
}

/// The right processor takes over whatever the left one has.
void Checker::follow_left() {
  right_.state = left_.state;
  right_.flags = left_.flags;
  right_.state_restored();
  right_.set_cpl(left_.cpl());
}

std::vector<kvm::FieldValue> Checker::differences(const Instruction& instruction, bool delivered) {
  kvm_regs regs = stepper_.exit_regs();
  const std::uint64_t count =
      instruction.repeat != 0 && (row_attributes(instruction) & kString) != 0
          ? Cpu::cut(before_.gpr[kRcx], instruction.address_size)
          : 0;
  if (delivered || entered_handler()) {
    regs.rip -= 1;  // the HLT at the handler's start was executed
    if (count != 0 && regs.rcx != before_.gpr[kRcx]) regs.rcx = before_.gpr[kRcx];
  } else if (count != 0) {
    const std::uint64_t left_over = count - 1;
    regs.rcx = instruction.address_size == 2   ? (before_.gpr[kRcx] & ~0xffffULL) | left_over
               : instruction.address_size == 4 ? static_cast<std::uint32_t>(left_over)
                                               : left_over;
    const bool looks =
        instruction.opcode == 0xa6 || instruction.opcode == 0xa7 || instruction.opcode >= 0xae;
    const bool zero = (regs.rflags & kZf) != 0;
    const bool finished = left_over == 0 || (looks && zero != (instruction.repeat == 0xf3));
    regs.rip = finished ? before_.gpr[kGprRip] + instruction.length() : before_.gpr[kGprRip];
  }
  kvm::from_kvm_regs(right_, regs);
  kvm::from_kvm_sregs(right_, stepper_.exit_sregs(), {capabilities_.keeps_granularity});
  right_.state.idtr = {stepper_.exit_sregs().idt.base,
                       static_cast<std::uint16_t>(stepper_.exit_sregs().idt.limit)};
  std::vector<kvm::FieldValue> fields;
  const std::uint32_t undefined = delivered || instruction.row == kNoRow
                                      ? 0
                                      : instruction_table()[instruction.row].undefined_flags;
  const std::uint32_t ignored = undefined | kTf | kRf;
  const bool same_flags = ((left_.flags.value() ^ right_.flags.value()) & ~ignored) == 0;
  for (kvm::FieldValue& f : kvm::compare_processors(left_, right_)) {
    if (f.name == "rflags" && same_flags) continue;
    if (f.name == "shadow" || f.name == "dr6" || f.name == "dr7") continue;
    if (!capabilities_.keeps_granularity && f.name.ends_with(".attributes")) {
      const unsigned long a = std::stoul(f.left, nullptr, 16), b = std::stoul(f.right, nullptr, 16);
      if (((a ^ b) & ~0x8000UL) == 0) continue;
    }
    fields.push_back(std::move(f));
  }
  return fields;
}

Checker::Verdict Checker::step(Tally& tally) {
  Instruction& instruction = instruction_;
  instruction = Instruction{};
  const bool decoded = fetch(instruction);
  if (!decoded) {
    name_ = "(fetch)";
    instruction = Instruction{};
    instruction.row = kNoRow;
  }
  if (!comparable(instruction)) return Verdict::ends;
  const bool repeat_of_none = instruction.repeat != 0 &&
                              (row_attributes(instruction) & kString) != 0 &&
                              Cpu::cut(left_.state.gpr[kRcx], instruction.address_size) == 0;
  if (repeat_of_none) return Verdict::ends;
  if (laboratory_) {
    const std::string reason = kept_from_lab(left_, left_ram_, instruction, name_);
    if (!reason.empty()) {
      ++tally.not_stepped[reason];
      return Verdict::ends;
    }
  }
  before_ = left_.state;
  flags_before_ = left_.flags.value();
  cpl_before_ = left_.cpl();
  operand_offset_ = instruction.memory ? left_.effective_address(instruction) : 0;
  (void)left_.run(left_.position(), left_.deliveries() + 1);
  if (trace_) print_step();
  const bool delivered = left_.deliveries() != 0;
  watchdog_.step_begins();
  const kvm::StepOutcome outcome = stepper_.step(instruction);
  if (watchdog_.tired() && outcome == kvm::StepOutcome::unsupported)
    ++tally.not_stepped["KVM did not come back: " + name_];
  if (trace_ && watchdog_.tired()) std::printf("  KVM did not come back\n");
  const bool shutdown = stepper_.vm().shared().exit_reason == KVM_EXIT_SHUTDOWN;
  // Nowhere else is a HLT executed: KVM gave up delivering something.
  const bool halted = stepper_.vm().shared().exit_reason == KVM_EXIT_HLT;
  const bool stuck = halted && stepper_.exit_regs().rip == before_.gpr[kGprRip];
  if (outcome == kvm::StepOutcome::unsupported || stuck ||
      (outcome == kvm::StepOutcome::not_taken && !shutdown)) {
    ++tally.unsupported;
    return Verdict::ends;
  }
  // A handler that is none (a table that the program moved): KVM has gone on in it.
  const bool went_on = left_.state.gpr[kGprRip] == before_.gpr[kGprRip] + instruction.length();
  const bool entered = delivered || (listed(kSoftwareInterrupts, name_) && !went_on);
  // HLT is for CPL 0: a handler that stays at another one faults in turn.
  const bool halts = at_handler() && left_.cpl() == 0;
  if (entered && !left_.state.shutdown && !halts) {
    ++tally.unsupported;
    return Verdict::ends;
  }
  ++tally.steps;
  fields_.clear();
  if (left_.state.shutdown || shutdown) {
    ++tally.shutdowns;
    if (left_.state.shutdown == shutdown) return Verdict::ends;
    fields_.push_back({"shutdown", left_.state.shutdown ? "yes" : "no", shutdown ? "yes" : "no"});
    return Verdict::disagrees;
  }
  if (delivered) ++tally.faults;
  fields_ = differences(instruction, delivered);
  compare_memory(delivered || entered_handler(), fields_);
  if (!fields_.empty()) return Verdict::disagrees;
  const bool ends = over();
  follow_left();
  return ends ? Verdict::ends : Verdict::goes_on;
}

/// Nothing comparable follows what was just executed.
bool Checker::over() {
  return left_.deliveries() != 0 || entered_handler() || left_.flags.test(kTf | kVm | kRf) ||
         left_.state.halted || (left_.cpl() == 3 && !capabilities_.step_ring3);
}

/// A gate that an instruction went through led to a handler, whose HLT KVM has
/// executed.
bool Checker::entered_handler() {
  return stepper_.vm().shared().exit_reason == KVM_EXIT_HLT && at_handler();
}

bool Checker::at_handler() const {
  const std::uint64_t rip = left_.state.gpr[kGprRip];
  const auto physical = left_.translate_for_debugger(
      left_.long64() ? rip : static_cast<std::uint32_t>(rip + left_.state.segment[kCs].base));
  std::array<std::uint8_t, 1> byte{};
  return physical && left_ram_.read(*physical, byte) == 1 && byte[0] == 0xf4;
}

/// PE and SS.B disagree about how wide the stack of a handler is.
StackKind Checker::stack_kind() const {
  const bool real = (before_.cr0 & kCr0Pe) == 0;
  const bool odd = real == before_.segment[kSs].big();
  return odd && (before_.msr.efer & kEferLma) == 0 ? StackKind::odd : StackKind::usual;
}

std::string Checker::describe(const std::vector<kvm::FieldValue>& fields) const {
  std::string text = "  bytes";
  for (const std::uint8_t byte : bytes_) text += " " + hex(byte);
  text += " (" + name_ + "), cpl " + std::to_string(cpl_before_) + ", exit " + stepper_.last_exit();
  text += left_.deliveries() != 0 ? ", soft delivered an exception\n" : "\n";
  text += "  before: rip " + hex(before_.gpr[kGprRip]) + " flags " + hex(flags_before_) + " cr0 " +
          hex(before_.cr0) + " cr4 " + hex(before_.cr4) + " efer " + hex(before_.msr.efer) +
          " cs " + hex(before_.segment[kCs].selector) + " ss " +
          hex(before_.segment[kSs].selector) + "\n   ";
  for (unsigned n = 0; n < 16; ++n) text += " " + hex(before_.gpr[n]);
  text += "\n  after: rip " + hex(left_.state.gpr[kGprRip]) + " rsp " + hex(left_.state.gpr[kRsp]) +
          " idtr " + hex(left_.state.idtr.base) + " gdtr " + hex(left_.state.gdtr.base) +
          ", kvm's rip " + hex(stepper_.exit_regs().rip) + "\n";
  for (const kvm::FieldValue& f : fields)
    text += "    " + f.name + ": soft " + f.left + ", kvm " + f.right + "\n";
  return text;
}

void Checker::print_step() const {
  std::string text = "  step: rip " + hex(before_.gpr[kGprRip]) + " cpl " +
                     std::to_string(cpl_before_) + " " + name_ + " bytes";
  for (const std::uint8_t byte : bytes_) text += " " + hex(byte);
  if (left_.deliveries() != 0) text += ", delivers to " + hex(left_.state.gpr[kGprRip]);
  if (left_.state.shutdown) text += ", shuts down";
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

/// Pages above what a world fills, which an earlier case wrote through some
/// random segment: every case begins with zeros there, on both sides.
void Checker::clear_high_pages() {
  for (const std::uint32_t page : left_ram_.dirty_pages()) high_pages_.insert(page);
  for (const std::uint64_t page : stepper_.collect_dirty_pages()) high_pages_.insert(page);
  for (const std::uint64_t page : high_pages_) {
    if (page < kUsedBytes / kPageSize) continue;
    std::memset(left_ram_.host(page * kPageSize), 0, kPageSize);
    std::memset(right_ram_.host(page * kPageSize), 0, kPageSize);
    left_.page_replaced(page);
  }
  high_pages_.clear();
}

std::optional<Disagreement> Checker::run_case(std::uint64_t seed, Tally& tally) {
  const WorldMode mode =
      build_world(left_ram_, left_, seed,
                  {capabilities_.step_ring3, capabilities_.checks_segments,
                   capabilities_.steps_mov_ss, capabilities_.paged32, capabilities_.checks_gates});
  for (std::uint64_t page = 0; page < kUsedBytes / kPageSize; ++page) left_.page_replaced(page);
  clear_high_pages();
  left_.state_restored();
  std::memcpy(right_ram_.host(0), left_ram_.host(0), kUsedBytes);
  left_ram_.new_epoch();
  right_ram_.new_epoch();
  left_.set_position({0});
  follow_left();
  stepper_.forget();
  ++tally.cases;
  for (unsigned n = 0; n < kMostSteps; ++n) {
    const std::uint64_t before = tally.steps;
    const Verdict verdict = step(tally);
    tally.by_mode[mode_name(mode)] += tally.steps - before;
    if (verdict == Verdict::ends) break;
    if (verdict == Verdict::goes_on) continue;
    const std::vector<std::string> known = causes();
    if (!known.empty()) {
      ++tally.known;
      for (const std::string& cause : known) ++tally.known_by_cause[cause];
      if (!laboratory_ || over() || !harmless(known)) break;
      follow_left();
      continue;
    }
    std::string kind;
    for (const kvm::FieldValue& f : fields_) kind += f.name.substr(0, f.name.find(' ')) + " ";
    return Disagreement{seed, n, mode, name_, kind, describe(fields_)};
  }
  return std::nullopt;
}

/// Why what differs is not the soft processor's; empty when no reason is known.
std::vector<std::string> Checker::causes() {
  if (laboratory_) {
    const kvm_run& shared = stepper_.vm().shared();
    return lab_causes({name_, instruction_, fields_, before_, cpl_before_, operand_offset_, left_,
                       left_ram_, stepper_.exit_regs().rip, shared.exit_reason == KVM_EXIT_HLT,
                       shared.exit_reason == KVM_EXIT_SHUTDOWN});
  }
  const std::string emulated = cause_in_emulation();
  if (!emulated.empty()) return {emulated};
  const Exceptions exceptions =
      capabilities_.checks_gates ? Exceptions::as_documented : Exceptions::own_way;
  const std::string cause =
      known_cause(name_, fields_, left_, instruction_, exceptions, stack_kind());
  return cause.empty() ? std::vector<std::string>{} : std::vector{cause};
}

/// What an emulated processor under the KVM leaves out, as the self-test showed.
std::string Checker::cause_in_emulation() {
  // The refusal may itself end in a double fault, where the stack is what is refused.
  constexpr std::uint64_t kDoubleFaultHandler = World::kHandlers + 8 * 16;
  constexpr std::uint64_t kStackFaultHandler = World::kHandlers + 12 * 16,
                          kProtectionHandler = World::kHandlers + 13 * 16;
  const std::uint64_t rip = left_.state.gpr[kGprRip];
  const bool wide = (before_.msr.efer & kEferLma) != 0 && before_.segment[kCs].long_mode();
  const bool refused =
      left_.deliveries() != 0 && (rip == kStackFaultHandler || rip == kProtectionHandler);
  const bool retired = stepper_.vm().shared().exit_reason == KVM_EXIT_DEBUG;
  const bool doubled = left_.deliveries() != 0 && rip == kDoubleFaultHandler && retired;
  if (!capabilities_.checks_segments && (refused || doubled) && !wide)
    return "limits and types of segments are not checked";
  const bool near = name_ == "jmp rm" || name_ == "call rm" || name_.starts_with("ret");
  if (!capabilities_.checks_branch_targets && refused && wide && near)
    return "near branches to non-canonical addresses do not fault";
  const bool top_of_stack =
      Cpu::cut(before_.gpr[kRsp], 2) > 0x10000U - 8U * instruction_.operand_size;
  if (name_ == "popa" && left_.deliveries() != 0 && rip == kStackFaultHandler &&
      (before_.cr0 & kCr0Pe) == 0 && top_of_stack)
    return "POPA in real mode goes on past the top of its stack";
  const bool pushes_segment = name_.starts_with("PUSH ") && instruction_.operand_size == 4;
  const auto cleared = [](const kvm::FieldValue& f) {
    return f.name.starts_with("memory ") && f.right == "0";
  };
  if (pushes_segment && left_.deliveries() == 0 &&
      std::all_of(fields_.begin(), fields_.end(), cleared))
    return "PUSH of a segment register writes all 4 bytes of its operand";
  const bool starts_paging = name_ == "MOV CRn, r" && (left_.state.cr0 & kCr0Pg) != 0 &&
                             (left_.state.msr.efer & kEferLma) == 0;
  if (!capabilities_.paged32 && starts_paging)
    return "paging outside long mode cannot be switched on";
  const auto pointer = [](const kvm::FieldValue& f) {
    if (!f.name.starts_with("memory ")) return false;
    const std::uint64_t at = std::stoull(f.name.substr(7), nullptr, 16);
    return at >= World::kTables && at < World::kTables + 32 && (at & 7) == 0;
  };
  if (!capabilities_.keeps_pdptes && std::all_of(fields_.begin(), fields_.end(), pointer))
    return "PAE page-directory pointers get an A bit";
  return {};
}

std::string known_cause(const std::string& name, const std::vector<kvm::FieldValue>& fields,
                        const Cpu& left, const Instruction& instruction, Exceptions exceptions,
                        StackKind stack) {
  const bool stack_is_odd = stack == StackKind::odd;
  const bool delivered = left.deliveries() != 0;
  const auto number = [](const std::string& text) { return std::stoull(text, nullptr, 16); };
  const auto all = [&](auto&& test) { return std::all_of(fields.begin(), fields.end(), test); };
  const auto accessed_bit = [&](const kvm::FieldValue& f) {
    if (!f.name.starts_with("memory ")) return false;
    const std::uint64_t at = number(f.name.substr(7));
    const bool table = at >= World::kTables && at < kUsedBytes;
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
  if (delivered && all(accessed_bit)) return "A and D bits of an instruction that faults";
  const bool stores_word =
      name == "MOV r/m, Sreg" || name == "SLDT" || name == "STR" || name == "SMSW";
  if (stores_word && !delivered && instruction.memory && instruction.operand_size == 8 &&
      all(memory)) {
    return "stores of a selector or of CR0 with REX.W are 8 bytes wide";
  }
  if (name == "cmps" && delivered)
    return "CMPS reports a fault at its first operand before one at its second";
  if (delivered && (name == "LTR" || name == "LLDT") &&
      all([&](const kvm::FieldValue& f) { return memory(f) && number(f.right) == 0; })) {
    return "LTR and LLDT of an LDT selector: #GP(0)";
  }
  if (name == "cmpxchg" && !delivered && !instruction.memory && instruction.operand_size == 4 &&
      fields.size() == 1 &&
      static_cast<std::uint32_t>(number(fields[0].left)) == number(fields[0].right)) {
    return "CMPXCHG r32 that fails clears the upper half of its destination";
  }
  if (name == "enter" && instruction.operand_size != left.stack_width() && !delivered) {
    return "ENTER with a 66 prefix pushes a stack word, not an operand";
  }
  if (delivered && (name == "LGDT" || name == "LIDT") && (prefix("gdtr") || prefix("idtr"))) {
    return "LGDT and LIDT take bases that are canonical for 57 bits";
  }
  if (delivered && name == "MOV CRn, r" && prefix("cr"))
    return "MOV to CR ignores reserved upper bits";
  if (name == "enter") return "ENTER does not try the stack it leaves";
  if (name == "pause" && !delivered &&
      all([](const kvm::FieldValue& f) { return f.name == "rax" || f.name == "r8"; })) {
    return "PAUSE with REX.B exchanges RAX and R8";
  }
  if (name == "aam" && !delivered && only("rflags")) return "AAM takes SF from AX";
  // 0xa0c0 is #SS, 0xa0d0 #GP: both are HLTs.
  if (delivered && only("rip") && left.long64() &&
      ((number(fields[0].left) ^ number(fields[0].right)) == 0x10)) {
    return "segment prefixes that 64-bit mode ignores choose between #SS and #GP";
  }
  constexpr std::uint64_t kInvalidHandler = World::kHandlers + 6 * 16,
                          kStackHandler = World::kHandlers + 12 * 16,
                          kProtectionHandler = World::kHandlers + 13 * 16,
                          kPageHandler = World::kHandlers + 14 * 16;
  const auto field = [&](std::string_view wanted) -> const kvm::FieldValue* {
    const auto found = std::find_if(fields.begin(), fields.end(),
                                    [&](const kvm::FieldValue& f) { return f.name == wanted; });
    return found == fields.end() ? nullptr : &*found;
  };
  const kvm::FieldValue* rip = field("rip");
  const std::uint64_t left_rip = left.state.gpr[kGprRip];
  const std::uint64_t right_rip = rip != nullptr ? number(rip->right) : left_rip;
  if (delivered && instruction.row == kNoRow && left_rip == kInvalidHandler &&
      (right_rip == kStackHandler || right_rip == kProtectionHandler ||
       right_rip == kPageHandler)) {
    return "an undefined instruction reads its operand before it is found undefined";
  }
  const bool refused = left_rip == kStackHandler || left_rip == kProtectionHandler;
  if (delivered && instruction.memory && refused && right_rip == kPageHandler &&
      instruction.address_size != 8) {
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
  const bool crosses = instruction.memory && (left.effective_address(instruction) & 0xfff) > 0xff8;
  if (stores_word && !delivered && instruction.operand_size == 8 && crosses)
    return "stores of a selector or of CR0 with REX.W are 8 bytes wide";
  if (exceptions == Exceptions::own_way && delivered && only("rsp") &&
      (left.state.cr0 & kCr0Pe) == 0 &&
      (number(fields[0].left) & 0xffff) == number(fields[0].right)) {
    return "the delivery of an exception in real mode clears the upper half of ESP";
  }
  if ((name == "SGDT" || name == "SIDT") && !delivered && instruction.operand_size == 2 &&
      fields.size() == 1 && memory(fields[0]) && number(fields[0].right) == 0) {
    return "SGDT and SIDT with a 16-bit operand store 24 bits of the base";
  }
  if (delivered && name == "LLDT" && prefix("ldtr")) return "LLDT takes a selector of the LDT";
  const auto page_end = [&](const kvm::FieldValue& f) {
    return memory(f) && (number(f.name.substr(7)) & 0xfff) >= 0xff0;
  };
  if (delivered && all([&](const kvm::FieldValue& f) { return page_end(f) || accessed_bit(f); })) {
    return "a store across two pages writes the first before it faults at the second";
  }
  const bool own_way = exceptions == Exceptions::own_way && delivered;
  if (own_way && only("rflags") && (number(fields[0].left) ^ number(fields[0].right)) == kAc) {
    return "the delivery of an exception clears AC";
  }
  if (own_way && stack_is_odd)
    return "exceptions are delivered on a stack of another width than SS says";
  if (only("shutdown") && delivered && exceptions == Exceptions::own_way) {
    return "exceptions are delivered without regard to gates and stack";
  }
  return {};
}

}  // namespace chronovisor::crosscheck
