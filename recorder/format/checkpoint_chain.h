// Owns which earlier checkpoint each checkpoint's pages are differences from. With the one
// before it as everyone's parent, the memory at the end would take reading all of them;
// here every 16th goes back to the last 16th, every 256th to the last 256th and so on, so
// that it takes 15 for each digit of its number. Values; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "recorder/format/records.h"

namespace chronovisor {

/// How far a checkpoint's parent is before it: 16 to the power of its rank.
inline constexpr std::uint32_t kChainBase = 16;

/// How often `kChainBase` divides the number of a checkpoint other than the first.
[[nodiscard]] unsigned chain_rank(std::uint32_t checkpoint);
/// The parent of a checkpoint; nothing for the first.
[[nodiscard]] std::optional<std::uint32_t> chain_parent(std::uint32_t checkpoint);

/// Which pages changed since the parent of the next checkpoint, for one who knows only
/// which changed since the last. A list of pages a rank.
class ChangedPages {
 public:
  /// @param changed the pages that changed since the last checkpoint, ascending
  /// @return those that changed since the parent of checkpoint `checkpoint`, ascending,
  ///   which is taken: the next call is for the one after it. 0 begins anew
  std::vector<std::uint32_t> taken(std::uint32_t checkpoint,
                                   std::span<const std::uint32_t> changed);

 private:
  /// List n: pages that changed between the last checkpoint of a rank above n, or the first of
  /// all, and the last of rank n or above.
  std::vector<std::vector<std::uint32_t>> before_;
};

/// The same for one who knows all pages of each checkpoint.
class ChainPages {
 public:
  /// Pages that are not zero, ascending.
  using PageList = std::vector<PageRecord>;
  /// The pages of the parent of checkpoint `checkpoint`, which is the next to be taken.
  [[nodiscard]] const PageList& of_parent(std::uint32_t checkpoint) const;
  /// Checkpoint `checkpoint` has these pages.
  void taken(std::uint32_t checkpoint, PageList pages);

 private:
  PageList first_;
  std::vector<PageList> last_;  ///< of the last checkpoint of each rank or a higher one
};

}  // namespace chronovisor
