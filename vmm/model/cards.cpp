// Which places a machine's network cards have on the PCI bus.
#include <algorithm>
#include <memory>

#include "base/error.h"
#include "vmm/devices/network/e1000.h"
#include "vmm/devices/network/virtio_net.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kDevicesOnBus = 32;
constexpr std::size_t kMostCards = 8;

Part card_part(const CardConfig& card, std::uint16_t number, PciAddress place) {
  const auto make = [card, number, place](PartContext& context) -> std::unique_ptr<Device> {
    if (card.model == CardConfig::Model::virtio) {
      return std::make_unique<VirtioNet>(number, place, card.address, context.interrupts,
                                         context.clock, context.dma, context.outputs);
    }
    return std::make_unique<E1000>(number, place, card.address, context.interrupts, context.clock,
                                   context.dma, context.outputs);
  };
  return {make, {.number = number}};
}

/// The first device number behind those of the drives' controllers.
std::size_t end_of_drives(const Model& model, std::span<const DriveConfig> drives) {
  const auto of = [&](DriveConfig::Interface interface) {
    return static_cast<std::size_t>(std::ranges::count(drives, interface, &DriveConfig::interface));
  };
  return model.first_drive_device + std::min<std::size_t>(of(DriveConfig::Interface::ahci), 1) +
         of(DriveConfig::Interface::virtio);
}

}  // namespace

Model with_cards(const Model& model, std::span<const DriveConfig> drives,
                 std::span<const CardConfig> cards) {
  if (cards.size() > kMostCards) {
    throw Error(ErrorCode::usage, "there are at most eight network cards");
  }
  Model whole = model;
  for (std::size_t n = 0; n < cards.size(); ++n) {
    // The first is where QEMU has it; the others lie where no drives come.
    const auto device = static_cast<std::uint8_t>(n == 0 ? model.card_device : kDevicesOnBus - n);
    if (n > 0 && device < end_of_drives(model, drives)) {
      throw Error(ErrorCode::usage, "there are more disks and cards than places on the PCI bus");
    }
    whole.parts.push_back(card_part(cards[n], static_cast<std::uint16_t>(n), {0, device, 0}));
  }
  return whole;
}

}  // namespace chronovisor
