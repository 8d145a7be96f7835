#include "vmm/devices/firmware/fw_cfg.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/firmware_items.h"

namespace chronovisor {
namespace {

constexpr std::string_view kDmaSignature = "QEMU CFG";
// Bits of a descriptor's control word, whose upper half is a key.
constexpr std::uint32_t kError = 1;
constexpr std::uint32_t kRead = 2;
constexpr std::uint32_t kSkip = 4;
constexpr std::uint32_t kSelect = 8;
constexpr std::uint32_t kWrite = 16;

std::uint64_t big_endian(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

}  // namespace

FwCfg::FwCfg(const PagedRegion& items, DmaBus& dma) : items_(items), dma_(dma, "fw_cfg") {}

void FwCfg::declare(Declaration& declaration) {
  const std::uint16_t base = declaration.ports(0x510, 2, ports_);
  const std::uint16_t descriptor = declaration.ports(0x514, 8, descriptor_);
  // Linux has a driver that wants to know where it is.
  declaration.acpi_device(
      "FWCF",
      aml::sequence(
          {aml::name("_HID", aml::string("QEMU0002")), aml::name("_STA", aml::integer(0x0b)),
           aml::name("_CRS", aml::resources({aml::io_ports(
                                 base, static_cast<std::uint8_t>(descriptor + 8 - base))}))}));
}

void FwCfg::visit_state(StateVisitor& visitor) {
  visitor.field("key", key_);
  visitor.field("at", at_);
  visitor.field("address", address_);
}

void FwCfg::reset() { select(0); }

void FwCfg::select(std::uint16_t key) {
  key_ = key;
  at_ = 0;
  address_ = {};
}

void FwCfg::take(std::span<std::uint8_t> out) {
  const auto place = find_firmware_item({items_.host(0), items_.size()}, key_);
  const std::uint32_t left = place && at_ < place->size ? place->size - at_ : 0;
  const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(out.size(), left));
  if (count != 0) items_.read(place->offset + at_, out.first(count));
  std::fill(out.begin() + count, out.end(), std::uint8_t{0});
  at_ += count;
}

std::uint32_t FwCfg::Ports::read_port(std::uint16_t offset, unsigned width) {
  if (offset != 1 || width != 1) return 0;
  std::uint8_t byte = 0;
  owner_.take({&byte, 1});
  return byte;
}

void FwCfg::Ports::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  if (offset == 0 && width == 2) owner_.select(static_cast<std::uint16_t>(value));
}

std::uint32_t FwCfg::Descriptor::read_port(std::uint16_t offset, unsigned width) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    value |= std::uint32_t{static_cast<std::uint8_t>(kDmaSignature[(offset + i) % 8U])} << (8 * i);
  }
  return value;
}

/// The last byte of the address begins the transfer.
void FwCfg::Descriptor::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  for (unsigned i = 0; i < width; ++i) {
    owner_.address_[(offset + i) % 8U] = static_cast<std::uint8_t>(value >> (8 * i));
  }
  if (offset + width != 8) return;
  const std::uint64_t address = big_endian(owner_.address_);
  owner_.address_ = {};
  owner_.run_descriptor(address);
}

bool FwCfg::move_to_memory(std::uint64_t address, std::uint32_t length) {
  std::vector<std::uint8_t> buffer;
  for (std::uint32_t done = 0; done < length;) {
    constexpr std::uint32_t kPiece = 64 * 1024;
    buffer.resize(std::min(kPiece, length - done));
    take(buffer);
    const GuestPhysical here{address + done};
    if (here.value < address) return true;  // past the end of the address space is nothing
    if (dma_.write(here, buffer) == DmaStatus::failed) return false;
    done += static_cast<std::uint32_t>(buffer.size());
  }
  return true;
}

void FwCfg::run_descriptor(std::uint64_t address) {
  std::array<std::uint8_t, 16> descriptor{};
  bool good = dma_.read({address}, std::span<std::uint8_t>(descriptor)) == DmaStatus::done;
  const auto control = static_cast<std::uint32_t>(big_endian(std::span(descriptor).first(4)));
  const auto length = static_cast<std::uint32_t>(big_endian(std::span(descriptor).subspan(4, 4)));
  const std::uint64_t target = big_endian(std::span(descriptor).subspan(8, 8));
  if (good) {
    if ((control & kSelect) != 0) select(static_cast<std::uint16_t>(control >> 16));
    if ((control & kRead) != 0) {
      good = move_to_memory(target, length);
    } else if ((control & kWrite) != 0) {
      good = false;
    } else if ((control & kSkip) != 0) {
      at_ = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(std::uint64_t{at_} + length, kItemsBytes));
    }
  }
  const std::array<std::uint8_t, 4> answer{0, 0, 0, static_cast<std::uint8_t>(good ? 0 : kError)};
  (void)dma_.write({address}, ByteView(answer));
}

}  // namespace chronovisor
