// Owns what an address space is to a debugger: which page tables are in use, told
// apart as a person does. The process-context number in CR3 is no part of it, nor
// is the bit by which Linux with page-table isolation tells the kernel's and the
// user's table of one process apart (CR3 ^ 0x1000). Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "vmm/machine/machine.h"

namespace chronovisor::session {

/// What is left of a CR3.
[[nodiscard]] constexpr std::uint64_t address_space(std::uint64_t cr3) {
  return cr3 & 0x000fffffffffe000ULL;
}

/// Whether the address belongs to user programs: other spaces have other memory there.
[[nodiscard]] constexpr bool is_user_address(std::uint64_t address) {
  return address < 0x0000800000000000ULL;
}

/// The present space, where what lies at `address` depends on it: in the half of the
/// addresses that is the user's, with paging on.
[[nodiscard]] inline std::optional<std::uint64_t> space_that_matters(const Machine& machine,
                                                                     std::uint64_t address) {
  const CpuState& state = machine.cpu().state;
  if (!is_user_address(address) || (state.cr0 & kCr0Pg) == 0) return std::nullopt;
  return address_space(state.cr3);
}

/// True of a machine in that space.
[[nodiscard]] inline std::function<bool(Machine&)> in_address_space(std::uint64_t space) {
  return [space](Machine& machine) { return address_space(machine.cpu().state.cr3) == space; };
}

}  // namespace chronovisor::session
