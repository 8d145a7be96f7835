// Owns reading what is no RAM the way a debugger may: device registers whose reading
// changes nothing. The thread that owns the machine.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/machine/machine.h"

namespace chronovisor {

/// Whether the local APIC has a register of this number (offset / 16). Reading another
/// would be an error that the APIC remembers.
[[nodiscard]] constexpr bool has_lapic_register(std::uint64_t number) {
  return number == 0x2 || number == 0x3 || (number >= 0x8 && number <= 0xa) ||
         (number >= 0xd && number <= 0x28) || (number >= 0x30 && number <= 0x39) || number == 0x3e;
}

/// RAM, ROM, a screen's memory, and the registers of the local and I/O APIC. What else
/// there may be is not read, since that could change it.
/// @return how many bytes from the start could be read
std::size_t read_physical_memory(Machine& machine, GuestPhysical address,
                                 std::span<std::uint8_t> out);

/// The same by linear address, through the page tables as they are now.
std::size_t read_debugger_memory(Machine& machine, std::uint64_t address,
                                 std::span<std::uint8_t> out);

}  // namespace chronovisor
