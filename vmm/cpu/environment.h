// Owns what the CPU sees of the rest of the machine: ports, memory-mapped
// devices, the interrupt controllers, the clock and the entropy stream. The
// machine implements it; tests give their own. One thread a machine.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace chronovisor {

class CpuEnvironment {
 public:
  virtual ~CpuEnvironment() = default;

  virtual std::uint32_t port_read(std::uint16_t port, unsigned width) = 0;
  virtual void port_write(std::uint16_t port, unsigned width, std::uint32_t value) = 0;
  /// Physical accesses that are not RAM; width 1, 2, 4 or 8.
  virtual std::uint64_t mmio_read(GuestPhysical address, unsigned width) = 0;
  virtual void mmio_write(GuestPhysical address, unsigned width, std::uint64_t value) = 0;

  /// Virtual time at the step that is executing.
  [[nodiscard]] virtual VirtualTime now() const = 0;

  /// The INTA cycle: takes the vector of the interrupt to deliver.
  virtual std::uint8_t acknowledge_interrupt() = 0;

  /// CR8, the local APIC's task priority, 0-15.
  [[nodiscard]] virtual std::uint8_t task_priority() const = 0;
  virtual void set_task_priority(std::uint8_t cr8) = 0;
  /// MSRs of the local APIC (IA32_APIC_BASE, x2APIC 0x800-0x8ff, TSC deadline).
  /// @return false when the guest must get #GP
  virtual bool read_apic_msr(std::uint32_t index, std::uint64_t& value) = 0;
  virtual bool write_apic_msr(std::uint32_t index, std::uint64_t value) = 0;
  /// CPUID leaf 1 needs both: the APIC's enable bit and its id.
  [[nodiscard]] virtual bool apic_enabled() const = 0;
  [[nodiscard]] virtual std::uint32_t apic_id() const = 0;
  /// TSC = virtual time in ns + offset; the APIC's deadline compares with it.
  virtual void tsc_offset_changed(std::uint64_t offset) = 0;

  /// Value `index` of the entropy stream seeded by the starting condition.
  [[nodiscard]] virtual std::uint64_t entropy(std::uint64_t index) const = 0;
};

}  // namespace chronovisor
