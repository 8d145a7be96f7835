// Owns the export of a stretch of a run as text: one line for each instruction
// and each delivery of an interrupt or exception. The machine's thread.
//
//   <position> <linear address> <bytes> <instruction>  <registers changed>
//
// The position is the one at which the step began. The values are those after
// the step. A delivery has "-" in place of bytes and is no step.
#pragma once

#include "base/units.h"
#include "inspect/export/cast.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// Runs `machine` from where it stands up to `to`, writing each step.
/// @return how many steps were written
std::uint64_t export_trace(Machine& machine, Position to, const TextSink& out);

}  // namespace chronovisor
