// Owns the messages between the I/O APIC and the local APIC. Knows neither; the
// machine implements ApicBus and passes each message to the other side. One
// thread a machine.
// Source: Intel SDM vol. 3A, chapter "Advanced Programmable Interrupt
// Controller"; 82093AA data sheet, section 3.2.4.
#pragma once

#include <cstdint>

namespace chronovisor {

enum class ApicDeliveryMode : std::uint8_t {
  fixed = 0,
  lowest_priority = 1,
  smi = 2,
  nmi = 4,
  init = 5,
  startup = 6,
  external = 7,  ///< ExtINT: the vector comes from the 8259A
};

enum class ApicDestinationMode : std::uint8_t { physical = 0, logical = 1 };
enum class ApicTrigger : std::uint8_t { edge = 0, level = 1 };

struct ApicMessage {
  std::uint8_t vector = 0;
  ApicDeliveryMode delivery_mode = ApicDeliveryMode::fixed;
  std::uint32_t destination = 0;  ///< 8 bits from the I/O APIC, 32 from an x2APIC
  ApicDestinationMode destination_mode = ApicDestinationMode::physical;
  ApicTrigger trigger = ApicTrigger::edge;
  auto operator<=>(const ApicMessage&) const = default;
};

class ApicBus {
 public:
  virtual ~ApicBus() = default;
  /// To the local APICs.
  virtual void deliver(const ApicMessage& message) = 0;
  /// To the I/O APICs: a local APIC finished a level-triggered `vector`.
  virtual void broadcast_eoi(std::uint8_t vector) = 0;
};

}  // namespace chronovisor
