#include "vmm/devices/storage/ide_controller.h"

#include <algorithm>
#include <string>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/storage/ata_drive.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kTimingRegisters = 0x40;  // IDETIM: a word a channel
constexpr std::uint32_t kBothDecode = 0x80008000;
constexpr std::uint8_t kMasterPorts = 16;

constexpr PciDevice::Identity kIdentity{.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180};

}  // namespace

IdeController::IdeController(PciAddress usual, MessageInterrupts& messages, const Clock& clock,
                             DmaBus& dma)
    : PciDevice(kIdentity, usual, messages),
      usual_(usual),
      dma_(dma, "ide"),
      primary_("primary.", clock, dma_),
      secondary_("secondary.", clock, dma_) {
  add_io_bar(4, kMasterPorts, bus_master_);
  add_register(kTimingRegisters, 4, kBothDecode, 0xffffffff);
}

void IdeController::attach_disk(unsigned place, std::unique_ptr<Disk> disk, std::string serial) {
  channel(place / 2).attach(place % 2, std::make_unique<AtaDrive>(*disk, std::move(serial)));
  disks_.push_back(std::move(disk));
  letters_[place] = 'c';
}

void IdeController::attach_cdrom(unsigned place, std::uint16_t number, MediaSource& media,
                                 AtapiDrive::Disc disc) {
  auto drive = std::make_unique<AtapiDrive>(media, disc);
  trays_.push_back(std::make_unique<Tray>(number, *drive));
  letters_[place] = 'd';
  channel(place / 2).attach(place % 2, std::move(drive));
}

void IdeController::Tray::receive(const Input& input) {
  const auto change = decode_medium_change(input.payload);
  if (!change) return;
  drive_.change({change->medium, change->size_bytes},
                change->forced ? AtapiDrive::Force::yes : AtapiDrive::Force::no);
}

void IdeController::declare(Declaration& declaration) {
  PciDevice::declare(declaration);
  declaration.ports(0x1f0, 8, primary_block_);
  declaration.ports(0x3f6, 1, primary_control_);
  declaration.ports(0x170, 8, secondary_block_);
  declaration.ports(0x376, 1, secondary_control_);
  declaration.interrupt(primary_.pin(), 14, Trigger::edge);
  declaration.interrupt(secondary_.pin(), 15, Trigger::edge);
  declaration.deadlines();
  for (const auto& tray : trays_) {
    declaration.receives(InputKind::cd_change, tray->number(), *tray);
  }
  declare_boot_devices(declaration.firmware());
}

void IdeController::declare_boot_devices(FirmwareFacts& facts) const {
  const std::string controller =
      "/pci@i0cf8/ide@" + std::to_string(usual_.device) + "," + std::to_string(usual_.function);
  for (unsigned place = 0; place < letters_.size(); ++place) {
    if (letters_[place] == 0) continue;
    facts.boot_devices.push_back({letters_[place], controller + "/drive@" +
                                                       std::to_string(place / 2) + "/disk@" +
                                                       std::to_string(place % 2)});
  }
}

void IdeController::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  primary_.visit_state(visitor);
  secondary_.visit_state(visitor);
}

void IdeController::reset() {
  PciDevice::reset();
  primary_.reset();
  secondary_.reset();
  follow_config();
}

void IdeController::set_up_by_firmware() {
  write_config(kTimingRegisters, 4, kBothDecode);
  write_config(0x04, 2, 1);  // the ports answer
}

void IdeController::state_restored() {
  PciDevice::state_restored();
  follow_config();
}

void IdeController::config_written(std::uint8_t /*offset*/) { follow_config(); }

/// The command register may have been written since it was looked at.
void IdeController::follow_config() {
  primary_.set_bus_master_allowed(is_bus_master());
  secondary_.set_bus_master_allowed(is_bus_master());
}

bool IdeController::decodes(unsigned which) const {
  constexpr std::uint8_t kIoSpace = 1;
  constexpr std::uint8_t kDecode = 0x80;
  return (config_byte(4) & kIoSpace) != 0 &&
         (config_byte(static_cast<std::uint8_t>(kTimingRegisters + 2 * which + 1)) & kDecode) != 0;
}

std::uint64_t IdeController::next_deadline_ns() const {
  return std::min(primary_.due_ns(), secondary_.due_ns());
}

void IdeController::advance(VirtualTime now) {
  follow_config();
  primary_.advance(now.ns);
  secondary_.advance(now.ns);
  deadline_changed();
}

std::uint32_t IdeController::CommandBlock::read_port(std::uint16_t offset, unsigned width) {
  if (!ide_.decodes(which_)) return 0xffffffff;
  IdeChannel& channel = ide_.channel(which_);
  std::uint32_t value = 0;
  if (offset == 0 && width > 1) {
    value = channel.read_command_block(0, width);
  } else {
    for (unsigned n = 0; n < width; ++n) {
      value |= (channel.read_command_block(offset + n, 1) & 0xff) << (8 * n);
    }
  }
  ide_.deadline_changed();
  return value;
}

void IdeController::CommandBlock::write_port(std::uint16_t offset, unsigned width,
                                             std::uint32_t value) {
  ide_.follow_config();
  if (!ide_.decodes(which_)) return;
  IdeChannel& channel = ide_.channel(which_);
  if (offset == 0 && width > 1) {
    channel.write_command_block(0, width, value);
  } else {
    for (unsigned n = 0; n < width; ++n) {
      channel.write_command_block(offset + n, 1, value >> (8 * n) & 0xff);
    }
  }
  ide_.deadline_changed();
}

std::uint32_t IdeController::Control::read_port(std::uint16_t /*offset*/, unsigned /*width*/) {
  return ide_.decodes(which_) ? ide_.channel(which_).read_control() : 0xff;
}

void IdeController::Control::write_port(std::uint16_t /*offset*/, unsigned /*width*/,
                                        std::uint32_t value) {
  if (!ide_.decodes(which_)) return;
  ide_.channel(which_).write_control(static_cast<std::uint8_t>(value));
  ide_.deadline_changed();
}

std::uint32_t IdeController::BusMaster::read_port(std::uint16_t offset, unsigned width) {
  std::uint32_t value = 0;
  for (unsigned n = 0; n < width; ++n) {
    const unsigned at = offset + n;
    value |= std::uint32_t{ide_.channel(at / 8).read_bus_master(at % 8)} << (8 * n);
  }
  return value;
}

void IdeController::BusMaster::write_port(std::uint16_t offset, unsigned width,
                                          std::uint32_t value) {
  ide_.follow_config();
  for (unsigned n = 0; n < width; ++n) {
    const unsigned at = offset + n;
    ide_.channel(at / 8).write_bus_master(at % 8, static_cast<std::uint8_t>(value >> (8 * n)));
  }
  ide_.deadline_changed();
}

}  // namespace chronovisor
