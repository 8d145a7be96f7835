#include "checkpoint/page_map.h"

#include "base/error.h"

namespace chronovisor {

PageMap::PageMap(std::uint64_t page_count, const Hash128& fill) : page_count_(page_count) {
  auto leaf = std::make_shared<Leaf>();
  leaf->fill(fill);
  leaves_.assign((page_count + kLeafPages - 1) / kLeafPages, leaf);
}

void PageMap::set(std::uint64_t page, const Hash128& content) {
  CHECK_THAT(page < page_count_, "a page outside the map");
  std::shared_ptr<Leaf>& leaf = leaves_[page / kLeafPages];
  if ((*leaf)[page % kLeafPages] == content) return;
  if (leaf.use_count() > 1) leaf = std::make_shared<Leaf>(*leaf);
  (*leaf)[page % kLeafPages] = content;
}

void PageMap::for_each_difference(
    const PageMap& there,
    const std::function<void(std::uint64_t, const Hash128&, const Hash128&)>& visit) const {
  CHECK_THAT(page_count_ == there.page_count_, "maps of different memories");
  for (std::size_t n = 0; n < leaves_.size(); ++n) {
    if (leaves_[n] == there.leaves_[n]) continue;
    for (std::uint64_t k = 0; k < kLeafPages; ++k) {
      const Hash128& a = (*leaves_[n])[k];
      const Hash128& b = (*there.leaves_[n])[k];
      if (a != b) visit(n * kLeafPages + k, a, b);
    }
  }
}

std::uint64_t PageMap::own_bytes() const {
  std::uint64_t bytes = leaves_.size() * sizeof(leaves_[0]);
  for (const auto& leaf : leaves_) {
    if (leaf.use_count() == 1) bytes += sizeof(Leaf);
  }
  return bytes;
}

}  // namespace chronovisor
