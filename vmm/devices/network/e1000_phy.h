// Owns the physical layer within the 82540EM, as its driver sees it by MDI: a
// transceiver that is always plugged in, to a partner of 1000 Mb/s, and negotiates in
// no time. Knows no card. One thread a machine.
// Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual, 8.x "PHY registers"; IEEE 802.3 clause 22.
#pragma once

#include <array>
#include <cstdint>

#include "base/state.h"

namespace chronovisor {

class E1000Phy {
 public:
  void reset();
  void visit_state(StateVisitor& visitor);

  [[nodiscard]] std::uint16_t read(unsigned number) const;
  enum class Change : std::uint8_t { none, link };
  /// @return whether the link was negotiated anew, or went up or down
  Change write(unsigned number, std::uint16_t value);
  [[nodiscard]] bool link_up() const;
  /// What is sent comes back.
  [[nodiscard]] bool loopback() const;

 private:
  static constexpr unsigned kRegisters = 32;
  std::array<std::uint16_t, kRegisters> registers_{};
};

}  // namespace chronovisor
