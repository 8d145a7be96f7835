#include "inspect/linux/unwind.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "timetravel/linear_memory.h"

namespace chronovisor::linux_guest {
namespace {

using enum OrcEntry::Register;

// Where struct pt_regs and the frame of an interrupt have what.
constexpr std::uint64_t kRegsBp = 32, kRegsIp = 128, kRegsSp = 152;
constexpr std::uint64_t kInterruptIp = 0, kInterruptSp = 24;

constexpr std::uint64_t kKernelHalf = 1ULL << 63;
/// A frame pointer farther away than this is none.
constexpr std::uint64_t kLargestFrame = 1U << 20;

struct Registers {
  std::uint64_t ip = 0, sp = 0, bp = 0;
};

/// What is known only of the innermost frame.
std::optional<std::uint64_t> first_register(const CpuState& state, std::uint8_t base) {
  switch (base) {
    case kDx:
      return state.gpr[2];
    case kDi:
      return state.gpr[7];
    case kR10:
      return state.gpr[10];
    case kR13:
      return state.gpr[13];
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> load(Machine& machine, std::uint64_t address) {
  return read_linear_value(machine, address, 8);
}

std::uint64_t plus(std::uint64_t base, std::int16_t offset) {
  return base + static_cast<std::uint64_t>(std::int64_t{offset});
}

/// The stack pointer of the caller, or where registers were saved.
std::optional<std::uint64_t> frame_address(Machine& machine, const OrcEntry& entry,
                                           const Registers& now, bool innermost) {
  switch (entry.sp_register) {
    case kSp:
      return plus(now.sp, entry.sp_offset);
    case kBp:
      return plus(now.bp, entry.sp_offset);
    case kBpIndirect:
      return load(machine, plus(now.bp, entry.sp_offset));
    case kSpIndirect: {
      const auto value = load(machine, now.sp);
      if (!value) return std::nullopt;
      return plus(*value, entry.sp_offset);
    }
    default:
      return innermost ? first_register(machine.cpu().state, entry.sp_register) : std::nullopt;
  }
}

std::optional<Registers> by_orc(Machine& machine, const OrcEntry& entry, const Registers& now,
                                bool innermost) {
  if (entry.kind == OrcEntry::Kind::end) return std::nullopt;
  const auto frame = frame_address(machine, entry, now, innermost);
  if (!frame) return std::nullopt;
  Registers caller = now;
  if (entry.kind != OrcEntry::Kind::registers) {
    if (entry.bp_register == kPreviousSp) {
      caller.bp = load(machine, plus(*frame, entry.bp_offset)).value_or(0);
    } else if (entry.bp_register == kBp) {
      caller.bp = load(machine, plus(now.bp, entry.bp_offset)).value_or(0);
    }
  }
  std::optional<std::uint64_t> ip;
  std::optional<std::uint64_t> sp = frame;
  switch (entry.kind) {
    case OrcEntry::Kind::call:
      ip = load(machine, *frame - 8);
      break;
    case OrcEntry::Kind::registers:
      ip = load(machine, *frame + kRegsIp);
      sp = load(machine, *frame + kRegsSp);
      caller.bp = load(machine, *frame + kRegsBp).value_or(0);
      break;
    default:
      ip = load(machine, *frame + kInterruptIp);
      sp = load(machine, *frame + kInterruptSp);
      break;
  }
  if (!ip || !sp) return std::nullopt;
  caller.ip = *ip;
  caller.sp = *sp;
  return caller;
}

bool is_frame_pointer(const Registers& now, std::uint64_t word) {
  return now.bp >= now.sp && now.bp - now.sp <= kLargestFrame && now.bp % word == 0;
}

/// The frame pointer points at the caller's, the return address is behind it.
std::optional<Registers> by_frame_pointer(Machine& machine, const Registers& now,
                                          std::uint64_t word) {
  if (!is_frame_pointer(now, word)) return std::nullopt;
  const auto bp = read_linear_value(machine, now.bp, word);
  const auto ip = read_linear_value(machine, now.bp + word, word);
  if (!bp || !ip || *ip == 0) return std::nullopt;
  return Registers{*ip, now.bp + 2 * word, *bp};
}

}  // namespace

const char* stack_end_word(StackEnd end) {
  switch (end) {
    case StackEnd::outermost:
      return "outermost";
    case StackEnd::limit:
      return "limit";
    case StackEnd::no_frame_pointer:
      return "no-frame-pointer";
    case StackEnd::no_unwind_entry:
      return "no-unwind-entry";
    case StackEnd::unreadable:
      break;
  }
  return "unreadable";
}

const char* stack_end_text(StackEnd end) {
  switch (end) {
    case StackEnd::outermost:
      return "";
    case StackEnd::limit:
      return "there are more frames";
    case StackEnd::no_frame_pointer:
      return "the code of the last frame keeps no frame pointer (a program that is built with "
             "-fno-omit-frame-pointer does), so that its caller is not known";
    case StackEnd::no_unwind_entry:
      return "the kernel's unwind tables say nothing of the code of the last frame";
    case StackEnd::unreadable:
      break;
  }
  return "the frame of the last one's caller cannot be read, or is none";
}

Unwinder::Unwinder(std::vector<OrcTable> tables) : tables_(std::move(tables)) {
  std::erase_if(tables_, [](const OrcTable& table) { return table.size() < 2; });
}

const OrcEntry* Unwinder::entry_for(std::uint64_t pc) const {
  for (const OrcTable& table : tables_) {
    if (pc < table.front().address || pc >= table.back().address) continue;
    const auto after =
        std::upper_bound(table.begin(), table.end(), pc,
                         [](std::uint64_t wanted, const auto& e) { return wanted < e.address; });
    return &*std::prev(after);
  }
  return nullptr;
}

CallStack Unwinder::stack(Machine& machine, std::size_t limit) const {
  const Cpu& cpu = machine.cpu();
  const std::uint64_t word = cpu.long64() ? 8 : 4;
  Registers now{cpu.linear_rip(), cpu.state.gpr[4], cpu.state.gpr[5]};
  CallStack stack;
  std::vector<StackFrame>& frames = stack.frames;
  StackFrame::By by = StackFrame::By::registers;
  bool interrupted = true;  // the innermost stands at its instruction
  while (frames.size() < limit) {
    frames.push_back({now.ip, now.sp, by, !frames.empty() && interrupted});
    // A return address is behind its call, which may be the last of a function.
    const OrcEntry* entry = entry_for(interrupted ? now.ip : now.ip - 1);
    const bool innermost = frames.size() == 1;
    std::optional<Registers> caller;
    stack.end = StackEnd::unreadable;
    if (entry != nullptr) {
      if (entry->kind == OrcEntry::Kind::end) stack.end = StackEnd::outermost;
      caller = by_orc(machine, *entry, now, innermost);
      by = StackFrame::By::orc;
      interrupted = entry->kind != OrcEntry::Kind::call;
    } else {
      const bool kernel_with_tables = !tables_.empty() && now.ip >= kKernelHalf;
      if (kernel_with_tables) {
        stack.end = StackEnd::no_unwind_entry;
      } else {
        caller = by_frame_pointer(machine, now, word);
        // The first function of a program begins with none (System V ABI, "Process
        // Initialization").
        if (now.bp == 0 && frames.back().by == StackFrame::By::frame_pointer) {
          stack.end = StackEnd::outermost;
        } else if (!is_frame_pointer(now, word)) {
          stack.end = StackEnd::no_frame_pointer;
        }
      }
      by = StackFrame::By::frame_pointer;
      interrupted = false;
    }
    if (!caller) return stack;
    // A stack ends; one that goes round is none. An interrupt may change stacks.
    if (!interrupted && caller->sp <= now.sp) return stack;
    now = *caller;
  }
  stack.end = StackEnd::limit;
  return stack;
}

}  // namespace chronovisor::linux_guest
