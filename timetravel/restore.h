// Owns putting a machine at a recorded checkpoint. One thread.
#pragma once

#include <memory>

#include "recorder/format/recording_reader.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// Restores checkpoint `checkpoint` into a machine of the recording, wherever it is; pages
/// that it has already are not read. Throws Error{bad_input}; the machine is then nowhere.
void restore_checkpoint(Machine& machine, const RecordingReader& reader, std::size_t checkpoint);

/// The machine of a recorded checkpoint, to be looked at: also one whose behaviour this
/// program does not replay. Throws Error{bad_input}.
[[nodiscard]] std::unique_ptr<Machine> machine_at_checkpoint(const RecordingReader& reader,
                                                             std::size_t checkpoint);

}  // namespace chronovisor
