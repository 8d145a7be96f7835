// Owns the door for message-signalled interrupts: a device's write to the
// address range of the APICs. Knows no APIC. One thread a machine.
// Source: Intel SDM vol. 3A, "Message Signalled Interrupts".
#pragma once

#include <cstdint>

namespace chronovisor {

class MessageInterrupts {
 public:
  virtual ~MessageInterrupts() = default;
  /// A 32-bit write of `data` to `address` by a device. An address that is none
  /// of an APIC's (FEExxxxxH) and a message that nobody takes are dropped.
  virtual void send_message_interrupt(std::uint64_t address, std::uint32_t data) = 0;
};

}  // namespace chronovisor
