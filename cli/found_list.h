// Owns how a question that lists what a recording holds ends: all of the answer has to be
// written, and words on standard error say where it is not all, or nothing. Main thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace chronovisor::cli {

struct FoundList {
  std::uint64_t found = 0;  ///< one more than `limit` at most
  std::uint64_t limit = 0;

  [[nodiscard]] std::uint64_t listed() const { return std::min(found, limit); }
  [[nodiscard]] bool complete() const { return found <= limit; }
};

/// Throws Error{host} when standard output cannot be written.
void finish(const FoundList& list);

}  // namespace chronovisor::cli
