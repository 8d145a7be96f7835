// Owns the ACPI tables as files that firmware places: the tables with offsets where
// there are to be addresses, and the script by which it makes addresses of them. Knows
// no firmware. Plain functions; any thread.
// Source: QEMU, docs/specs/fw_cfg.rst; SeaBIOS, src/fw/romfile_loader.h.
#pragma once

#include "base/bytes.h"
#include "vmm/devices/core/firmware_facts.h"

namespace chronovisor {

struct AcpiFiles {
  Bytes tables;  ///< FACS first, which is to lie at a multiple of 64
  Bytes rsdp;
  Bytes script;
};

[[nodiscard]] AcpiFiles acpi_files(const FirmwareFacts& facts);

}  // namespace chronovisor
