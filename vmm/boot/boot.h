// Owns the one door through which a guest gets into RAM without firmware: picks
// the protocol for an image, writes the image, and says what the CPU holds at
// entry. The firmware tables are written by write_firmware_tables(). Knows no CPU and no device.
// One thread a machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "vmm/boot/boot_state.h"
#include "vmm/boot/memory_plan.h"
#include "vmm/memory/ram.h"

namespace chronovisor {

enum class BootKind : std::uint8_t {
  linux_kernel = 0,  ///< bzImage, or an ELF file with a PVH entry
  multiboot = 1,     ///< multiboot 1
  flat = 2,          ///< bytes at an address, entered in real mode
  firmware = 3,      ///< a ROM that ends at 4 GiB, entered at the reset vector
};

/// One file that is handed to the guest beside its kernel.
struct BootModule {
  std::string name;  ///< of the file, for messages only
  ByteView bytes;
  std::string arguments;  ///< passed to the guest word for word
};

/// What to boot. The views must stay valid during load_guest only.
struct BootRequest {
  static constexpr std::uint64_t kDefaultFlatAddress = 0x7c00;

  BootKind kind = BootKind::linux_kernel;
  std::string kernel_name;  ///< of the file, for messages only
  ByteView kernel;
  std::string initrd_name;
  ByteView initrd;                  ///< linux_kernel only; empty: none
  std::vector<BootModule> modules;  ///< multiboot, or an ELF kernel with a PVH entry
  std::string command_line;         ///< not for flat
  std::uint64_t flat_address = kDefaultFlatAddress;
  BootLayout layout = BootLayout::conventional;
  ByteView rng_seed;               ///< given to a bzImage as its boot-time entropy; empty: none
  ByteView variables;              ///< firmware only: what its flash holds; empty: it has none
  ByteView video_bios;             ///< the screen's option ROM; empty: none
  std::string boot_order = "cad";  ///< firmware only: letters of FirmwareFacts::BootDevice
};

/// Loads a guest that is no firmware into RAM as the Ram constructor leaves it (all zero). What it
/// writes is a pure function of the request's bytes and layout and the size of RAM;
/// no file name gets into the guest.
/// @return the CPU state at the guest's first instruction
/// Throws Error{bad_input, "name: what, where, what to do"} for an image that
/// cannot be used or does not fit.
BootCpuState load_guest(Ram& ram, const BootRequest& request);

}  // namespace chronovisor
