// Owns the random instruction bytes of the cross-check: system instructions
// often, ordinary ones in between. Knows only the width of the code. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/oracle/random.h"

namespace chronovisor::crosscheck {

struct ProgramOptions {
  unsigned code_bits = 64;
  bool steps_mov_ss = false;
  bool more = false;  ///< debug registers, x87 and SSE
};

/// `count` instructions, one after the other.
[[nodiscard]] std::vector<std::uint8_t> random_program(oracle::Random& random,
                                                       const ProgramOptions& options,
                                                       unsigned count);

}  // namespace chronovisor::crosscheck
