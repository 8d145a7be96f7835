// Owns an exception the guest must receive, as a value. It is data, never an
// Error: what the guest does wrong is part of its run. Any thread.
#pragma once

#include <cstdint>

#include "vmm/cpu/state/registers.h"

namespace chronovisor {

struct GuestFault {
  std::uint8_t vector = 0;
  bool has_error_code = false;
  std::uint32_t error_code = 0;
  std::uint64_t cr2 = 0;  ///< for #PF: the faulting linear address

  [[nodiscard]] static constexpr GuestFault plain(std::uint8_t vector) {
    return {vector, false, 0, 0};
  }
  [[nodiscard]] static constexpr GuestFault with_code(std::uint8_t vector,
                                                      std::uint32_t error_code) {
    return {vector, true, error_code, 0};
  }
  [[nodiscard]] static constexpr GuestFault page(std::uint64_t linear, std::uint32_t error_code) {
    return {kPageFault, true, error_code, linear};
  }
};

}  // namespace chronovisor
