// The packets that make the machine go, forward and backward, and the stop
// replies that end them.
#include <utility>

#include "base/error.h"
#include "gdbstub/session.h"

namespace chronovisor::gdb {

namespace {

constexpr int kSignalInterrupt = 2;  // GDB_SIGNAL_INT
constexpr int kSignalTrap = 5;       // GDB_SIGNAL_TRAP

bool is_step(ResumeKind kind) {
  return kind == ResumeKind::step || kind == ResumeKind::range_step ||
         kind == ResumeKind::reverse_step;
}

std::string_view watch_key(BreakpointKind kind) {
  switch (kind) {
    case BreakpointKind::read:
      return "rwatch:";
    case BreakpointKind::access:
      return "awatch:";
    default:
      return "watch:";
  }
}

}  // namespace

std::string_view Session::lldb_reason() const {
  switch (stop_.kind) {
    case StopKind::breakpoint:
      return "breakpoint";
    case StopKind::step_done:
      return "trace";
    case StopKind::interrupted:
      return "signal";
    case StopKind::attached:
    case StopKind::arrived:
      return "trap";
    default:
      return {};  // the watch and replaylog keys say it
  }
}

std::string Session::stop_details() const {
  std::string out;
  switch (stop_.kind) {
    case StopKind::breakpoint:
      // Only to clients that offered it; others would take it for a register.
      if (stop_.breakpoint == BreakpointKind::hardware) {
        if (offers_.hwbreak) out += "hwbreak:;";
      } else if (offers_.swbreak) {
        out += "swbreak:;";
      }
      break;
    case StopKind::watchpoint:
      out.append(watch_key(stop_.breakpoint)).append(hex_number(stop_.address)).append(";");
      break;
    case StopKind::history_begin:
      out += "replaylog:begin;";
      break;
    case StopKind::history_end:
    case StopKind::guest_ended:
      out += "replaylog:end;";
      break;
    default:
      break;
  }
  for (const std::size_t index : target_.description().expedited) {
    if (index < 16) out += "0";
    out.append(hex_number(index)).append(":");
    append_register(out, index);
    out += ";";
  }
  out.append("thread:").append(thread_id()).append(";core:0;");
  if (list_threads_) {
    out.append("threads:1;thread-pcs:").append(hex_number(program_counter())).append(";");
  }
  if (lldb_ && !lldb_reason().empty()) out.append("reason:").append(lldb_reason()).append(";");
  return out;
}

std::string Session::stop_packet() const {
  if (!process_exists_) return offers_.multiprocess ? "W00;process:1" : "W00";
  // A plain trap in answer to a step would look to gdb like the end of its own
  // stepping over a breakpoint, and it would run on from the destination.
  const bool surprising = stop_.kind == StopKind::arrived && is_step(last_resume_);
  const bool interrupt = stop_.kind == StopKind::interrupted || surprising;
  return join({"T0", std::to_string(interrupt ? kSignalInterrupt : kSignalTrap), stop_details()});
}

Answer Session::stop_reason(PacketReader&) { return Answer::of(stop_packet()); }

Answer Session::run_once(const ResumeRequest& request, CancelToken cancel) {
  Answer answer;
  try {
    stop_ = target_.run(request, cancel);
  } catch (const Error& failure) {
    // The client waits for a stop and can do nothing with an error packet.
    append_console(answer.packets, join({failure.what(), "\n"}));
    stop_ = StopReason{StopKind::interrupted, BreakpointKind::software, 0, {}};
  }
  stopped_at_breakpoint_ = stop_.kind == StopKind::breakpoint;
  if (stopped_at_breakpoint_ && !is_step(request.kind) && run_breakpoint_commands(answer.packets)) {
    ResumeRequest onward = request;
    onward.origin = OriginBreakpoint::ignore;
    answer.work = [this, onward](CancelToken flag) { return run_once(onward, flag); };
    return answer;
  }
  // Once: a client that steps there again and again shows a hundred lines otherwise.
  const bool ended = stop_.kind == StopKind::guest_ended;
  const bool told = std::exchange(ending_told_, ended);
  if (ended && !told && !stop_.description.empty()) {
    append_console(answer.packets, join({stop_.description, "\n"}));
  }
  answer.packets.push_back(stop_packet());
  answer.uninterrupted_stop = stop_.kind != StopKind::interrupted;
  return answer;
}

bool Session::interrupt_waits() {
  if (!interrupted_at_) return false;
  const auto since = std::chrono::steady_clock::now() - *std::exchange(interrupted_at_, {});
  return since < kInterruptHolds;
}

Answer Session::resume(ResumeRequest request) {
  if (!process_exists_) return error("no process; use run or attach 1");
  if (interrupt_waits()) {
    stop_ = StopReason{StopKind::interrupted, BreakpointKind::software, 0, {}};
    last_resume_ = request.kind;
    return Answer::of(stop_packet());
  }
  request.origin = request.kind == ResumeKind::forward && !stopped_at_breakpoint_
                       ? OriginBreakpoint::report
                       : OriginBreakpoint::ignore;
  last_resume_ = request.kind;
  Answer answer;
  if (request.kind == ResumeKind::restart) answer.life = SignOfLife::acknowledgement;
  answer.work = [this, request](CancelToken cancel) { return run_once(request, cancel); };
  return answer;
}

Answer Session::resume_from(PacketReader& packet, ResumeKind kind) {
  std::optional<std::uint64_t> address;
  if (!packet.at_end()) address = packet.hex();
  packet.expect_end();
  if (address && process_exists_) set_program_counter(*address);
  return resume({kind, 0, 0, {}});
}

Answer Session::resume_forward(PacketReader& packet) {
  return resume_from(packet, ResumeKind::forward);
}

Answer Session::resume_step(PacketReader& packet) { return resume_from(packet, ResumeKind::step); }

// A machine has no signals: the number is read and has no effect.
Answer Session::resume_with_signal(PacketReader& packet) {
  packet.hex();
  packet.take(';');
  return resume_from(packet, ResumeKind::forward);
}

Answer Session::resume_step_with_signal(PacketReader& packet) {
  packet.hex();
  packet.take(';');
  return resume_from(packet, ResumeKind::step);
}

Answer Session::resume_threads_list(PacketReader&) { return Answer::of("vCont;c;C;s;S;t;r"); }

ResumeRequest Session::parse_action(PacketReader& packet, std::string_view action) const {
  PacketReader reader(action);
  ResumeRequest request;
  if (reader.take('c')) {
    request.kind = ResumeKind::forward;
  } else if (reader.take('s')) {
    request.kind = ResumeKind::step;
  } else if (reader.take('C')) {
    reader.hex();
    request.kind = ResumeKind::forward;
  } else if (reader.take('S')) {
    reader.hex();
    request.kind = ResumeKind::step;
  } else if (reader.take('r')) {
    request.kind = ResumeKind::range_step;
    request.range_start = reader.hex();
    reader.expect(',');
    request.range_end = reader.hex();
  } else {
    packet.fail("unknown action");
  }
  reader.expect_end();
  return request;
}

Answer Session::resume_threads(PacketReader& packet) {
  packet.expect(';');
  while (!packet.at_end()) {
    const std::string_view text = packet.until(';');
    PacketReader item(text);
    const std::string_view action = item.until(':');
    if (action.size() < text.size()) {
      const bool ours = names_our_thread(item);
      item.expect_end();
      if (!ours) continue;
    }
    // The leftmost action that names the thread counts.
    if (action == "t") return Answer::of(stop_packet());
    return resume(parse_action(packet, action));
  }
  return error("no action for the thread");
}

Answer Session::reverse_step(PacketReader&) {
  if (!target_.supports_reverse()) return Answer::unsupported();
  return resume({ResumeKind::reverse_step, 0, 0, {}});
}

Answer Session::reverse_continue(PacketReader&) {
  if (!target_.supports_reverse()) return Answer::unsupported();
  return resume({ResumeKind::reverse_continue, 0, 0, {}});
}

// The program's name and arguments mean nothing here: to run is to begin again.
Answer Session::run_program(PacketReader&) {
  process_exists_ = true;
  return resume({ResumeKind::restart, 0, 0, {}});
}

Answer Session::restart_program(PacketReader&) {
  process_exists_ = true;
  Answer answer;
  answer.work = [this](CancelToken cancel) {
    run_once({ResumeKind::restart, 0, 0, {}}, cancel);
    return Answer{};  // `R` has no reply; the client asks `?`
  };
  return answer;
}

}  // namespace chronovisor::gdb
