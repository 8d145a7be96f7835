#include "vmm/devices/pci/msix_table.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace chronovisor {
namespace {

constexpr unsigned kControl = 12;  // of an entry: bit 0 masks it, the rest is reserved
constexpr std::uint8_t kMasked = 1;

}  // namespace

PciDevice::MsixTable::MsixTable(unsigned vectors, MessageInterrupts& messages,
                                std::function<bool()> enabled)
    : vectors_(vectors),
      pending_offset_(static_cast<std::uint32_t>(std::bit_ceil(vectors * kEntryBytes))),
      size_(std::max<std::uint64_t>(std::uint64_t{2} * pending_offset_, kPageSize)),
      messages_(messages),
      enabled_(std::move(enabled)),
      table_(std::size_t{vectors} * kEntryBytes),
      pending_((vectors + 63) / 64 * 8) {
  reset();
}

void PciDevice::MsixTable::reset() {
  std::fill(table_.begin(), table_.end(), std::uint8_t{0});
  std::fill(pending_.begin(), pending_.end(), std::uint8_t{0});
  for (unsigned vector = 0; vector < vectors_; ++vector) {
    table_[vector * kEntryBytes + kControl] = kMasked;
  }
}

void PciDevice::MsixTable::visit_state(StateVisitor& visitor) {
  const std::size_t table_bytes = table_.size();
  const std::size_t pending_bytes = pending_.size();
  visitor.field("msix.table", table_, table_bytes);
  visitor.field("msix.pending", pending_, pending_bytes);
  // What was loaded may be anything.
  table_.resize(table_bytes);
  pending_.resize(pending_bytes);
}

std::uint32_t PciDevice::MsixTable::dword(unsigned at) const {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{table_[at + i]} << (8 * i);
  return value;
}

bool PciDevice::MsixTable::masked(unsigned vector) const {
  return (table_[vector * kEntryBytes + kControl] & kMasked) != 0;
}

void PciDevice::MsixTable::deliver(unsigned vector) const {
  const unsigned at = vector * kEntryBytes;
  const std::uint64_t address = dword(at) | std::uint64_t{dword(at + 4)} << 32;
  messages_.send_message_interrupt(address, dword(at + 8));
}

void PciDevice::MsixTable::send(unsigned vector) {
  vector %= vectors_;
  if (enabled_() && !masked(vector)) {
    deliver(vector);
  } else {
    pending_[vector / 8] |= static_cast<std::uint8_t>(1U << (vector % 8));
  }
}

void PciDevice::MsixTable::send_unmasked() {
  if (!enabled_()) return;
  for (unsigned vector = 0; vector < vectors_; ++vector) {
    const auto bit = static_cast<std::uint8_t>(1U << (vector % 8));
    if ((pending_[vector / 8] & bit) == 0 || masked(vector)) continue;
    pending_[vector / 8] &= static_cast<std::uint8_t>(~bit);
    deliver(vector);
  }
}

std::uint64_t PciDevice::MsixTable::read_mmio(std::uint64_t offset, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = offset + i;
    std::uint64_t byte = 0;
    if (at < table_.size()) {
      byte = table_[at];
    } else if (at >= pending_offset_ && at - pending_offset_ < pending_.size()) {
      byte = pending_[at - pending_offset_];
    }
    value |= byte << (8 * i);
  }
  return value;
}

void PciDevice::MsixTable::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = offset + i;
    if (at >= table_.size()) continue;
    const unsigned within = at % kEntryBytes;
    auto byte = static_cast<std::uint8_t>(value >> (8 * i));
    if (within == 0) byte &= 0xfc;  // the address is that of a dword
    if (within == kControl) byte &= kMasked;
    if (within > kControl) byte = 0;
    table_[at] = byte;
  }
  send_unmasked();
}

}  // namespace chronovisor
