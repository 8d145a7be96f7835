// Owns the monitor commands: what a debugger's user may ask of the recording
// beside the protocol, and the settings those commands change. Knows no packet.
// The threads that gdb::DebugTarget names.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gdbstub/target.h"
#include "host/allowed_files.h"
#include "timetravel/linear_memory.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {

/// What the user has set, and where the next resume is to go.
struct DebugSettings {
  bool skip_interrupts = true;
  /// The program counter is shown with the base of CS added, outside 64-bit code.
  bool linear_pc = true;
  bool physical_memory = false;
  AllowedFiles files;                 ///< that commands may name
  std::optional<Moment> destination;  ///< armed by a seek
  /// While the machine runs: what asks it to stop.
  const gdb::CancelFlag* running = nullptr;
};

/// "64-bit", "real mode" and so on.
[[nodiscard]] std::string mode_name(const Cpu& cpu);

class MonitorCommands {
 public:
  using Output = std::function<void(std::string_view)>;
  using Words = std::vector<std::string>;
  struct Command {
    std::string_view name;
    std::string_view arguments;
    std::string_view help;
    void (MonitorCommands::*run)(const Words& arguments, const Output& output,
                                 const gdb::CancelFlag& cancel);
  };

  MonitorCommands(Timeline& timeline, DebugSettings& settings)
      : timeline_(timeline), settings_(settings) {}

  /// Throws Error{usage} when the command is unknown or cannot be done.
  void run(std::string_view command, const Output& output, const gdb::CancelFlag& cancel);
  static std::span<const Command> commands();

  /// "start", "end", a bookmark, +N, -N or a position. Throws Error{usage}.
  [[nodiscard]] Moment parse_moment(const std::string& text) const;

 private:
  // monitor.cpp: where we are, and going elsewhere
  void help(const Words&, const Output&, const gdb::CancelFlag&);
  void when(const Words&, const Output&, const gdb::CancelFlag&);
  void seek(const Words&, const Output&, const gdb::CancelFlag&);
  void info(const Words&, const Output&, const gdb::CancelFlag&);
  void draw_timeline(const Words&, const Output&, const gdb::CancelFlag&);
  void skip_interrupts(const Words&, const Output&, const gdb::CancelFlag&);
  void linear_program_counter(const Words&, const Output&, const gdb::CancelFlag&);
  void physical(const Words&, const Output&, const gdb::CancelFlag&);

  // monitor_branch.cpp: off the timeline, and names for places on it
  void bookmark(const Words&, const Output&, const gdb::CancelFlag&);
  void branch(const Words&, const Output&, const gdb::CancelFlag&);
  void go_live(const Words&, const Output&, const gdb::CancelFlag&);
  void discard(const Words&, const Output&, const gdb::CancelFlag&);

  // monitor_memory.cpp: looking at memory as the CPU does
  void translate(const Words&, const Output&, const gdb::CancelFlag&);
  void walk(const Words&, const Output&, const gdb::CancelFlag&);
  void disassemble(const Words&, const Output&, const gdb::CancelFlag&);

  // monitor_history.cpp: questions to the past, answered from where we are
  void events(const Words&, const Output&, const gdb::CancelFlag&);
  void last_write(const Words&, const Output&, const gdb::CancelFlag&);
  void history(const Words&, const Output&, const gdb::CancelFlag&);

  // monitor_linux.cpp
  void linux_kernel(const Words&, const Output&, const gdb::CancelFlag&);
  void linux_log(const Words&, const Output&, const gdb::CancelFlag&);
  void linux_tasks(const Words&, const Output&, const gdb::CancelFlag&);
  void linux_modules(const Words&, const Output&, const gdb::CancelFlag&);

  struct Store;
  [[nodiscard]] std::optional<Store> earlier_store(std::uint64_t address, std::uint64_t length,
                                                   const gdb::CancelFlag& cancel);
  void need_timeline(std::string_view what) const;
  [[nodiscard]] std::vector<Bookmark> all_bookmarks() const;
  void list_bookmarks(const Output& output) const;
  void name_place(const std::string& name, bool move, const Output& output);
  void delete_bookmark(const std::string& name, const Output& output);

  Timeline& timeline_;
  DebugSettings& settings_;
  std::vector<Bookmark> bookmarks_;   ///< made since the recording was opened
  std::vector<std::string> removed_;  ///< names that it had when it was opened
  std::string live_file_;             ///< where the present live branch is recorded
  std::shared_ptr<void> live_line_;   ///< its terminal, until the next one
  std::string live_report_;           ///< how the last one ended
};

}  // namespace chronovisor::cli
