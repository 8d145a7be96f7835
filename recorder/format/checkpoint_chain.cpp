#include "recorder/format/checkpoint_chain.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"

namespace chronovisor {

unsigned chain_rank(std::uint32_t checkpoint) {
  CHECK_THAT(checkpoint != 0, "the first checkpoint has no parent");
  unsigned rank = 0;
  for (; checkpoint % kChainBase == 0; checkpoint /= kChainBase) ++rank;
  return rank;
}

std::optional<std::uint32_t> chain_parent(std::uint32_t checkpoint) {
  if (checkpoint == 0) return std::nullopt;
  std::uint32_t back = 1;
  for (unsigned rank = chain_rank(checkpoint); rank != 0; --rank) back *= kChainBase;
  return checkpoint - back;
}

std::vector<std::uint32_t> ChangedPages::taken(std::uint32_t checkpoint,
                                               std::span<const std::uint32_t> changed) {
  if (checkpoint == 0) {
    since_.assign(1, {});
    return {changed.begin(), changed.end()};
  }
  std::vector<std::uint32_t> merged;
  for (std::vector<std::uint32_t>& pages : since_) {
    merged.clear();
    std::set_union(pages.begin(), pages.end(), changed.begin(), changed.end(),
                   std::back_inserter(merged));
    pages.swap(merged);
  }
  const unsigned rank = chain_rank(checkpoint);
  CHECK_THAT(rank < since_.size(), "checkpoints are taken one after the other");
  // The last list is since the first checkpoint; it stays so for the ranks to come.
  if (rank + 1 == since_.size()) since_.push_back(since_.back());
  std::vector<std::uint32_t> result = std::move(since_[rank]);
  for (unsigned n = 0; n <= rank; ++n) since_[n].clear();
  return result;
}

const ChainPages::PageList& ChainPages::of_parent(std::uint32_t checkpoint) const {
  static const PageList kNone;
  if (checkpoint == 0) return kNone;
  const unsigned rank = chain_rank(checkpoint);
  return rank < last_.size() ? last_[rank] : first_;
}

void ChainPages::taken(std::uint32_t checkpoint, PageList pages) {
  if (checkpoint == 0) {
    last_.clear();
    first_ = std::move(pages);
    return;
  }
  const unsigned rank = chain_rank(checkpoint);
  if (last_.size() <= rank) last_.resize(rank + 1, first_);
  for (unsigned n = 0; n < rank; ++n) last_[n] = pages;
  last_[rank] = std::move(pages);
}

}  // namespace chronovisor
