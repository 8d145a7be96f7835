// Owns a guest memory's content by hash, page for page, in a form that many
// checkpoints can share: copies are cheap, and two maps that come from one
// another are compared by looking only where they differ. A page may carry its
// bytes along; where it does not, they are elsewhere (in the recording). Pages
// that all have the first content cost next to nothing, however many they are.
// A map is used by one thread at a time, copies of it by any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/hash.h"
#include "checkpoint/page_pool.h"

namespace chronovisor {

/// Counts bytes that several maps and checkpoints use together.
using MemoryAccount = std::shared_ptr<std::atomic<std::uint64_t>>;

class PageMap {
 public:
  using Bytes = std::shared_ptr<const PageContent>;
  /// Pages are shared in leaves of 256, and these in branches of 256.
  static constexpr std::uint64_t kLeafPages = 256;
  static constexpr std::uint64_t kBranchLeaves = 256;
  static constexpr std::uint64_t kBranchPages = kLeafPages * kBranchLeaves;

  /// All pages have content `fill`. @param account charged for what this map
  /// and copies of it add; null: nobody
  PageMap(std::uint64_t page_count, const Hash128& fill, MemoryAccount account = nullptr);

  [[nodiscard]] std::uint64_t page_count() const { return page_count_; }
  [[nodiscard]] const Hash128& content(std::uint64_t page) const {
    return leaf_of(page).content[page % kLeafPages];
  }
  [[nodiscard]] Bytes bytes(std::uint64_t page) const;
  /// Where the page lies in the recording, if that is known.
  [[nodiscard]] std::optional<std::uint32_t> place(std::uint64_t page) const;
  void set(std::uint64_t page, const Hash128& content, const Bytes& bytes = nullptr);
  /// The same for a page of a recording, and where it lies there, if that is known.
  void set_recorded(std::uint64_t page, const Hash128& content, std::optional<std::uint32_t> place);
  /// Takes over the pages of `other`; changes go on this map's own account.
  void become(const PageMap& other);

  /// Calls `visit(page)` for each page whose content differs, ascending.
  /// Leaves that the maps share are skipped whole.
  void for_each_difference(const PageMap& there,
                           const std::function<void(std::uint64_t)>& visit) const;

 private:
  struct Leaf {
    Leaf(const Hash128& fill, MemoryAccount to);
    Leaf(const Leaf& other, MemoryAccount to);
    ~Leaf();
    Leaf(const Leaf&) = delete;
    Leaf& operator=(const Leaf&) = delete;

    std::array<Hash128, kLeafPages> content;
    std::array<std::uint32_t, kLeafPages> next_place;      ///< the place + 1; 0: not known
    std::unique_ptr<std::array<Bytes, kLeafPages>> bytes;  ///< null: none is kept
    MemoryAccount account;
  };
  struct Branch {
    explicit Branch(MemoryAccount to);
    Branch(const Branch& other, MemoryAccount to);
    ~Branch();
    Branch(const Branch&) = delete;
    Branch& operator=(const Branch&) = delete;

    std::array<std::shared_ptr<Leaf>, kBranchLeaves> leaves;
    MemoryAccount account;
  };
  [[nodiscard]] const Leaf& leaf_of(std::uint64_t page) const {
    return *branches_[page / kBranchPages]->leaves[page / kLeafPages % kBranchLeaves];
  }
  [[nodiscard]] Leaf& own_leaf_of(std::uint64_t page);

  std::uint64_t page_count_;
  std::vector<std::shared_ptr<Branch>> branches_;
  MemoryAccount account_;
};

}  // namespace chronovisor
