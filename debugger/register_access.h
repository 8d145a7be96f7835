// Owns the translation between the debugger's register numbers and a machine's
// state. Knows neither protocol nor timeline. The thread that owns the machine.
#pragma once

#include <cstdint>
#include <span>

#include "gdbstub/x86_registers.h"
#include "vmm/machine/machine.h"

namespace chronovisor::debugger {

/// Fills `out` little-endian, as wide as the register's description says.
/// @return false when there is no such register
bool read_register(Machine& machine, std::size_t index, std::span<std::uint8_t> out);

/// Throws Error{usage} when the register is read-only or the value is not one
/// that it can hold.
void write_register(Machine& machine, std::size_t index, ByteView value);

}  // namespace chronovisor::debugger
