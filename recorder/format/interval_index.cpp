#include "recorder/format/interval_index.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kWithoutDevices = 1, kWithDevices = 2;  // versions
constexpr std::uint8_t kAllCode = 1, kAllData = 2, kAllDevices = 4;
constexpr std::uint8_t kRead = 1, kWritten = 2, kLines = 4;
/// More than this in one interval is not listed.
constexpr std::size_t kMostEntries = 1 << 20;
/// So many writes of a page are noted line by line before it counts as a whole.
constexpr std::uint32_t kNotedWrites = 16;
constexpr std::size_t kMostDeviceName = 256;

/// The lines of a page that bytes [first, last] lie in.
std::uint64_t lines_between(std::uint64_t first, std::uint64_t last) {
  const std::uint64_t low = first / IntervalAccesses::kDataLineBytes;
  const std::uint64_t high = last / IntervalAccesses::kDataLineBytes;
  const std::uint64_t upto = high == 63 ? ~std::uint64_t{0} : (std::uint64_t{1} << (high + 1)) - 1;
  return upto & ~((std::uint64_t{1} << low) - 1);
}

}  // namespace

bool IntervalAccesses::may_execute(std::uint64_t address) const {
  if (all_code) return true;
  const auto run = std::partition_point(code.begin(), code.end(),
                                        [&](const CodeRun& r) { return r.last < address; });
  return run != code.end() && run->first <= address;
}

bool IntervalAccesses::may_access(std::uint64_t address, std::uint64_t length, bool read,
                                  bool write) const {
  if (all_data || (write && (all_devices || !devices.empty()))) return true;
  const std::uint64_t last = address + (length - 1);
  if (last < address) return true;  // around the end of the address space
  auto page = std::partition_point(pages.begin(), pages.end(), [&](const TouchedPage& p) {
    return p.page < address / kPageSize;
  });
  for (; page != pages.end() && page->page <= last / kPageSize; ++page) {
    if (read && page->read) return true;
    if (!write) continue;
    if (page->written) return true;
    const std::uint64_t from = page->page == address / kPageSize ? address & ~kPageMask : 0;
    const std::uint64_t to = page->page == last / kPageSize ? last & ~kPageMask : kPageSize - 1;
    if ((page->lines & lines_between(from, to)) != 0) return true;
  }
  return false;
}

bool IntervalAccesses::device_may_write(GuestPhysical address, std::uint64_t length) const {
  if (all_devices) return true;
  const std::uint64_t first = address.value;
  const std::uint64_t last = first + (length - 1);
  for (const DeviceWrites& writes : devices) {
    auto page =
        std::partition_point(writes.pages.begin(), writes.pages.end(),
                             [&](const WrittenPage& p) { return p.page < first / kPageSize; });
    for (; page != writes.pages.end() && page->page <= last / kPageSize; ++page) {
      const std::uint64_t from = page->page == first / kPageSize ? first & ~kPageMask : 0;
      const std::uint64_t to = page->page == last / kPageSize ? last & ~kPageMask : kPageSize - 1;
      if ((page->lines & lines_between(from, to)) != 0) return true;
    }
  }
  return false;
}

Bytes IntervalAccesses::encode() const {
  ByteWriter out;
  const bool with_devices = all_devices || !devices.empty();
  out.integer(with_devices ? kWithDevices : kWithoutDevices);
  out.integer(static_cast<std::uint8_t>((all_code ? kAllCode : 0) | (all_data ? kAllData : 0) |
                                        (all_devices ? kAllDevices : 0)));
  out.varint(code.size());
  std::uint64_t next = 0;
  for (const CodeRun& run : code) {
    out.varint(run.first - next);
    out.varint(run.last - run.first);
    next = run.last + 1;
  }
  out.varint(pages.size());
  next = 0;
  for (const TouchedPage& page : pages) {
    out.varint(page.page - next);
    next = page.page + 1;
    const bool lines = !page.written && page.lines != 0;
    out.integer(static_cast<std::uint8_t>((page.read ? kRead : 0) | (page.written ? kWritten : 0) |
                                          (lines ? kLines : 0)));
    if (lines) out.integer(page.lines);
  }
  if (!with_devices) return out.take();
  out.varint(devices.size());
  for (const DeviceWrites& writes : devices) {
    out.sized_text(writes.device);
    out.varint(writes.pages.size());
    next = 0;
    for (const WrittenPage& page : writes.pages) {
      out.varint(page.page - next);
      next = page.page + 1;
      out.integer(page.lines);
    }
  }
  return out.take();
}

IntervalAccesses IntervalAccesses::decode(ByteView data, std::string_view what) {
  ByteReader in(data, what);
  const auto version = in.integer<std::uint8_t>();
  if (version != kWithoutDevices && version != kWithDevices) {
    in.fail("an interval index of another version");
  }
  IntervalAccesses accesses;
  const auto flags = in.integer<std::uint8_t>();
  accesses.all_code = (flags & kAllCode) != 0;
  accesses.all_data = (flags & kAllData) != 0;
  accesses.all_devices = (flags & kAllDevices) != 0;
  const auto count_of = [&] {
    const std::uint64_t count = in.varint();
    if (count > in.remaining()) in.fail("more entries than bytes");
    return static_cast<std::size_t>(count);
  };
  const auto advance = [&](std::uint64_t& next) {
    const std::uint64_t gap = in.varint();
    if (gap > kNever - 1 - next) in.fail("numbers that go past the end");
    const std::uint64_t number = next + gap;
    next = number + 1;
    return number;
  };
  const std::size_t runs = count_of();
  accesses.code.reserve(runs);
  std::uint64_t next = 0;
  for (std::size_t n = 0; n < runs; ++n) {
    CodeRun run;
    run.first = advance(next);
    const std::uint64_t more = in.varint();
    if (more > kNever - run.first) in.fail("code that goes past the end");
    run.last = run.first + more;
    next = run.last + 1;  // 0 behind the last byte there is: nothing can follow
    if (next == 0 && n + 1 < runs) in.fail("code that goes past the end");
    accesses.code.push_back(run);
  }
  const std::size_t pages = count_of();
  accesses.pages.reserve(pages);
  next = 0;
  for (std::size_t n = 0; n < pages; ++n) {
    TouchedPage page;
    page.page = advance(next);
    const auto kind = in.integer<std::uint8_t>();
    page.read = (kind & kRead) != 0;
    page.written = (kind & kWritten) != 0;
    if ((kind & kLines) != 0) page.lines = in.integer<std::uint64_t>();
    accesses.pages.push_back(page);
  }
  const std::size_t devices = version == kWithDevices ? count_of() : 0;
  for (std::size_t n = 0; n < devices; ++n) {
    DeviceWrites writes;
    writes.device = in.sized_text(kMostDeviceName);
    const std::size_t written = count_of();
    next = 0;
    for (std::size_t k = 0; k < written; ++k) {
      WrittenPage page;
      page.page = advance(next);
      page.lines = in.integer<std::uint64_t>();
      writes.pages.push_back(page);
    }
    accesses.devices.push_back(std::move(writes));
  }
  if (!in.at_end()) in.fail("bytes left over");
  return accesses;
}

std::vector<CodeRun> AccessGatherer::runs_of(
    const std::vector<NumberTable<std::uint64_t>::Entry>& entries) {
  std::vector<CodeRun> all;
  all.reserve(entries.size());
  for (const auto& entry : entries) {
    const std::uint64_t last = entry.number + (entry.value - 1);
    if (last >= entry.number) {
      all.push_back({entry.number, last});
    } else {  // around the end of the address space
      all.push_back({entry.number, kNever});
      all.push_back({0, last});
    }
  }
  std::sort(all.begin(), all.end(),
            [](const CodeRun& a, const CodeRun& b) { return a.first < b.first; });
  std::vector<CodeRun> merged;
  for (const CodeRun& run : all) {
    if (!merged.empty() && (merged.back().last == kNever || run.first <= merged.back().last + 1)) {
      merged.back().last = std::max(merged.back().last, run.last);
    } else {
      merged.push_back(run);
    }
  }
  return merged;
}

void AccessGatherer::executes(std::uint64_t address, std::uint64_t size) {
  if (all_code_) return;
  std::uint64_t& length = code_[address];
  length = std::max(length, size);
  all_code_ = code_.size() > kMostEntries;
}

AccessGatherer::PageTouch* AccessGatherer::page_of(std::uint64_t page) {
  if (all_data_) return nullptr;
  PageTouch& touch = pages_[page];
  if (pages_.size() > kMostEntries) {
    all_data_ = true;
    return nullptr;
  }
  return &touch;
}

void AccessGatherer::accessed(std::uint64_t address, std::uint64_t size, bool write) {
  while (size != 0) {
    const std::uint64_t offset = address & ~kPageMask;
    const std::uint64_t here = std::min(size, kPageSize - offset);
    if (PageTouch* const touch = page_of(address / kPageSize); touch != nullptr) {
      if (write) {
        touch->lines |= lines_between(offset, offset + here - 1);
        ++touch->slow_writes;
      } else {
        touch->read = true;
      }
    }
    address += here;
    size -= here;
  }
}

void AccessGatherer::reads_page(std::uint64_t linear_page) {
  if (PageTouch* const touch = page_of(linear_page / kPageSize); touch != nullptr)
    touch->read = true;
}

bool AccessGatherer::writes_page(std::uint64_t linear_page) {
  PageTouch* const touch = page_of(linear_page / kPageSize);
  if (touch == nullptr) return true;
  if (!touch->written && touch->slow_writes < kNotedWrites) return false;
  touch->written = true;
  return true;
}

void AccessGatherer::device_wrote(std::string_view device, GuestPhysical address,
                                  std::uint64_t size) {
  if (all_devices_) return;
  auto found = devices_.find(device);
  if (found == devices_.end()) found = devices_.try_emplace(std::string(device)).first;
  for (std::uint64_t at = address.value; size != 0;) {
    const std::uint64_t offset = at & ~kPageMask;
    const std::uint64_t here = std::min(size, kPageSize - offset);
    std::uint64_t& lines = found->second[at / kPageSize];
    if (lines == 0) ++device_pages_;
    lines |= lines_between(offset, offset + here - 1);
    at += here;
    size -= here;
  }
  if (device_pages_ > kMostEntries) {
    all_devices_ = true;
    devices_.clear();
  }
}

IntervalAccesses AccessGatherer::take() {
  IntervalAccesses accesses;
  accesses.all_devices = std::exchange(all_devices_, false);
  device_pages_ = 0;
  for (auto& [device, pages] : std::exchange(devices_, {})) {
    DeviceWrites writes{device, {}};
    for (const auto& [page, lines] : pages) writes.pages.push_back({page, lines});
    accesses.devices.push_back(std::move(writes));
  }
  accesses.all_code = all_code_;
  accesses.all_data = all_data_;
  if (!all_code_) accesses.code = runs_of(code_.entries());
  if (!all_data_) {
    accesses.pages.reserve(pages_.size());
    for (const auto& entry : pages_.entries()) {
      accesses.pages.push_back({entry.number, entry.value.read, entry.value.written,
                                entry.value.written ? 0 : entry.value.lines});
    }
    std::sort(accesses.pages.begin(), accesses.pages.end(),
              [](const TouchedPage& a, const TouchedPage& b) { return a.page < b.page; });
  }
  all_code_ = all_data_ = false;
  code_.clear();
  pages_.clear();
  return accesses;
}

}  // namespace chronovisor
