// Owns the meeting of the debugger's contract and the timeline: registers,
// memory, breakpoints and travel, and the monitor commands. The threads that
// gdb::DebugTarget names.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gdbstub/target.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {

class TimelineTarget final : public gdb::DebugTarget {
 public:
  explicit TimelineTarget(Timeline& timeline);

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

 private:
  using Output = std::function<void(std::string_view)>;

  [[nodiscard]] StopSet stops() const;
  [[nodiscard]] gdb::StopReason reason_of(const TravelResult& result) const;
  [[nodiscard]] gdb::StopReason range_step(const gdb::ResumeRequest& request,
                                           const gdb::CancelFlag& cancel);
  [[nodiscard]] bool breakpoint_here(std::uint64_t& address) const;
  [[nodiscard]] Moment parse_moment(const std::string& text) const;
  void monitor_when(const Output& output) const;
  void monitor_translate(const std::string& argument, const Output& output) const;

  Timeline& timeline_;
  std::vector<gdb::Breakpoint> breakpoints_;
  std::optional<Moment> destination_;  ///< where the next resume goes instead
  bool physical_memory_ = false;
};

}  // namespace chronovisor::cli
