// Owns how work on a recording is dealt out to processes that know nothing of one another:
// of what is numbered in turn, each takes every Nth. A value; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chronovisor {

struct Shard {
  std::uint32_t number = 1;  ///< from 1
  std::uint32_t of = 1;

  /// Whether the `n`th, from 0, is its own.
  [[nodiscard]] bool takes(std::size_t n) const { return n % of == number - 1; }
  bool operator==(const Shard&) const = default;
};

}  // namespace chronovisor
