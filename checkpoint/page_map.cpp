#include "checkpoint/page_map.h"

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kLeafOverhead = 64;

}  // namespace

PageMap::Leaf::Leaf(const Hash128& fill, MemoryAccount to) : account(std::move(to)) {
  content.fill(fill);
  if (account) account->fetch_add(sizeof(Leaf) + kLeafOverhead, std::memory_order_relaxed);
}

PageMap::Leaf::Leaf(const Leaf& other, MemoryAccount to)
    : content(other.content), account(std::move(to)) {
  if (other.bytes) bytes = std::make_unique<std::array<Bytes, kLeafPages>>(*other.bytes);
  if (account) {
    account->fetch_add(sizeof(Leaf) + kLeafOverhead + (bytes ? sizeof(*bytes) : 0),
                       std::memory_order_relaxed);
  }
}

PageMap::Leaf::~Leaf() {
  if (account) {
    account->fetch_sub(sizeof(Leaf) + kLeafOverhead + (bytes ? sizeof(*bytes) : 0),
                       std::memory_order_relaxed);
  }
}

PageMap::PageMap(std::uint64_t page_count, const Hash128& fill, MemoryAccount account)
    : page_count_(page_count), account_(std::move(account)) {
  const auto leaf = std::make_shared<Leaf>(fill, account_);
  leaves_.assign((page_count + kLeafPages - 1) / kLeafPages, leaf);
}

PageMap::Bytes PageMap::bytes(std::uint64_t page) const {
  const Leaf& leaf = *leaves_[page / kLeafPages];
  return leaf.bytes ? (*leaf.bytes)[page % kLeafPages] : nullptr;
}

void PageMap::set(std::uint64_t page, const Hash128& content, const Bytes& bytes) {
  CHECK_THAT(page < page_count_, "a page outside the map");
  std::shared_ptr<Leaf>& leaf = leaves_[page / kLeafPages];
  const std::uint64_t slot = page % kLeafPages;
  const bool keeps = leaf->bytes != nullptr;
  if (leaf->content[slot] == content && (!bytes || (keeps && (*leaf->bytes)[slot]))) return;
  if (leaf.use_count() > 1) {
    leaf = std::make_shared<Leaf>(*leaf, account_);
  } else {
    // The last other holder may have been on another thread.
    std::atomic_thread_fence(std::memory_order_acquire);
  }
  leaf->content[slot] = content;
  if (bytes && !leaf->bytes) {
    leaf->bytes = std::make_unique<std::array<Bytes, kLeafPages>>();
    if (leaf->account) leaf->account->fetch_add(sizeof(*leaf->bytes), std::memory_order_relaxed);
  }
  if (leaf->bytes) (*leaf->bytes)[slot] = bytes;
}

void PageMap::become(const PageMap& other) {
  CHECK_THAT(page_count_ == other.page_count_, "maps of different memories");
  leaves_ = other.leaves_;
}

void PageMap::for_each_difference(const PageMap& there,
                                  const std::function<void(std::uint64_t)>& visit) const {
  CHECK_THAT(page_count_ == there.page_count_, "maps of different memories");
  for (std::size_t n = 0; n < leaves_.size(); ++n) {
    if (leaves_[n] == there.leaves_[n]) continue;
    const Leaf& a = *leaves_[n];
    const Leaf& b = *there.leaves_[n];
    for (std::uint64_t k = 0; k < kLeafPages; ++k) {
      if (a.content[k] != b.content[k]) visit(n * kLeafPages + k);
    }
  }
}

}  // namespace chronovisor
