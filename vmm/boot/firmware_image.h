// Owns what a machine that starts from firmware is given: the check of its ROM image,
// and what its firmware is told of the machine. Knows no device and no CPU. Plain
// functions; one thread a machine.
#pragma once

#include <cstdint>
#include <vector>

#include "vmm/boot/boot.h"
#include "vmm/devices/core/firmware_facts.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

/// Throws Error{bad_input} for an image that is no ROM of 64 KiB to 16 MiB, or a video
/// BIOS that is too large.
void check_firmware(const BootRequest& request);

/// The latter alone: other guests than firmware may find one, too.
void check_video_bios(const BootRequest& request);

/// Numbers, the memory map, the ACPI tables with the script that places them, SMBIOS,
/// and the order of devices to start from.
/// Source: QEMU, docs/specs/fw_cfg.rst; SeaBIOS, src/fw/romfile_loader.h.
[[nodiscard]] std::vector<FirmwareItem> firmware_items(const Ram& ram, const FirmwareFacts& facts,
                                                       const BootRequest& request);

}  // namespace chronovisor
