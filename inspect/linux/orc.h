// Owns turning a Linux kernel's own unwind tables (ORC) into DWARF call frame
// information, so that a debugger's backtraces through a stock kernel are
// right. Untrusted: the tables come from guest memory. Pure; any thread.
// Source: Linux, arch/x86/include/asm/orc_types.h, arch/x86/kernel/unwind_orc.c;
// DWARF 4, 6.4.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "inspect/linux/kernel.h"

namespace chronovisor::linux_guest {

/// How to go from a frame to its caller's, for addresses from `address` on.
struct OrcEntry {
  /// ORC's numbers for registers.
  enum Register : std::uint8_t {
    kUndefined = 0,
    kPreviousSp = 1,
    kDx = 2,
    kDi = 3,
    kBp = 4,
    kSp = 5,
    kR10 = 6,
    kR13 = 7,
    kBpIndirect = 8,
    kSpIndirect = 9,
  };
  enum class Kind : std::uint8_t {
    end,        ///< no caller is known
    call,       ///< the return address is below the caller's stack pointer
    registers,  ///< all registers were saved there
    interrupt,  ///< an interrupt's frame is there
  };
  std::uint64_t address = 0;
  Kind kind = Kind::end;
  std::uint8_t sp_register = kUndefined;  ///< a Register, or what the guest has there
  std::uint8_t bp_register = kUndefined;
  std::int16_t sp_offset = 0;
  std::int16_t bp_offset = 0;
};

/// Entries that ascend by address; the last one only ends the one before.
using OrcTable = std::vector<OrcEntry>;

/// The contents of a .debug_frame section for the tables.
[[nodiscard]] Bytes make_debug_frame(const std::vector<OrcTable>& tables);

/// The tables of the kernel, the first, and of the modules; none when the kernel's is not
/// understood. One that is not is empty.
[[nodiscard]] std::vector<OrcTable> orc_tables(const Kernel& kernel,
                                               const std::vector<Module>& modules);

/// The tables of the kernel and of the modules as .debug_frame, without those
/// that are not understood; empty when the kernel's is not. What a module has in
/// memory only while it is loaded (its __init code) is left out.
[[nodiscard]] Bytes frames_from_orc(const Kernel& kernel, const std::vector<Module>& modules);

}  // namespace chronovisor::linux_guest
