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
  std::vector<std::uint32_t> result(changed.begin(), changed.end());
  if (checkpoint == 0) {
    before_.clear();
    return result;
  }
  std::vector<std::uint32_t> both;
  const auto unite = [&both](std::vector<std::uint32_t>& pages,
                             const std::vector<std::uint32_t>& more) {
    both.clear();
    std::set_union(pages.begin(), pages.end(), more.begin(), more.end(), std::back_inserter(both));
    pages.swap(both);
  };
  const unsigned rank = chain_rank(checkpoint);
  CHECK_THAT(rank <= before_.size(), "checkpoints are taken one after the other");
  for (unsigned n = 0; n < rank; ++n) {
    unite(result, before_[n]);
    before_[n].clear();
  }
  // Longer lists are put together more seldom.
  if (rank == before_.size()) before_.emplace_back();
  unite(before_[rank], result);
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
