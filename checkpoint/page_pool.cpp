#include "checkpoint/page_pool.h"

#include <cstring>

#include "base/error.h"

namespace chronovisor {
namespace {

/// A table entry, a control block and the allocator's share, beside the page.
constexpr std::uint64_t kOverheadBytes = 160;

}  // namespace

PagePool::PagePool() : shared_(std::make_shared<Shared>()) {}

void PagePool::Release::operator()(const PageContent* page) const {
  {
    const std::lock_guard lock(shared->mutex);
    const auto found = shared->pages.find(content);
    // Someone may have stored the same content anew since the last holder left.
    if (found != shared->pages.end() && found->second.expired()) shared->pages.erase(found);
  }
  shared->held.fetch_sub(1, std::memory_order_relaxed);
  delete page;
}

std::shared_ptr<const PageContent> PagePool::keep(const Hash128& content, ByteView bytes) {
  CHECK_THAT(bytes.size() == kPageSize, "a page of another size");
  {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->pages.find(content);
    if (found != shared_->pages.end()) {
      if (auto page = found->second.lock()) return page;
    }
  }
  auto fresh = std::make_unique<PageContent>();
  std::memcpy(fresh->data(), bytes.data(), kPageSize);
  shared_->held.fetch_add(1, std::memory_order_relaxed);
  const std::shared_ptr<const PageContent> page(fresh.release(), Release{shared_, content});
  const std::lock_guard lock(shared_->mutex);
  shared_->pages[content] = page;
  return page;
}

std::uint64_t PagePool::bytes() const {
  return shared_->held.load(std::memory_order_relaxed) * (kPageSize + kOverheadBytes);
}

}  // namespace chronovisor
