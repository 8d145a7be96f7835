#include "checkpoint/page_pool.h"

#include <cstring>

#include "base/error.h"

namespace chronovisor {

void PagePool::add(const Hash128& content, ByteView bytes) {
  CHECK_THAT(bytes.size() == kPageSize, "a page of another size");
  const std::lock_guard lock(mutex_);
  Entry& entry = pages_[content];
  if (entry.references++ == 0) {
    entry.bytes = std::make_unique<std::array<std::uint8_t, kPageSize>>();
    std::memcpy(entry.bytes->data(), bytes.data(), kPageSize);
  }
}

void PagePool::release(const Hash128& content) {
  const std::lock_guard lock(mutex_);
  const auto found = pages_.find(content);
  CHECK_THAT(found != pages_.end(), "released a page that is not in the pool");
  if (--found->second.references == 0) pages_.erase(found);
}

bool PagePool::read(const Hash128& content, std::span<std::uint8_t, kPageSize> out) const {
  const std::lock_guard lock(mutex_);
  const auto found = pages_.find(content);
  if (found == pages_.end()) return false;
  std::memcpy(out.data(), found->second.bytes->data(), kPageSize);
  return true;
}

std::uint64_t PagePool::bytes() const {
  const std::lock_guard lock(mutex_);
  return pages_.size() * (kPageSize + 64);
}

}  // namespace chronovisor
