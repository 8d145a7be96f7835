// Owns how long the ends of a replication wait for each other. No promise depends on these
// (docs/FAULT_TOLERANCE.md), only how soon something is noticed.
#pragma once

#include <cstdint>

namespace chronovisor::replica {

struct Timings {
  /// Each end says that it is alive so often.
  std::uint64_t alive_ns = 100'000'000;
  /// After so much silence the connection counts as lost.
  std::uint64_t silence_ns = 500'000'000;
  /// How much longer than a primary a backup waits before it claims, so that a primary that
  /// lives and only lost its connection wins.
  std::uint64_t grace_ns = 100'000'000;
  /// A claim without an answer is repeated.
  std::uint64_t claim_ns = 100'000'000;
  /// A backup that was handed the session and does not say that it is live is left.
  std::uint64_t yield_ns = 3'000'000'000;
  /// A backup protects from where its machine is behind by fewer steps than these.
  std::uint64_t join_steps = 50'000'000;
};

}  // namespace chronovisor::replica
