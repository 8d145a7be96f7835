// Owns a guest memory's content by hash, page for page, in a form that many
// checkpoints can share: copies are cheap, and two maps that come from one
// another are compared by looking only where they differ. Knows no bytes.
// Values; a map is used by one thread at a time, copies of it by any.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/hash.h"

namespace chronovisor {

class PageMap {
 public:
  /// All pages have content `fill`.
  PageMap(std::uint64_t page_count, const Hash128& fill);

  [[nodiscard]] std::uint64_t page_count() const { return page_count_; }
  [[nodiscard]] const Hash128& at(std::uint64_t page) const {
    return (*leaves_[page / kLeafPages])[page % kLeafPages];
  }
  void set(std::uint64_t page, const Hash128& content);

  /// Calls `visit(page, content here, content there)` for each page that
  /// differs, ascending. Leaves that the maps share are skipped whole.
  void for_each_difference(
      const PageMap& there,
      const std::function<void(std::uint64_t, const Hash128&, const Hash128&)>& visit) const;

  /// Bytes held by leaves that no other map shares.
  [[nodiscard]] std::uint64_t own_bytes() const;

 private:
  static constexpr std::uint64_t kLeafPages = 256;
  using Leaf = std::array<Hash128, kLeafPages>;
  std::uint64_t page_count_;
  std::vector<std::shared_ptr<Leaf>> leaves_;
};

}  // namespace chronovisor
