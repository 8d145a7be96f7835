// Owns the meeting of the debugger's contract and the timeline: registers,
// memory, breakpoints and travel. The threads that gdb::DebugTarget names.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/interrupt_stepping.h"
#include "cli/monitor.h"
#include "gdbstub/target.h"
#include "host/allowed_files.h"
#include "timetravel/replay.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {

/// How registers are shown for a whole session; see gdbstub/x86_registers.h.
enum class RegisterLayout : std::uint8_t { x86_64, i386 };

class TimelineTarget final : public gdb::DebugTarget {
 public:
  /// @param files which of the host's files monitor commands may name
  TimelineTarget(Timeline& timeline, RegisterLayout layout,
                 AllowedFiles files = AllowedFiles::all());
  ~TimelineTarget() override;

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
  gdb::StopReason run(const gdb::ResumeRequest& request, const gdb::CancelFlag& cancel) override;
  void monitor(std::string_view command, const std::function<void(std::string_view)>& output,
               const gdb::CancelFlag& cancel) override;
  [[nodiscard]] std::string thread_description() const override;
  [[nodiscard]] bool physical_memory() const override { return settings_.physical_memory; }
  void set_physical_memory(bool physical) override { settings_.physical_memory = physical; }

 private:
  [[nodiscard]] StopSet stops() const;
  [[nodiscard]] std::string explained(const DivergenceError& error,
                                      const gdb::CancelFlag& cancel) const;
  [[nodiscard]] gdb::StopReason reason_of(const TravelResult& result) const;
  [[nodiscard]] gdb::StopReason travel_to_destination(const gdb::CancelFlag& cancel);
  [[nodiscard]] gdb::StopReason resume(const gdb::ResumeRequest& request,
                                       const gdb::CancelFlag& cancel);
  [[nodiscard]] gdb::StopReason range_step(const gdb::ResumeRequest& request,
                                           const gdb::CancelFlag& cancel);
  [[nodiscard]] bool breakpoint_here(std::uint64_t& address) const;
  void refuse_skip_of_breakpoint(std::uint64_t new_pc) const;

  Timeline& timeline_;
  RegisterLayout layout_;
  DebugSettings settings_;
  MonitorCommands monitor_;
  InterruptStepping stepping_;
  std::vector<gdb::Breakpoint> breakpoints_;
  gdb::StopReason last_stop_;
};

}  // namespace chronovisor::cli
