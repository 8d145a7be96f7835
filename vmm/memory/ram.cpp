#include "vmm/memory/ram.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "base/error.h"

namespace chronovisor {

Ram::Ram(std::uint64_t size_bytes) : size_(size_bytes), low_end_(std::min(size_bytes, kLowLimit)) {
  if (size_bytes % kPageSize != 0 || size_bytes < (1ULL << 20) || size_bytes > (1ULL << 38)) {
    throw Error(ErrorCode::usage, "memory of " + std::to_string(size_bytes) +
                                      " bytes: must be whole pages, from 1 MiB to 256 GiB");
  }
  void* mapping = ::mmap(nullptr, size_bytes + kMostRomBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(ErrorCode::host, "cannot reserve " + std::to_string(size_bytes) +
                                     " bytes for guest memory: " + std::strerror(errno));
  }
  // Where the host can: fewer faults, and fewer walks of its page tables.
  (void)::madvise(mapping, size_bytes, MADV_HUGEPAGE);
  bytes_ = static_cast<std::uint8_t*>(mapping);
  uses_.assign(page_count(), 0);
  dirty_.assign(page_count(), 0);
}

Ram::~Ram() { ::munmap(bytes_, size_ + kMostRomBytes); }

std::span<std::uint8_t> Ram::add_rom(std::uint64_t size_bytes) {
  CHECK_THAT(rom_begin_ == kHighBase && size_bytes != 0 && size_bytes <= kMostRomBytes &&
                 size_bytes % kPageSize == 0,
             "one ROM of whole pages");
  rom_begin_ = rom_seen_from_ = kHighBase - size_bytes;
  uses_.resize(page_count() + size_bytes / kPageSize, kPageWritesToBus);
  return {bytes_ + size_, size_bytes};
}

void Ram::hide_rom_start(std::uint64_t size_bytes) {
  CHECK_THAT(size_bytes % kPageSize == 0 && size_bytes <= kHighBase - rom_begin_,
             "a part of the ROM");
  if (rom_seen_from_ == rom_begin_ + size_bytes) return;
  rom_seen_from_ = rom_begin_ + size_bytes;
  if (listener_ != nullptr) listener_->memory_moved();
}

void Ram::before_rom_change(std::uint64_t rom_offset, std::uint64_t size_bytes) {
  const std::uint64_t offset = size_ + rom_offset;
  if (uses_[offset / kPageSize] != kPageWritesToBus && listener_ != nullptr) {
    listener_->before_write_to_used_page(offset, size_bytes);
  }
}

std::size_t Ram::read(GuestPhysical address, std::span<std::uint8_t> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const GuestPhysical here{address.value + done};
    const std::size_t chunk =
        std::min<std::size_t>(out.size() - done, kPageSize - (here.value & ~kPageMask));
    const auto offset = offset_of(here);
    if (!offset) break;
    std::memcpy(out.data() + done, host(*offset), chunk);
    done += chunk;
  }
  return done;
}

std::size_t Ram::write(GuestPhysical address, ByteView data) {
  std::size_t done = 0;
  while (done < data.size()) {
    const GuestPhysical here{address.value + done};
    const std::size_t chunk =
        std::min<std::size_t>(data.size() - done, kPageSize - (here.value & ~kPageMask));
    const auto offset = offset_of(here);
    if (!offset) break;
    const std::uint64_t page = *offset / kPageSize;
    if ((uses_[page] & kPageWritesToBus) != 0) {  // a device's write, which goes nowhere
      done += chunk;
      continue;
    }
    if (uses_[page] != 0 && listener_ != nullptr) {
      listener_->before_write_to_used_page(*offset, chunk);
    }
    std::uint8_t* const bytes = host(*offset);
    mark_dirty(page);
    std::memcpy(bytes, data.data() + done, chunk);
    done += chunk;
  }
  return done;
}

std::span<std::uint8_t> Ram::view(std::uint64_t offset, std::uint64_t size_bytes) {
  const ByteView bytes = std::as_const(*this).view(offset, size_bytes);
  return {bytes_ + offset, bytes.size()};
}

ByteView Ram::view(std::uint64_t offset, std::uint64_t size_bytes) const {
  const std::uint64_t end = offset + size_bytes;
  for (std::uint64_t page = offset / kPageSize; page * kPageSize < end; ++page) read_deferred(page);
  return {bytes_ + offset, static_cast<std::size_t>(size_bytes)};
}

void Ram::set_source(PageSource& source) {
  CHECK_THAT(deferred_count_ == 0, "deferred pages stay with their source");
  source_ = &source;
  deferred_.assign(page_count(), 0);
  (void)::madvise(bytes_, size_, MADV_NOHUGEPAGE);
}

void Ram::defer(std::uint64_t page) {
  CHECK_THAT(page < deferred_.size() && dirty_[page] == 0, "a clean page of RAM with a source");
  if (deferred_[page] != 0) return;
  deferred_[page] = 1;
  ++deferred_count_;
}

std::span<std::uint8_t, kPageSize> Ram::replaced(std::uint64_t page) {
  if (is_deferred(page)) {
    deferred_[page] = 0;
    --deferred_count_;
  }
  return std::span<std::uint8_t, kPageSize>(bytes_ + page * kPageSize, kPageSize);
}

void Ram::read_from_source(std::uint64_t page) const {
  source_->read_deferred_page(
      page, std::span<std::uint8_t, kPageSize>(bytes_ + page * kPageSize, kPageSize));
  deferred_[page] = 0;
  --deferred_count_;
}

void Ram::new_epoch() {
  for (const std::uint32_t page : dirty_list_) dirty_[page] = 0;
  dirty_list_.clear();
}

}  // namespace chronovisor
