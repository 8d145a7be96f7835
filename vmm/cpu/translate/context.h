// Owns the few words that emitted code reads and writes by fixed displacement:
// the budget, where the present page lies, the guest's arithmetic flags as the
// host gives them, and the table of indirect jumps. Plain data inside the Cpu;
// knows nothing. One thread a machine.
#pragma once

#include <array>
#include <cstdint>

namespace chronovisor::translate {

/// A target of indirect jumps and of jumps to other pages.
struct JumpEntry {
  std::uint64_t rip = 0;
  std::uint32_t tag = 0;   ///< generation and key; 0 never matches
  std::uint32_t code = 0;  ///< where it is entered, from the first byte of executable code on
};
static_assert(sizeof(JumpEntry) == 16);
inline constexpr std::size_t kJumpEntries = 65536;
inline constexpr unsigned kJumpHashShift = 12;

struct Context {
  std::int64_t budget = 0;     ///< steps that may still be done behind the present block
  std::uint64_t rip_base = 0;  ///< RIP of the first byte of the page that executes
  /// While emitted code runs and no instruction's flags are in the host's: bits 15:8 as LAHF
  /// gives them, bit 0 is OF.
  std::uint64_t raw_flags = 0;
  std::uint64_t tag = 0;  ///< as in a JumpEntry
  JumpEntry* jumps = nullptr;
  std::uint64_t exit_value = 0;  ///< number of the edge, block or site that led out
  std::array<std::uint64_t, 4> scratch{};
  const void* execute = nullptr;
  const void* tell = nullptr;
  void* translator = nullptr;
};

/// How the size of an access and this say what the TLB is to be filled for.
inline constexpr std::uint32_t kRefillForWrite = 0x100;

/// Why emitted code came back.
enum class Exit : std::uint32_t {
  none = 0,
  edge,    ///< a direct jump that is not linked: exit_value is the edge
  miss,    ///< an indirect jump not in the table: RIP is set
  budget,  ///< exit_value is the block that no longer fits
  left,    ///< after an instruction that a handler executed: RIP and steps are set
  fault,   ///< a handler raised a fault
  error,   ///< a handler threw Error
};

}  // namespace chronovisor::translate
