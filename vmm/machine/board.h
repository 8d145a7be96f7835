// Owns the wiring of one PC: which device sits at which port and address,
// which line goes to which controller pin, and how the CPU sees them. Private
// to Machine. One thread a machine.
#pragma once

#include <span>
#include <vector>

#include "vmm/bus/bus.h"
#include "vmm/cpu/environment.h"
#include "vmm/devices/core/byte_sink.h"
#include "vmm/devices/input/i8042.h"
#include "vmm/devices/interrupt/apic_bus.h"
#include "vmm/devices/interrupt/io_apic.h"
#include "vmm/devices/interrupt/local_apic.h"
#include "vmm/devices/interrupt/pic.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/legacy/debug_exit.h"
#include "vmm/devices/legacy/post_port.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/devices/pci/pci_host.h"
#include "vmm/devices/power/acpi_pm.h"
#include "vmm/devices/power/system_control.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/port_observer.h"

namespace chronovisor {

class Machine::Board final : public CpuEnvironment, public ApicBus, public Clock {
 public:
  explicit Board(Machine& machine);
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  /// The CPU exists now: connects INTR and NMI.
  void attach(Cpu& cpu) { cpu_ = &cpu; }
  void reset();
  /// Device states were loaded: re-derives what is not state.
  void state_restored();
  void set_observer(MachineObserver* observer) {
    observer_ = observer;
    port_observer_ = dynamic_cast<PortObserver*>(observer);
  }

  /// All devices in the fixed order in which ties are broken.
  [[nodiscard]] std::span<Device* const> devices() const { return devices_; }
  [[nodiscard]] Uart16550& uart() { return uart_; }
  void receive_scan_code(std::uint8_t byte) { i8042_.receive_scan_code(byte); }
  void press_power_button() { acpi_pm_.press_power_button(); }
  /// What a device asked for since the machine was restored.
  [[nodiscard]] const Ending& ending_request() const { return ending_request_; }
  void forget_ending() { ending_request_ = {}; }
  /// Some device could raise NMI while the CPU is halted with interrupts off.
  [[nodiscard]] bool nmi_possible() const {
    return local_apic_.external_is_nmi() || io_apic_.routes_nmi();
  }

  // CpuEnvironment
  std::uint32_t port_read(std::uint16_t port, unsigned width) override;
  void port_write(std::uint16_t port, unsigned width, std::uint32_t value) override;
  std::uint64_t mmio_read(GuestPhysical address, unsigned width) override;
  void mmio_write(GuestPhysical address, unsigned width, std::uint64_t value) override;
  [[nodiscard]] VirtualTime now() const override { return machine_.now(); }
  std::uint8_t acknowledge_interrupt() override;
  [[nodiscard]] std::uint8_t task_priority() const override { return local_apic_.cr8(); }
  void set_task_priority(std::uint8_t cr8) override { local_apic_.set_cr8(cr8); }
  bool read_apic_msr(std::uint32_t index, std::uint64_t& value) override;
  bool write_apic_msr(std::uint32_t index, std::uint64_t value) override;
  [[nodiscard]] bool apic_enabled() const override;
  [[nodiscard]] std::uint32_t apic_id() const override { return platform_apic_id(); }
  void tsc_offset_changed(std::uint64_t offset) override { local_apic_.set_tsc_offset(offset); }
  [[nodiscard]] std::uint64_t entropy(std::uint64_t index) const override;

  // ApicBus
  void deliver(const ApicMessage& message) override { local_apic_.deliver(message); }
  void broadcast_eoi(std::uint8_t vector) override { io_apic_.end_of_interrupt(vector); }

 private:
  /// ISA interrupt lines: to the 8259A pair and, by the MADT's overrides, to
  /// the I/O APIC.
  class IsaLines final : public InterruptSink {
   public:
    explicit IsaLines(Board& board) : board_(board) {}
    void set_line(unsigned line, bool level) override;

   private:
    Board& board_;
  };
  class SerialOut final : public ByteSink {
   public:
    explicit SerialOut(Board& board) : board_(board) {}
    void write_byte(std::uint8_t byte) override;

   private:
    Board& board_;
  };
  class DebugOut final : public ByteSink {
   public:
    explicit DebugOut(Board& board) : board_(board) {}
    void write_byte(std::uint8_t byte) override;

   private:
    Board& board_;
  };

  [[nodiscard]] static std::uint32_t platform_apic_id();
  void connect();
  void update_interrupt_request();
  void request_end(EndReason reason, std::uint32_t code);

  Machine& machine_;
  Cpu* cpu_ = nullptr;
  MachineObserver* observer_ = nullptr;
  PortObserver* port_observer_ = nullptr;  ///< the same, if it is one
  IsaLines isa_lines_{*this};
  SerialOut serial_out_{*this};
  DebugOut debug_out_{*this};
  PortBus ports_;
  MmioBus mmio_;

  Pic pic_;
  IoApic io_apic_{*this};
  LocalApic local_apic_;
  Pit pit_;
  RtcCmos rtc_;
  AcpiPm acpi_pm_;
  Uart16550 uart_;
  I8042 i8042_;
  PciHost pci_host_;
  SystemControl system_control_;
  PostPort post_port_;
  DebugConsole debug_console_{debug_out_};
  DebugExit debug_exit_;
  std::vector<Device*> devices_;
  Ending ending_request_;
};

}  // namespace chronovisor
