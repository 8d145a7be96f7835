// Owns the one numbering of all pages of a machine, RAM's and its regions', and
// what each holds by hash: which pages changed, what checkpoints and digests need
// of them, and putting pages back. Knows no CPU: whoever runs a guest drops its
// write tags when an epoch closes, and its code before a page is replaced. One
// thread a machine.
//
// Numbers: RAM's pages from 0 on; then each region, in the order in which they were
// added, from the next multiple of 65536.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/state.h"
#include "vmm/memory/paged_region.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

/// The state section that says which regions a machine has; it is there only if
/// the machine has any.
inline constexpr const char* kRegionsSection = "regions";

/// Where a region's pages are.
struct RegionPlace {
  std::string name;
  std::uint64_t first_page = 0;
  std::uint64_t page_count = 0;
  bool operator==(const RegionPlace&) const = default;
};

/// The regions of a saved state, by first page; none if it has no such section.
/// Throws Error{bad_input}.
[[nodiscard]] std::vector<RegionPlace> regions_of(std::span<const Section> sections);

class PageSpace {
 public:
  explicit PageSpace(Ram& ram);
  PageSpace(const PageSpace&) = delete;
  PageSpace& operator=(const PageSpace&) = delete;

  /// Adds a region; only before the machine runs or is restored. It stays where
  /// it is. Throws as PagedRegion does.
  PagedRegion& add_region(std::string name, std::uint64_t size_bytes);
  /// Adds RAM's ROM, with a region that is its content. @see Ram::add_rom
  PagedRegion& add_rom(std::string name, std::uint64_t size_bytes);
  /// @return null when there is none of that name
  [[nodiscard]] PagedRegion* region(std::string_view name);
  [[nodiscard]] std::vector<RegionPlace> layout() const;

  /// One more than the highest page number.
  [[nodiscard]] std::uint64_t page_count() const { return page_count_; }
  /// Whether the number is one of a page, not of a gap between regions.
  [[nodiscard]] bool has_page(std::uint64_t page) const;
  [[nodiscard]] ByteView bytes(std::uint64_t page) const;
  /// What the processor knows the page by, as a page of Ram's offsets; nothing for what
  /// it reaches by the bus alone.
  [[nodiscard]] std::optional<std::uint64_t> processor_page(std::uint64_t page) const;
  /// Content hash of a page as of the last hash_dirty_pages().
  [[nodiscard]] const Hash128& hash(std::uint64_t page) const;
  /// Calls `visit` for each page that is not zeros, ascending.
  void for_each_page(const std::function<void(std::uint64_t)>& visit) const;

  /// Hashes the pages that changed since the last call, and forgets that they did.
  void hash_dirty_pages();
  /// The pages that were hashed since the last call, ascending.
  [[nodiscard]] std::vector<std::uint32_t> take_changed();
  /// Replaces a page; `hash` is that of `bytes`.
  void replace(std::uint64_t page, ByteView bytes, const Hash128& hash);
  /// Replaces a page of RAM by what its source has for it, which has this hash.
  void defer(std::uint64_t page, const Hash128& hash);
  /// Adds all contents to a digest. A machine without regions adds RAM's hashes alone.
  void add_to(Hasher& hasher) const;

  /// Shows the layout. A state with another one is refused, naming the region.
  void visit_layout(StateVisitor& visitor);

  [[nodiscard]] static const Hash128& zero_hash();

 private:
  struct HashOfPage {
    std::size_t operator()(std::uint32_t page) const { return page * 0x9e3779b97f4a7c15ULL; }
  };
  struct Region {
    std::unique_ptr<PagedRegion> memory;
    std::uint64_t first_page;
    /// Pages that are not zeros. Iterated only to be sorted.
    std::unordered_map<std::uint32_t, Hash128, HashOfPage> hashes;
    /// The sum of a hash of each such page's number and content: the same whatever
    /// the order of changes.
    Hash128 sum;
  };
  /// The region that a page is in; nothing for RAM's pages and gaps.
  [[nodiscard]] std::optional<std::size_t> region_of(std::uint64_t page) const;
  PagedRegion& add(std::unique_ptr<PagedRegion> memory);
  static void set_hash(Region& region, std::uint64_t page, const Hash128& hash);

  Ram& ram_;
  std::uint64_t page_count_;
  std::vector<Hash128> ram_hashes_;
  std::vector<Region> regions_;
  std::optional<std::size_t> rom_;      ///< which region
  std::vector<std::uint32_t> changed_;  ///< hashed, but not taken
};

}  // namespace chronovisor
