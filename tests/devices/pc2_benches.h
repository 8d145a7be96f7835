// Owns the benches of the devices that pc-2 has and pc-1 has not: random traffic of
// ports, configuration space and inputs, for the round trips of round_trip_test.cpp.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/devices/display/vga.h"
#include "vmm/devices/firmware/fw_cfg.h"
#include "vmm/devices/firmware/rom.h"
#include "vmm/devices/input/ps2_controller.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/pci/piix3_isa.h"
#include "vmm/devices/power/piix4_pm.h"
#include "vmm/devices/storage/ide_controller.h"

namespace chronovisor::test {

struct DroppedMessages final : MessageInterrupts {
  void send_message_interrupt(std::uint64_t /*address*/, std::uint32_t /*data*/) override {}
};

/// Random accesses to whatever a device declared, and to its configuration space.
class Traffic {
 public:
  void find(Device& device) {
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    device.declare(declaration);
    ports_ = declaration.all_ports();
    windows_ = declaration.port_windows();
    memory_ = declaration.all_memory();
  }
  std::uint64_t port(Random& random) {
    if (ports_.empty()) return 0;
    const auto& range = ports_[below(random, ports_.size())];
    return access(*range.device,
                  static_cast<std::uint16_t>(range.first_offset + below(random, range.count)),
                  random);
  }
  std::uint64_t window(Random& random) {
    if (windows_.empty()) return 0;
    const auto& range = windows_[below(random, windows_.size())];
    return access(*range.device, static_cast<std::uint16_t>(below(random, range.window->size())),
                  random);
  }
  std::uint64_t memory(Random& random) {
    if (memory_.empty()) return 0;
    const auto& range = memory_[below(random, memory_.size())];
    const std::uint64_t offset = below(random, range.size) & ~std::uint64_t{7};
    if (below(random, 2) == 0) return range.device->read_mmio(offset, 4);
    range.device->write_mmio(offset, 4, random());
    return 0;
  }
  static std::uint64_t config(PciFunction& function, Random& random) {
    const auto offset = static_cast<std::uint8_t>(below(random, 256));
    if (below(random, 2) == 0) return function.read_config(offset, 1);
    function.write_config(offset, 1, static_cast<std::uint8_t>(random()));
    return 0;
  }

 private:
  static std::uint64_t access(PortDevice& device, std::uint16_t offset, Random& random) {
    if (below(random, 2) == 0) return device.read_port(offset, 1);
    device.write_port(offset, 1, static_cast<std::uint8_t>(random()));
    return 0;
  }
  std::vector<Declaration::Ports> ports_;
  std::vector<Declaration::PortWindow> windows_;
  std::vector<Declaration::Memory> memory_;
};

struct Ps2Bench final : Bench {
  Ps2Controller ps2{clock};
  Ps2Bench() {
    ps2.set_state_version(2);
    lines.wire(ps2);
  }
  Device& device() override { return ps2; }
  std::vector<std::uint64_t> observe() override {
    std::vector<std::uint64_t> seen;
    const auto drain = [&] {
      for (unsigned n = 0; n < 200 && (ps2.read_port(4, 1) & 1) != 0; ++n) {
        seen.push_back(ps2.read_port(4, 1));
        seen.push_back(ps2.read_port(0, 1));
      }
    };
    drain();
    ps2.write_port(4, 1, 0xae);
    ps2.write_port(4, 1, 0xa8);
    drain();
    return seen;
  }
  std::uint64_t step(Random& random) override {
    constexpr std::array<std::uint8_t, 17> kCommands = {0x20, 0x60, 0xa7, 0xa8, 0xaa, 0xad,
                                                        0xae, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4,
                                                        0xd4, 0xd4, 0x65, 0x25, 0xdd};
    constexpr std::array<std::uint8_t, 26> kBytes = {
        0xed, 0xf0, 0xf2, 0xf3, 0xf4, 0xf5, 0xfe, 0xff, 0x01, 0x02, 0x00, 0xe6, 0xe7,
        0xe8, 0xe9, 0xeb, 0xee, 0xec, 0xc8, 0x64, 0x50, 0x47, 0x03, 0xfa, 0xf8, 0xfc};
    constexpr std::array<std::uint8_t, 6> kKeys = {0x1e, 0x9e, 0xe0, 0x48, 0x41, 0x2a};
    switch (below(random, 8)) {
      case 0: {
        Bytes codes{kKeys[below(random, kKeys.size())]};
        if (below(random, 9) == 0) codes = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
        ps2.receive({InputKind::key, 0, codes});
        return ps2.has_room(InputKind::key) ? 1 : 0;
      }
      case 1: {
        const Ps2Mouse::Movement movement{
            static_cast<std::uint8_t>(random()), static_cast<std::int16_t>(random()),
            static_cast<std::int16_t>(random() % 300), static_cast<std::int8_t>(random())};
        ps2.receive({InputKind::mouse, 0, Ps2Mouse::payload_of(movement)});
        return 0;
      }
      case 2:
        ps2.write_port(4, 1, kCommands[below(random, kCommands.size())]);
        return 0;
      case 3:
        ps2.write_port(0, 1, kBytes[below(random, kBytes.size())]);
        return 0;
      case 4:  // a byte for the mouse, or the knock at the door of its wheel
        if (below(random, 9) == 0) {
          for (const unsigned byte : {0xf3U, 200U, 0xf3U, 100U, 0xf3U, 80U}) {
            ps2.write_port(4, 1, 0xd4);
            ps2.write_port(0, 1, byte);
          }
          return 0;
        }
        ps2.write_port(4, 1, 0xd4);
        ps2.write_port(0, 1, kBytes[below(random, kBytes.size())]);
        return 0;
      case 5:
        if (below(random, 3) == 0) ps2.write_port(0, 1, static_cast<std::uint8_t>(random()));
        return 0;
      case 6:
        random_pass(*this, random);
        return 0;
      default:
        return below(random, 3) == 0 ? ps2.read_port(0, 1) : ps2.read_port(4, 1);
    }
  }
};

struct Piix3Bench final : Bench {
  DroppedMessages messages;
  Piix3Isa bridge{{0, 1, 0}, messages};
  Piix3Bench() {
    lines.wire(bridge);
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    bridge.declare(declaration);
    for (const auto& [pin, irq, trigger] : declaration.routed_interrupts()) {
      lines.wires.push_back(std::make_unique<InterruptLine>());
      lines.wires.back()->add_sink(lines, irq);
      lines.wires.back()->add_pin(*pin);
    }
    bridge.reset();
  }
  Device& device() override { return bridge; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 3)) {
      case 0:
        bridge.set_line(static_cast<unsigned>(below(random, 4)), below(random, 2) != 0);
        return 0;
      case 1:
        bridge.write_config(static_cast<std::uint8_t>(0x60 + below(random, 4)), 1,
                            static_cast<std::uint8_t>(random() & 0x8f));
        return 0;
      default:
        return Traffic::config(bridge, random);
    }
  }
};

struct Piix4PmBench final : Bench {
  DroppedMessages messages;
  Piix4Pm pm{{0, 1, 3}, messages, clock};
  Traffic traffic;
  Piix4PmBench() {
    lines.wire(pm);
    traffic.find(pm);
    pm.reset();
  }
  Device& device() override { return pm; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 6)) {
      case 0:
        random_pass(*this, random);
        return 0;
      case 1:
        pm.receive({InputKind::power_button, 0, {}});
        return 0;
      case 2:
        return traffic.port(random);
      case 3:
        return Traffic::config(pm, random);
      default:
        return traffic.window(random);
    }
  }
};

/// Without drives; ide_test.cpp has one with them.
struct EmptyIdeBench final : Bench {
  Ram ram{1 << 20};
  DmaBus bus{ram};
  DroppedMessages messages;
  IdeController ide{{0, 1, 1}, messages, clock, bus};
  Traffic traffic;
  EmptyIdeBench() {
    lines.wire(ide);
    traffic.find(ide);
    ide.reset();
    ide.set_up_by_firmware();
  }
  Device& device() override { return ide; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 4)) {
      case 0:
        return Traffic::config(ide, random);
      case 1:
        return traffic.window(random);
      default:
        return traffic.port(random);
    }
  }
};

struct PlainVgaBench final : Bench {
  DroppedMessages messages;
  PagedRegion memory{Vga::kMemoryName, Vga::kMemoryBytes};
  PagedRegion rom{kVideoBiosRegion, Vga::kRomBytes};
  Vga vga{{0, 2, 0}, messages, clock, memory, &rom};
  Traffic traffic;
  PlainVgaBench() {
    traffic.find(vga);
    vga.reset();
  }
  Device& device() override { return vga; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 4)) {
      case 0:
        return Traffic::config(vga, random);
      default:
        return traffic.port(random);
    }
  }
};

struct FwCfgBench final : Bench {
  Ram ram{1 << 20};
  DmaBus bus{ram};
  PagedRegion items{kFirmwareItemsRegion, FwCfg::kItemsBytes};
  FwCfg fw_cfg{items, bus};
  Traffic traffic;
  FwCfgBench() {
    traffic.find(fw_cfg);
    items.write(0, pack_firmware_items({{0, "", {'Q', 'E', 'M', 'U'}},
                                        {0, "etc/file", Bytes(300, 0x5a)},
                                        {0, "etc/other", {1, 2, 3}}}));
  }
  Device& device() override { return fw_cfg; }
  std::uint64_t step(Random& random) override {
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    fw_cfg.declare(declaration);
    PortDevice& ports = *declaration.all_ports()[0].device;
    PortDevice& descriptor = *declaration.all_ports()[1].device;
    switch (below(random, 5)) {
      case 0:
        ports.write_port(0, 2, static_cast<std::uint32_t>(below(random, 0x24)));
        return 0;
      case 1:
        return ports.read_port(1, 1);
      case 2: {  // any descriptor, anywhere in memory and beyond
        const auto at = static_cast<std::uint32_t>(below(random, 1U << 21));
        const std::uint32_t control = static_cast<std::uint32_t>(random()) & 0x0023001f;
        const auto length =
            static_cast<std::uint32_t>(below(random, 4) == 0 ? random() : below(random, 600));
        Bytes bytes(16);
        for (unsigned i = 0; i < 4; ++i) {
          bytes[i] = static_cast<std::uint8_t>(control >> (24 - 8 * i));
          bytes[4 + i] = static_cast<std::uint8_t>((length & 0xfffff) >> (24 - 8 * i));
          bytes[12 + i] = static_cast<std::uint8_t>(random());
        }
        (void)ram.write({at}, bytes);
        descriptor.write_port(0, 4, 0);
        descriptor.write_port(4, 4, __builtin_bswap32(at));
        std::uint8_t answer = 0;
        (void)ram.read({at + 3}, {&answer, 1});
        return answer;
      }
      default:
        return traffic.port(random);
    }
  }
};

struct RomBench final : Bench {
  struct Unmapped final : RomMapping {
    void hide_start(std::uint64_t) override {}
    void before_change(std::uint64_t, std::uint64_t) override {}
  };
  PagedRegion content{kFirmwareRomRegion, kFirmwareRomBytes};
  Rom rom{content, std::make_unique<Unmapped>(), {8U << 20, 4U << 20}};
  Traffic traffic;
  RomBench() { traffic.find(rom); }
  Device& device() override { return rom; }
  /// What is read may be of the region, which is no state of the device.
  std::uint64_t step(Random& random) override {
    (void)traffic.memory(random);
    return 0;
  }
};

struct FirmwareConsoleBench final : Bench {
  DebugConsole console{output, "firmware_console", 0x402};
  Traffic traffic;
  FirmwareConsoleBench() { traffic.find(console); }
  Device& device() override { return console; }
  std::uint64_t step(Random& random) override { return traffic.port(random); }
};

}  // namespace chronovisor::test
