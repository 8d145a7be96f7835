// Owns reading a Linux guest's kernel memory at the moment the machine stands
// at: it finds the kernel's page tables and the image they map. Untrusted: the
// guest's memory may hold anything. Knows nothing of symbols. The thread that
// owns the machine, which must not move while this is used.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "vmm/machine/machine.h"

namespace chronovisor::linux_guest {

/// The kernel image as the guest has it mapped, from its first page on; pages
/// that are not mapped are zero.
struct KernelImage {
  std::uint64_t base = 0;
  Bytes bytes;
};

class KernelMemory {
 public:
  /// Throws Error{bad_input} when no Linux kernel is mapped at this position.
  explicit KernelMemory(Machine& machine);

  [[nodiscard]] KernelImage image() const;

  /// Where the kernel's own page tables map it.
  [[nodiscard]] std::optional<std::uint64_t> physical(std::uint64_t address) const;
  /// @return how many bytes from the start could be read
  std::size_t read(std::uint64_t address, std::span<std::uint8_t> out) const;
  /// Little-endian, of 1 to 8 bytes. Throws Error{bad_input} when unmapped.
  [[nodiscard]] std::uint64_t integer(std::uint64_t address, std::size_t size = 8) const;
  /// Up to the NUL or `limit` bytes; what cannot be printed, tabs and new
  /// lines excepted, becomes '?'.
  [[nodiscard]] std::string text(std::uint64_t address, std::size_t limit) const;

 private:
  struct Mapping {
    GuestPhysical physical;
    std::uint64_t bytes = 0;  ///< from here to the end of the page
  };
  [[nodiscard]] std::optional<Mapping> translate(GuestPhysical root, GuestLinear address) const;
  [[nodiscard]] std::uint64_t first_mapped() const;

  Machine& machine_;
  GuestPhysical root_;  ///< physical address of the kernel's PML4
  std::uint64_t base_ = 0;
};

}  // namespace chronovisor::linux_guest
