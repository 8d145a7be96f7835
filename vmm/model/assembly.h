// Owns one board: the devices of a model, and the buses, interrupt lines,
// deadlines, input receivers and firmware facts that follow from what they
// declare. Knows no device type and no CPU. One thread a machine.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "vmm/bus/bus.h"
#include "vmm/bus/input_router.h"
#include "vmm/model/model.h"

namespace chronovisor {

class Assembly {
 public:
  /// What a board needs of the machine around it.
  struct Surroundings {
    const Clock& clock;
    OutputSink& outputs;
    MachineControl& control;
    DmaBus& dma;
    PageSpace& memory;
    UpperMemory& upper;
    MediaSource& media;
    std::uint64_t ram_below_4g_bytes;
    std::uint64_t ram_above_4g_bytes;
    std::int64_t rtc_start_unix_seconds;
    Ram& ram;
    FlashConfig flash;
    std::uint8_t floppy_drives = 0;
    std::uint64_t entropy_seed = 0;
    std::uint16_t power_base = kBiosPowerBase;
  };

  Assembly(const Model& model, const Surroundings& surroundings);
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  /// In the model's order.
  [[nodiscard]] const std::vector<std::unique_ptr<Device>>& devices() const { return devices_; }
  [[nodiscard]] PortBus& ports() { return ports_; }
  [[nodiscard]] MmioBus& memory() { return memory_; }
  [[nodiscard]] const MmioBus& memory() const { return memory_; }
  [[nodiscard]] DeadlineQueue& deadlines() { return deadlines_; }
  [[nodiscard]] InputRouter& inputs() { return inputs_; }
  [[nodiscard]] PcInterrupts& interrupts() { return interrupts_; }
  [[nodiscard]] const PcInterrupts& interrupts() const { return interrupts_; }
  [[nodiscard]] const FirmwareFacts& firmware() const { return facts_; }
  /// The name of the device that answers there now; empty: nobody.
  [[nodiscard]] std::string_view device_at_port(std::uint16_t port) const;
  [[nodiscard]] std::string_view device_at_memory(GuestPhysical address) const;

  /// Resets the devices in the model's order, and leaves the APICs as firmware does.
  void reset();
  /// After a reset: leaves the devices as firmware does.
  void set_up_by_firmware();
  /// Device states were loaded: works out again what is not state.
  void state_restored();

 private:
  static constexpr unsigned kPciLines = 4;
  static constexpr unsigned kFirstPciPin = 16;  ///< of the I/O APIC

  void map(const Declaration& declaration, std::string_view name);
  [[nodiscard]] static std::uint8_t gsi_of(const Model& model, std::uint8_t irq);
  /// Of an ISA interrupt; made when first asked for.
  InterruptLine& line_of(const Model& model, std::uint8_t irq);
  void wire(const Model& model, const Declaration& declaration);
  void wire_pci(const std::vector<Declaration>& declarations);

  FirmwareFacts facts_;
  PcInterrupts interrupts_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::map<std::uint8_t, InterruptLine> isa_lines_;
  std::array<InterruptLine, kPciLines> pci_lines_;
  PortBus ports_;
  MmioBus memory_;
  DeadlineQueue deadlines_;
  InputRouter inputs_;
  std::map<const PortDevice*, std::string_view> port_owners_;
  std::map<const MmioDevice*, std::string_view> memory_owners_;
};

}  // namespace chronovisor
