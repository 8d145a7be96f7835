// Owns the bytes of guest memory that a step on the host may change, as they were
// before it, so that a step that ran too far can be undone. Knows no instruction.
// One thread a machine.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/memory/ram.h"

namespace chronovisor::kvm {

class UndoLog {
 public:
  UndoLog(const Cpu& cpu, Ram& ram) : cpu_(cpu), ram_(ram) {}

  void clear() { used_ = 0; }
  /// Remembers [linear, linear + size), as far as it is mapped to RAM; `size` is at
  /// most kMost.
  void remember(std::uint64_t linear, std::uint64_t size);
  /// Puts back what was remembered.
  void restore();

  static constexpr std::uint64_t kMost = 64;

 private:
  struct Entry {
    GuestPhysical at;
    std::uint64_t size = 0;
    std::array<std::uint8_t, kMost> bytes{};
  };

  const Cpu& cpu_;
  Ram& ram_;
  std::vector<Entry> entries_;
  std::size_t used_ = 0;
};

}  // namespace chronovisor::kvm
