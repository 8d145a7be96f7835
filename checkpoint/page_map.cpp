#include "checkpoint/page_map.h"

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kLeafOverhead = 64;

}  // namespace

PageMap::Leaf::Leaf(const Hash128& fill, MemoryAccount to) : account(std::move(to)) {
  content.fill(fill);
  next_place.fill(0);
  if (account) account->fetch_add(sizeof(Leaf) + kLeafOverhead, std::memory_order_relaxed);
}

PageMap::Leaf::Leaf(const Leaf& other, MemoryAccount to)
    : content(other.content), next_place(other.next_place), account(std::move(to)) {
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

PageMap::Branch::Branch(MemoryAccount to) : account(std::move(to)) {
  if (account) account->fetch_add(sizeof(Branch) + kLeafOverhead, std::memory_order_relaxed);
}

PageMap::Branch::Branch(const Branch& other, MemoryAccount to) : Branch(std::move(to)) {
  leaves = other.leaves;
}

PageMap::Branch::~Branch() {
  if (account) account->fetch_sub(sizeof(Branch) + kLeafOverhead, std::memory_order_relaxed);
}

PageMap::PageMap(std::uint64_t page_count, const Hash128& fill, MemoryAccount account)
    : page_count_(page_count), account_(std::move(account)) {
  const auto branch = std::make_shared<Branch>(account_);
  branch->leaves.fill(std::make_shared<Leaf>(fill, account_));
  branches_.assign((page_count + kBranchPages - 1) / kBranchPages, branch);
}

PageMap::Bytes PageMap::bytes(std::uint64_t page) const {
  const Leaf& leaf = leaf_of(page);
  return leaf.bytes ? (*leaf.bytes)[page % kLeafPages] : nullptr;
}

namespace {

/// Makes what is held this holder's own. That use_count() is 1 says by itself nothing of
/// what the last other holder did on another thread: letting go of one more holder here
/// comes after its letting go. (ThreadSanitizer knows no fences, which would do as well.)
template <class Node, class Copy>
Node& own(std::shared_ptr<Node>& held, Copy&& copy) {
  if (held.use_count() > 1) {
    held = copy(*held);
  } else {
    const std::shared_ptr<Node> one_more = held;
  }
  return *held;
}

}  // namespace

/// The leaf of a page, made this map's own on the way there.
PageMap::Leaf& PageMap::own_leaf_of(std::uint64_t page) {
  Branch& branch = own(branches_[page / kBranchPages], [&](const Branch& shared) {
    return std::make_shared<Branch>(shared, account_);
  });
  return own(branch.leaves[page / kLeafPages % kBranchLeaves],
             [&](const Leaf& shared) { return std::make_shared<Leaf>(shared, account_); });
}

void PageMap::set(std::uint64_t page, const Hash128& content, const Bytes& bytes) {
  CHECK_THAT(page < page_count_, "a page outside the map");
  const std::uint64_t slot = page % kLeafPages;
  const Leaf& present = leaf_of(page);
  const bool keeps = present.bytes != nullptr;
  if (present.content[slot] == content && (!bytes || (keeps && (*present.bytes)[slot]))) return;
  Leaf& leaf = own_leaf_of(page);
  if (leaf.content[slot] != content) leaf.next_place[slot] = 0;
  leaf.content[slot] = content;
  if (bytes && !leaf.bytes) {
    leaf.bytes = std::make_unique<std::array<Bytes, kLeafPages>>();
    if (leaf.account) leaf.account->fetch_add(sizeof(*leaf.bytes), std::memory_order_relaxed);
  }
  if (leaf.bytes) (*leaf.bytes)[slot] = bytes;
}

std::optional<std::uint32_t> PageMap::place(std::uint64_t page) const {
  const std::uint32_t next = leaf_of(page).next_place[page % kLeafPages];
  return next == 0 ? std::nullopt : std::optional<std::uint32_t>(next - 1);
}

void PageMap::set_recorded(std::uint64_t page, const Hash128& content,
                           std::optional<std::uint32_t> place) {
  CHECK_THAT(page < page_count_, "a page outside the map");
  CHECK_THAT(place != ~std::uint32_t{0}, "a place of a page");
  set(page, content);
  if (!place || this->place(page) == place) return;
  own_leaf_of(page).next_place[page % kLeafPages] = *place + 1;
}

void PageMap::become(const PageMap& other) {
  CHECK_THAT(page_count_ == other.page_count_, "maps of different memories");
  branches_ = other.branches_;
}

void PageMap::for_each_difference(const PageMap& there,
                                  const std::function<void(std::uint64_t)>& visit) const {
  CHECK_THAT(page_count_ == there.page_count_, "maps of different memories");
  // Maps that do not come from one another have many equal pairs of leaves of one content.
  const Leaf* same_here = nullptr;
  const Leaf* same_there = nullptr;
  for (std::size_t n = 0; n < branches_.size(); ++n) {
    if (branches_[n] == there.branches_[n]) continue;
    for (std::uint64_t m = 0; m < kBranchLeaves; ++m) {
      const Leaf& a = *branches_[n]->leaves[m];
      const Leaf& b = *there.branches_[n]->leaves[m];
      if (&a == &b || (&a == same_here && &b == same_there)) continue;
      if (a.content == b.content) {
        same_here = &a;
        same_there = &b;
        continue;
      }
      for (std::uint64_t k = 0; k < kLeafPages; ++k) {
        const std::uint64_t page = (n * kBranchLeaves + m) * kLeafPages + k;
        if (a.content[k] != b.content[k] && page < page_count_) visit(page);
      }
    }
  }
}

}  // namespace chronovisor
