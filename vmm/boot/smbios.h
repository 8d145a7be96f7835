// Owns the SMBIOS tables of a machine: what it is called, its processor, its memory.
// Knows no firmware. Plain functions; any thread.
// Source: DMTF DSP0134, System Management BIOS Reference Specification 2.8.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace chronovisor {

[[nodiscard]] Bytes smbios_tables(std::uint64_t memory_bytes);
/// The entry point for tables of smbios_tables(), less their address and the checksums,
/// which firmware works out.
[[nodiscard]] Bytes smbios_anchor(std::uint64_t memory_bytes);

}  // namespace chronovisor
