// Owns putting a fresh machine at a recorded checkpoint. One thread.
#pragma once

#include "recorder/format/recording_reader.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// Restores checkpoint `checkpoint` into a machine as constructed (all RAM
/// zero). Throws Error{bad_input}.
void restore_checkpoint(Machine& machine, const RecordingReader& reader, std::size_t checkpoint);

}  // namespace chronovisor
