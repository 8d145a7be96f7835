#include "vmm/devices/firmware/rom.h"

#include <array>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {

void Rom::declare(Declaration& declaration) {
  constexpr std::uint64_t kEnd = 1ULL << 32;
  declaration.memory(kEnd - content_.size(), content_.size(), *this);
}

void Rom::visit_state(StateVisitor& /*visitor*/) {}

std::uint64_t Rom::read_mmio(std::uint64_t offset, unsigned width) {
  std::array<std::uint8_t, 8> bytes{};
  content_.read(offset, std::span(bytes).first(width));
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) value |= std::uint64_t{bytes[i]} << (8 * i);
  return value;
}

void Rom::write_mmio(std::uint64_t /*offset*/, unsigned /*width*/, std::uint64_t /*value*/) {}

}  // namespace chronovisor
