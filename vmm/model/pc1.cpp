// pc-1: a PC of the time before PCI devices mattered, with what kernels of today
// expect of one: APICs, ACPI, an empty PCI bus.
#include "vmm/devices/input/i8042.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/legacy/debug_exit.h"
#include "vmm/devices/legacy/post_port.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/devices/pci/pci_host.h"
#include "vmm/devices/power/acpi_pm.h"
#include "vmm/devices/power/system_control.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

constexpr unsigned kPhysicalAddressBits = 40;

/// A controller that is wired to the others.
template <class Controller, class... Arguments>
std::unique_ptr<Device> attached(PartContext& context, Arguments&&... arguments) {
  auto controller = std::make_unique<Controller>(std::forward<Arguments>(arguments)...);
  context.interrupts.attach(*controller);
  return controller;
}

/// A device that can reset the machine.
template <class Resetter>
std::unique_ptr<Device> resetter(PartContext& context) {
  auto device = std::make_unique<Resetter>();
  device->on_reset_request([&control = context.control] { control.reset_machine(); });
  return device;
}

std::unique_ptr<Device> acpi_pm(PartContext& context) {
  auto device = std::make_unique<AcpiPm>(context.clock, AcpiPm::TimerWidth::bits24);
  device->on_power_off([&control = context.control] { control.power_off(); });
  return device;
}

std::vector<Part> parts() {
  return {
      {[](PartContext& c) { return attached<Pic>(c); }},
      {[](PartContext& c) { return attached<IoApic>(c, c.interrupts); }},
      {[](PartContext& c) {
        return attached<LocalApic>(c, c.clock, c.interrupts, kPhysicalAddressBits);
      }},
      {[](PartContext& c) { return std::make_unique<Pit>(c.clock); }},
      {[](PartContext& c) {
        return std::make_unique<RtcCmos>(
            c.clock, RtcCmos::Memory{c.ram_below_4g_bytes, c.ram_above_4g_bytes},
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
        return std::make_unique<DebugExit>(
            [&control = c.control](std::uint32_t code) { control.debug_exit(code); });
      }},
  };
}

}  // namespace

const Model& pc1() {
  // The timer takes the pin that the 8259A's cascade leaves free.
  static const Model model{"pc-1", parts(), {{std::uint8_t{0}, std::uint8_t{2}}}};
  return model;
}

}  // namespace chronovisor
