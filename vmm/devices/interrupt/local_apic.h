// Owns the processor's local APIC: xAPIC registers, x2APIC MSRs,
// IA32_APIC_BASE, IA32_TSC_DEADLINE and the timer. Knows no CPU: the CPU asks
// pending() and acknowledge(), and is told of changes and NMIs by callbacks.
// One thread a machine.
//
// Memory: 4 KiB where IA32_APIC_BASE says. MSRs: 0x1b, 0x6e0, 0x800-0x8ff.
// Source: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt
// Controller (APIC)".
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/window.h"
#include "vmm/devices/interrupt/apic_bus.h"

namespace chronovisor {

/// One processor, ID 0 unless told otherwise. The timer's clock is 1 GHz (a
/// tick a nanosecond before the divider). Choices where the manual leaves room:
/// - INIT, start-up and SMI messages are dropped: there is no other processor,
///   and one may not send them to itself. ExtINT messages of an I/O APIC are
///   dropped too: the 8259A is wired to LINT0 alone.
/// - The register page is where IA32_APIC_BASE says while the APIC is in xAPIC
///   mode, and nowhere else. A page put over RAM is hidden by the RAM.
/// - Changing the divider keeps the current count.
/// - MMIO reads of any width give a slice of the 32-bit register; writes
///   narrower than 32 bits or not at a multiple of 16 are dropped.
class LocalApic final : public Device, public MmioDevice {
 public:
  static constexpr std::uint64_t kDefaultBase = 0xfee00000;

  /// @param physical_address_bits MAXPHYADDR, for the reserved bits of IA32_APIC_BASE
  LocalApic(const Clock& clock, ApicBus& bus, unsigned physical_address_bits, std::uint32_t id = 0);
  /// Called after anything that may have changed pending(), acknowledge()'s
  /// vector or accepts_external().
  void on_output_changed(std::function<void()> callback);
  void on_nmi(std::function<void()> callback);

  /// A vector whose priority class is above the processor priority waits.
  [[nodiscard]] bool pending() const;
  /// Moves that vector from IRR to ISR and returns it; the spurious vector if
  /// none is left.
  std::uint8_t acknowledge();
  /// The 8259A's INTR reaches the processor: LINT0 is an unmasked ExtINT, or
  /// the APIC is disabled by IA32_APIC_BASE.
  [[nodiscard]] bool accepts_external() const;
  /// LINT0, where the 8259A arrives, is unmasked and delivers NMI.
  [[nodiscard]] bool external_is_nmi() const;

  /// The pins. LINT0 carries the 8259A's INTR.
  void set_lint0(bool level);
  void set_lint1(bool level);
  /// A message from the bus; ignored unless addressed to this APIC.
  void deliver(const ApicMessage& message);
  /// What a BIOS leaves: enabled, LINT0 ExtINT, LINT1 NMI (MP spec, 3.6.2.2).
  void set_virtual_wire();

  /// By IA32_APIC_BASE.
  [[nodiscard]] bool enabled() const { return hardware_enabled(); }
  [[nodiscard]] std::uint32_t id() const { return id_; }

  [[nodiscard]] std::uint8_t cr8() const { return static_cast<std::uint8_t>(tpr_ >> 4); }
  void set_cr8(std::uint8_t value);

  /// TSC = virtual time in ns + `offset`, modulo 2^64; moves an armed deadline.
  void set_tsc_offset(std::uint64_t offset);

  /// IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range.
  /// @return false when the guest must get #GP(0)
  [[nodiscard]] static bool owns_msr(std::uint32_t index);
  [[nodiscard]] bool read_msr(std::uint32_t index, std::uint64_t& value);
  [[nodiscard]] bool write_msr(std::uint32_t index, std::uint64_t value);
  /// IA32_APIC_BASE says that there is an APIC.
  [[nodiscard]] bool hardware_enabled() const;

  [[nodiscard]] std::string_view name() const override { return "local_apic"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  void state_restored() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

 private:
  using Bits256 = std::array<std::uint32_t, 8>;
  enum Lvt : unsigned { kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kLvtCount };
  enum class TimerMode : std::uint8_t {
    one_shot = 0,
    periodic = 1,
    tsc_deadline = 2,
    reserved = 3
  };

  [[nodiscard]] bool xapic() const;
  [[nodiscard]] bool x2apic() const;
  [[nodiscard]] bool software_enabled() const;
  [[nodiscard]] std::uint8_t processor_priority() const;
  [[nodiscard]] std::uint32_t logical_id() const;
  [[nodiscard]] bool addressed(const ApicMessage& message) const;
  void reset_registers();
  void changed();

  void accept(std::uint8_t vector, ApicTrigger trigger);
  void raise_error(std::uint32_t bit);
  void deliver_local(unsigned index, ApicTrigger trigger);
  void set_pin(unsigned index, bool& pin, bool level);
  void send_level_lint(unsigned index);
  void end_of_interrupt();
  void send_ipi();

  [[nodiscard]] bool write_base(std::uint64_t value);
  void place_page();
  [[nodiscard]] std::uint32_t read_register(unsigned index) const;
  void write_register(unsigned index, std::uint32_t value);
  void write_lvt(unsigned index, std::uint32_t value);
  void write_spurious(std::uint32_t value);
  [[nodiscard]] bool write_x2apic(unsigned index, std::uint64_t value);

  [[nodiscard]] TimerMode timer_mode() const;
  [[nodiscard]] std::uint64_t divisor() const;
  [[nodiscard]] std::uint32_t current_count(std::uint64_t now_ns) const;
  void settle_timer(std::uint64_t now_ns);
  void arm_count(std::uint64_t now_ns, std::uint32_t count);
  void arm_deadline(std::uint64_t now_ns);

  const Clock& clock_;
  ApicBus& bus_;
  const std::uint64_t physical_mask_;
  const std::uint32_t id_;

  std::uint64_t base_ = 0;  ///< IA32_APIC_BASE
  std::uint8_t xapic_id_ = 0;
  std::uint32_t tpr_ = 0;
  std::uint32_t ldr_ = 0;
  std::uint32_t dfr_ = 0;
  std::uint32_t svr_ = 0;
  Bits256 isr_{};
  Bits256 tmr_{};
  Bits256 irr_{};
  std::uint32_t esr_ = 0;
  std::uint32_t errors_ = 0;  ///< since the last write to ESR
  std::uint64_t icr_ = 0;
  std::array<std::uint32_t, kLvtCount> lvt_{};
  bool lint0_ = false;
  bool lint1_ = false;
  std::uint32_t initial_count_ = 0;
  std::uint32_t divide_ = 0;
  std::uint64_t tsc_deadline_ = 0;
  std::uint64_t tsc_offset_ = 0;
  std::uint64_t expiry_ns_ = kNever;  ///< when the timer next reaches its end

  Window page_{kPageSize};
  std::function<void()> output_changed_;
  std::function<void()> nmi_;
};

}  // namespace chronovisor
