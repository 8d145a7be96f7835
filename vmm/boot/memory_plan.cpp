#include "vmm/boot/memory_plan.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "vmm/boot/image.h"
#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kStructuresBegin = 0x9000;

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

std::string memory_advice(std::uint64_t end) {
  const std::uint64_t mib = align_up(end, kMiB) / kMiB;
  return "give the guest at least " + std::to_string(mib) + " MiB (--memory " +
         std::to_string(mib) + "M)";
}

}  // namespace

std::vector<E820Entry> e820_map(const Ram& ram) {
  std::vector<E820Entry> map;
  map.push_back({0, platform::kEbdaBegin, E820Entry::kUsable});
  map.push_back(
      {platform::kEbdaBegin, platform::kEbdaEnd - platform::kEbdaBegin, E820Entry::kReserved});
  map.push_back({platform::kFirmwareBegin, platform::kFirmwareEnd - platform::kFirmwareBegin,
                 E820Entry::kReserved});
  if (ram.low_end() > kMiB) map.push_back({kMiB, ram.low_end() - kMiB, E820Entry::kUsable});
  if (ram.high_end() > Ram::kHighBase) {
    map.push_back({Ram::kHighBase, ram.high_end() - Ram::kHighBase, E820Entry::kUsable});
  }
  return map;
}

MemoryPlan::MemoryPlan(Ram& ram, std::string subject, BootLayout layout)
    : ram_(ram), subject_(std::move(subject)), layout_(layout), map_(e820_map(ram)) {
  taken_.push_back({0, kPageSize, "the interrupt vectors and BIOS data area"});
}

bool MemoryPlan::usable(std::uint64_t begin, std::uint64_t end) const {
  return std::any_of(map_.begin(), map_.end(), [&](const E820Entry& entry) {
    return entry.type == E820Entry::kUsable && begin >= entry.base &&
           end <= entry.base + entry.size;
  });
}

const MemoryPlan::Range* MemoryPlan::overlap(std::uint64_t begin, std::uint64_t end) const {
  for (const Range& range : taken_) {
    if (begin < range.end && range.begin < end) return &range;
  }
  return nullptr;
}

void MemoryPlan::claim(std::uint64_t begin, std::uint64_t size_bytes, std::string_view what) {
  if (size_bytes == 0) return;
  const std::string place = subject_ + ": " + std::string(what) + " takes " +
                            std::to_string(size_bytes) + " bytes at " + hex_text(begin);
  const std::uint64_t end = begin + size_bytes;
  if (end < begin || !usable(begin, end)) {
    if (end > begin && begin >= kMiB && end <= Ram::kLowLimit) {
      throw Error(ErrorCode::bad_input, place + ", past the end of memory at " +
                                            hex_text(ram_.low_end()) + "; " + memory_advice(end));
    }
    throw Error(ErrorCode::bad_input,
                place + ", where this machine cannot have usable memory; usable are 0x1000 to " +
                    hex_text(platform::kEbdaBegin) + " and 0x100000 up to 3 GiB: link it there");
  }
  if (const Range* other = overlap(begin, end)) {
    throw Error(ErrorCode::bad_input, place + ", which overlaps " + other->what + " at " +
                                          hex_text(other->begin) + "; link it elsewhere");
  }
  taken_.push_back({begin, end, std::string(what)});
}

std::uint64_t MemoryPlan::highest_taken_end() const {
  std::uint64_t highest = 0;
  for (const Range& range : taken_) {
    if (range.end <= Ram::kHighBase) highest = std::max(highest, range.end);
  }
  return highest;
}

void MemoryPlan::fail_allocation(std::uint64_t size_bytes, std::uint64_t end,
                                 std::string_view what) const {
  std::string message = subject_ + ": no room for " + std::string(what) + " of " +
                        std::to_string(size_bytes) + " bytes";
  const std::uint64_t base = align_up(std::max(highest_taken_end(), kMiB), kPageSize);
  const std::uint64_t limit = std::min(end, Ram::kLowLimit);
  const bool more_memory_helps = end > kMiB && size_bytes <= limit && base <= limit - size_bytes;
  message += more_memory_helps
                 ? " in " + std::to_string(ram_.size() / kMiB) + " MiB of memory; " +
                       memory_advice(base + align_up(size_bytes, kPageSize))
                 : " below " + hex_text(limit) + ", where it has to be; make it smaller";
  throw Error(ErrorCode::bad_input, message);
}

std::optional<std::uint64_t> MemoryPlan::find_lowest(std::uint64_t size_bytes,
                                                     std::uint64_t alignment, std::uint64_t begin,
                                                     std::uint64_t end) const {
  if (size_bytes > end) return std::nullopt;
  std::optional<std::uint64_t> best;
  const auto consider = [&](std::uint64_t lowest) {
    const std::uint64_t address = align_up(std::max(lowest, begin), alignment);
    if (address > end - size_bytes || (best && *best <= address)) return;
    if (usable(address, address + size_bytes) &&
        overlap(address, address + size_bytes) == nullptr) {
      best = address;
    }
  };
  consider(begin);
  for (const E820Entry& entry : map_) consider(entry.base);
  for (const Range& range : taken_) consider(range.end);
  return best;
}

std::uint64_t MemoryPlan::allocate_lowest(std::uint64_t size_bytes, std::uint64_t alignment,
                                          std::uint64_t begin, std::uint64_t end,
                                          std::string_view what) {
  const auto best = find_lowest(size_bytes, alignment, begin, end);
  if (!best) fail_allocation(size_bytes, end, what);
  taken_.push_back({*best, *best + size_bytes, std::string(what)});
  return *best;
}

std::uint64_t MemoryPlan::allocate_highest(std::uint64_t size_bytes, std::uint64_t alignment,
                                           std::uint64_t begin, std::uint64_t end,
                                           std::string_view what) {
  std::optional<std::uint64_t> best;
  const auto consider = [&](std::uint64_t highest_end) {
    highest_end = std::min(highest_end, end);
    if (size_bytes > highest_end) return;
    const std::uint64_t address = (highest_end - size_bytes) & ~(alignment - 1);
    if (address < begin || (best && *best >= address)) return;
    if (usable(address, address + size_bytes) &&
        overlap(address, address + size_bytes) == nullptr) {
      best = address;
    }
  };
  consider(end);
  for (const E820Entry& entry : map_) consider(entry.base + entry.size);
  for (const Range& range : taken_) consider(range.begin);
  if (!best) fail_allocation(size_bytes, end, what);
  taken_.push_back({*best, *best + size_bytes, std::string(what)});
  return *best;
}

std::uint64_t MemoryPlan::allocate_structure(std::uint64_t size_bytes, std::string_view what) {
  const bool fits_low = size_bytes <= platform::kEbdaBegin - kPageSize;
  if (layout_ == BootLayout::conventional && fits_low) {
    std::optional<std::uint64_t> place =
        find_lowest(size_bytes, kPageSize, kStructuresBegin, platform::kEbdaBegin);
    if (!place) place = find_lowest(size_bytes, kPageSize, kPageSize, kStructuresBegin);
    if (!place) place = find_lowest(size_bytes, kPageSize, kMiB, Ram::kHighBase);
    if (!place) fail_allocation(size_bytes, Ram::kHighBase, what);
    taken_.push_back({*place, *place + size_bytes, std::string(what)});
    return *place;
  }
  return allocate_lowest(size_bytes, kPageSize, kPageSize, platform::kEbdaBegin, what);
}

std::uint64_t MemoryPlan::place_structure(ByteView bytes, std::string_view what) {
  const std::uint64_t address = allocate_structure(bytes.size(), what);
  write(address, bytes);
  return address;
}

void MemoryPlan::write(std::uint64_t address, ByteView bytes) {
  const std::size_t written = ram_.write({address}, bytes);
  CHECK_THAT(written == bytes.size(), "the loader planned a place that is not RAM");
}

void MemoryPlan::clear(std::uint64_t address, std::uint64_t size_bytes) {
  static constexpr std::array<std::uint8_t, kPageSize> kZeros{};
  std::uint64_t done = 0;
  while (done < size_bytes) {
    const std::uint64_t here = address + done;
    const std::uint64_t chunk = std::min(size_bytes - done, kPageSize - (here & ~kPageMask));
    const auto offset = ram_.offset_of({here});
    CHECK_THAT(offset.has_value(), "the loader planned a place that is not RAM");
    if (std::memcmp(ram_.host(*offset), kZeros.data(), chunk) != 0) {
      write(here, ByteView(kZeros).first(chunk));
    }
    done += chunk;
  }
}

}  // namespace chronovisor
