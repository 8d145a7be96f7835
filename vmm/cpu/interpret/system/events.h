// Owns the delivery of exceptions and interrupts into the guest: IVT, IDT
// gates, task gates, privilege and stack changes, double and triple faults.
// Knows nothing of who asked. Called by the run loop at step boundaries and by
// the INT instructions. One thread a machine.
#pragma once

#include <cstdint>

#include "vmm/cpu/cpu.h"

namespace chronovisor {

enum class EventKind : std::uint8_t {
  external,            ///< INTR or NMI
  exception,           ///< a fault, trap or abort of the CPU
  software_interrupt,  ///< INT n: gate DPL is checked
  software_exception,  ///< INT3, INTO: gate DPL is checked, error codes have EXT = 0
  privileged_trap,     ///< INT1: as an exception, but software
};

/// A GuestFault with this for a vector is no exception: the instruction did not
/// happen, and the processor waits at it for an interrupt, as it would in HLT.
inline constexpr std::uint8_t kWaitForInterrupt = 0xff;

/// Delivers `fault`; RIP is what the handler shall return to. If delivery
/// faults in turn, the SDM's table of contributory exceptions decides between
/// serial delivery, #DF and shutdown (state.shutdown = true). Never throws.
/// For exceptions of the fault class, RF is set in the saved flags; CR2 and DR6
/// are updated here. Source: SDM vol. 3A, chapter "Interrupt and Exception Handling".
void deliver_exception(Cpu& cpu, const GuestFault& fault);

/// Delivers an external interrupt (EventKind::external): leaves HLT; clears the
/// shadow. A fault during delivery is delivered as deliver_exception does.
void deliver_external(Cpu& cpu, std::uint8_t vector);

/// INT n, INT3, INTO, INT1 as an instruction: RIP already points behind it.
/// Throws GuestFault when the gate may not be used.
void software_interrupt(Cpu& cpu, std::uint8_t vector, EventKind kind);

}  // namespace chronovisor
