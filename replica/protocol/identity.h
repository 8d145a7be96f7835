// Owns how the ends of a replication are told apart: a node is one start of a program, a
// session one pairing of a primary and a backup. What an arbiter decides, it decides for a
// session. Values; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"

namespace chronovisor::replica {

/// Drawn at random when a program starts; a program that starts again is another node.
struct NodeId {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const NodeId&) const = default;
};

/// Drawn at random by each end for each connection.
struct Nonce {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const Nonce&) const = default;
};

struct SessionId {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const SessionId&) const = default;
  /// 32 lower-case hexadecimal digits.
  [[nodiscard]] std::string hex() const { return Hash128{low, high}.hex(); }
};

/// One end of a connection, as its greeting says.
struct End {
  NodeId node;
  Nonce nonce;
};

/// Neither end alone chooses it, so nothing that was said in an earlier one fits.
[[nodiscard]] inline SessionId session_of(const End& primary, const End& backup) {
  ByteWriter out;
  for (const End* end : {&primary, &backup}) {
    out.integer(end->node.low);
    out.integer(end->node.high);
    out.integer(end->nonce.low);
    out.integer(end->nonce.high);
  }
  const Hash128 hash = hash128(out.data());
  return {hash.low, hash.high};
}

/// What the backups of one primary claim among themselves, once the primary cannot exclude
/// them any more: one of them follows it.
[[nodiscard]] inline SessionId succession_of(const NodeId& primary) {
  ByteWriter out;
  out.integer(primary.low);
  out.integer(primary.high);
  const Hash128 hash = hash128(out.data());
  return {hash.low, hash.high};
}

}  // namespace chronovisor::replica
