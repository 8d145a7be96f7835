// Owns saying which processes of a Linux guest made a recording large: to whom the pages
// belonged of which it keeps contents. Puts machines at some of the checkpoints. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "recorder/format/recording_reader.h"

namespace chronovisor::linux_guest {

/// What is kept of a process's own memory.
struct ProcessCost {
  std::uint32_t pid = 0;       ///< 0: of no process, or of several
  std::string name;            ///< in parentheses where it is no process's
  std::uint64_t contents = 0;  ///< of pages, kept by all checkpoints
  std::uint64_t bytes = 0;     ///< of the file, about: those of a checkpoint are shared out
};

/// The largest first. Page tables are looked at, at some checkpoints all through the
/// recording; a page counts for who had it at the next of these. Empty where no Linux is
/// known. Throws Error{bad_input} on damage.
[[nodiscard]] std::vector<ProcessCost> cost_by_process(const RecordingReader& reader);

}  // namespace chronovisor::linux_guest
