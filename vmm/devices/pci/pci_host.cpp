#include "vmm/devices/pci/pci_host.h"

#include <array>
#include <utility>
#include <vector>

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

constexpr unsigned kPam0 = 0x59;
constexpr unsigned kPam6 = 0x5f;
constexpr std::uint8_t kPamRead = 1;
constexpr std::uint8_t kPamWrite = 2;
constexpr unsigned kSmram = 0x72;
constexpr std::uint8_t kSmramLocked = 0x10;
constexpr std::uint8_t kSmramOpen = 0x40;
constexpr std::uint8_t kSmramFixed = 0x02;  // the segment A0000H
constexpr std::uint64_t kTopBegin = 0xf0000;

/// What firmware routes PCI's lines to where there is no I/O APIC: PIRQA# and PIRQB# to
/// one ISA interrupt, the other two to another.
constexpr std::array<std::uint8_t, 4> kIsaInterrupts = {10, 10, 11, 11};

}  // namespace

PciHost::HostBridge::HostBridge(UpperMemory* upper) : upper_(upper) { reset(); }

void PciHost::HostBridge::reset() {
  const auto before = access_by_segment();
  config_ = {};
  config_[0x00] = 0x86;  // Intel
  config_[0x01] = 0x80;
  config_[0x02] = 0x37;  // 82441FX
  config_[0x03] = 0x12;
  config_[0x04] = 0x06;  // memory space and bus master, always on
  config_[0x07] = 0x02;  // medium DEVSEL
  config_[0x08] = 0x02;  // revision
  config_[0x0b] = 0x06;  // host bridge
  if (upper_ == nullptr) return;
  // By this firmware knows that it has an interface to be told of the machine.
  config_[0x2c] = 0xf4;
  config_[0x2d] = 0x1a;
  config_[0x2f] = 0x11;
  config_[kSmram] = kSmramFixed;
  apply_attributes();
  change_attributes(before);
}

std::array<UpperMemory::Access, PciHost::HostBridge::kSegments>
PciHost::HostBridge::access_by_segment() const {
  std::array<UpperMemory::Access, kSegments> access;
  for (unsigned n = 0; n < kSegments; ++n) access[n] = access_at(address_of(n));
  return access;
}

/// Shows in each segment what the registers say now, and said otherwise before.
void PciHost::HostBridge::change_attributes(
    const std::array<UpperMemory::Access, kSegments>& before) {
  if (upper_ == nullptr) return;
  for (unsigned n = 0; n < kSegments; ++n) {
    upper_->change(address_of(n), before[n], access_at(address_of(n)));
  }
}

UpperMemory::Access PciHost::HostBridge::access_at(std::uint64_t address) const {
  unsigned attributes = config_[kPam0] >> 4;
  if (address < kTopBegin) {
    const std::uint64_t segment = (address - UpperMemory::kBegin) / UpperMemory::kSegmentBytes;
    attributes = unsigned{config_[kPam0 + 1 + segment / 2]} >> (segment % 2 * 4);
  }
  return {(attributes & kPamRead) != 0, (attributes & kPamWrite) != 0};
}

void PciHost::HostBridge::apply_attributes() {
  if (upper_ == nullptr) return;
  for (std::uint64_t at = UpperMemory::kBegin; at < UpperMemory::kEnd;
       at += UpperMemory::kSegmentBytes) {
    upper_->set_rules(at, access_at(at));
  }
}

/// RAM everywhere, as a system finds it that was loaded without firmware.
void PciHost::HostBridge::open_memory() {
  if (upper_ == nullptr) return;
  config_[kPam0] = 0x30;
  for (unsigned at = kPam0 + 1; at <= kPam6; ++at) config_[at] = 0x33;
  apply_attributes();
}

void PciHost::HostBridge::write_attributes(unsigned at, std::uint8_t value) {
  const auto before = access_by_segment();
  config_[at] = value;
  change_attributes(before);
}

void PciHost::HostBridge::write_smram(std::uint8_t value) {
  std::uint8_t& smram = config_[kSmram];
  if ((smram & kSmramLocked) != 0) return;
  smram = static_cast<std::uint8_t>((value & 0x78) | kSmramFixed);
  if ((smram & kSmramLocked) != 0) smram &= static_cast<std::uint8_t>(~kSmramOpen);
}

std::uint64_t PciHost::HiddenMemory::read_mmio(std::uint64_t /*offset*/, unsigned width) {
  return ones(width);  // reads never come here: RAM's bytes answer them
}

void PciHost::HiddenMemory::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t address = UpperMemory::kBegin + offset + i;
    const UpperMemory::Access access = bridge_.access_at(address);
    if (!access.write || access.read) continue;
    upper_->write_hidden(address, static_cast<std::uint8_t>(value >> (8 * i)));
  }
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
    const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
    if (at == kSmram && upper_ != nullptr) {
      write_smram(byte);
    } else if (at >= kPam0 && at <= kPam6) {
      write_attributes(at, byte);
    } else if (bridge_writable(at)) {
      config_[at] = byte;
    }
  }
}

PciHost::PciHost(UpperMemory* upper) : upper_(upper), bridge_(upper), hidden_(upper, bridge_) {
  add({0, 0, 0}, bridge_);
}

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
  Bytes routing;
  if (upper_ != nullptr) {
    declaration.memory(UpperMemory::kBegin, UpperMemory::kEnd - UpperMemory::kBegin, hidden_);
    routing = routing_tables(facts);
  }
  facts.host_bridge = FirmwareFacts::NamespaceEntry{
      "PCI0",
      aml::sequence({aml::name("_HID", aml::eisa_id("PNP0A03")), aml::name("_UID", aml::integer(0)),
                     aml::name("_CRS", windows), routing})};
}

/// Two tables: by pins of the I/O APIC, and by ISA interrupts for a system that does not
/// use it; _PIC says which.
/// Source: ACPI specification 6.4, 5.8.1 "_PIC Method" and 6.2.13 "_PRT".
Bytes PciHost::routing_tables(FirmwareFacts& facts) {
  constexpr unsigned kDevices = 32;
  constexpr unsigned kPins = 4;
  constexpr unsigned kFirstApicPin = 16;
  std::vector<Bytes> by_apic;
  std::vector<Bytes> by_isa;
  for (unsigned device = 0; device < kDevices; ++device) {
    for (unsigned pin = 0; pin < kPins; ++pin) {
      const unsigned line = (device + pin) % kPins;
      const Bytes address = aml::integer(std::uint64_t{device} << 16 | 0xffff);
      const auto entry = [&](unsigned interrupt) {
        return aml::package({address, aml::integer(pin), aml::integer(0), aml::integer(interrupt)});
      };
      by_apic.push_back(entry(kFirstApicPin + line));
      by_isa.push_back(entry(kIsaInterrupts[(line + kPins - 1) % kPins]));
    }
  }
  facts.root_terms = aml::sequence({facts.root_terms, aml::name("PICF", aml::integer(0)),
                                    aml::method("_PIC", 1, aml::store_argument0("PICF"))});
  return aml::sequence({aml::name("PRTA", aml::package(by_apic)),
                        aml::name("PRTI", aml::package(by_isa)),
                        aml::method("_PRT", 0,
                                    aml::sequence({aml::if_name("PICF", aml::return_name("PRTA")),
                                                   aml::return_name("PRTI")}))});
}

void PciHost::set_up_by_firmware() { bridge_.open_memory(); }
void PciHost::state_restored() { bridge_.apply_attributes(); }

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
