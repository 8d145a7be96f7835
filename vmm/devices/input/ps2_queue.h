// Owns the bytes that wait to go from a PS/2 device, or from the controller itself, to
// the guest. Knows no device. One thread a machine.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "base/state.h"

namespace chronovisor {

/// A ring of 16 bytes, as large as a keyboard's; a byte too many is dropped.
struct Ps2Queue {
  static constexpr unsigned kBytes = 16;
  std::array<std::uint8_t, kBytes> bytes{};
  std::uint8_t head = 0;
  std::uint8_t count = 0;

  [[nodiscard]] unsigned room() const { return kBytes - count; }
  void push(std::uint8_t byte) {
    if (count == kBytes) return;
    bytes[(head + count) % kBytes] = byte;
    ++count;
  }
  [[nodiscard]] std::uint8_t pop() {
    const std::uint8_t byte = bytes[head];
    bytes[head] = 0;
    head = static_cast<std::uint8_t>((head + 1) % kBytes);
    --count;
    return byte;
  }
  void visit(StateVisitor& visitor, const std::string& prefix) {
    visitor.field(prefix + "bytes", bytes);
    visitor.field(prefix + "head", head);
    visitor.field(prefix + "count", count);
    // A file may say anything; the indices must stay inside.
    head %= kBytes;
    count = std::min<std::uint8_t>(count, kBytes);
  }
};

}  // namespace chronovisor
