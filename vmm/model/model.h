// Owns the description of a machine model: which devices it has, in which order,
// and where they differ from their usual places. Everything else (buses, lines,
// tables, receivers) follows from what the devices declare. Knows no device
// type. Values; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/machine_control.h"
#include "vmm/devices/interrupt/pc_interrupts.h"
#include "vmm/memory/dma_port.h"
#include "vmm/memory/page_space.h"

namespace chronovisor {

/// What a part is made with.
struct PartContext {
  const Clock& clock;
  OutputSink& outputs;
  MachineControl& control;
  DmaBus& dma;
  PageSpace& memory;         ///< where a device gets regions of its own
  PcInterrupts& interrupts;  ///< where the controllers attach; devices send messages there
  std::uint64_t ram_below_4g_bytes;
  std::uint64_t ram_above_4g_bytes;
  std::int64_t rtc_start_unix_seconds;
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
};

/// The board of all recordings so far.
[[nodiscard]] const Model& pc1();

[[nodiscard]] const std::vector<const Model*>& all_models();
/// @return null when this build has no such model
[[nodiscard]] const Model* find_model(std::string_view name);

}  // namespace chronovisor
