// Owns the generated guests of the cross-check: a small physical memory with
// descriptor tables, gates, page tables, stacks and code, in one of the modes a
// processor has, and random where that is interesting. Everything follows from
// a seed. Every handler is a HLT, so that a delivered exception can be compared
// at its first instruction. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/oracle/random.h"
#include "vmm/cpu/cpu.h"
#include "vmm/memory/ram.h"

namespace chronovisor::crosscheck {

enum class WorldMode : std::uint8_t {
  real,
  protected16,
  protected32,
  paged32,
  pae32,
  compatibility,
  long64,
  virtual8086,
  count
};
[[nodiscard]] const char* mode_name(WorldMode mode);

struct World {
  static constexpr std::uint64_t kMemory = 1ULL << 20, kUsedBytes = 0x60000;
  static constexpr std::uint64_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kOtherTss = 0x3400,
                                 kLdt = 0x3800;
  static constexpr std::uint64_t kCode = 0x8000, kHandlers = 0xa000, kData = 0x10000,
                                 kDataEnd = 0x18000;
  static constexpr std::uint64_t kStack0 = 0x20000, kStack3 = 0x28000, kTables = 0x40000,
                                 kTablesEnd = 0x60000;
  static constexpr unsigned kVectors = 32;
};

struct WorldOptions {
  bool user_code = false;              ///< some cases run at CPL 3
  bool user_outside_long_mode = true;  ///< ... in any mode
  bool steps_mov_ss = false;
  bool paged32 = true;
  bool virtual8086 = false;
  bool odd_gates = true;  ///< the KVM honours gates, so that some are wrong
  /// Debug registers with breakpoints, x87 and SSE.
  bool more = false;
  std::optional<WorldMode> only{};  ///< this mode, whatever the seed
};

/// Fills `ram` (all of it that a world uses) and `cpu` with case `seed`.
WorldMode build_world(Ram& ram, Cpu& cpu, std::uint64_t seed, const WorldOptions& options);

}  // namespace chronovisor::crosscheck
