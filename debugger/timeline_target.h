// Owns the meeting of the debugger's contract and a session: registers, memory,
// breakpoints and travel. The threads that gdb::DebugTarget names; what takes long
// is done on the session's own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "gdbstub/target.h"
#include "session/debug_session.h"
#include "session/executor.h"
#include "timetravel/replay.h"
#include "timetravel/timeline.h"

namespace chronovisor::debugger {

/// How registers are shown for a whole session; see gdbstub/x86_registers.h.
enum class RegisterLayout : std::uint8_t { x86_64, i386 };

/// Whether others travel in the session, too. Then a resume that finds the machine elsewhere
/// than its debugger believes ends there, so that the debugger sees it.
enum class Sharing : std::uint8_t { alone, shared };

class TimelineTarget final : public gdb::DebugTarget {
 public:
  /// Both must outlive this.
  TimelineTarget(session::DebugSession& session, session::Executor& executor, RegisterLayout layout,
                 Sharing sharing = Sharing::alone);

  // gdb::RegisterMemoryReader
  bool read_register(std::size_t index, std::span<std::uint8_t> out) const override;
  std::size_t read_memory(std::uint64_t address, std::span<std::uint8_t> out) const override;

  // gdb::DebugTarget
  [[nodiscard]] const gdb::TargetDescription& description() const override;
  [[nodiscard]] bool supports_reverse() const override { return true; }
  void write_register(std::size_t index, ByteView value) override;
  std::size_t write_memory(std::uint64_t address, ByteView data) override;
  void add_breakpoint(const gdb::Breakpoint& breakpoint) override;
  void remove_breakpoint(gdb::BreakpointKind kind, std::uint64_t address,
                         std::uint64_t length) override;
  gdb::StopReason run(const gdb::ResumeRequest& request, CancelToken cancel) override;
  void monitor(std::string_view command, const std::function<void(std::string_view)>& output,
               CancelToken cancel) override;
  [[nodiscard]] std::string thread_description() const override;
  void client_attached() override;
  [[nodiscard]] bool physical_memory() const override {
    return executor_.borrow([&] { return session_.settings().physical_memory; });
  }
  [[nodiscard]] bool steps_pass_over_interrupts() const override {
    return executor_.borrow([&] { return session_.settings().skip_interrupts; });
  }
  void set_steps_pass_over_interrupts(bool pass) override {
    executor_.borrow([&] { session_.set_skip_interrupts(pass); });
  }
  void set_physical_memory(bool physical) override {
    executor_.borrow([&] { session_.set_physical_memory(physical); });
  }

 private:
  [[nodiscard]] StopSet stops() const;
  [[nodiscard]] std::string explained(const DivergenceError& error, CancelToken cancel) const;
  [[nodiscard]] gdb::StopReason reason_of(const TravelResult& result) const;
  [[nodiscard]] gdb::StopReason travel_to_destination(CancelToken cancel);
  [[nodiscard]] gdb::StopReason resume(const gdb::ResumeRequest& request, CancelToken cancel);
  [[nodiscard]] gdb::StopReason range_step(const gdb::ResumeRequest& request, CancelToken cancel);
  [[nodiscard]] gdb::StopReason run_here(const gdb::ResumeRequest& request, CancelToken cancel);
  void write_register_here(std::size_t index, ByteView value);
  std::size_t write_memory_here(std::uint64_t address, ByteView data);
  [[nodiscard]] bool read_register_here(std::size_t index, std::span<std::uint8_t> out) const;
  [[nodiscard]] bool breakpoint_here(std::uint64_t& address) const;
  void refuse_skip_of_breakpoint(std::uint64_t new_pc) const;

  session::DebugSession& session_;
  session::Executor& executor_;
  Timeline& timeline_;
  RegisterLayout layout_;
  Sharing sharing_;
  Moment known_;  ///< where the debugger was told that the machine stands
  std::vector<gdb::Breakpoint> breakpoints_;
  gdb::StopReason last_stop_;
};

}  // namespace chronovisor::debugger
