#include "vmm/memory/paged_region.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kMostBytes = 8ULL << 40;

}  // namespace

PagedRegion::PagedRegion(std::string name, std::uint64_t size_bytes)
    : name_(std::move(name)),
      page_count_(size_bytes / kPageSize + (size_bytes % kPageSize != 0 ? 1 : 0)) {
  if (size_bytes == 0 || size_bytes > kMostBytes) {
    throw Error(ErrorCode::usage, "region " + name_ + " of " + std::to_string(size_bytes) +
                                      " bytes: must be from 1 byte to 8 TiB");
  }
  void* mapping = ::mmap(nullptr, size(), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(ErrorCode::host, "cannot reserve " + std::to_string(size()) + " bytes for region " +
                                     name_ + ": " + std::strerror(errno));
  }
  // A page written here and there must not cost 2 MiB each. Where that cannot be said, it may.
  (void)::madvise(mapping, size(), MADV_NOHUGEPAGE);
  bytes_ = static_cast<std::uint8_t*>(mapping);
}

PagedRegion::PagedRegion(std::string name, std::span<std::uint8_t> bytes)
    : name_(std::move(name)),
      page_count_(bytes.size() / kPageSize),
      bytes_(bytes.data()),
      owned_(false) {}

PagedRegion::~PagedRegion() {
  if (owned_) ::munmap(bytes_, size());
}

void PagedRegion::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  const std::uint64_t count =
      offset < size() ? std::min<std::uint64_t>(out.size(), size() - offset) : 0;
  if (count != 0) std::memcpy(out.data(), host(offset), count);
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(count), out.end(), std::uint8_t{0xff});
}

void PagedRegion::write(std::uint64_t offset, ByteView data) {
  if (offset >= size() || data.empty()) return;
  const std::uint64_t count = std::min<std::uint64_t>(data.size(), size() - offset);
  for (std::uint64_t page = offset / kPageSize; page <= (offset + count - 1) / kPageSize; ++page) {
    mark_dirty(page);
  }
  std::memcpy(host(offset), data.data(), count);
}

void PagedRegion::new_epoch() {
  dirty_.clear();
  dirty_list_.clear();
}

void PagedRegion::replace_page(std::uint64_t page, ByteView bytes) {
  CHECK_THAT(page < page_count_ && bytes.size() == kPageSize, name_);
  std::memcpy(host(page * kPageSize), bytes.data(), kPageSize);
}

void PagedRegion::clear_page(std::uint64_t page) {
  CHECK_THAT(page < page_count_, name_);
  std::uint8_t* const bytes = host(page * kPageSize);
  if (::madvise(bytes, kPageSize, MADV_DONTNEED) != 0) std::memset(bytes, 0, kPageSize);
}

}  // namespace chronovisor
