// Which places a machine has for devices that are there when they are asked for.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "vmm/devices/legacy/parallel_port.h"
#include "vmm/devices/timer/hpet.h"
#include "vmm/devices/virtio/virtio_console.h"
#include "vmm/devices/virtio/virtio_rng.h"
#include "vmm/devices/virtio/virtio_tablet.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

// Below the network cards, which come from the end, and above the disks.
constexpr PciAddress kConsole{0, 22, 0};
constexpr PciAddress kRng{0, 23, 0};
constexpr PciAddress kTablet{0, 24, 0};
constexpr std::uint16_t kConsoleNumber = 2;  // behind the serial ports

Part part_of(ExtraDevice device) {
  switch (device) {
    case ExtraDevice::tablet:
      return {[](PartContext& c) {
                return std::make_unique<VirtioTablet>(kTablet, c.interrupts, c.dma);
              },
              {}};
    case ExtraDevice::rng:
      return {[](PartContext& c) {
                return std::make_unique<VirtioRng>(c.entropy_seed, kRng, c.interrupts, c.dma);
              },
              {}};
    case ExtraDevice::console:
      return {[](PartContext& c) {
                return std::make_unique<VirtioConsole>(kConsole, c.interrupts, c.dma, c.outputs);
              },
              {.number = kConsoleNumber}};
    case ExtraDevice::hpet:
      return {[](PartContext& c) { return std::make_unique<Hpet>(c.clock, c.interrupts); }, {}};
    case ExtraDevice::parallel:
      return {[](PartContext& c) { return std::make_unique<ParallelPort>(c.outputs); }, {}};
  }
  throw Error(ErrorCode::usage, "a device that there is not");
}

}  // namespace

Model with_extras(const Model& model, std::span<const DriveConfig> drives, ExtraDevices extras) {
  if (extras.none()) return model;
  const auto on_bus = static_cast<std::size_t>(
      std::ranges::count(drives, DriveConfig::Interface::virtio, &DriveConfig::interface));
  if (model.first_drive_device + on_bus + 1 > kConsole.device) {
    throw Error(ErrorCode::usage, "there are more disks and devices than places on the PCI bus");
  }
  Model whole = model;
  for (const ExtraDevice device : kExtraDevices) {
    if (extras.has(device)) whole.parts.push_back(part_of(device));
  }
  return whole;
}

}  // namespace chronovisor
