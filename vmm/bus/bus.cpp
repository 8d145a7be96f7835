#include "vmm/bus/bus.h"

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kPortCount = 0x10000;

constexpr std::uint64_t all_ones(unsigned width) {
  return width >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * width)) - 1;
}

template <class Range>
bool holds_whole(const Range& range, std::uint64_t address, unsigned width) {
  return range.last - address >= width - 1;
}

template <class Range>
std::uint16_t port_offset(const Range& range, std::uint64_t port) {
  return static_cast<std::uint16_t>(port - range.first + range.offset);
}

}  // namespace

void PortBus::map(std::uint16_t first, std::uint32_t count, PortDevice& device,
                  std::uint16_t first_offset) {
  CHECK_THAT(count != 0 && first + std::uint64_t{count} <= kPortCount,
             "a port range that is empty or beyond 0xffff");
  map_.add(first, count, first_offset, device);
}

void PortBus::add(Window& window, PortDevice& device, Precedence precedence) {
  map_.add(window, device, precedence);
}

std::uint32_t PortBus::read(std::uint16_t port, unsigned width) {
  const auto* range = map_.find(port);
  if (range != nullptr && holds_whole(*range, port, width)) {
    return range->target->read_port(port_offset(*range, port), width) &
           static_cast<std::uint32_t>(all_ones(width));
  }
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = std::uint64_t{port} + i;
    const auto* part = map_.find(at);
    std::uint32_t byte = 0xff;
    if (part != nullptr) byte = part->target->read_port(port_offset(*part, at), 1) & 0xff;
    value |= byte << (8 * i);
  }
  return value;
}

void PortBus::write(std::uint16_t port, unsigned width, std::uint32_t value) {
  const auto* range = map_.find(port);
  if (range != nullptr && holds_whole(*range, port, width)) {
    range->target->write_port(port_offset(*range, port), width,
                              value & static_cast<std::uint32_t>(all_ones(width)));
    return;
  }
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = std::uint64_t{port} + i;
    const auto* part = map_.find(at);
    if (part == nullptr) continue;
    part->target->write_port(port_offset(*part, at), 1, (value >> (8 * i)) & 0xff);
  }
}

void MmioBus::map(GuestPhysical first, std::uint64_t size, MmioDevice& device) {
  CHECK_THAT(size != 0 && first.value + (size - 1) >= first.value, "an empty or wrapping range");
  map_.add(first.value, size, 0, device);
}

void MmioBus::add(Window& window, MmioDevice& device, Precedence precedence) {
  map_.add(window, device, precedence);
}

std::uint64_t MmioBus::read(GuestPhysical address, unsigned width) {
  const auto* range = map_.find(address.value);
  if (range != nullptr && holds_whole(*range, address.value, width)) {
    return range->target->read_mmio(address.value - range->first + range->offset, width) &
           all_ones(width);
  }
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = address.value + i;
    const auto* part = map_.find(at);
    std::uint64_t byte = 0xff;
    if (part != nullptr) {
      byte = part->target->read_mmio(at - part->first + part->offset, 1) & 0xff;
    }
    value |= byte << (8 * i);
  }
  return value;
}

std::optional<std::uint8_t> MmioBus::peek(GuestPhysical address) const {
  const auto* range = map_.find(address.value);
  if (range == nullptr) return std::nullopt;
  return range->target->peek_mmio(address.value - range->first + range->offset);
}

void MmioBus::write(GuestPhysical address, unsigned width, std::uint64_t value) {
  const auto* range = map_.find(address.value);
  if (range != nullptr && holds_whole(*range, address.value, width)) {
    range->target->write_mmio(address.value - range->first + range->offset, width,
                              value & all_ones(width));
    return;
  }
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = address.value + i;
    const auto* part = map_.find(at);
    if (part == nullptr) continue;
    part->target->write_mmio(at - part->first + part->offset, 1, (value >> (8 * i)) & 0xff);
  }
}

}  // namespace chronovisor
