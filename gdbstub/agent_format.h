// Owns printf as agent expressions know it: a format from the client, 64-bit
// arguments and strings in target memory. Untrusted: conversions, widths and
// lengths are bounded. Pure but for reading memory; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gdbstub/target.h"

namespace chronovisor::gdb {

/// Formats integers (d i u o x X c p, any length modifier) and strings (s).
/// @param limit the most bytes produced; the rest is cut off
/// @return nothing when a conversion is not one of these, or arguments are
///   missing, or a string cannot be read
std::optional<std::string> format_agent_text(std::string_view format,
                                             std::span<const std::uint64_t> arguments,
                                             const RegisterMemoryReader& reader, std::size_t limit);

}  // namespace chronovisor::gdb
