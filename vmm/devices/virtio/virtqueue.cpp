#include "vmm/devices/virtio/virtqueue.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kNext = 1;
constexpr std::uint16_t kWritable = 2;
constexpr std::uint16_t kIndirect = 4;
constexpr std::uint16_t kNoInterrupt = 1;  // in the available ring's flags
constexpr std::uint32_t kDescriptorBytes = 16;
/// Descriptors in a chain, an indirect table's included.
constexpr std::uint32_t kMostInChain = 1024;

struct Descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint16_t flags;
  std::uint16_t next;
};

/// Addresses that go past the end of the address space are nowhere, as all of its end is.
GuestPhysical at(std::uint64_t base, std::uint64_t offset) {
  return {base > ~offset ? ~std::uint64_t{0} : base + offset};
}

bool read_descriptor(DmaPort& dma, std::uint64_t table, std::uint32_t index, Descriptor& out) {
  const std::uint64_t offset = std::uint64_t{index} * kDescriptorBytes;
  return dma.read(at(table, offset), out.address) == DmaStatus::done &&
         dma.read(at(table, offset + 8), out.length) == DmaStatus::done &&
         dma.read(at(table, offset + 12), out.flags) == DmaStatus::done &&
         dma.read(at(table, offset + 14), out.next) == DmaStatus::done;
}

}  // namespace

std::uint16_t Virtqueue::waiting(const DmaPort& dma) const {
  std::uint16_t index = 0;
  if (!enabled || dma.read(at(available, 2), index) != DmaStatus::done) return 0;
  const auto count = static_cast<std::uint16_t>(index - next_available_);
  return count > size ? std::uint16_t{0} : count;
}

Virtqueue::Taken Virtqueue::take(DmaPort& dma, std::uint16_t& head) {
  std::uint16_t index = 0;
  if (!enabled || dma.read(at(available, 2), index) != DmaStatus::done) return Taken::none;
  const auto waiting = static_cast<std::uint16_t>(index - next_available_);
  if (waiting == 0) return Taken::none;
  if (waiting > size) return Taken::broken;
  const std::uint64_t slot = 4 + 2 * std::uint64_t{next_available_ % std::uint32_t{size}};
  if (dma.read(at(available, slot), head) != DmaStatus::done || head >= size) return Taken::broken;
  ++next_available_;
  return Taken::one;
}

std::optional<Virtqueue::Chain> Virtqueue::chain(DmaPort& dma, std::uint16_t head,
                                                 bool indirect) const {
  Chain chain;
  std::uint64_t table = descriptors;
  std::uint32_t entries = size;
  std::uint32_t index = head;
  bool inside = false;  // an indirect table
  for (std::uint32_t steps = 0;;) {
    Descriptor descriptor{};
    if (index >= entries || ++steps > kMostInChain ||
        !read_descriptor(dma, table, index, descriptor)) {
      return std::nullopt;
    }
    if ((descriptor.flags & kIndirect) != 0) {
      const bool sound = indirect && !inside && (descriptor.flags & kNext) == 0 &&
                         descriptor.length != 0 && descriptor.length % kDescriptorBytes == 0;
      if (!sound) return std::nullopt;
      table = descriptor.address;
      entries = descriptor.length / kDescriptorBytes;
      index = 0;
      inside = true;
      continue;
    }
    auto& list = (descriptor.flags & kWritable) != 0 ? chain.writable : chain.readable;
    list.push_back({{descriptor.address}, descriptor.length});
    if ((descriptor.flags & kNext) == 0) return chain;
    index = descriptor.next;
  }
}

bool Virtqueue::give_back(DmaPort& dma, std::uint16_t head, std::uint32_t written_bytes) {
  const std::uint64_t slot = 4 + 8 * std::uint64_t{next_used_ % std::uint32_t{size}};
  ++next_used_;
  std::uint16_t flags = 0;
  // Where memory does not take it, the driver sees nothing.
  if (dma.write(at(used, slot), std::uint32_t{head}) != DmaStatus::done ||
      dma.write(at(used, slot + 4), written_bytes) != DmaStatus::done ||
      dma.write(at(used, 2), next_used_) != DmaStatus::done ||
      dma.read(at(available, 0), flags) != DmaStatus::done) {
    return false;
  }
  return (flags & kNoInterrupt) == 0;
}

void Virtqueue::reset() {
  size = kMostSize;
  enabled = false;
  vector = 0xffff;
  descriptors = available = used = 0;
  next_available_ = next_used_ = 0;
}

void Virtqueue::visit_state(StateVisitor& visitor, const std::string& prefix) {
  visitor.field(prefix + "size", size);
  if (size == 0 || size > kMostSize) size = kMostSize;
  visitor.field(prefix + "enabled", enabled);
  visitor.field(prefix + "vector", vector);
  visitor.field(prefix + "descriptors", descriptors);
  visitor.field(prefix + "available", available);
  visitor.field(prefix + "used", used);
  visitor.field(prefix + "next_available", next_available_);
  visitor.field(prefix + "next_used", next_used_);
}

}  // namespace chronovisor
