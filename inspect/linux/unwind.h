// Owns the call stack of a machine as it stands: through a Linux kernel by its own
// unwind tables (ORC), elsewhere by saved frame pointers. Untrusted: the guest's memory
// may hold anything. Reading changes nothing. The thread that owns the machine.
#pragma once

#include <cstdint>
#include <vector>

#include "inspect/linux/orc.h"
#include "vmm/machine/machine.h"

namespace chronovisor::linux_guest {

struct StackFrame {
  /// How this frame was found.
  enum class By : std::uint8_t { registers, orc, frame_pointer };
  std::uint64_t pc = 0;
  std::uint64_t sp = 0;
  By by = By::registers;
  /// What was called is an interrupt's or exception's handler: `pc` is where it came,
  /// not behind a call.
  bool interrupted = false;
};

/// Why a call stack has no frame behind its last.
enum class StackEnd : std::uint8_t {
  outermost,         ///< it was called by nobody
  limit,             ///< there are more, which were not asked for
  no_frame_pointer,  ///< its code keeps none, as most compilers build programs
  no_unwind_entry,   ///< a kernel's code that its tables say nothing of
  unreadable,        ///< the caller's frame is in memory that is not there, or makes no sense
};

/// "no-frame-pointer"
[[nodiscard]] const char* stack_end_word(StackEnd end);
/// In a sentence's words; empty where nothing is missing.
[[nodiscard]] const char* stack_end_text(StackEnd end);

struct CallStack {
  std::vector<StackFrame> frames;
  StackEnd end = StackEnd::outermost;
};

class Unwinder {
 public:
  /// Without tables: by frame pointers alone.
  explicit Unwinder(std::vector<OrcTable> tables = {});

  /// The innermost first, where the machine stands; at most `limit`.
  [[nodiscard]] CallStack stack(Machine& machine, std::size_t limit) const;

 private:
  [[nodiscard]] const OrcEntry* entry_for(std::uint64_t pc) const;

  std::vector<OrcTable> tables_;
};

}  // namespace chronovisor::linux_guest
