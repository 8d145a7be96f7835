// Owns reading guest memory by linear address the way a debugger does: through
// the page tables as they are now, without the guest noticing. The thread that
// owns the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "vmm/machine/machine.h"

namespace chronovisor {

/// @return how many bytes from the start could be read; less than asked for
/// where memory is not mapped, or is none (registers of a device)
std::size_t read_linear_memory(Machine& machine, std::uint64_t address,
                               std::span<std::uint8_t> out);

/// The little-endian number of 1 to 8 bytes there, if all of it can be read.
[[nodiscard]] std::optional<std::uint64_t> read_linear_value(Machine& machine,
                                                             std::uint64_t address,
                                                             std::uint64_t length);

}  // namespace chronovisor
