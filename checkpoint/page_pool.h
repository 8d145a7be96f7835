// Owns page contents by hash, each stored once however many checkpoints name
// it, and counts who does. Knows nothing of where a page belongs. Locked
// inside; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"

namespace chronovisor {

class PagePool {
 public:
  /// Adds a reference to `content`, storing `bytes` if it is new.
  void add(const Hash128& content, ByteView bytes);
  /// Drops a reference; the last one frees the page.
  void release(const Hash128& content);
  /// Copies the page out.
  /// @return false when it is not here
  [[nodiscard]] bool read(const Hash128& content, std::span<std::uint8_t, kPageSize> out) const;
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  struct HashOfHash {
    std::size_t operator()(const Hash128& hash) const { return hash.low; }
  };
  struct Entry {
    std::unique_ptr<std::array<std::uint8_t, kPageSize>> bytes;
    std::uint64_t references = 0;
  };
  mutable std::mutex mutex_;
  // Looked up only, never iterated.
  std::unordered_map<Hash128, Entry, HashOfHash> pages_;
};

}  // namespace chronovisor
