#include "debugger/timeline_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "debugger/register_access.h"
#include "gdbstub/x86_registers.h"
#include "inspect/cpu_mode.h"
#include "inspect/divergence_report.h"
#include "inspect/physical_memory.h"
#include "session/address_space.h"
#include "session/memory_write.h"
#include "session/monitor.h"
#include "timetravel/divergence.h"
#include "timetravel/linear_memory.h"

namespace chronovisor::debugger {
namespace {

using gdb::X86Register;

bool is_execution(gdb::BreakpointKind kind) {
  return kind == gdb::BreakpointKind::software || kind == gdb::BreakpointKind::hardware;
}

/// The number by which debugger/register_access.h knows a register of the layout.
std::size_t register_number(RegisterLayout layout, std::size_t index) {
  return layout == RegisterLayout::x86_64 ? index
                                          : static_cast<std::size_t>(gdb::i386_register(index));
}

bool is_program_counter(std::size_t number) {
  return number == static_cast<std::size_t>(X86Register::rip);
}

/// Registers that show how far the run is.
bool is_clock(std::size_t number) {
  return number == static_cast<std::size_t>(X86Register::position) ||
         number == static_cast<std::size_t>(X86Register::virtual_time_ns) ||
         number == static_cast<std::size_t>(X86Register::tsc);
}

/// What the shown program counter is more than RIP.
std::uint64_t pc_offset(Machine& machine, bool linear) {
  return linear && !machine.cpu().long64() ? machine.cpu().state.segment[kCs].base : 0;
}

bool read_shown_register(Machine& machine, RegisterLayout layout, bool linear, std::size_t index,
                         std::span<std::uint8_t> out) {
  const std::size_t number = register_number(layout, index);
  if (!is_program_counter(number)) return debugger::read_register(machine, number, out);
  const std::uint64_t pc =
      linear && !machine.cpu().long64() ? machine.cpu().linear_rip() : machine.cpu().rip();
  for (std::size_t n = 0; n < out.size(); ++n) {
    out[n] = n < 8 ? static_cast<std::uint8_t>(pc >> (8 * n)) : std::uint8_t{0};
  }
  return true;
}

std::uint64_t little_endian(ByteView value) {
  std::uint64_t out = 0;
  for (std::size_t n = std::min<std::size_t>(value.size(), 8); n-- > 0;) out = out << 8 | value[n];
  return out;
}

/// Conditions see the machine through this.
class MachineReader final : public gdb::RegisterMemoryReader {
 public:
  MachineReader(Machine& machine, RegisterLayout layout, bool linear)
      : machine_(machine), layout_(layout), linear_(linear) {}
  bool read_register(std::size_t index, std::span<std::uint8_t> out) const override {
    return read_shown_register(machine_, layout_, linear_, index, out);
  }
  std::size_t read_memory(std::uint64_t address, std::span<std::uint8_t> out) const override {
    return read_linear_memory(machine_, address, out);
  }

 private:
  Machine& machine_;
  RegisterLayout layout_;
  bool linear_;
};

}  // namespace

TimelineTarget::TimelineTarget(session::DebugSession& session, session::Executor& executor,
                               RegisterLayout layout, Sharing sharing)
    : session_(session),
      executor_(executor),
      timeline_(session.timeline()),
      layout_(layout),
      sharing_(sharing) {}

const gdb::TargetDescription& TimelineTarget::description() const {
  return layout_ == RegisterLayout::i386 ? gdb::i386_target_description()
                                         : gdb::x86_target_description();
}

bool TimelineTarget::read_register_here(std::size_t index, std::span<std::uint8_t> out) const {
  return read_shown_register(timeline_.machine(), layout_, session_.settings().linear_pc, index,
                             out);
}

bool TimelineTarget::read_register(std::size_t index, std::span<std::uint8_t> out) const {
  return executor_.borrow([&] { return read_register_here(index, out); });
}

std::size_t TimelineTarget::read_memory(std::uint64_t address, std::span<std::uint8_t> out) const {
  return executor_.borrow([&] {
    if (session_.settings().physical_memory) {
      return read_physical_memory(timeline_.machine(), {address}, out);
    }
    return read_debugger_memory(timeline_.machine(), address, out);
  });
}

void TimelineTarget::write_register(std::size_t index, ByteView value) {
  executor_.borrow([&] { write_register_here(index, value); });
}

std::size_t TimelineTarget::write_memory(std::uint64_t address, ByteView data) {
  return executor_.borrow([&] { return write_memory_here(address, data); });
}

/// gdb takes a breakpoint for an int3 of the guest's own when memory there held
/// 0xcc at the moment it was set, and from then on goes past it by writing the
/// program counter. Where memory holds another byte now, that write would skip
/// into the middle of an instruction, on a branch nobody asked for.
void TimelineTarget::refuse_skip_of_breakpoint(std::uint64_t new_pc) const {
  constexpr std::uint8_t kInt3 = 0xcc;
  Machine& machine = timeline_.machine();
  const std::uint64_t pc = machine.cpu().linear_rip();
  const bool at_breakpoint =
      last_stop_.kind == gdb::StopKind::breakpoint && last_stop_.address == pc;
  if (!at_breakpoint || new_pc != pc + 1) return;
  std::array<std::uint8_t, 1> byte{};
  if (read_linear_memory(machine, pc, byte) == 1 && byte[0] == kInt3) return;
  throw Error(ErrorCode::usage,
              fmt::format("the breakpoint at {0:#x} was set while memory there held 0xcc, so gdb "
                          "believes it part of the program and would step over one byte; delete "
                          "it, and set it again here",
                          pc));
}

void TimelineTarget::write_register_here(std::size_t index, ByteView value) {
  // Clients write back what they read; that changes nothing and needs no branch.
  std::array<std::uint8_t, 16> present{};
  const std::span<std::uint8_t> there =
      std::span(present).first(std::min<std::size_t>(value.size(), 16));
  if (read_register_here(index, there) &&
      std::equal(there.begin(), there.end(), value.begin(), value.end())) {
    return;
  }
  Machine& machine = timeline_.machine();
  const std::size_t number = register_number(layout_, index);
  if (is_clock(number)) {
    // After a call in the guest gdb puts back every register, these too; on the
    // branch where that happens, time has gone on.
    if (timeline_.on_branch()) return;
    throw Error(ErrorCode::usage, "time cannot be set like a register; use monitor seek");
  }
  if (!is_program_counter(number)) {
    timeline_.note_change();
    debugger::write_register(machine, number, value);
    return;
  }
  const std::uint64_t shown = little_endian(value);
  const std::uint64_t base = pc_offset(machine, true);
  refuse_skip_of_breakpoint(session_.settings().linear_pc ? shown : shown + base);
  std::uint64_t rip = shown - pc_offset(machine, session_.settings().linear_pc);
  if (!machine.cpu().long64()) rip = static_cast<std::uint32_t>(rip);
  Bytes bytes;
  for (unsigned n = 0; n < 8; ++n) bytes.push_back(static_cast<std::uint8_t>(rip >> (8 * n)));
  timeline_.note_change();
  debugger::write_register(machine, number, bytes);
}

std::size_t TimelineTarget::write_memory_here(std::uint64_t address, ByteView data) {
  return session::write_memory(timeline_, address, data, session_.settings().physical_memory);
}

void TimelineTarget::add_breakpoint(const gdb::Breakpoint& breakpoint) {
  remove_breakpoint(breakpoint.kind, breakpoint.address, breakpoint.length);
  breakpoints_.push_back(breakpoint);
}

void TimelineTarget::remove_breakpoint(gdb::BreakpointKind kind, std::uint64_t address,
                                       std::uint64_t length) {
  std::erase_if(breakpoints_, [&](const gdb::Breakpoint& b) {
    return b.kind == kind && b.address == address && (is_execution(kind) || b.length == length);
  });
}

StopSet TimelineTarget::stops() const {
  StopSet set;
  for (const gdb::Breakpoint& b : breakpoints_) {
    std::function<bool(Machine&)> condition;
    if (b.condition) {
      condition = [test = b.condition, layout = layout_, linear = session_.settings().linear_pc](
                      Machine& machine) { return test(MachineReader(machine, layout, linear)); };
    }
    if (const auto& space = session_.settings().address_space;
        space && session::is_user_address(b.address)) {
      condition = [in_space = session::in_address_space(*space), condition](Machine& machine) {
        return in_space(machine) && (!condition || condition(machine));
      };
    }
    if (is_execution(b.kind)) {
      set.breakpoints.push_back({b.address, condition});
    } else {
      const Watchpoint watch{b.address, std::max<std::uint64_t>(b.length, 1),
                             b.kind != gdb::BreakpointKind::write,
                             b.kind != gdb::BreakpointKind::read};
      set.watchpoints.push_back({watch, condition});
    }
  }
  return set;
}

bool TimelineTarget::breakpoint_here(std::uint64_t& address) const {
  // A REP instruction is arrived at once, not again for each iteration.
  if (timeline_.machine().cpu().inside_repeat()) return false;
  const std::uint64_t pc = timeline_.machine().cpu().linear_rip();
  const StopSet set = stops();
  const bool hit =
      std::any_of(set.breakpoints.begin(), set.breakpoints.end(), [&](const TravelBreakpoint& b) {
        return b.address == pc && (!b.condition || b.condition(timeline_.machine()));
      });
  if (hit) address = pc;
  return hit;
}

gdb::StopReason TimelineTarget::reason_of(const TravelResult& result) const {
  gdb::StopReason reason;
  switch (result.stop) {
    case TravelStop::arrived:
      reason.kind = gdb::StopKind::step_done;
      break;
    case TravelStop::history_begin:
      reason.kind = gdb::StopKind::history_begin;
      break;
    case TravelStop::history_end:
      reason.kind = gdb::StopKind::history_end;
      if (const auto end = session_.guest_ended_here()) {
        reason.kind = gdb::StopKind::guest_ended;
        reason.description = ending_text(*end);
      }
      break;
    case TravelStop::interrupted:
      reason.kind = gdb::StopKind::interrupted;
      break;
    case TravelStop::branch_ended:
      reason.kind = gdb::StopKind::guest_ended;
      if (const auto end = session_.guest_ended_here()) {
        reason.description = ending_text(*end);
      }
      break;
    case TravelStop::breakpoint:
      reason.kind = gdb::StopKind::breakpoint;
      reason.address = result.address;
      for (const gdb::Breakpoint& b : breakpoints_) {
        if (is_execution(b.kind) && b.address == result.address) reason.breakpoint = b.kind;
      }
      break;
    case TravelStop::watchpoint:
      reason.kind = gdb::StopKind::watchpoint;
      reason.address = result.address;
      reason.breakpoint = result.watchpoint.on_read
                              ? (result.watchpoint.on_write ? gdb::BreakpointKind::access
                                                            : gdb::BreakpointKind::read)
                              : gdb::BreakpointKind::write;
      break;
  }
  return reason;
}

gdb::StopReason TimelineTarget::range_step(const gdb::ResumeRequest& request, CancelToken cancel) {
  const StopSet inside_handlers = stops();
  while (true) {
    const TravelResult result =
        session_.stepping().forward(inside_handlers, session_.settings().skip_interrupts, cancel);
    if (result.stop != TravelStop::arrived) return reason_of(result);
    std::uint64_t address = 0;
    if (breakpoint_here(address)) return reason_of({TravelStop::breakpoint, address, {}, false});
    Machine& machine = timeline_.machine();
    const std::uint64_t pc =
        session_.settings().linear_pc ? machine.cpu().linear_rip() : machine.cpu().rip();
    if (pc < request.range_start || pc >= request.range_end) return reason_of(result);
    if (cancel.requested()) return reason_of({TravelStop::interrupted, 0, {}, false});
  }
}

gdb::StopReason TimelineTarget::travel_to_destination(CancelToken cancel) {
  if (session_.travel_to_destination(cancel) == TravelStop::interrupted) {
    return reason_of({TravelStop::interrupted, 0, {}, false});
  }
  gdb::StopReason reason;
  reason.kind = gdb::StopKind::arrived;
  return reason;
}

/// What a divergence found on the way is about, for the client and the log.
std::string TimelineTarget::explained(const DivergenceError& error, CancelToken cancel) const {
  std::string text = error.what();
  try {
    ReplayOptions how;
    how.from = error.from();
    SearchControl control;
    control.cancel = cancel;
    const Divergence divergence =
        explain_divergence(timeline_.reader(), how, error.position(), control);
    text += "\n" + divergence_text(divergence, {});
  } catch (const Error& unexplained) {
    // That it diverged is the finding; a failed explanation must not hide it.
    text += std::string("\n  not explained: ") + unexplained.what() + "\n";
  }
  std::fprintf(stderr, "chronovisor: %s", text.c_str());
  return text;
}

gdb::StopReason TimelineTarget::run(const gdb::ResumeRequest& request, CancelToken cancel) {
  return executor_.run([&] { return run_here(request, cancel); });
}

gdb::StopReason TimelineTarget::run_here(const gdb::ResumeRequest& request, CancelToken cancel) {
  const session::DebugSession::Running running(session_, cancel);
  try {
    last_stop_ = resume(request, cancel);
  } catch (const DivergenceError& error) {
    throw Error(ErrorCode::divergence, explained(error, cancel));
  }
  known_ = timeline_.now();
  // The machine may stand here for hours; what it did shall not be lost.
  if (LiveBranch* live = timeline_.live()) live->flush();
  return last_stop_;
}

gdb::StopReason TimelineTarget::resume(const gdb::ResumeRequest& request, CancelToken cancel) {
  if (session_.destination() && request.kind != gdb::ResumeKind::restart) {
    return travel_to_destination(cancel);
  }
  if (sharing_ == Sharing::shared && timeline_.now() != known_) {
    gdb::StopReason reason;
    reason.kind = gdb::StopKind::arrived;
    return reason;
  }
  switch (request.kind) {
    case gdb::ResumeKind::step:
      return reason_of(
          session_.stepping().forward(stops(), session_.settings().skip_interrupts, cancel));
    case gdb::ResumeKind::range_step:
      return range_step(request, cancel);
    case gdb::ResumeKind::forward: {
      std::uint64_t address = 0;
      if (request.origin == gdb::OriginBreakpoint::report && breakpoint_here(address)) {
        return reason_of({TravelStop::breakpoint, address, {}, false});
      }
      return reason_of(timeline_.run_forward(stops(), cancel));
    }
    case gdb::ResumeKind::reverse_step:
      return reason_of(
          session_.stepping().backward(stops(), session_.settings().skip_interrupts, cancel));
    case gdb::ResumeKind::reverse_continue:
      return reason_of(timeline_.run_backward(stops(), cancel));
    case gdb::ResumeKind::restart: {
      session_.forget_destination();
      timeline_.seek({timeline_.start(), 0}, cancel);
      gdb::StopReason reason;
      reason.kind = gdb::StopKind::step_done;
      return reason;
    }
  }
  return {};
}

void TimelineTarget::client_attached() {
  executor_.borrow([&] { known_ = timeline_.now(); });
}

void TimelineTarget::monitor(std::string_view command,
                             const std::function<void(std::string_view)>& output,
                             CancelToken cancel) {
  output(executor_.run([&] { return session::answer_line(session_, command, cancel); }));
}

std::string TimelineTarget::thread_description() const {
  return executor_.borrow([&] {
    const Cpu& cpu = timeline_.machine().cpu();
    return mode_name(cpu) + (cpu.state.halted ? ", halted" : "") +
           (timeline_.live() != nullptr ? ", live"
            : timeline_.on_branch()     ? ", on a branch"
                                        : "");
  });
}

}  // namespace chronovisor::debugger
