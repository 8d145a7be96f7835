// Which controllers a machine's drives need, and which place each drive has on them.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "vmm/devices/storage/ahci.h"
#include "vmm/devices/storage/floppy_controller.h"
#include "vmm/devices/storage/ide_controller.h"
#include "vmm/devices/storage/overlay_disk.h"
#include "vmm/devices/storage/virtio_block.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

/// A drive, its number, and its place on its controller.
struct Placed {
  DriveConfig drive;
  std::uint16_t number;
  unsigned place;
};

std::string disk_name(std::uint16_t number) { return "disk" + std::to_string(number); }
std::string serial_of(std::uint16_t number) { return "CV" + std::to_string(number); }

/// What the guest writes lies in two regions of the machine.
std::unique_ptr<Disk> make_disk(PartContext& context, const Placed& placed) {
  const std::uint64_t size = placed.drive.size_bytes;
  auto image = std::make_unique<MediumBlocks>(context.media, placed.number, size);
  if (placed.drive.read_only) return std::make_unique<ReadOnlyDisk>(std::move(image));
  PagedRegion& written = context.memory.add_region(disk_name(placed.number) + ".written", size);
  PagedRegion& map =
      context.memory.add_region(disk_name(placed.number) + ".map", OverlayDisk::map_bytes(size));
  return std::make_unique<OverlayDisk>(std::move(image), written, map);
}

std::vector<Placed> of_interface(std::span<const DriveConfig> drives,
                                 DriveConfig::Interface interface) {
  std::vector<Placed> found;
  for (std::size_t n = 0; n < drives.size(); ++n) {
    if (drives[n].interface == interface) {
      found.push_back({drives[n], static_cast<std::uint16_t>(n), 0});
    }
  }
  return found;
}

/// Disks come first on the primary channel, CD-ROM drives on the secondary, as on most
/// PCs and with QEMU.
void place_on_ide(std::vector<Placed>& drives) {
  std::array<bool, 4> taken{};
  static constexpr std::array<unsigned, 4> kForDisks{0, 1, 3, 2};
  static constexpr std::array<unsigned, 4> kForDiscs{2, 3, 1, 0};
  for (const DriveConfig::Kind kind : {DriveConfig::Kind::cdrom, DriveConfig::Kind::disk}) {
    for (Placed& drive : drives) {
      if (drive.drive.kind != kind) continue;
      const auto& order = kind == DriveConfig::Kind::disk ? kForDisks : kForDiscs;
      const auto* free =
          std::find_if(order.begin(), order.end(), [&](unsigned n) { return !taken[n]; });
      if (free == order.end()) {
        throw Error(ErrorCode::usage, "there are at most four drives on the IDE controller");
      }
      taken[*free] = true;
      drive.place = *free;
    }
  }
}

Part ide_part(std::vector<Placed> drives, PciAddress place) {
  place_on_ide(drives);
  const auto make = [drives, place](PartContext& context) {
    auto ide =
        std::make_unique<IdeController>(place, context.interrupts, context.clock, context.dma);
    for (const Placed& placed : drives) {
      if (placed.drive.kind == DriveConfig::Kind::cdrom) {
        const bool empty = placed.drive.size_bytes == 0;
        ide->attach_cdrom(placed.place, placed.number, context.media,
                          {empty ? kNoMedium : placed.number, placed.drive.size_bytes});
      } else {
        ide->attach_disk(placed.place, make_disk(context, placed), serial_of(placed.number));
      }
    }
    return ide;
  };
  return {make, {}};
}

Part ahci_part(const std::vector<Placed>& drives, PciAddress place) {
  if (drives.size() > AhciController::kPorts) {
    throw Error(ErrorCode::usage, "there are at most six disks on the AHCI controller");
  }
  for (const Placed& placed : drives) {
    if (placed.drive.kind == DriveConfig::Kind::cdrom) {
      throw Error(ErrorCode::usage, "a CD-ROM drive is on the IDE controller");
    }
  }
  return {[drives, place](PartContext& context) {
            auto ahci = std::make_unique<AhciController>(place, context.interrupts, context.clock,
                                                         context.dma);
            for (unsigned n = 0; n < drives.size(); ++n) {
              ahci->attach(n, make_disk(context, drives[n]), serial_of(drives[n].number));
            }
            return ahci;
          },
          {}};
}

Part floppy_part(const std::vector<Placed>& drives) {
  if (drives.size() > FloppyController::kDrives) {
    throw Error(ErrorCode::usage, "there are at most two floppy drives");
  }
  for (const Placed& placed : drives) {
    if (floppy_format(placed.drive.size_bytes)) continue;
    throw Error(ErrorCode::usage, "a floppy disk of " + std::to_string(placed.drive.size_bytes) +
                                      " bytes: no floppy drive takes more than 2880 KiB");
  }
  return {[drives](PartContext& context) {
            auto floppy = std::make_unique<FloppyController>(context.clock, context.dma);
            for (unsigned n = 0; n < drives.size(); ++n) {
              floppy->attach(n, make_disk(context, drives[n]));
            }
            return floppy;
          },
          {}};
}

Part virtio_part(Placed placed, PciAddress place) {
  return {[placed, place](PartContext& context) {
            return std::make_unique<VirtioBlock>(
                make_disk(context, placed), "virtio_" + disk_name(placed.number),
                serial_of(placed.number), place, context.interrupts, context.clock, context.dma);
          },
          {}};
}

}  // namespace

Model with_drives(const Model& model, std::span<const DriveConfig> drives) {
  Model whole = model;
  for (const DriveConfig& drive : drives) {
    if (drive.kind == DriveConfig::Kind::disk && drive.size_bytes == 0) {
      throw Error(ErrorCode::usage, "a disk has at least one byte");
    }
  }
  const std::vector<Placed> ide = of_interface(drives, DriveConfig::Interface::ide);
  if (!ide.empty() || model.ide_built_in) whole.parts.push_back(ide_part(ide, model.ide_place));
  PciAddress place{0, model.first_drive_device, 0};
  const std::vector<Placed> ahci = of_interface(drives, DriveConfig::Interface::ahci);
  if (!ahci.empty()) {
    whole.parts.push_back(ahci_part(ahci, place));
    ++place.device;
  }
  for (const Placed& placed : of_interface(drives, DriveConfig::Interface::virtio)) {
    constexpr std::uint8_t kMostDevices = 32;
    if (place.device >= kMostDevices) {
      throw Error(ErrorCode::usage, "there are more disks than places on the PCI bus");
    }
    whole.parts.push_back(virtio_part(placed, place));
    ++place.device;
  }
  const std::vector<Placed> floppies = of_interface(drives, DriveConfig::Interface::floppy);
  if (!floppies.empty()) whole.parts.push_back(floppy_part(floppies));
  return whole;
}

std::uint8_t floppy_drive_types(std::span<const DriveConfig> drives) {
  std::uint8_t types = 0;
  unsigned shift = 4;
  for (const Placed& placed : of_interface(drives, DriveConfig::Interface::floppy)) {
    const auto format = floppy_format(placed.drive.size_bytes);
    if (format) types |= static_cast<std::uint8_t>(format->drive_type << shift);
    if (shift == 0) break;
    shift = 0;
  }
  return types;
}

}  // namespace chronovisor
