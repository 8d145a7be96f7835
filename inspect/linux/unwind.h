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

class Unwinder {
 public:
  /// Without tables: by frame pointers alone.
  explicit Unwinder(std::vector<OrcTable> tables = {});

  /// The innermost first, where the machine stands; at most `limit`.
  [[nodiscard]] std::vector<StackFrame> frames(Machine& machine, std::size_t limit) const;

 private:
  [[nodiscard]] const OrcEntry* entry_for(std::uint64_t pc) const;

  std::vector<OrcTable> tables_;
};

}  // namespace chronovisor::linux_guest
