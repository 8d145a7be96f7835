// Owns the place where a board, its processor and the machine meet: what the CPU
// sees of the devices, what devices ask of the machine, and where outputs go.
// Private to Machine. One thread a machine.
#pragma once

#include "vmm/bus/output_router.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/environment.h"
#include "vmm/cpu/x87_error_line.h"
#include "vmm/machine/io_observer.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/port_observer.h"
#include "vmm/memory/upper_memory.h"
#include "vmm/model/assembly.h"

namespace chronovisor {

class Machine::Board final : public CpuEnvironment,
                             public X87ErrorLine,
                             public Clock,
                             public OutputSink,
                             public MachineControl,
                             public ProcessorPins {
 public:
  Board(Machine& machine, const Model& model);
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  /// The CPU exists now: connects INTR and NMI.
  void attach(Cpu& cpu);
  void reset();
  /// Leaves the devices as firmware does before it starts a system.
  void set_up_by_firmware();
  /// The ROM was filled: shows it below 1 MiB, as after a reset.
  void show_firmware();
  /// Device states were loaded: re-derives what is not state.
  void state_restored();
  /// May be null.
  void set_port_observer(PortObserver* observer) { port_observer_ = observer; }
  /// May be null.
  void set_io_observer(IoObserver* observer) { io_observer_ = observer; }

  /// All devices in the fixed order of the model.
  [[nodiscard]] const std::vector<std::unique_ptr<Device>>& devices() const {
    return assembly_.devices();
  }
  [[nodiscard]] DeadlineQueue& deadlines() { return assembly_.deadlines(); }
  [[nodiscard]] InputRouter& inputs() { return assembly_.inputs(); }
  [[nodiscard]] OutputRouter& outputs() { return outputs_; }
  [[nodiscard]] const FirmwareFacts& firmware() const { return assembly_.firmware(); }
  /// What a device asked for since the machine was restored.
  [[nodiscard]] const Ending& ending_request() const { return ending_request_; }
  /// Some device could raise NMI while the CPU is halted with interrupts off.
  [[nodiscard]] bool nmi_possible() const { return interrupts_.nmi_possible(); }
  /// @see MmioDevice::peek_mmio
  [[nodiscard]] std::optional<std::uint8_t> peek(GuestPhysical address) const {
    return assembly_.memory().peek(address);
  }

  // CpuEnvironment
  std::uint32_t port_read(std::uint16_t port, unsigned width) override;
  void port_write(std::uint16_t port, unsigned width, std::uint32_t value) override;
  std::uint64_t mmio_read(GuestPhysical address, unsigned width) override;
  void mmio_write(GuestPhysical address, unsigned width, std::uint64_t value) override;
  [[nodiscard]] VirtualTime now() const override { return machine_.now(); }
  [[nodiscard]] Position position() const override { return machine_.position(); }
  std::uint8_t acknowledge_interrupt() override { return interrupts_.acknowledge(); }
  [[nodiscard]] std::uint8_t task_priority() const override { return local_apic_.cr8(); }
  void set_task_priority(std::uint8_t cr8) override { local_apic_.set_cr8(cr8); }
  bool read_apic_msr(std::uint32_t index, std::uint64_t& value) override;
  bool write_apic_msr(std::uint32_t index, std::uint64_t value) override;
  [[nodiscard]] bool apic_enabled() const override { return local_apic_.enabled(); }
  [[nodiscard]] std::uint32_t apic_id() const override { return local_apic_.id(); }
  void tsc_offset_changed(std::uint64_t offset) override { local_apic_.set_tsc_offset(offset); }
  [[nodiscard]] std::uint64_t entropy(std::uint64_t index) const override;

  // X87ErrorLine
  X87ErrorAnswer x87_error() override {
    return interrupts_.coprocessor_error().error() ? X87ErrorAnswer::ignore : X87ErrorAnswer::wait;
  }
  void x87_error_cleared() override { interrupts_.coprocessor_error().error_cleared(); }

  // OutputSink
  void put(const Output& output) override;
  // MachineControl
  void power_off(std::uint16_t port) override { request_end(EndReason::poweroff, 0, port); }
  void reset_machine() override { request_end(EndReason::reset, 0, 0); }
  void debug_exit(std::uint32_t code, std::uint16_t port) override {
    request_end(EndReason::debug_exit, code, port);
  }
  // ProcessorPins
  void set_interrupt_request(bool level) override { cpu_->set_interrupt_request(level); }
  void request_nmi() override { cpu_->request_nmi(); }

 private:
  void request_end(EndReason reason, std::uint32_t code, std::uint16_t port);

  Machine& machine_;
  Cpu* cpu_ = nullptr;
  PortObserver* port_observer_ = nullptr;
  IoObserver* io_observer_ = nullptr;
  OutputRouter outputs_;
  UpperMemory upper_;
  Assembly assembly_;
  PcInterrupts& interrupts_;
  LocalApic& local_apic_;
  Ending ending_request_;
};

}  // namespace chronovisor
