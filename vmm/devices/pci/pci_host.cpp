#include "vmm/devices/pci/pci_host.h"

#include <utility>

#include "base/error.h"
#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kEnable = 0x80000000;
constexpr std::uint32_t kAddressWritable = 0x80fffffc;
constexpr std::uint16_t kResetOffset = 1;
constexpr std::uint16_t kDataOffset = 4;
constexpr std::uint8_t kResetCpu = 0x04;
constexpr std::uint8_t kResetWritable = 0x0e;

constexpr std::uint32_t ones(unsigned width) {
  return width >= 4 ? 0xffffffff : (1U << (8 * width)) - 1;
}

/// The registers of the bridge that software may change: latency timer,
/// interrupt line, and the chip-specific half.
bool bridge_writable(unsigned offset) { return offset == 0x0d || offset == 0x3c || offset >= 0x50; }

}  // namespace

PciHost::HostBridge::HostBridge() { reset(); }

void PciHost::HostBridge::reset() {
  config_ = {};
  config_[0x00] = 0x86;  // Intel
  config_[0x01] = 0x80;
  config_[0x02] = 0x37;  // 82441FX
  config_[0x03] = 0x12;
  config_[0x04] = 0x06;  // memory space and bus master, always on
  config_[0x07] = 0x02;  // medium DEVSEL
  config_[0x08] = 0x02;  // revision
  config_[0x0b] = 0x06;  // host bridge
}

void PciHost::HostBridge::visit(StateVisitor& visitor) { visitor.field("bridge.config", config_); }

std::uint32_t PciHost::HostBridge::read_config(std::uint8_t offset, unsigned width) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    value |= std::uint32_t{config_[(offset + i) & 0xff]} << (8 * i);
  }
  return value;
}

void PciHost::HostBridge::write_config(std::uint8_t offset, unsigned width, std::uint32_t value) {
  for (unsigned i = 0; i < width; ++i) {
    const unsigned at = (offset + i) & 0xff;
    if (bridge_writable(at)) config_[at] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

PciHost::PciHost() { add({0, 0, 0}, bridge_); }

void PciHost::on_reset_request(std::function<void()> callback) {
  reset_request_ = std::move(callback);
}

void PciHost::add(PciAddress address, PciFunction& function) {
  CHECK_THAT(address.device < 32 && address.function < 8, "a PCI address out of range");
  const bool inserted = functions_.emplace(address, &function).second;
  CHECK_THAT(inserted, "two PCI functions at one address");
}

void PciHost::declare(Declaration& declaration) {
  constexpr std::uint8_t kPorts = 8;
  const std::uint16_t base = declaration.ports(0xcf8, kPorts, *this);
  declaration.pci_bus(*this);
  FirmwareFacts& facts = declaration.firmware();
  facts.fixed.reset_port = static_cast<std::uint16_t>(base + kResetOffset);
  facts.fixed.reset_value = kResetValue;
  const Bytes windows = aml::resources({
      aml::bus_window(0, 0xff),
      aml::io_ports(base, kPorts),
      aml::io_window(0, static_cast<std::uint16_t>(base - 1)),
      aml::io_window(static_cast<std::uint16_t>(base + kPorts), 0xffff),
      aml::memory_window(0xa0000, 0xbffff),
      aml::memory_window(kMemoryWindowFirst, kMemoryWindowLast),
  });
  facts.host_bridge = FirmwareFacts::NamespaceEntry{
      "PCI0", aml::sequence({aml::name("_HID", aml::eisa_id("PNP0A03")),
                             aml::name("_UID", aml::integer(0)), aml::name("_CRS", windows)})};
}

void PciHost::reset() {
  address_ = 0;
  reset_control_ = 0;
  bridge_.reset();
}

void PciHost::visit_state(StateVisitor& visitor) {
  visitor.field("address", address_);
  visitor.field("reset_control", reset_control_);
  bridge_.visit(visitor);
}

PciFunction* PciHost::selected() const {
  if ((address_ & kEnable) == 0) return nullptr;
  const PciAddress address{static_cast<std::uint8_t>(address_ >> 16),
                           static_cast<std::uint8_t>((address_ >> 11) & 31),
                           static_cast<std::uint8_t>((address_ >> 8) & 7)};
  const auto found = functions_.find(address);
  return found == functions_.end() ? nullptr : found->second;
}

std::uint32_t PciHost::read_port(std::uint16_t offset, unsigned width) {
  if (offset == 0 && width == 4) return address_;
  if (offset == kResetOffset && width == 1) return reset_control_;
  if (offset < kDataOffset) return ones(width);
  const unsigned within = offset & 3U;
  PciFunction* function = selected();
  if (function == nullptr || within + width > 4) return ones(width);
  const auto at = static_cast<std::uint8_t>((address_ & 0xfc) | within);
  return function->read_config(at, width) & ones(width);
}

void PciHost::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  if (offset == 0 && width == 4) {
    address_ = value & kAddressWritable;
    return;
  }
  if (offset == kResetOffset && width == 1) {
    write_reset_control(static_cast<std::uint8_t>(value));
    return;
  }
  const unsigned within = offset & 3U;
  if (offset < kDataOffset || within + width > 4) return;
  PciFunction* function = selected();
  if (function == nullptr) return;
  const auto at = static_cast<std::uint8_t>((address_ & 0xfc) | within);
  function->write_config(at, width, value & ones(width));
}

void PciHost::write_reset_control(std::uint8_t value) {
  const bool rises = (value & ~reset_control_ & kResetCpu) != 0;
  reset_control_ = value & kResetWritable;
  if (rises && reset_request_) reset_request_();
}

}  // namespace chronovisor
