// Owns the guest's RAM bytes, where they lie on the physical bus, what each
// page is used for by the CPU (code, page table) and which pages changed in
// the present epoch. Knows no CPU and no device: whoever must react to a write
// of a page in use registers as the PageUseListener. One thread a machine.
//
// Physical layout: [0, low_end) with low_end = min(size, 3 GiB), less the VGA
// window at 0xa0000-0xbffff (which belongs to the bus); the rest of RAM from
// 4 GiB up. "Offset" is an index into the RAM bytes. A ROM that ends at 4 GiB has
// its place behind them, with offsets of its own, so that its code and data are
// reached as RAM's are; it takes no writes here, and its content belongs to a region.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"

namespace chronovisor {

/// Uses of a page that make a write to it more than a store.
enum PageUse : std::uint8_t {
  kPageHasCode = 1,    ///< decoded blocks were made from it
  kPageHasTables = 2,  ///< the TLB holds translations made from it
  /// The processor's writes to it go to the bus, those of devices nowhere.
  kPageWritesToBus = 4,
};

/// Told before a write changes a page whose use is not 0.
class PageUseListener {
 public:
  virtual ~PageUseListener() = default;
  /// @param offset RAM offset of the first byte about to change
  virtual void before_write_to_used_page(std::uint64_t offset, std::uint64_t size) = 0;
  /// Other addresses have offsets from here on.
  virtual void memory_moved() {}
};

/// Where the contents of deferred pages are.
class PageSource {
 public:
  PageSource() = default;
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;
  virtual ~PageSource() = default;
  /// Throws Error when it cannot be had; the page stays deferred then.
  virtual void read_deferred_page(std::uint64_t page, std::span<std::uint8_t, kPageSize> out) = 0;
};

class Ram {
 public:
  static constexpr std::uint64_t kLowLimit = 3ULL << 30;
  static constexpr std::uint64_t kHighBase = 4ULL << 30;
  static constexpr std::uint64_t kHoleBegin = 0xa0000;
  static constexpr std::uint64_t kHoleEnd = 0xc0000;
  static constexpr std::uint64_t kMostRomBytes = 16ULL << 20;

  /// @param size_bytes a multiple of 4 KiB, at least 1 MiB
  /// Throws Error{usage} on a bad size, Error{host} when the host has no room.
  explicit Ram(std::uint64_t size_bytes);
  ~Ram();
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t page_count() const { return size_ / kPageSize; }
  [[nodiscard]] std::uint64_t low_end() const { return low_end_; }
  /// First physical address past the RAM above 4 GiB; kHighBase if there is none.
  [[nodiscard]] std::uint64_t high_end() const { return kHighBase + (size_ - low_end_); }

  /// Offset of a physical address, or nothing when it is neither RAM nor ROM.
  [[nodiscard]] std::optional<std::uint64_t> offset_of(GuestPhysical address) const {
    const std::uint64_t a = address.value;
    if (a < low_end_) {
      if (a >= kHoleBegin && a < kHoleEnd) return std::nullopt;
      return a;
    }
    if (a >= kHighBase) {
      if (a < high_end()) return a - kHighBase + low_end_;
    } else if (a >= rom_seen_from_) {
      return a - rom_begin_ + size_;
    }
    return std::nullopt;
  }
  [[nodiscard]] GuestPhysical physical_of(std::uint64_t offset) const {
    if (offset < low_end_) return {offset};
    return {offset < size_ ? offset - low_end_ + kHighBase : offset - size_ + rom_begin_};
  }

  /// Adds the ROM, before there is a processor. Whoever changes its content owes the
  /// processor word of it.
  /// @param size_bytes whole pages, at most kMostRomBytes
  /// @return its bytes, zeros at first
  std::span<std::uint8_t> add_rom(std::uint64_t size_bytes);
  /// The first `size_bytes` of the ROM are reached by the bus alone from here on, and the
  /// rest as RAM is; whole pages.
  void hide_rom_start(std::uint64_t size_bytes);
  /// Bytes of one page of the ROM are about to change.
  void before_rom_change(std::uint64_t rom_offset, std::uint64_t size_bytes);
  /// RAM's pages and the ROM's: one more than the highest page of an offset.
  [[nodiscard]] std::uint64_t all_page_count() const { return uses_.size(); }

  /// The raw bytes, to the end of the page. Whoever writes through this owes mark_dirty, after
  /// it, and the listener. Throws what the source throws where the page is deferred.
  [[nodiscard]] std::uint8_t* host(std::uint64_t offset) {
    read_deferred(offset / kPageSize);
    return bytes_ + offset;
  }
  [[nodiscard]] const std::uint8_t* host(std::uint64_t offset) const {
    read_deferred(offset / kPageSize);
    return bytes_ + offset;
  }
  /// As host(), of a range that may be of several pages.
  [[nodiscard]] std::span<std::uint8_t> view(std::uint64_t offset, std::uint64_t size_bytes);
  [[nodiscard]] ByteView view(std::uint64_t offset, std::uint64_t size_bytes) const;
  /// Where host() would be; what is there is not to be looked at.
  [[nodiscard]] std::uint64_t host_address(std::uint64_t offset) const {
    return reinterpret_cast<std::uint64_t>(bytes_) + offset;
  }

  // ---- deferred pages: their content is elsewhere until it is first wanted ------------------
  /// Whom deferred pages are read from; must outlive this. The host gives such a memory its
  /// pages one by one from here on, since few may be wanted.
  void set_source(PageSource& source);
  /// The page of RAM has what the source has for it. Whoever runs a guest drops what was
  /// derived from it.
  void defer(std::uint64_t page);
  [[nodiscard]] bool is_deferred(std::uint64_t page) const {
    return deferred_count_ != 0 && page < deferred_.size() && deferred_[page] != 0;
  }
  /// The bytes of a page of RAM that is about to be replaced as a whole.
  [[nodiscard]] std::span<std::uint8_t, kPageSize> replaced(std::uint64_t page);

  /// Copies bytes out of physical memory.
  /// @return how many bytes from the start were RAM; the rest is left alone
  std::size_t read(GuestPhysical address, std::span<std::uint8_t> out) const;
  /// Writes physical memory as a device or a loader does: pages become dirty,
  /// code and translations made from them are dropped; ROM stays as it is.
  /// @return how many bytes from the start were RAM; the rest is not written
  std::size_t write(GuestPhysical address, ByteView data);

  [[nodiscard]] std::uint8_t use(std::uint64_t page) const { return uses_[page]; }
  void add_use(std::uint64_t page, PageUse use) { uses_[page] |= use; }
  void remove_use(std::uint64_t page, PageUse use) {
    uses_[page] &= static_cast<std::uint8_t>(~use);
  }
  /// Whether a write of that page by whoever is not the processor changes it.
  [[nodiscard]] bool takes_writes(std::uint64_t page) const {
    return (uses_[page] & kPageWritesToBus) == 0;
  }
  void set_listener(PageUseListener* listener) { listener_ = listener; }

  void mark_dirty(std::uint64_t page) {
    if (dirty_[page] == 0) {
      dirty_[page] = 1;
      dirty_list_.push_back(static_cast<std::uint32_t>(page));
    }
  }
  /// Pages changed since the last new_epoch(), in the order of first change.
  [[nodiscard]] const std::vector<std::uint32_t>& dirty_pages() const { return dirty_list_; }
  /// Forgets the dirty pages. The engine must drop its write tags too.
  void new_epoch();

 private:
  void read_deferred(std::uint64_t page) const {
    if (is_deferred(page)) read_from_source(page);
  }
  void read_from_source(std::uint64_t page) const;

  std::uint64_t size_;
  std::uint64_t low_end_;
  std::uint64_t rom_begin_ = kHighBase;  ///< physical; there is none at first
  std::uint64_t rom_seen_from_ = kHighBase;
  std::uint8_t* bytes_ = nullptr;   // an anonymous mapping, released in the destructor
  std::vector<std::uint8_t> uses_;  ///< of RAM's pages and the ROM's
  std::vector<std::uint8_t> dirty_;
  std::vector<std::uint32_t> dirty_list_;
  PageUseListener* listener_ = nullptr;
  PageSource* source_ = nullptr;
  mutable std::vector<std::uint8_t> deferred_;  ///< of RAM's pages, once there is a source
  mutable std::uint64_t deferred_count_ = 0;
};

}  // namespace chronovisor
