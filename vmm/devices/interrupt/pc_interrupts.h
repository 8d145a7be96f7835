// Owns how the interrupt controllers of a PC work together: 8259A pair, I/O APIC
// and local APIC, the wires between them, and what of all that the processor
// sees. Knows no CPU: it drives ProcessorPins. One thread a machine.
// Source: Intel MultiProcessor Specification 1.4, 3.6; Intel SDM vol. 3A, chapter
// "Advanced Programmable Interrupt Controller (APIC)".
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/devices/core/message_interrupt.h"
#include "vmm/devices/interrupt/apic_bus.h"
#include "vmm/devices/interrupt/io_apic.h"
#include "vmm/devices/interrupt/local_apic.h"
#include "vmm/devices/interrupt/pic.h"

namespace chronovisor {

class ProcessorPins {
 public:
  virtual ~ProcessorPins() = default;
  virtual void set_interrupt_request(bool level) = 0;
  virtual void request_nmi() = 0;
};

/// What a device's write to an address means to the APICs; nothing, when the
/// address is not of the form FEExxxxxH or the data take a level back.
/// Source: Intel SDM vol. 3A, "Message Address Register Format" and "Message
/// Data Register Format".
[[nodiscard]] std::optional<ApicMessage> message_of(std::uint64_t address, std::uint32_t data);

class PcInterrupts final : public ApicBus, public MessageInterrupts {
 public:
  PcInterrupts() = default;
  PcInterrupts(const PcInterrupts&) = delete;
  PcInterrupts& operator=(const PcInterrupts&) = delete;

  // At machine construction, each once; what is attached must outlive this.
  void attach(Pic& pic);
  void attach(IoApic& io_apic) { io_apic_ = &io_apic; }
  void attach(LocalApic& local_apic);
  /// From now on; null: nobody.
  void connect(ProcessorPins* processor) { processor_ = processor; }
  /// A BIOS was here: the 8259A pair reaches the processor through the APIC.
  void set_virtual_wire();
  /// Drives the pins anew: after a reset, after a restore.
  void update();

  [[nodiscard]] Pic& pic() { return *pic_; }
  [[nodiscard]] IoApic& io_apic() { return *io_apic_; }
  [[nodiscard]] LocalApic& local_apic() { return *local_apic_; }
  [[nodiscard]] const LocalApic& local_apic() const { return *local_apic_; }

  /// The INTA cycle.
  std::uint8_t acknowledge();
  /// Some controller could raise NMI while the processor is halted with
  /// interrupts off.
  [[nodiscard]] bool nmi_possible() const {
    return local_apic_->external_is_nmi() || io_apic_->routes_nmi();
  }

  // ApicBus
  void deliver(const ApicMessage& message) override { local_apic_->deliver(message); }
  void broadcast_eoi(std::uint8_t vector) override { io_apic_->end_of_interrupt(vector); }
  // MessageInterrupts
  void send_message_interrupt(std::uint64_t address, std::uint32_t data) override;

 private:
  Pic* pic_ = nullptr;
  IoApic* io_apic_ = nullptr;
  LocalApic* local_apic_ = nullptr;
  ProcessorPins* processor_ = nullptr;
};

}  // namespace chronovisor
