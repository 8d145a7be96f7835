// Owns the making of cases: an encoding of one row with random prefixes and
// operands, and a random state in which its addresses mostly fall in the
// window. A case depends on the seed, its number and its row only. Knows
// neither side that executes it. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tests/oracle/case.h"
#include "tests/oracle/random.h"
#include "vmm/cpu/code/instruction.h"

namespace chronovisor::oracle {

/// What of the host decides which cases can be compared.
struct HostTraits {
  bool compatibility_mode = false;
  bool intel = false;
  bool wide_addresses = false;  ///< 57-bit linear addresses, which the guest does not have
  std::uint64_t fs_base = 0;
  std::uint32_t mxcsr_mask = 0xffff;
};

/// An encoding, with where its displacement stands.
struct Encoding {
  std::vector<std::uint8_t> bytes;
  std::size_t displacement_at = 0;
  unsigned displacement_size = 0;
};

/// Bytes that could be `row` in the mode, with random operands and prefixes
/// that keep it the same instruction on every processor.
Encoding encode_row(const Row& row, bool long64, Random& random);

/// Random bytes of the kinds that instructions care about: integers at their
/// limits, floating-point numbers of three formats, BCD.
void fill_interesting(std::span<std::uint8_t> out, Random& random);

class CaseGenerator {
 public:
  CaseGenerator(std::uint64_t seed, const HostTraits& host) : seed_(seed), host_(host) {}

  /// Makes case `number` for row `row`.
  /// @return false if no encoding of the row fits (it then counts as not driven)
  bool make(std::uint64_t number, std::uint16_t row, Case& out) const;

 private:
  std::uint64_t seed_;
  HostTraits host_;
};

}  // namespace chronovisor::oracle
