// Owns a high precision event timer: a counter of 100 MHz that is a function of virtual
// time, and three comparators that send messages. Knows no interrupt controller. One thread
// a machine.
// Source: IA-PC HPET Specification 1.0a.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/message_interrupt.h"

namespace chronovisor {

/// Comparators deliver by messages to the APICs ("FSB delivery") alone: there is no legacy
/// replacement, and no pin of the I/O APIC that they may be routed to. Registers are read
/// and written in 4 or 8 bytes.
class Hpet final : public Device, public MmioDevice {
 public:
  static constexpr std::uint64_t kNsPerTick = 10;
  static constexpr unsigned kTimers = 3;

  Hpet(const Clock& clock, MessageInterrupts& messages) : clock_(clock), messages_(messages) {}

  [[nodiscard]] std::string_view name() const override { return "hpet"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

 private:
  struct Timer {
    std::uint64_t config = 0;
    std::uint64_t comparator = 0;
    std::uint64_t period = 0;   ///< what was written last: added each time when periodic
    std::uint64_t message = 0;  ///< value, and the address in the upper half
    std::uint64_t due_ns = kNever;
  };
  [[nodiscard]] bool runs() const { return (config_ & 1) != 0; }
  [[nodiscard]] std::uint64_t counter() const;
  [[nodiscard]] std::uint64_t read_register(std::uint64_t offset) const;
  void write_register(std::uint64_t offset, std::uint64_t value, std::uint64_t mask);
  void write_timer(Timer& timer, std::uint64_t offset, std::uint64_t value);
  void set_counter(std::uint64_t value);
  void arm(Timer& timer);

  const Clock& clock_;
  MessageInterrupts& messages_;
  std::uint64_t config_ = 0;
  std::uint64_t status_ = 0;
  std::uint64_t base_ = 0;     ///< the counter at from_ns_
  std::uint64_t from_ns_ = 0;  ///< while it runs
  std::array<Timer, kTimers> timers_;
};

}  // namespace chronovisor
