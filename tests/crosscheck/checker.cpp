#include "tests/crosscheck/checker.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "tests/crosscheck/known_causes.h"
#include "tests/crosscheck/lab_causes.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::crosscheck {
namespace {

constexpr unsigned kMostSteps = 40;

/// Time, entropy, ports, MSRs: no two processors agree, or KVM hides them.
constexpr std::array<std::string_view, 24> kNotComparable{
    "CPUID",         "RDMSR",     "WRMSR",       "RDTSC",       "RDTSCP",       "RDPMC",
    "RDRAND",        "RDSEED",    "HLT",         "IN AL, imm8", "IN eAX, imm8", "OUT imm8, AL",
    "OUT imm8, eAX", "IN AL, DX", "IN eAX, DX",  "OUT DX, AL",  "OUT DX, eAX",  "INSB",
    "INSW/INSD",     "OUTSB",     "OUTSW/OUTSD", "SWAPGS",      "INVD",         "WBINVD"};
/// They show TF, which stepping sets, to the guest.
constexpr std::array<std::string_view, 3> kShowTrapFlag{"pushf", "popf", "SYSCALL"};

/// What some KVMs do in their own way; the self-test shows it.
constexpr std::array<std::string_view, 4> kSoftwareInterrupts{"INT3", "INT imm8", "INTO", "INT1"};
constexpr std::array<std::string_view, 4> kFastCalls{"SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT"};

constexpr std::array<std::string_view, 4> kBaseAccess{"RDFSBASE", "RDGSBASE", "WRFSBASE",
                                                      "WRGSBASE"};

constexpr std::array<std::string_view, 4> kStateImages{"FXSAVE m512", "FXRSTOR m512", "LDMXCSR m32",
                                                       "STMXCSR m32"};

template <std::size_t N>
bool listed(const std::array<std::string_view, N>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The high bits of the full tags that are 3.
unsigned empty_registers(std::uint16_t tag) { return tag & tag << 1 & 0xaaaaU; }

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
      virtual8086_(probe_virtual8086()),
      laboratory_(in_laboratory()) {
  stepper_.give_up_when(&watchdog_.tired());
}

/// MOV ES, AX in virtual-8086 mode: the flag stays, the base follows from the
/// selector. Some KVMs lose VM and go on in protected mode.
bool Checker::probe_virtual8086() {
  // Ring 3 outside long mode is generated only where segments are checked.
  if (!capabilities_.checks_segments) return false;
  WorldOptions options;
  options.only = WorldMode::virtual8086;
  build_world(right_ram_, right_, 1, options);
  right_.state.gpr[kRax] = 0x123;
  const std::array<std::uint8_t, 2> code{0x8e, 0xc0};
  std::memcpy(right_ram_.host(World::kCode), code.data(), code.size());
  Instruction instruction;
  if (decode({false, false, 2}, code, instruction) != DecodeStatus::ok) return false;
  stepper_.forget();
  const bool stepped = stepper_.step(instruction) == kvm::StepOutcome::handler &&
                       stepper_.vm().shared().exit_reason == KVM_EXIT_DEBUG;
  return stepped && (stepper_.exit_regs().rflags & kVm) != 0 &&
         stepper_.exit_sregs().es.base == 0x1230;
}

bool Checker::fetch(Instruction& instruction) {
  const bool wide = left_.long64();
  const std::uint64_t rip = left_.state.gpr[kGprRip];
  if (!wide && rip > left_.state.segment[kCs].limit) return false;
  const std::uint64_t linear = left_.linear_rip();
  bytes_.clear();
  for (unsigned n = 0; n < kLongestInstruction; ++n) {
    const auto physical = left_.translate_for_debugger({linear + n});
    std::array<std::uint8_t, 1> byte{};
    if (!physical || left_ram_.read(*physical, byte) != 1) break;
    bytes_.push_back(byte[0]);
  }
  const DecodeMode mode = left_.mode_key().decode_mode();
  instruction.start_offset = 0;
  if (decode(mode, bytes_, instruction) != DecodeStatus::ok) return false;
  bytes_.resize(instruction.length());
  name_ = instruction.row == kNoRow ? "(undefined)"
                                    : std::string(instruction_table()[instruction.row].name);
  return true;
}

bool Checker::comparable(const Instruction& instruction) const {
  if (instruction.row == kNoRow)
    return capabilities_.steps_base_access || !escape_followed_by(bytes_, {0xae});
  if (listed(kNotComparable, name_)) return false;
  // In the shadow of STI this KVM's steps are two instructions long.
  const bool raises_if = name_ == "STI" || name_ == "IRET" || name_ == "popf";
  if (!capabilities_.steps_sti && raises_if && !left_.flags.test(kIf)) return false;
  if (!capabilities_.hides_trap_flag && listed(kShowTrapFlag, name_)) return false;
  if (!capabilities_.software_interrupts && listed(kSoftwareInterrupts, name_)) return false;
  if (!capabilities_.fast_calls && listed(kFastCalls, name_)) return false;
  if (!capabilities_.steps_base_access && listed(kBaseAccess, name_)) return false;
  // Group 15 runs natively there, two instructions a step.
  if (!capabilities_.steps_base_access && listed(kStateImages, name_)) return false;
  if (!capabilities_.checks_iret && name_ == "IRET") return false;
  // Code that nobody generated for it, in the laboratory.
  const std::size_t first_x87 =
      integer_rows().size() + control_rows().size() + system_rows().size();
  return !laboratory_ || instruction.row < first_x87;
}

/// What the vCPU holds outside the registers that every step exchanges.
void Checker::take_other_registers() {
  const kvm_debugregs debug = stepper_.vm().debug_registers();
  for (std::size_t n = 0; n < right_.state.dr.size(); ++n) right_.state.dr[n] = debug.db[n];
  right_.state.dr6 = debug.dr6;
  right_.state.dr7 = debug.dr7;
  const kvm::Vm::FloatingPointImage image = stepper_.vm().floating_point();
  kvm::from_kvm_floating_point(right_.state, image);
  const std::uint16_t tag = right_.state.x87.tag = left_.state.x87.tag;
  right_.state.x87 = kvm::x87_of(image);
  // An image tells empty registers from others only, and MMX leaves them all valid.
  if (empty_registers(tag) == empty_registers(right_.state.x87.tag)) right_.state.x87.tag = tag;
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
        {base + Cpu::cut(left_.state.gpr[kRsp] + offset, left_.stack_width())});
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
  right_.state_replaced();
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
  take_other_registers();
  std::vector<kvm::FieldValue> fields;
  const std::uint32_t undefined = delivered || instruction.row == kNoRow
                                      ? 0
                                      : instruction_table()[instruction.row].undefined_flags;
  const std::uint32_t ignored = undefined | kTf | kRf;
  const bool same_flags = ((left_.flags.value() ^ right_.flags.value()) & ~ignored) == 0;
  for (kvm::FieldValue& f : kvm::compare_processors(left_, right_)) {
    if (f.name == "rflags" && same_flags) continue;
    if (f.name == "shadow") continue;
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
    const bool task = left_.state.tr.selector != before_.tr.selector && name_ != "LTR";
    ++tally.unsupported_by_name[(task ? "a task switch by " : "") + name_ + ": " +
                                stepper_.last_exit()];
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
  return left_.deliveries() != 0 || entered_handler() || left_.flags.test(kTf | kRf) ||
         left_.state.pending_debug != 0 || left_.state.halted ||
         (left_.virtual8086() ? !virtual8086_ : left_.cpl() == 3 && !capabilities_.step_ring3);
}

/// A gate that an instruction went through led to a handler, whose HLT KVM has
/// executed.
bool Checker::entered_handler() {
  return stepper_.vm().shared().exit_reason == KVM_EXIT_HLT && at_handler();
}

bool Checker::at_handler() const {
  const auto physical = left_.translate_for_debugger({left_.linear_rip()});
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
    if (page < World::kUsedBytes / kPageSize) continue;
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
                   capabilities_.steps_mov_ss, capabilities_.paged32, virtual8086_,
                   capabilities_.checks_gates, !capabilities_.checks_gates});
  for (std::uint64_t page = 0; page < World::kUsedBytes / kPageSize; ++page)
    left_.page_replaced(page);
  clear_high_pages();
  left_.state_replaced();
  std::memcpy(right_ram_.host(0), left_ram_.host(0), World::kUsedBytes);
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
      known_cause({name_, fields_, bytes_, before_, left_, instruction_, exceptions, stack_kind()});
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

}  // namespace chronovisor::crosscheck
