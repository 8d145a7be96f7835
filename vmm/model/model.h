// Owns the description of a machine model: which devices it has, in which order,
// and where they differ from their usual places. Everything else (buses, lines,
// tables, receivers) follows from what the devices declare. Knows no device
// type. Values; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/devices/core/card.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/extra_device.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/devices/core/machine_control.h"
#include "vmm/devices/core/media.h"
#include "vmm/devices/interrupt/pc_interrupts.h"
#include "vmm/memory/dma_port.h"
#include "vmm/memory/page_space.h"
#include "vmm/memory/ram.h"
#include "vmm/memory/upper_memory.h"

namespace chronovisor {

/// What a part is made with.
struct PartContext {
  const Clock& clock;
  OutputSink& outputs;
  MachineControl& control;
  DmaBus& dma;
  PageSpace& memory;         ///< where a device gets regions of its own
  UpperMemory& upper;        ///< for the host bridge
  PcInterrupts& interrupts;  ///< where the controllers attach; devices send messages there
  MediaSource& media;        ///< what disks and discs are read from
  std::uint64_t ram_below_4g_bytes;
  std::uint64_t ram_above_4g_bytes;
  std::int64_t rtc_start_unix_seconds;
  Ram& ram;  ///< for what is mapped like RAM
  FlashConfig flash;
  std::uint8_t floppy_drives = 0;  ///< as the CMOS memory has them; 0: none
  std::uint64_t entropy_seed = 0;
  std::uint16_t power_base = kBiosPowerBase;
};

struct Part {
  std::function<std::unique_ptr<Device>(PartContext& context)> make;
  Placement placement{};
};

/// A model is never changed once recordings were made on it: another board is
/// another model.
struct Model {
  std::string name;
  /// The order of reset, of the state sections, and in which devices are served
  /// that are due at one time. An 8259A pair, an I/O APIC and a local APIC must be
  /// among them.
  std::vector<Part> parts;
  /// I/O APIC pins of ISA interrupts that do not go to the pin of their number.
  std::map<std::uint8_t, std::uint8_t> isa_pins{};
  /// Where the controllers of a machine's drives are plugged in.
  PciAddress ide_place{0, 2, 0};
  bool ide_built_in = false;            ///< a part of the board, drives or none
  std::uint8_t first_drive_device = 4;  ///< of AHCI and virtio functions, and on from there
  std::uint8_t card_device = 3;         ///< of the first network card; others come from the end
};

/// The model with the controllers that `drives` need, as its last parts; as it is when
/// there are none. Throws Error{usage} when there is no place for one.
[[nodiscard]] Model with_drives(const Model& model, std::span<const DriveConfig> drives);

/// The model with `cards`, behind the controllers of `drives`. Throws Error{usage} when
/// there is no place for one.
[[nodiscard]] Model with_cards(const Model& model, std::span<const DriveConfig> drives,
                               std::span<const CardConfig> cards);

/// The model with `extras` as its last parts. Throws Error{usage} when the PCI bus
/// has no place for one beside `drives`.
[[nodiscard]] Model with_extras(const Model& model, std::span<const DriveConfig> drives,
                                ExtraDevices extras);

/// The types of the floppy drives among `drives`, as the CMOS memory has them.
[[nodiscard]] std::uint8_t floppy_drive_types(std::span<const DriveConfig> drives);

/// A PC without disks or a screen, entered at a kernel.
[[nodiscard]] const Model& pc1();
/// A PC that starts from firmware, with PCI functions, disks and a screen.
[[nodiscard]] const Model& pc2();

[[nodiscard]] const std::vector<const Model*>& all_models();
/// @return null when this build has no such model
[[nodiscard]] const Model* find_model(std::string_view name);

}  // namespace chronovisor
