// Owns the contract between the protocol and whatever is being debugged: a
// machine with registers, memory, breakpoints and, perhaps, a history. Must
// know no CPU, no recording and no packet. A DebugTarget is called by one
// thread at a time, but not always by the same one: `run`, `monitor` and long
// memory searches come from the server's worker thread, the rest from the
// thread that runs the server.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/cancel.h"

namespace chronovisor::gdb {

/// One register as clients see it. The position in TargetDescription's list is
/// its number in the protocol.
struct RegisterDescription {
  std::string_view name;
  std::uint32_t bit_size = 0;  ///< a multiple of 8
  std::string_view type;       ///< a gdb type, or one defined by the feature
  std::string_view feature;    ///< name of the target.xml feature it belongs to
  std::string_view group;      ///< "general", "float", "vector", "system"
  std::string_view generic;    ///< lldb's generic name: "pc", "sp", "arg1"; may be empty
  int dwarf = -1;              ///< DWARF number of the psABI, or -1
  /// Whether gdb is to put the value back after a call in the guest that it made.
  bool call_saved = true;
};

/// The types a feature's registers use, as XML text for target.xml.
struct FeatureTypes {
  std::string_view feature;
  std::string_view xml;
};

struct TargetDescription {
  std::string_view architecture;  ///< gdb's name, such as "i386:x86-64"
  std::string_view triple;        ///< LLVM's name, such as "x86_64-unknown-none"
  std::span<const RegisterDescription> registers;
  std::span<const FeatureTypes> types;
  std::size_t program_counter = 0;         ///< number of that register
  std::span<const std::size_t> expedited;  ///< registers sent with every stop
};

/// Registers and memory at one moment. Conditions see the machine through it;
/// a search may use several at once, each on its own thread.
class RegisterMemoryReader {
 public:
  virtual ~RegisterMemoryReader() = default;
  /// Fills `out` (the register's size) little-endian.
  /// @return false when the register has no value now
  virtual bool read_register(std::size_t index, std::span<std::uint8_t> out) const = 0;
  /// @return how many bytes from the start could be read
  virtual std::size_t read_memory(std::uint64_t address, std::span<std::uint8_t> out) const = 0;
};

enum class BreakpointKind { software, hardware, write, read, access };

/// True when the breakpoint counts as hit. Pure: may be called any number of
/// times, on any thread, at any moment of history, in any order.
using BreakpointCondition = std::function<bool(const RegisterMemoryReader&)>;

/// A breakpoint (software, hardware: stop before the instruction at `address`)
/// or a watchpoint over `length` bytes. None of them is visible to the guest.
struct Breakpoint {
  BreakpointKind kind = BreakpointKind::software;
  std::uint64_t address = 0;
  std::uint64_t length = 1;
  BreakpointCondition condition;  ///< empty: always
};

enum class ResumeKind {
  step,              ///< one step forward
  range_step,        ///< steps until the PC leaves [range_start, range_end), at least one
  forward,           ///< on to the next stop
  reverse_step,      ///< one step backward
  reverse_continue,  ///< back to the nearest earlier stop
  restart,           ///< go to the beginning of history
};

enum class OriginBreakpoint { report, ignore };

struct ResumeRequest {
  ResumeKind kind = ResumeKind::forward;
  std::uint64_t range_start = 0;
  std::uint64_t range_end = 0;
  /// What an execution breakpoint at the very place of departure does. Steps
  /// and backward travel always leave it; only ResumeKind::forward reports it.
  OriginBreakpoint origin = OriginBreakpoint::ignore;
};

enum class StopKind {
  attached,       ///< nothing ran yet
  breakpoint,     ///< at an execution breakpoint, its instruction not executed
  watchpoint,     ///< forward: after the access; backward: on the accessing instruction
  step_done,      ///< a step or range step ended, or a restart
  arrived,        ///< where a monitor command had asked the next resume to go
  history_begin,  ///< nothing earlier; as often as asked
  history_end,    ///< nothing later; as often as asked
  interrupted,    ///< the cancel flag was seen
  guest_ended,    ///< the guest powered off or failed; `description` says how
};

struct StopReason {
  StopKind kind = StopKind::attached;
  /// breakpoint: software or hardware. watchpoint: write, read or access.
  BreakpointKind breakpoint = BreakpointKind::software;
  /// breakpoint: its address. watchpoint: the first data byte touched.
  std::uint64_t address = 0;
  std::string description;
};

struct MemoryRegion {
  std::uint64_t start = 0;
  std::uint64_t last = 0;  ///< inclusive, so that the whole space can be named
  bool mapped = false;
  bool readable = false;
  bool writable = false;
  bool executable = false;
  std::string name;
};

class DebugTarget : public RegisterMemoryReader {
 public:
  /// Constant for the life of the target.
  [[nodiscard]] virtual const TargetDescription& description() const = 0;
  /// Whether reverse requests may be made. Constant; asked from any thread.
  [[nodiscard]] virtual bool supports_reverse() const = 0;

  /// Throws Error when the register cannot be written or the value not held.
  virtual void write_register(std::size_t index, ByteView value) = 0;
  /// @return how many bytes from the start were written
  virtual std::size_t write_memory(std::uint64_t address, ByteView data) = 0;

  /// Throws Error when it cannot be honoured.
  virtual void add_breakpoint(const Breakpoint& breakpoint) = 0;
  virtual void remove_breakpoint(BreakpointKind kind, std::uint64_t address,
                                 std::uint64_t length) = 0;

  /// Runs until something stops it. Called on the worker thread; returns
  /// promptly, at a defined place, once `cancel` is requested: forward runs stop
  /// where they are, a reverse search returns to where it began. Reaching an
  /// end of history is a stop, never an Error.
  virtual StopReason run(const ResumeRequest& request, CancelToken cancel) = 0;

  /// Carries out a command for people. Text goes to `output` in any pieces. A
  /// command that travels does not move the machine; it arms a destination to
  /// which the next run() of any kind goes, ending in StopKind::arrived.
  /// Throws Error when the command is unknown or fails.
  virtual void monitor(std::string_view command,
                       const std::function<void(std::string_view)>& output, CancelToken cancel) = 0;

  /// What is known of the memory around `address`.
  [[nodiscard]] virtual MemoryRegion memory_region(std::uint64_t address) const;
  /// The memory map gdb is given; gdb refuses addresses outside it. The
  /// default is all of the address space, since paging decides.
  [[nodiscard]] virtual std::vector<MemoryRegion> memory_map() const;
  /// A few words on what the CPU is doing ("halted", "64-bit kernel").
  [[nodiscard]] virtual std::string thread_description() const;

  /// Whether reads and writes of memory take physical addresses, as the client
  /// set it. A target without the choice says no, and refuses by Error.
  [[nodiscard]] virtual bool physical_memory() const { return false; }
  virtual void set_physical_memory(bool physical);
  /// Whether a step passes over the handlers of interrupts; likewise.
  [[nodiscard]] virtual bool steps_pass_over_interrupts() const { return false; }
  virtual void set_steps_pass_over_interrupts(bool pass);

  /// A client came; a client went (its breakpoints are already removed).
  virtual void client_attached() {}
  virtual void client_detached() {}
};

/// Size in bytes of a register.
inline std::size_t register_bytes(const RegisterDescription& description) {
  return description.bit_size / 8;
}

}  // namespace chronovisor::gdb
