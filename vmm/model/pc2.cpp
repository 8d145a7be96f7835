// pc-2: a PC as firmware and systems of the years around 2000 know it, with the chips
// of an i440FX board: see docs/DEVICES.md for why.
#include "vmm/devices/core/firmware_items.h"
#include "vmm/devices/display/vga.h"
#include "vmm/devices/firmware/fw_cfg.h"
#include "vmm/devices/firmware/rom.h"
#include "vmm/devices/input/ps2_controller.h"
#include "vmm/devices/legacy/coprocessor_error.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/legacy/debug_exit.h"
#include "vmm/devices/legacy/post_port.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/devices/pci/pci_host.h"
#include "vmm/devices/pci/piix3_isa.h"
#include "vmm/devices/power/piix4_pm.h"
#include "vmm/devices/power/system_control.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"
#include "vmm/model/model.h"
#include "vmm/model/parts.h"

namespace chronovisor {
namespace {

constexpr PciAddress kIsaBridge{0, 1, 0};
constexpr PciAddress kIde{0, 1, 1};
constexpr PciAddress kPowerManagement{0, 1, 3};
constexpr PciAddress kVga{0, 2, 0};

std::unique_ptr<Device> host_bridge(PartContext& context) {
  PagedRegion& rom = context.memory.add_rom(kFirmwareRomRegion, kFirmwareRomBytes);
  PagedRegion& hidden =
      context.memory.add_region("upper.hidden", UpperMemory::kEnd - UpperMemory::kBegin);
  context.upper.fit(hidden, rom);
  auto device = std::make_unique<PciHost>(&context.upper);
  device->on_reset_request([&control = context.control] { control.reset_machine(); });
  return device;
}

std::unique_ptr<Device> keyboard_controller(PartContext& context) {
  auto device = std::make_unique<Ps2Controller>(context.clock);
  device->on_reset_request([&control = context.control] { control.reset_machine(); });
  return device;
}

std::unique_ptr<Device> power_management(PartContext& context) {
  auto device = std::make_unique<Piix4Pm>(kPowerManagement, context.interrupts, context.clock,
                                          context.power_base);
  device->on_power_off([&control = context.control] { control.power_off(0); });
  return device;
}

class RomInRam final : public RomMapping {
 public:
  explicit RomInRam(Ram& ram) : ram_(ram) {}
  void hide_start(std::uint64_t size_bytes) override { ram_.hide_rom_start(size_bytes); }
  void before_change(std::uint64_t offset, std::uint64_t size_bytes) override {
    ram_.before_rom_change(offset, size_bytes);
  }

 private:
  Ram& ram_;
};

/// Behind the host bridge, which makes the region.
std::unique_ptr<Device> rom(PartContext& context) {
  return std::make_unique<Rom>(*context.memory.region(kFirmwareRomRegion),
                               std::make_unique<RomInRam>(context.ram), context.flash);
}

std::unique_ptr<Device> vga(PartContext& context) {
  PagedRegion& memory = context.memory.add_region(Vga::kMemoryName, Vga::kMemoryBytes);
  PagedRegion& rom = context.memory.add_region(kVideoBiosRegion, Vga::kRomBytes);
  return std::make_unique<Vga>(kVga, context.interrupts, context.clock, memory, &rom);
}

std::unique_ptr<Device> fw_cfg(PartContext& context) {
  PagedRegion& items = context.memory.add_region(kFirmwareItemsRegion, FwCfg::kItemsBytes);
  return std::make_unique<FwCfg>(items, context.dma);
}

std::vector<Part> parts_in_order() {
  using parts::attached;
  using parts::kPhysicalAddressBits;
  using parts::resetter;
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
      {[](PartContext& c) { return std::make_unique<Uart16550>(0, c.clock, c.outputs); }},
      {[](PartContext& c) { return std::make_unique<Uart16550>(1, c.clock, c.outputs); },
       {.number = 1}},
      {keyboard_controller},
      {host_bridge},
      {[](PartContext& c) { return std::make_unique<Piix3Isa>(kIsaBridge, c.interrupts); }},
      {power_management},
      {vga},
      {rom},
      {fw_cfg},
      {resetter<SystemControl>},
      {[](PartContext& /*c*/) { return std::make_unique<PostPort>(); }},
      {[](PartContext& c) { return std::make_unique<DebugConsole>(c.outputs); }},
      {[](PartContext& c) {
         return std::make_unique<DebugConsole>(c.outputs, "firmware_console", std::uint16_t{0x402});
       },
       {.number = 1}},
      {[](PartContext& c) {
        return std::make_unique<DebugExit>("debug_exit", std::uint16_t{0xf4}, 4U,
                                           DebugExit::Section::always, c.control);
      }},
      {[](PartContext& c) {
        return std::make_unique<DebugExit>("isa_debug_exit", std::uint16_t{0x501}, 2U,
                                           DebugExit::Section::always, c.control);
      }},
      {[](PartContext& c) { return attached<CoprocessorError>(c); }},
  };
}

}  // namespace

const Model& pc2() {
  // The timer takes the pin that the 8259A's cascade leaves free.
  static const Model model{.name = "pc-2",
                           .parts = parts_in_order(),
                           .isa_pins = {{std::uint8_t{0}, std::uint8_t{2}}},
                           .ide_place = kIde,
                           .ide_built_in = true};
  return model;
}

}  // namespace chronovisor
