#include "vmm/devices/network/e1000_phy.h"

namespace chronovisor {
namespace {

enum Number : unsigned {
  kControl = 0,
  kStatus = 1,
  kIdentity1 = 2,
  kIdentity2 = 3,
  kAdvertisement = 4,
  kPartner = 5,
  kExpansion = 6,
  kGigabitControl = 9,
  kGigabitStatus = 10,
  kExtendedStatus = 15,
  kSpecificControl = 16,
  kSpecificStatus = 17,
  kInterruptEnable = 18,
  kExtendedControl = 20,
  kPageSelect = 29,
  kPage = 30,
};

constexpr std::uint16_t kControlReset = 1U << 15;
constexpr std::uint16_t kControlLoopback = 1U << 14;
constexpr std::uint16_t kControlPowerDown = 1U << 11;
constexpr std::uint16_t kControlRestart = 1U << 9;

constexpr std::uint16_t kStatusWithoutLink = 0x7949;
constexpr std::uint16_t kStatusLink = 1U << 2;
constexpr std::uint16_t kStatusNegotiated = 1U << 5;
constexpr std::uint16_t kSpecificStatusLink = 0xac00;  // 1000 Mb/s, full duplex, resolved, link

constexpr std::array<std::uint16_t, 32> kAfterReset = [] {
  std::array<std::uint16_t, 32> values{};
  values[kControl] = 0x1140;
  values[kIdentity1] = 0x0141;
  values[kIdentity2] = 0x0c20;
  values[kAdvertisement] = 0x0de1;
  values[kPartner] = 0xcde1;
  values[kExpansion] = 0x000d;
  values[kGigabitControl] = 0x0e00;
  values[kGigabitStatus] = 0x3c00;
  values[kExtendedStatus] = 0x3000;
  values[kSpecificControl] = 0x0360;
  values[kExtendedControl] = 0x0d60;
  return values;
}();

constexpr bool writable(unsigned number) {
  switch (number) {
    case kControl:
    case kAdvertisement:
    case 7:
    case kGigabitControl:
    case kSpecificControl:
    case kInterruptEnable:
    case kExtendedControl:
    case kPageSelect:
    case kPage:
      return true;
    default:
      return false;
  }
}

}  // namespace

void E1000Phy::reset() { registers_ = kAfterReset; }

void E1000Phy::visit_state(StateVisitor& visitor) {
  visitor.field("phy.registers", registers_);
  for (unsigned n = 0; n < kRegisters; ++n) {
    if (!writable(n)) registers_[n] = kAfterReset[n];
  }
}

bool E1000Phy::link_up() const { return (registers_[kControl] & kControlPowerDown) == 0; }

bool E1000Phy::loopback() const { return (registers_[kControl] & kControlLoopback) != 0; }

std::uint16_t E1000Phy::read(unsigned number) const {
  number %= kRegisters;
  if (number == kStatus) {
    return static_cast<std::uint16_t>(kStatusWithoutLink |
                                      (link_up() ? kStatusLink | kStatusNegotiated : 0));
  }
  if (number == kSpecificStatus) return link_up() ? kSpecificStatusLink : 0;
  return registers_[number];
}

E1000Phy::Change E1000Phy::write(unsigned number, std::uint16_t value) {
  number %= kRegisters;
  if (!writable(number)) return Change::none;
  const bool before = link_up();
  if (number == kControl && (value & kControlReset) != 0) {
    reset();
    return Change::link;
  }
  registers_[number] = value;
  if (number != kControl) return Change::none;
  const bool restart = (value & kControlRestart) != 0;
  registers_[kControl] &= static_cast<std::uint16_t>(~(kControlRestart | kControlReset));
  return restart || link_up() != before ? Change::link : Change::none;
}

}  // namespace chronovisor
