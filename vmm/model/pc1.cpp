// pc-1: a PC of the time before PCI devices mattered, with what kernels of today
// expect of one: APICs, ACPI, an empty PCI bus.
#include "vmm/devices/input/i8042.h"
#include "vmm/devices/legacy/coprocessor_error.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/legacy/debug_exit.h"
#include "vmm/devices/legacy/post_port.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/devices/pci/pci_host.h"
#include "vmm/devices/power/acpi_pm.h"
#include "vmm/devices/power/shutdown_ports.h"
#include "vmm/devices/power/system_control.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"
#include "vmm/model/model.h"
#include "vmm/model/parts.h"

namespace chronovisor {
namespace {

using parts::attached;
using parts::kPhysicalAddressBits;
using parts::resetter;

std::unique_ptr<Device> acpi_pm(PartContext& context) {
  auto device = std::make_unique<AcpiPm>(context.clock, AcpiPm::TimerWidth::bits24);
  device->on_power_off([&control = context.control] { control.power_off(0); });
  device->on_sleep_register_write(
      [&control = context.control](std::uint16_t port) { control.power_off(port); });
  return device;
}

std::vector<Part> parts_in_order() {
  return {
      {[](PartContext& c) { return attached<Pic>(c); }},
      {[](PartContext& c) { return attached<IoApic>(c, c.interrupts); }},
      {[](PartContext& c) {
        return attached<LocalApic>(c, c.clock, c.interrupts, kPhysicalAddressBits);
      }},
      {[](PartContext& c) { return std::make_unique<Pit>(c.clock); }},
      {[](PartContext& c) {
        return std::make_unique<RtcCmos>(
            c.clock, RtcCmos::Memory{c.ram_below_4g_bytes, c.ram_above_4g_bytes, c.floppy_drives},
            c.rtc_start_unix_seconds);
      }},
      {acpi_pm},
      {[](PartContext& c) { return std::make_unique<Uart16550>(0, c.clock, c.outputs); }},
      {resetter<I8042>},
      {resetter<PciHost>},
      {resetter<SystemControl>},
      {[](PartContext& /*c*/) { return std::make_unique<PostPort>(); }},
      {[](PartContext& c) { return std::make_unique<DebugConsole>(c.outputs); }},
      {[](PartContext& c) {
        return std::make_unique<DebugExit>("debug_exit", std::uint16_t{0xf4}, 4U,
                                           DebugExit::Section::always, c.control);
      }},
      // From here on what came after recordings had been made: without a section of its own
      // until a guest uses it.
      {[](PartContext& c) {
        return std::make_unique<DebugExit>("isa_debug_exit", std::uint16_t{0x501}, 2U,
                                           DebugExit::Section::never, c.control);
      }},
      {[](PartContext& c) {
        return std::make_unique<ForeignSleepControl>("bochs_sleep", std::uint16_t{0xb004},
                                                     c.control);
      }},
      {[](PartContext& c) {
        return std::make_unique<ForeignSleepControl>("virtualbox_sleep", std::uint16_t{0x4004},
                                                     c.control);
      }},
      {[](PartContext& c) { return std::make_unique<ShutdownWord>(c.control); }},
      {[](PartContext& c) { return attached<CoprocessorError>(c); }},
  };
}

}  // namespace

const Model& pc1() {
  // The timer takes the pin that the 8259A's cascade leaves free.
  static const Model model{"pc-1", parts_in_order(), {{std::uint8_t{0}, std::uint8_t{2}}}};
  return model;
}

}  // namespace chronovisor
