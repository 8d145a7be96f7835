// Owns one attempt to enter a handler through the IVT or the IDT. It raises
// GuestFault if the attempt faults; events.cpp decides what then. One thread a
// machine.
#pragma once

#include <cstdint>
#include <optional>

#include "vmm/cpu/cpu.h"
#include "vmm/cpu/interpret/system/events.h"

namespace chronovisor {

struct Event {
  std::uint8_t vector = 0;
  EventKind kind = EventKind::exception;
  std::optional<std::uint32_t> error_code{};
  bool resume_flag = false;  ///< push RF = 1: an exception of the fault class

  /// INT n, INT3 and INTO check the gate's DPL and fault with EXT = 0.
  [[nodiscard]] bool from_program() const {
    return kind == EventKind::software_interrupt || kind == EventKind::software_exception;
  }
  [[nodiscard]] std::uint32_t ext() const { return from_program() ? 0 : 1; }
};

/// Enters the handler of `event`; RIP is the return address.
/// @return a fault found after a task switch, in the new task; the others are raised
/// Source: SDM vol. 3A, "Exception and Interrupt Handling in Protected Mode", "64-bit
/// Mode", and vol. 2, "INT n".
[[nodiscard]] std::optional<GuestFault> enter_handler(Cpu& cpu, const Event& event);

}  // namespace chronovisor
