#include "cli/timeline_target.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "base/error.h"
#include "cli/host.h"
#include "cli/register_access.h"
#include "gdbstub/x86_registers.h"

namespace chronovisor::cli {
namespace {

bool is_execution(gdb::BreakpointKind kind) {
  return kind == gdb::BreakpointKind::software || kind == gdb::BreakpointKind::hardware;
}

std::uint64_t linear_pc(Machine& machine) {
  Cpu& cpu = machine.cpu();
  return cpu.long64() ? cpu.rip()
                      : static_cast<std::uint32_t>(cpu.rip() + cpu.state.segment[kCs].base);
}

/// Conditions see the machine through this.
class MachineReader final : public gdb::RegisterMemoryReader {
 public:
  explicit MachineReader(Machine& machine) : machine_(machine) {}
  bool read_register(std::size_t index, std::span<std::uint8_t> out) const override {
    return cli::read_register(machine_, index, out);
  }
  std::size_t read_memory(std::uint64_t address, std::span<std::uint8_t> out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto physical = machine_.cpu().translate_for_debugger(address + done);
      if (!physical) break;
      const std::size_t chunk = std::min<std::size_t>(
          out.size() - done, kPageSize - ((address + done) & ~kPageMask));
      const std::size_t got = machine_.ram().read(*physical, out.subspan(done, chunk));
      done += got;
      if (got < chunk) break;
    }
    return done;
  }

 private:
  Machine& machine_;
};

std::string mode_name(const Cpu& cpu) {
  switch (cpu.mode()) {
    case CpuMode::real: return "real mode";
    case CpuMode::virtual8086: return "virtual-8086";
    case CpuMode::protected_mode: return cpu.code_width() == 4 ? "32-bit" : "16-bit protected";
    case CpuMode::compatibility: return cpu.code_width() == 4 ? "32-bit compatibility" : "16-bit compatibility";
    case CpuMode::long64: return "64-bit";
  }
  return "";
}

}  // namespace

TimelineTarget::TimelineTarget(Timeline& timeline) : timeline_(timeline) {}

const gdb::TargetDescription& TimelineTarget::description() const {
  return gdb::x86_target_description();
}

bool TimelineTarget::read_register(std::size_t index, std::span<std::uint8_t> out) const {
  return cli::read_register(timeline_.machine(), index, out);
}

std::size_t TimelineTarget::read_memory(std::uint64_t address,
                                        std::span<std::uint8_t> out) const {
  if (physical_memory_) return timeline_.machine().ram().read({address}, out);
  return MachineReader(timeline_.machine()).read_memory(address, out);
}

void TimelineTarget::write_register(std::size_t index, ByteView value) {
  // Clients write back what they read; that changes nothing and needs no branch.
  std::array<std::uint8_t, 16> present{};
  const std::span<std::uint8_t> there = std::span(present).first(std::min<std::size_t>(value.size(), 16));
  if (cli::read_register(timeline_.machine(), index, there) &&
      std::equal(there.begin(), there.end(), value.begin(), value.end())) {
    return;
  }
  timeline_.note_change();
  cli::write_register(timeline_.machine(), index, value);
}

std::size_t TimelineTarget::write_memory(std::uint64_t address, ByteView data) {
  Machine& machine = timeline_.machine();
  std::size_t done = 0;
  while (done < data.size()) {
    const std::uint64_t at = address + done;
    const auto physical = physical_memory_ ? std::optional<GuestPhysical>(GuestPhysical{at})
                                           : machine.cpu().translate_for_debugger(at);
    if (!physical || !machine.ram().offset_of(*physical)) break;
    const std::size_t chunk =
        std::min<std::size_t>(data.size() - done, kPageSize - (at & ~kPageMask));
    timeline_.note_change();
    done += machine.ram().write(*physical, data.subspan(done, chunk));
  }
  return done;
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
      condition = [test = b.condition](Machine& machine) { return test(MachineReader(machine)); };
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
  const std::uint64_t pc = linear_pc(timeline_.machine());
  for (const gdb::Breakpoint& b : breakpoints_) {
    if (!is_execution(b.kind) || b.address != pc) continue;
    if (b.condition && !b.condition(MachineReader(timeline_.machine()))) continue;
    address = pc;
    return true;
  }
  return false;
}

gdb::StopReason TimelineTarget::reason_of(const TravelResult& result) const {
  gdb::StopReason reason;
  switch (result.stop) {
    case TravelStop::arrived: reason.kind = gdb::StopKind::step_done; break;
    case TravelStop::history_begin: reason.kind = gdb::StopKind::history_begin; break;
    case TravelStop::history_end: reason.kind = gdb::StopKind::history_end; break;
    case TravelStop::interrupted: reason.kind = gdb::StopKind::interrupted; break;
    case TravelStop::branch_ended:
      reason.kind = gdb::StopKind::guest_ended;
      reason.description = end_reason_name(timeline_.machine().ending().reason);
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

gdb::StopReason TimelineTarget::range_step(const gdb::ResumeRequest& request,
                                           const gdb::CancelFlag& cancel) {
  while (true) {
    const TravelResult result = timeline_.step_forward();
    if (result.stop != TravelStop::arrived) return reason_of(result);
    const std::uint64_t pc = timeline_.machine().cpu().rip();
    std::uint64_t address = 0;
    if (breakpoint_here(address)) return reason_of({TravelStop::breakpoint, address, {}, false});
    if (pc < request.range_start || pc >= request.range_end) return reason_of(result);
    if (cancel) return reason_of({TravelStop::interrupted, 0, {}, false});
  }
}

gdb::StopReason TimelineTarget::run(const gdb::ResumeRequest& request,
                                    const gdb::CancelFlag& cancel) {
  if (destination_) {
    const Moment target = *std::exchange(destination_, std::nullopt);
    const Moment origin = timeline_.now();
    if (timeline_.seek(target, &cancel) == TravelStop::interrupted) {
      timeline_.seek(origin);
      return reason_of({TravelStop::interrupted, 0, {}, false});
    }
    gdb::StopReason reason;
    reason.kind = gdb::StopKind::arrived;
    return reason;
  }
  switch (request.kind) {
    case gdb::ResumeKind::step: return reason_of(timeline_.step_forward());
    case gdb::ResumeKind::range_step: return range_step(request, cancel);
    case gdb::ResumeKind::forward: {
      std::uint64_t address = 0;
      if (request.origin == gdb::OriginBreakpoint::report && breakpoint_here(address)) {
        return reason_of({TravelStop::breakpoint, address, {}, false});
      }
      return reason_of(timeline_.run_forward(stops(), &cancel));
    }
    case gdb::ResumeKind::reverse_step: return reason_of(timeline_.step_backward(&cancel));
    case gdb::ResumeKind::reverse_continue:
      return reason_of(timeline_.run_backward(stops(), &cancel));
    case gdb::ResumeKind::restart: {
      timeline_.seek({timeline_.start(), 0}, &cancel);
      gdb::StopReason reason;
      reason.kind = gdb::StopKind::step_done;
      return reason;
    }
  }
  return {};
}

Moment TimelineTarget::parse_moment(const std::string& text) const {
  if (text == "start") return {timeline_.start(), 0};
  if (text == "end") return {timeline_.end(), 0};
  for (const Bookmark& bookmark : timeline_.reader().bookmarks()) {
    if (bookmark.name == text) return {bookmark.position, 0};
  }
  const Position here = timeline_.now().position;
  if (text.starts_with("+")) return {{here.steps + parse_number(text.substr(1), "seek")}, 0};
  if (text.starts_with("-")) {
    const std::uint64_t back = parse_number(text.substr(1), "seek");
    return {{here.steps > back ? here.steps - back : 0}, 0};
  }
  return {{parse_number(text, "seek")}, 0};
}

void TimelineTarget::monitor_when(const Output& output) const {
  Machine& machine = timeline_.machine();
  std::ostringstream text;
  const Moment now = timeline_.now();
  text << "position " << now.position.steps;
  if (now.deliveries != 0) text << " (after " << now.deliveries << " deliveries)";
  text << " of " << timeline_.end().steps << "; virtual time " << machine.now().ns << " ns; "
       << mode_name(machine.cpu()) << ", CPL " << machine.cpu().cpl();
  if (machine.cpu().state.halted) text << ", halted";
  if (timeline_.on_branch()) text << "; on a branch (monitor discard goes back)";
  text << "\n";
  output(text.str());
}

void TimelineTarget::monitor_translate(const std::string& argument, const Output& output) const {
  const std::uint64_t address = parse_number(argument, "translate");
  const auto physical = timeline_.machine().cpu().translate_for_debugger(address);
  char text[96];
  if (physical) {
    std::snprintf(text, sizeof(text), "linear 0x%llx is physical 0x%llx\n",
                  static_cast<unsigned long long>(address),
                  static_cast<unsigned long long>(physical->value));
  } else {
    std::snprintf(text, sizeof(text), "linear 0x%llx is not mapped\n",
                  static_cast<unsigned long long>(address));
  }
  output(text);
}

void TimelineTarget::monitor(std::string_view command, const Output& output,
                             const gdb::CancelFlag& /*cancel*/) {
  std::istringstream words{std::string(command)};
  std::string verb;
  std::string argument;
  words >> verb >> argument;
  if (verb == "when" || verb.empty()) {
    monitor_when(output);
  } else if (verb == "seek") {
    if (argument.empty()) throw Error(ErrorCode::usage, "seek POSITION|+N|-N|start|end|BOOKMARK");
    destination_ = parse_moment(argument);
    output("position " + std::to_string(destination_->position.steps) +
           " is next: continue, or reverse-continue, goes there\n");
  } else if (verb == "phys") {
    if (argument != "on" && argument != "off") throw Error(ErrorCode::usage, "phys on|off");
    physical_memory_ = argument == "on";
    output(physical_memory_ ? "memory addresses are physical\n" : "memory addresses are linear\n");
  } else if (verb == "translate") {
    if (argument.empty()) throw Error(ErrorCode::usage, "translate ADDRESS");
    monitor_translate(argument, output);
  } else if (verb == "discard") {
    if (!timeline_.on_branch()) throw Error(ErrorCode::usage, "there is no branch to discard");
    timeline_.discard_branch();
    output("back on the timeline; use flushregs to refresh gdb's view\n");
  } else if (verb == "help") {
    output(
        "when                 where we are\n"
        "seek POSITION        arms a destination; the next continue goes there\n"
        "                     also +N, -N, start, end, or a bookmark\n"
        "discard              leaves a branch for the timeline\n"
        "phys on|off          memory commands use physical addresses\n"
        "translate ADDRESS    linear to physical\n");
  } else {
    throw Error(ErrorCode::usage, "unknown monitor command \"" + verb + "\"; monitor help lists them");
  }
}

std::string TimelineTarget::thread_description() const {
  const Cpu& cpu = timeline_.machine().cpu();
  return mode_name(cpu) + (cpu.state.halted ? ", halted" : "") +
         (timeline_.on_branch() ? ", on a branch" : "");
}

}  // namespace chronovisor::cli
