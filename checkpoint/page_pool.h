// Owns page contents by hash: each content is kept once while anyone holds it,
// and freed with its last holder. Knows nothing of where a page belongs. Locked
// inside; any thread. Pages may outlive the pool object.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"

namespace chronovisor {

/// The bytes of one page, immutable.
using PageContent = std::array<std::uint8_t, kPageSize>;

class PagePool {
 public:
  PagePool();
  /// The page whose hash is `content`; stores `bytes` when it is new.
  [[nodiscard]] std::shared_ptr<const PageContent> keep(const Hash128& content, ByteView bytes);
  /// Bytes taken by the pages that are held, with what holding them costs.
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  struct HashOfHash {
    std::size_t operator()(const Hash128& hash) const { return hash.low; }
  };
  struct Shared {
    std::mutex mutex;
    // Looked up only, never iterated.
    std::unordered_map<Hash128, std::weak_ptr<const PageContent>, HashOfHash> pages;
    std::atomic<std::uint64_t> held{0};
  };
  /// Frees a page and forgets it.
  struct Release {
    std::shared_ptr<Shared> shared;
    Hash128 content;
    void operator()(const PageContent* page) const;
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace chronovisor
