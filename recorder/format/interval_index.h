// Owns what is known of an interval of a run without running it: which code
// may have executed and which data may have been touched, by linear address,
// and which memory devices wrote, by physical address. It errs on one side only:
// what it rules out did not happen. Says how it is packed, and gathers it from a
// running machine. Values and one observer; each belongs to one thread.
//
//   interval index := u8 version, u8 flags (bit 0 all code, bit 1 all data, bit 2
//                             all that devices wrote),
//     varint count, count * { varint first byte - byte after the run before,
//                             varint length - 1 }: runs of code,
//     varint count, count * { varint page - (page before + 1),
//                             u8 kind (bit 0 read, 1 all written, 2 lines),
//                             with bit 2: u64 written lines }
//     from version 2 on, which is used where a device wrote anything:
//     varint count, count * { text device, varint count,
//                             count * { varint page - (page before + 1), u64 written lines } }
//   A written line is 64 bytes; the first of each list counts from 0.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "vmm/cpu/access_observer.h"

namespace chronovisor {

/// Bytes of instructions, of which none between `first` and `last` is left out.
struct CodeRun {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  bool operator==(const CodeRun&) const = default;
};

struct TouchedPage {
  std::uint64_t page = 0;   ///< linear address / 4096
  bool read = false;        ///< anywhere in it
  bool written = false;     ///< anywhere in it
  std::uint64_t lines = 0;  ///< 64-byte lines written, bit 0 the lowest
  bool operator==(const TouchedPage&) const = default;
};

struct WrittenPage {
  std::uint64_t page = 0;   ///< physical address / 4096
  std::uint64_t lines = 0;  ///< 64-byte lines written, bit 0 the lowest
  bool operator==(const WrittenPage&) const = default;
};

/// What one device wrote itself.
struct DeviceWrites {
  std::string device;              ///< name of its state section
  std::vector<WrittenPage> pages;  ///< ascending
  bool operator==(const DeviceWrites&) const = default;
};

struct IntervalAccesses {
  static constexpr std::uint64_t kDataLineBytes = 64;

  bool all_code = false;  ///< too much to list
  bool all_data = false;
  std::vector<CodeRun> code;          ///< ascending, not touching one another
  std::vector<TouchedPage> pages;     ///< ascending
  bool all_devices = false;           ///< devices wrote too much to list
  std::vector<DeviceWrites> devices;  ///< ascending by name

  [[nodiscard]] bool may_execute(std::uint64_t address) const;
  /// Whether any byte of the `length` bytes at `address` may have been read or
  /// written, as asked. Where devices wrote, any linear address may have been
  /// written: how memory was mapped then is not known.
  [[nodiscard]] bool may_access(std::uint64_t address, std::uint64_t length, bool read,
                                bool write) const;

  /// Whether a device may have written any byte of the `length` bytes of memory
  /// at `address`.
  [[nodiscard]] bool device_may_write(GuestPhysical address, std::uint64_t length) const;

  [[nodiscard]] Bytes encode() const;
  /// Throws Error{bad_input}, beginning with `what`.
  [[nodiscard]] static IntervalAccesses decode(ByteView data, std::string_view what);
};

/// Numbers in an open hash table, each with something beside it.
template <class Value>
class NumberTable {
 public:
  /// What belongs to `number`, made when new.
  Value& operator[](std::uint64_t number) {
    if (entries_.size() * 2 >= slots_.size()) grow();
    std::uint32_t& slot = slots_[slot_of(number)];
    if (slot == 0) {
      entries_.push_back({number, {}});
      slot = static_cast<std::uint32_t>(entries_.size());
    }
    return entries_[slot - 1].value;
  }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  void clear() {
    entries_.clear();
    slots_.assign(slots_.size(), 0);
  }
  struct Entry {
    std::uint64_t number;
    Value value;
  };
  /// In order of arrival.
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  [[nodiscard]] std::size_t slot_of(std::uint64_t number) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = static_cast<std::size_t>((number * 0x9e3779b97f4a7c15ULL) >> 32) & mask;
    while (slots_[slot] != 0 && entries_[slots_[slot] - 1].number != number)
      slot = (slot + 1) & mask;
    return slot;
  }
  void grow() {
    slots_.assign(slots_.empty() ? 1024 : slots_.size() * 2, 0);
    for (std::size_t n = 0; n < entries_.size(); ++n) {
      slots_[slot_of(entries_[n].number)] = static_cast<std::uint32_t>(n + 1);
    }
  }
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> slots_;  ///< index + 1 of an entry, or 0
};

/// Watches a machine for one interval after the other.
class AccessGatherer final : public AccessObserver {
 public:
  /// What was touched since the last take(). The machine's observer must be
  /// set again before it runs on, so that every first touch is told anew.
  [[nodiscard]] IntervalAccesses take();

  void executes(std::uint64_t address, std::uint64_t size) override;
  void accessed(std::uint64_t address, std::uint64_t size, bool write) override;
  void reads_page(std::uint64_t linear_page) override;
  bool writes_page(std::uint64_t linear_page) override;
  void device_wrote(std::string_view device, GuestPhysical address, std::uint64_t size) override;

 private:
  struct PageTouch {
    std::uint64_t lines = 0;
    std::uint32_t slow_writes = 0;
    bool read = false;
    bool written = false;
  };
  PageTouch* page_of(std::uint64_t page);
  [[nodiscard]] static std::vector<CodeRun> runs_of(
      const std::vector<NumberTable<std::uint64_t>::Entry>& entries);

  bool all_code_ = false;
  bool all_data_ = false;
  NumberTable<std::uint64_t> code_;  ///< length of the run at an address
  NumberTable<PageTouch> pages_;
  bool all_devices_ = false;
  std::size_t device_pages_ = 0;
  /// Lines by page by device.
  std::map<std::string, std::map<std::uint64_t, std::uint64_t>, std::less<>> devices_;
};

}  // namespace chronovisor
