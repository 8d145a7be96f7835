#include "vmm/devices/interrupt/io_apic.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSelectOffset = 0x00;
constexpr std::uint64_t kWindowOffset = 0x10;
constexpr std::uint64_t kEoiOffset = 0x40;

constexpr std::uint32_t kVersion = 0x20 | ((IoApic::kPins - 1) << 16);

constexpr std::uint64_t kRemoteIrr = 1U << 14;
constexpr std::uint64_t kLevel = 1U << 15;
constexpr std::uint64_t kMasked = 1U << 16;
/// Vector, modes, polarity, trigger, mask, destination; the rest is read-only or reserved.
constexpr std::uint64_t kWritable = 0xff000000'0001afffULL;

}  // namespace

IoApic::IoApic(ApicBus& bus) : bus_(bus) { entries_.fill(kMasked); }

void IoApic::declare(Declaration& declaration) {
  // The MP table names the discrete chip's version, as it always has.
  constexpr std::uint8_t kTableVersion = 0x11;
  const std::uint64_t base = declaration.memory(0xfec00000, kPageSize, *this);
  declaration.firmware().io_apics.push_back(
      {id_, kTableVersion, static_cast<std::uint32_t>(base), 0});
}

void IoApic::reset() {
  select_ = 0;
  id_ = 0;
  entries_.fill(kMasked);  // the lines belong to the devices
}

void IoApic::visit_state(StateVisitor& visitor) {
  visitor.field("select", select_);
  visitor.field("id", id_);
  visitor.field("lines", lines_);
  visitor.field("entries", entries_);
}

void IoApic::set_line(unsigned line, bool asserted) {
  if (line >= kPins) return;
  const std::uint32_t mask = 1U << line;
  const bool was = (lines_ & mask) != 0;
  if (asserted == was) return;
  lines_ ^= mask;
  if (!asserted) return;
  const std::uint64_t entry = entries_[line];
  if ((entry & kLevel) != 0) {
    send_if_level_pending(line);
  } else if ((entry & kMasked) == 0) {
    send(line);
  }
}

void IoApic::send_if_level_pending(unsigned pin) {
  const std::uint64_t entry = entries_[pin];
  const bool asserted = ((lines_ >> pin) & 1) != 0;
  if (asserted && (entry & (kLevel | kMasked | kRemoteIrr)) == kLevel) send(pin);
}

void IoApic::send(unsigned pin) {
  std::uint64_t& entry = entries_[pin];
  ApicMessage message;
  message.vector = static_cast<std::uint8_t>(entry);
  message.delivery_mode = static_cast<ApicDeliveryMode>((entry >> 8) & 7);
  message.destination_mode = static_cast<ApicDestinationMode>((entry >> 11) & 1);
  message.destination = static_cast<std::uint32_t>(entry >> 56);
  message.trigger = (entry & kLevel) != 0 ? ApicTrigger::level : ApicTrigger::edge;
  // Only what ends with an EOI waits for one.
  const bool waits = message.delivery_mode == ApicDeliveryMode::fixed ||
                     message.delivery_mode == ApicDeliveryMode::lowest_priority;
  if (message.trigger == ApicTrigger::level && waits) entry |= kRemoteIrr;
  bus_.deliver(message);
}

void IoApic::end_of_interrupt(std::uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    std::uint64_t& entry = entries_[pin];
    if ((entry & 0xff) != vector || (entry & kRemoteIrr) == 0) continue;
    entry &= ~kRemoteIrr;
    send_if_level_pending(pin);
  }
}

std::uint32_t IoApic::read_register(std::uint8_t index) const {
  if (index == 0 || index == 2) return std::uint32_t{id_} << 24;  // ID, arbitration ID
  if (index == 1) return kVersion;
  if (index < 0x10 || index >= 0x10 + 2 * kPins) return 0;
  const std::uint64_t entry = entries_[(index - 0x10U) / 2];
  return static_cast<std::uint32_t>((index & 1) != 0 ? entry >> 32 : entry);
}

void IoApic::write_register(std::uint8_t index, std::uint32_t value) {
  if (index == 0) {
    id_ = (value >> 24) & 0x0f;
    return;
  }
  if (index < 0x10 || index >= 0x10 + 2 * kPins) return;
  const unsigned pin = (index - 0x10U) / 2;
  std::uint64_t& entry = entries_[pin];
  const unsigned shift = (index & 1) != 0 ? 32 : 0;
  const std::uint64_t writable = kWritable & (std::uint64_t{0xffffffff} << shift);
  entry = (entry & ~writable) | ((std::uint64_t{value} << shift) & writable);
  // An edge entry has no remote IRR; software uses this to take one back.
  if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;
  send_if_level_pending(pin);
}

std::uint64_t IoApic::read_mmio(std::uint64_t offset, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = (offset & 0xff) + i;
    std::uint32_t whole = 0;
    if ((at & ~std::uint64_t{3}) == kSelectOffset) whole = select_;
    if ((at & ~std::uint64_t{3}) == kWindowOffset) whole = read_register(select_);
    value |= std::uint64_t{(whole >> (8 * (at & 3))) & 0xff} << (8 * i);
  }
  return value;
}

void IoApic::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  switch (offset & 0xff) {
    case kSelectOffset:
      select_ = static_cast<std::uint8_t>(value);
      break;
    case kWindowOffset:
      if (width >= 4) write_register(select_, static_cast<std::uint32_t>(value));
      break;
    case kEoiOffset:
      end_of_interrupt(static_cast<std::uint8_t>(value));
      break;
    default:
      break;
  }
}

bool IoApic::routes_nmi() const {
  for (const std::uint64_t entry : entries_) {
    const bool masked = (entry & (1U << 16)) != 0;
    if (!masked && ((entry >> 8) & 7) == static_cast<unsigned>(ApicDeliveryMode::nmi)) return true;
  }
  return false;
}

}  // namespace chronovisor
