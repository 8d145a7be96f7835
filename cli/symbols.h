// Owns the making of a symbol file for the guest kernel of a recording. The
// thread that owns the timeline.
#pragma once

#include <string>

#include "timetravel/timeline.h"

namespace chronovisor::cli {

/// Writes an ELF file with the symbols of the Linux kernel, and of its modules,
/// that runs where `timeline` stands. The recording is never replaced. Throws
/// Error{bad_input} when there is no such kernel, Error{host} when the file cannot
/// be written, and as NewFile does.
/// @return how many symbols
std::size_t write_linux_symbols(Timeline& timeline, const std::string& path, bool force = false);

}  // namespace chronovisor::cli
