// Owns the hash used for digests, content addressing and checksums (XXH3, 128
// and 64 bits). Not cryptographic: it finds damage and drift, not forgery.
// Any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"

namespace chronovisor {

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const Hash128&) const = default;
  /// 32 lower-case hexadecimal digits, high half first.
  [[nodiscard]] std::string hex() const;
};

[[nodiscard]] Hash128 hash128(ByteView data);
[[nodiscard]] std::uint64_t hash64(ByteView data);

/// Hashes a stream of pieces; the result equals hash128 of their concatenation.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void add(ByteView data);
  [[nodiscard]] Hash128 finish() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chronovisor
