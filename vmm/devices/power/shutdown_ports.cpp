#include "vmm/devices/power/shutdown_ports.h"

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kSleepEnable = 1U << 13;
constexpr std::string_view kWord = "Shutdown";

}  // namespace

void ForeignSleepControl::declare(Declaration& declaration) {
  port_ = declaration.ports(port_, 2, *this);
}

std::uint32_t ForeignSleepControl::read_port(std::uint16_t /*offset*/, unsigned width) {
  return width >= 4 ? 0xffffffff : (1U << (8 * width)) - 1;
}

void ForeignSleepControl::write_port(std::uint16_t offset, unsigned /*width*/,
                                     std::uint32_t value) {
  if (((value << (8 * offset)) & kSleepEnable) != 0) control_.power_off(port_);
}

void ShutdownWord::declare(Declaration& declaration) {
  port_ = declaration.ports(0x8900, 1, *this);
}

void ShutdownWord::visit_state(StateVisitor& visitor) { visitor.field("matched", matched_); }
void ShutdownWord::reset() { matched_ = 0; }

std::uint8_t ShutdownWord::read_byte(std::uint16_t /*offset*/) { return 0xff; }

void ShutdownWord::write_byte(std::uint16_t /*offset*/, std::uint8_t value) {
  const char c = static_cast<char>(value);
  if (matched_ >= kWord.size() || kWord[matched_] != c) matched_ = 0;
  if (kWord[matched_] == c) ++matched_;
  if (matched_ < kWord.size()) return;
  matched_ = 0;
  control_.power_off(port_);
}

}  // namespace chronovisor
