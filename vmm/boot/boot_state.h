// Owns the description of the CPU at a guest's first instruction, as a loader
// leaves it for the machine to copy into the CPU. Knows no CPU and no image
// format. Plain values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace chronovisor {

/// What the CPU executes at entry.
enum class BootMode : std::uint8_t { real16, protected32, long64 };

/// Hardware encoding of the general registers; r8 to r15 follow by number.
enum BootRegister : std::uint8_t {
  kBootRax = 0,
  kBootRcx = 1,
  kBootRdx = 2,
  kBootRbx = 3,
  kBootRsp = 4,
  kBootRbp = 5,
  kBootRsi = 6,
  kBootRdi = 7,
};

/// A segment register with its hidden part, as if loaded from a descriptor.
/// Source: Intel SDM vol. 3A, "Segment Descriptors".
struct BootSegment {
  std::uint16_t selector = 0;
  std::uint64_t base = 0;
  std::uint32_t limit_bytes = 0;  ///< offset of the last byte; already scaled by granularity
  std::uint8_t type = 0;          ///< the four type bits
  bool code_or_data = false;      ///< S
  std::uint8_t privilege = 0;     ///< DPL
  bool present = false;           ///< P
  bool available = false;         ///< AVL
  bool long_code = false;         ///< L
  bool default_big = false;       ///< D/B
  bool granularity = false;       ///< G

  bool operator==(const BootSegment&) const = default;
};

struct BootTable {
  std::uint64_t base = 0;
  std::uint16_t limit_bytes = 0;  ///< offset of the last byte

  bool operator==(const BootTable&) const = default;
};

/// Everything a loader decides about the CPU; what is not here has its value
/// after reset.
struct BootCpuState {
  BootMode mode = BootMode::real16;
  std::uint64_t rip = 0;
  std::array<std::uint64_t, 16> gpr{};  ///< rax rcx rdx rbx rsp rbp rsi rdi r8..r15
  std::uint64_t rflags = 2;
  std::uint64_t cr0 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;
  BootTable gdt;
  BootTable idt;
  BootSegment es, cs, ss, ds, fs, gs, ldtr, tr;

  /// The same value as gpr[kBootRsp].
  [[nodiscard]] std::uint64_t rsp() const { return gpr[kBootRsp]; }

  bool operator==(const BootCpuState&) const = default;
};

}  // namespace chronovisor
