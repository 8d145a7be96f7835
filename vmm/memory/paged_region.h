// Owns one further memory of a machine beside RAM: a screen's, or the written
// blocks of a disk. It begins as zeros, and costs only what was ever written,
// however large it is. Pages changed in the present epoch are known, so that
// checkpoints carry them as they carry RAM's. Knows no device and no CPU. One
// thread a machine.
//
// A region holds bytes, not whether they were written: a device to which a page of
// zeros and a page never written are two things (a disk's overlay over an image)
// keeps a bit a page of its own, best in a region too.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"

namespace chronovisor {

class PagedRegion {
 public:
  /// @param size_bytes rounded up to whole pages; at most 8 TiB
  /// Throws Error{usage} on a bad size, Error{host} when the host has no room.
  PagedRegion(std::string name, std::uint64_t size_bytes);
  /// A region whose bytes, whole pages of an anonymous mapping, belong to somebody who
  /// outlives it.
  PagedRegion(std::string name, std::span<std::uint8_t> bytes);
  ~PagedRegion();
  PagedRegion(const PagedRegion&) = delete;
  PagedRegion& operator=(const PagedRegion&) = delete;

  /// Unique in the machine ("vga.memory").
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::uint64_t size() const { return page_count_ * kPageSize; }
  [[nodiscard]] std::uint64_t page_count() const { return page_count_; }

  /// Fills `out` from `offset` on; with all ones past the end.
  void read(std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// Writes from `offset` on; what is past the end is dropped.
  void write(std::uint64_t offset, ByteView data);

  /// The raw bytes, in one piece. Whoever writes through this owes mark_dirty.
  [[nodiscard]] std::uint8_t* host(std::uint64_t offset) { return bytes_ + offset; }
  [[nodiscard]] const std::uint8_t* host(std::uint64_t offset) const { return bytes_ + offset; }
  [[nodiscard]] ByteView page(std::uint64_t page) const {
    return {bytes_ + page * kPageSize, kPageSize};
  }

  void mark_dirty(std::uint64_t page) {
    if (dirty_.insert(static_cast<std::uint32_t>(page)).second) {
      dirty_list_.push_back(static_cast<std::uint32_t>(page));
    }
  }
  /// Pages changed since the last new_epoch(), in the order of first change.
  [[nodiscard]] const std::vector<std::uint32_t>& dirty_pages() const { return dirty_list_; }
  /// Forgets the dirty pages. Whoever wrote by host() must mark them anew.
  void new_epoch();
  /// Gives a page other bytes (restore); it does not become dirty.
  void replace_page(std::uint64_t page, ByteView bytes);
  /// Makes a page zeros again and gives its memory back to the host.
  void clear_page(std::uint64_t page);

 private:
  std::string name_;
  std::uint64_t page_count_;
  std::uint8_t* bytes_ = nullptr;            // an anonymous mapping
  bool owned_ = true;                        ///< and released in the destructor
  std::unordered_set<std::uint32_t> dirty_;  // asked, never iterated
  std::vector<std::uint32_t> dirty_list_;
};

}  // namespace chronovisor
