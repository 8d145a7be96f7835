// Owns the numbering of the distinct pages of a recording: content hash to
// ordinal and back, in 24 to 32 bytes a page. Knows no file. One thread at a
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/hash.h"

namespace chronovisor {

class PageTable {
 public:
  /// The ordinal of the page with this content, if it is there.
  [[nodiscard]] std::optional<std::uint32_t> find(const Hash128& content) const;
  /// Numbers a page; pages are numbered 0, 1, 2 ... in order of adding.
  std::uint32_t add(const Hash128& content);
  [[nodiscard]] const Hash128& at(std::uint32_t ordinal) const { return pages_[ordinal]; }
  [[nodiscard]] std::size_t size() const { return pages_.size(); }

 private:
  void grow();
  [[nodiscard]] std::size_t slot_of(const Hash128& content) const;

  std::vector<Hash128> pages_;
  /// Open addressing: ordinal + 1, or 0 when free. A power of two in size.
  std::vector<std::uint32_t> slots_;
};

/// The content hash of a page of zeros; such pages are never stored.
[[nodiscard]] const Hash128& zero_page_hash();

}  // namespace chronovisor
