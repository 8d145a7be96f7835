#include "vmm/bus/bus.h"

#include <algorithm>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kPortCount = 0x10000;

/// The ranges are sorted and disjoint, so at most one can hold `address`.
template <class Range, class Address>
const Range* find_range(const std::vector<Range>& ranges, Address address) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                [](Address a, const Range& range) { return a < range.first; });
  if (after == ranges.begin()) return nullptr;
  --after;
  return address < after->end ? &*after : nullptr;
}

template <class Range>
void insert_range(std::vector<Range>& ranges, const Range& range) {
  CHECK_THAT(range.first < range.end, "an empty or wrapping range");
  const auto place = std::find_if(ranges.begin(), ranges.end(),
                                  [&](const Range& other) { return other.first >= range.first; });
  CHECK_THAT(place == ranges.end() || range.end <= place->first, "overlapping ranges");
  CHECK_THAT(place == ranges.begin() || (place - 1)->end <= range.first, "overlapping ranges");
  ranges.insert(place, range);
}

constexpr std::uint64_t all_ones(unsigned width) {
  return width >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * width)) - 1;
}

}  // namespace

void PortBus::map(std::uint16_t first, std::uint32_t count, PortDevice& device,
                  std::uint16_t first_offset) {
  CHECK_THAT(first + std::uint64_t{count} <= kPortCount, "a port range beyond 0xffff");
  insert_range(ranges_, Range{first, first + count, &device, first_offset});
}

const PortBus::Range* PortBus::find(std::uint32_t port) const { return find_range(ranges_, port); }

std::uint32_t PortBus::read(std::uint16_t port, unsigned width) {
  const Range* range = find(port);
  if (range != nullptr && port + width <= range->end) {
    const auto offset = static_cast<std::uint16_t>(port - range->first + range->first_offset);
    return range->device->read_port(offset, width) & static_cast<std::uint32_t>(all_ones(width));
  }
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint32_t at = std::uint32_t{port} + i;
    const Range* part = find(at);
    std::uint32_t byte = 0xff;
    if (part != nullptr) {
      const auto offset = static_cast<std::uint16_t>(at - part->first + part->first_offset);
      byte = part->device->read_port(offset, 1) & 0xff;
    }
    value |= byte << (8 * i);
  }
  return value;
}

void PortBus::write(std::uint16_t port, unsigned width, std::uint32_t value) {
  const Range* range = find(port);
  if (range != nullptr && port + width <= range->end) {
    const auto offset = static_cast<std::uint16_t>(port - range->first + range->first_offset);
    range->device->write_port(offset, width, value & static_cast<std::uint32_t>(all_ones(width)));
    return;
  }
  for (unsigned i = 0; i < width; ++i) {
    const std::uint32_t at = std::uint32_t{port} + i;
    const Range* part = find(at);
    if (part == nullptr) continue;
    const auto offset = static_cast<std::uint16_t>(at - part->first + part->first_offset);
    part->device->write_port(offset, 1, (value >> (8 * i)) & 0xff);
  }
}

void MmioBus::map(GuestPhysical first, std::uint64_t size, MmioDevice& device) {
  insert_range(ranges_, Range{first.value, first.value + size, &device});
}

const MmioBus::Range* MmioBus::find(std::uint64_t address) const {
  return find_range(ranges_, address);
}

std::uint64_t MmioBus::read(GuestPhysical address, unsigned width) {
  const Range* range = find(address.value);
  if (range != nullptr && range->end - address.value >= width) {
    return range->device->read_mmio(address.value - range->first, width) & all_ones(width);
  }
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const Range* part = find(address.value + i);
    std::uint64_t byte = 0xff;
    if (part != nullptr) byte = part->device->read_mmio(address.value + i - part->first, 1) & 0xff;
    value |= byte << (8 * i);
  }
  return value;
}

void MmioBus::write(GuestPhysical address, unsigned width, std::uint64_t value) {
  const Range* range = find(address.value);
  if (range != nullptr && range->end - address.value >= width) {
    range->device->write_mmio(address.value - range->first, width, value & all_ones(width));
    return;
  }
  for (unsigned i = 0; i < width; ++i) {
    const Range* part = find(address.value + i);
    if (part == nullptr) continue;
    part->device->write_mmio(address.value + i - part->first, 1, (value >> (8 * i)) & 0xff);
  }
}

}  // namespace chronovisor
