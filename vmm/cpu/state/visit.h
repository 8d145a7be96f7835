// Owns the names and the order in which the registers are saved, hashed and
// compared (docs/FORMATS.md). Knows nothing of what is derived from them.
#pragma once

#include "base/state.h"
#include "vmm/cpu/state/registers.h"

namespace chronovisor {

/// General registers, segments, tables, control and debug registers.
void visit_general_registers(StateVisitor& visitor, CpuState& state);
void visit_msrs(StateVisitor& visitor, CpuMsrs& msr);
/// x87, XMM and MXCSR.
void visit_floating_point(StateVisitor& visitor, CpuState& state);
/// What waits for the next boundary between steps: shadows, HLT, traps, NMI.
void visit_pending(StateVisitor& visitor, CpuState& state);
/// What was loaded may be anything: refuses combinations that no instruction makes and
/// that the engine counts on never to meet. Throws Error{bad_input} naming the field.
void require_modes(const CpuState& state, std::uint32_t rflags);

}  // namespace chronovisor
