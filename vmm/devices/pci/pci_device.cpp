#include "vmm/devices/pci/pci_device.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/pci/msix_table.h"

namespace chronovisor {
namespace {

constexpr unsigned kCommand = 0x04;
constexpr unsigned kStatus = 0x06;
constexpr unsigned kFirstBar = 0x10;
constexpr unsigned kRomBar = 0x30;
constexpr std::uint32_t kRomEnable = 1;
constexpr unsigned kFirstOwn = 0x40;
constexpr unsigned kInterruptLine = 0x3c;
constexpr unsigned kInterruptPin = 0x3d;

constexpr std::uint16_t kIoSpace = 1U << 0;
constexpr std::uint16_t kMemorySpace = 1U << 1;
constexpr std::uint16_t kBusMaster = 1U << 2;
constexpr std::uint16_t kParityResponse = 1U << 6;
constexpr std::uint16_t kSerrEnable = 1U << 8;
constexpr std::uint16_t kIntxDisable = 1U << 10;

constexpr std::uint8_t kStatusInterrupt = 1U << 3;
constexpr std::uint8_t kStatusCapabilities = 1U << 4;
/// Errors that happened, in the high byte: cleared by writing ones.
constexpr std::uint8_t kStatusErrorsHigh = 0xf9;

constexpr std::uint32_t kIoBar = 1;
constexpr std::uint32_t kWideBar = 4;
constexpr std::uint32_t kPrefetchable = 8;

constexpr std::uint8_t kMsiId = 0x05;
constexpr std::uint8_t kMsixId = 0x11;
// Offsets within the MSI capability, 64-bit with per-vector masking.
constexpr unsigned kMsiControl = 2;
constexpr unsigned kMsiAddress = 4;
constexpr unsigned kMsiData = 12;
constexpr unsigned kMsiMask = 16;
constexpr unsigned kMsiPending = 20;
constexpr std::uint16_t kMsiEnable = 1U << 0;
constexpr unsigned kMsixControl = 2;
constexpr std::uint16_t kMsixEnable = 1U << 15;
constexpr std::uint16_t kMsixFunctionMask = 1U << 14;

}  // namespace

PciDevice::PciDevice(const Identity& identity, PciAddress usual, MessageInterrupts& messages)
    : usual_(usual), messages_(messages) {
  set_fixed(0x00, 2, identity.vendor);
  set_fixed(0x02, 2, identity.device);
  set_fixed(0x08, 1, identity.revision);
  set_fixed(0x09, 3, identity.class_code);
  set_fixed(0x0e, 1, identity.multifunction ? 0x80 : 0x00);
  set_fixed(0x2c, 2, identity.subsystem_vendor);
  set_fixed(0x2e, 2, identity.subsystem);
  allow(kCommand, 2, kBusMaster | kParityResponse | kSerrEnable | kIntxDisable);
  allow(0x0c, 2, 0xffff);  // cache line size, latency timer
  allow(kInterruptLine, 1, 0xff);
  config_ = fixed_;
}

PciDevice::~PciDevice() = default;

void PciDevice::set_fixed(unsigned offset, unsigned width, std::uint64_t value) {
  for (unsigned i = 0; i < width; ++i) {
    fixed_[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
    config_[offset + i] = fixed_[offset + i];
  }
}

void PciDevice::allow(unsigned offset, unsigned width, std::uint64_t mask) {
  for (unsigned i = 0; i < width; ++i) {
    writable_[offset + i] |= static_cast<std::uint8_t>(mask >> (8 * i));
  }
}

void PciDevice::add_io_bar(unsigned index, std::uint32_t size, PortDevice& device) {
  CHECK_THAT(index < kBars && std::has_single_bit(size) && size >= 4 && size <= 256,
             "an I/O BAR's index or size");
  Bar& bar = bars_[index];
  CHECK_THAT(bar.size == 0, "a BAR is there once");
  bar.window = std::make_unique<Window>(size);
  bar.size = size;
  bar.ports = &device;
  set_fixed(kFirstBar + 4 * index, 4, kIoBar);
  allow(kFirstBar + 4 * index, 4, ~(size - 1) & 0xfffffffcU);
  allow(kCommand, 2, kIoSpace);
}

void PciDevice::add_memory_bar(unsigned index, std::uint64_t size, MemoryBar kind,
                               MmioDevice& device) {
  const bool wide = kind != MemoryBar::bits32;
  CHECK_THAT(index + (wide ? 1 : 0) < kBars && std::has_single_bit(size) && size >= 16 &&
                 (wide || size <= 0x80000000U),
             "a memory BAR's index or size");
  Bar& bar = bars_[index];
  CHECK_THAT(bar.size == 0, "a BAR is there once");
  bar.window = std::make_unique<Window>(size);
  bar.size = size;
  bar.memory = &device;
  bar.wide = wide;
  const std::uint32_t type =
      (wide ? kWideBar : 0) | (kind == MemoryBar::bits64_prefetchable ? kPrefetchable : 0);
  set_fixed(kFirstBar + 4 * index, 4, type);
  allow(kFirstBar + 4 * index, wide ? 8 : 4, ~(size - 1) & ~std::uint64_t{15});
  allow(kCommand, 2, kMemorySpace);
}

void PciDevice::add_legacy_ports() { allow(kCommand, 2, kIoSpace); }

void PciDevice::add_rom(const PagedRegion& content) {
  CHECK_THAT(!rom_ && std::has_single_bit(content.size()) && content.size() <= (16U << 20),
             "an expansion ROM's size");
  rom_ = std::make_unique<Rom>(content);
  allow(kRomBar, 4, (~(content.size() - 1) & 0xffffffff) | kRomEnable);
  allow(kCommand, 2, kMemorySpace);
}

std::uint64_t PciDevice::Rom::read_mmio(std::uint64_t offset, unsigned width) {
  std::array<std::uint8_t, 8> bytes{};
  content_.read(offset, std::span(bytes).first(width));
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
  return value;
}

void PciDevice::add_intx(std::uint8_t pin) {
  CHECK_THAT(pin >= 1 && pin <= 4, "an interrupt pin is INTA# to INTD#");
  set_fixed(kInterruptPin, 1, pin);
}

void PciDevice::add_register(unsigned offset, unsigned width, std::uint64_t value,
                             std::uint64_t writable) {
  CHECK_THAT(offset >= kFirstOwn && offset + width <= config_.size(),
             "a register of a device's own lies from 40H on");
  set_fixed(offset, width, value);
  allow(offset, width, writable);
}

std::uint8_t PciDevice::add_capability(std::uint8_t id, const std::vector<std::uint8_t>& body,
                                       const std::vector<std::uint8_t>& writable) {
  const unsigned at = next_capability_;
  CHECK_THAT(at + 2 + body.size() <= config_.size() && writable.size() <= body.size(),
             "the capabilities are too long");
  set_fixed(last_pointer_, 1, at);
  last_pointer_ = at + 1;
  set_fixed(at, 1, id);
  for (unsigned i = 0; i < body.size(); ++i) set_fixed(at + 2 + i, 1, body[i]);
  for (unsigned i = 0; i < writable.size(); ++i) allow(at + 2 + i, 1, writable[i]);
  next_capability_ = static_cast<unsigned>((at + 2 + body.size() + 3) & ~std::size_t{3});
  set_fixed(kStatus, 1, fixed_[kStatus] | kStatusCapabilities);
  return static_cast<std::uint8_t>(at);
}

/// Source: PCI Local Bus Specification 3.0, 6.8.1.
void PciDevice::add_msi(unsigned vectors) {
  CHECK_THAT(std::has_single_bit(vectors) && vectors <= 32, "MSI has up to 32 vectors");
  const auto capable = static_cast<std::uint8_t>(std::countr_zero(vectors) << 1);
  constexpr std::uint8_t kWideAddress = 0x80;
  constexpr std::uint8_t kPerVectorMasking = 0x01;
  std::vector<std::uint8_t> body(22);
  body[0] = capable | kWideAddress;
  body[1] = kPerVectorMasking;
  msi_ = add_capability(kMsiId, body, {});
  allow(msi_ + kMsiControl, 2, kMsiEnable | 0x70);
  allow(msi_ + kMsiAddress, 8, ~std::uint64_t{3});
  allow(msi_ + kMsiData, 2, 0xffff);
  allow(msi_ + kMsiMask, 4, (std::uint64_t{1} << vectors) - 1);
}

void PciDevice::add_msix(unsigned index, unsigned vectors) {
  CHECK_THAT(vectors >= 1 && vectors <= 2048, "MSI-X has 1 to 2048 vectors");
  msix_table_ = std::make_unique<MsixTable>(vectors, messages_, [this] {
    return msix_enabled() && is_bus_master() &&
           (word(msix_ + kMsixControl) & kMsixFunctionMask) == 0;
  });
  add_memory_bar(index, msix_table_->size(), MemoryBar::bits32, *msix_table_);
  std::vector<std::uint8_t> body(10);
  body[0] = static_cast<std::uint8_t>(vectors - 1);
  body[1] = static_cast<std::uint8_t>((vectors - 1) >> 8);
  body[2] = static_cast<std::uint8_t>(index);
  const std::uint32_t pending = msix_table_->pending_offset() | index;
  for (unsigned i = 0; i < 4; ++i) body[6 + i] = static_cast<std::uint8_t>(pending >> (8 * i));
  msix_ = add_capability(kMsixId, body, {0x00, 0xc0});
}

void PciDevice::declare(Declaration& declaration) {
  const PciAddress address = declaration.pci_function(usual_, *this);
  for (const Bar& bar : bars_) {
    if (bar.ports != nullptr) declaration.port_window(*bar.window, *bar.ports);
    if (bar.memory != nullptr) declaration.memory_window(*bar.window, *bar.memory);
  }
  if (rom_) declaration.memory_window(rom_->window, *rom_);
  const std::uint8_t pin = fixed_[kInterruptPin];
  if (pin != 0) declaration.pci_interrupt(intx_, address, pin - 1U);
}

void PciDevice::reset() {
  config_ = fixed_;
  intx_asked_ = false;
  if (msix_table_) msix_table_->reset();
  place_windows();
  update_intx();
}

void PciDevice::visit_state(StateVisitor& visitor) {
  visitor.field("pci.config", config_);
  visitor.field("pci.intx_asked", intx_asked_);
  intx_.visit_state(visitor, "pci.intx");
  if (msix_table_) msix_table_->visit_state(visitor);
  sanitise();
}

/// What was loaded may be anything: what a guest cannot change is as it was made.
void PciDevice::sanitise() {
  for (unsigned i = 0; i < config_.size(); ++i) {
    std::uint8_t keeps = writable_[i];
    if (i == kStatus) keeps |= kStatusInterrupt;
    if (i == kStatus + 1) keeps |= kStatusErrorsHigh;
    if (msi_ != 0 && i >= msi_ + kMsiPending && i < msi_ + kMsiPending + 4) keeps = 0xff;
    config_[i] = static_cast<std::uint8_t>((config_[i] & keeps) | (fixed_[i] & ~keeps));
  }
}

void PciDevice::state_restored() { place_windows(); }

std::uint16_t PciDevice::word(unsigned offset) const {
  return static_cast<std::uint16_t>(config_[offset] | config_[offset + 1] << 8);
}

std::uint32_t PciDevice::dword(unsigned offset) const {
  return word(offset) | std::uint32_t{word(offset + 2)} << 16;
}

std::uint32_t PciDevice::read_config(std::uint8_t offset, unsigned width) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    value |= std::uint32_t{config_[(offset + i) & 0xff]} << (8 * i);
  }
  return value;
}

void PciDevice::write_config(std::uint8_t offset, unsigned width, std::uint32_t value) {
  for (unsigned i = 0; i < width; ++i) {
    const unsigned at = (offset + i) & 0xff;
    const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
    const std::uint8_t mask = writable_[at];
    config_[at] = static_cast<std::uint8_t>((config_[at] & ~mask) | (byte & mask));
    if (at == kStatus + 1) config_[at] &= static_cast<std::uint8_t>(~(byte & kStatusErrorsHigh));
  }
  after_write(offset, offset + width - 1);
}

void PciDevice::after_write(unsigned first, unsigned last) {
  const auto touches = [&](unsigned begin, unsigned end) { return first < end && last >= begin; };
  const bool command = touches(kCommand, kCommand + 2);
  if (command || touches(kFirstBar, kFirstBar + 4 * kBars) || touches(kRomBar, kRomBar + 4)) {
    place_windows();
  }
  if (last >= kFirstOwn) {
    if (msi_ != 0) send_unmasked_msi();
    if (msix_table_) msix_table_->send_unmasked();
  }
  if (command || last >= kFirstOwn) config_written(static_cast<std::uint8_t>(first));
  update_intx();
}

void PciDevice::place_windows() {
  const std::uint16_t command = word(kCommand);
  for (unsigned index = 0; index < kBars; ++index) {
    const Bar& bar = bars_[index];
    if (bar.size == 0) continue;
    const std::uint16_t space = bar.ports != nullptr ? kIoSpace : kMemorySpace;
    if ((command & space) == 0) {
      bar.window->remove();
      continue;
    }
    std::uint64_t base = dword(kFirstBar + 4 * index);
    if (bar.wide) base |= std::uint64_t{dword(kFirstBar + 4 * index + 4)} << 32;
    bar.window->place(base & ~(bar.size - 1));
  }
  if (!rom_) return;
  const std::uint32_t rom = dword(kRomBar);
  if ((command & kMemorySpace) != 0 && (rom & kRomEnable) != 0) {
    rom_->window.place(rom & ~(rom_->window.size() - 1));
  } else {
    rom_->window.remove();
  }
}

bool PciDevice::is_bus_master() const { return (word(kCommand) & kBusMaster) != 0; }

void PciDevice::set_intx(bool level) {
  intx_asked_ = level;
  update_intx();
}

void PciDevice::update_intx() {
  if (intx_asked_) {
    config_[kStatus] |= kStatusInterrupt;
  } else {
    config_[kStatus] &= static_cast<std::uint8_t>(~kStatusInterrupt);
  }
  const bool allowed = (word(kCommand) & kIntxDisable) == 0 && !uses_messages();
  intx_.set(intx_asked_ && allowed);
}

bool PciDevice::msi_enabled() const {
  return msi_ != 0 && (word(msi_ + kMsiControl) & kMsiEnable) != 0;
}

bool PciDevice::msix_enabled() const {
  return msix_ != 0 && (word(msix_ + kMsixControl) & kMsixEnable) != 0;
}

/// How many the driver allows, at most as many as there are.
unsigned PciDevice::msi_vectors() const {
  const unsigned control = word(msi_ + kMsiControl);
  return 1U << std::min((control >> 1) & 7, (control >> 4) & 7);
}

void PciDevice::send_message(unsigned vector) {
  if (!is_bus_master()) return;  // a message is a write to memory
  if (msix_enabled()) {
    msix_table_->send(vector);
  } else if (msi_enabled()) {
    vector %= msi_vectors();
    if ((dword(msi_ + kMsiMask) >> vector & 1) == 0) {
      send_msi(vector);
    } else {
      config_[msi_ + kMsiPending + vector / 8] |= static_cast<std::uint8_t>(1U << (vector % 8));
    }
  }
}

/// The low bits of the data say which message it is.
void PciDevice::send_msi(unsigned vector) {
  const std::uint64_t address =
      dword(msi_ + kMsiAddress) | std::uint64_t{dword(msi_ + kMsiAddress + 4)} << 32;
  const std::uint32_t data = word(msi_ + kMsiData) & ~(msi_vectors() - 1U);
  messages_.send_message_interrupt(address, data | vector);
}

void PciDevice::send_unmasked_msi() {
  if (!msi_enabled() || !is_bus_master()) return;
  const std::uint32_t due = dword(msi_ + kMsiPending) & ~dword(msi_ + kMsiMask);
  for (unsigned vector = 0; vector < 32; ++vector) {
    if ((due >> vector & 1) == 0) continue;
    config_[msi_ + kMsiPending + vector / 8] &= static_cast<std::uint8_t>(~(1U << (vector % 8)));
    send_msi(vector % msi_vectors());
  }
}

}  // namespace chronovisor
