// Owns how a pending x87 exception is reported, for all instructions that look
// for one: x87, FWAIT and MMX. Stateless.
#pragma once

#include "vmm/cpu/cpu.h"

namespace chronovisor::x87 {

/// #MF; or, with CR0.NE = 0, what comes of FERR#: the instruction waits for the
/// interrupt (by the throw of a GuestFault), or returns and is executed.
/// Source: SDM vol. 1, "Using Interrupt 16 / FERR#", MS-DOS compatibility sub-mode.
void report_x87_error(Cpu& cpu);
/// The end of an instruction that can clear a pending exception.
void settle_error_line(Cpu& cpu);

}  // namespace chronovisor::x87
