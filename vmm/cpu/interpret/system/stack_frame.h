// Owns frames pushed by far calls and event delivery: built whole, checked
// whole, then written, so that a fault leaves nothing behind; and the finding
// of the inner stack in the TSS. One thread a machine.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// A stack to push on: its segment (ignored when `width` is 8), pointer, the
/// width of the pointer in bytes and the privilege it is used at.
struct StackTarget {
  SegmentRegister ss;
  std::uint64_t sp = 0;
  unsigned width = 8;
  unsigned cpl = 0;
};

class StackFrame {
 public:
  /// Faults name `error_code` in #SS.
  StackFrame(Cpu& cpu, const StackTarget& target, std::uint32_t error_code)
      : cpu_(cpu), target_(target), error_code_(error_code), pointer_(target.sp) {}

  /// Adds a value of `size` bytes (2, 4 or 8) below the last. Raises #SS when it
  /// is outside the segment or not canonical.
  void push(std::uint64_t value, unsigned size);
  /// Raises whatever page fault the writes would, then writes them.
  void write();
  /// The stack pointer below everything pushed.
  [[nodiscard]] std::uint64_t pointer() const { return pointer_; }

 private:
  struct Entry {
    std::uint64_t offset = 0;
    std::uint64_t linear = 0;
    std::uint64_t value = 0;
    unsigned size = 0;
  };
  [[nodiscard]] bool at_inner_privilege() const;
  void probe();
  template <class T>
  void store(const Entry& entry);

  static constexpr std::size_t kMostEntries = 36;  // 31 parameters, SS, ESP, CS, EIP
  Cpu& cpu_;
  StackTarget target_;
  std::uint32_t error_code_;
  std::uint64_t pointer_;
  std::array<Entry, kMostEntries> entries_{};
  std::size_t count_ = 0;
};

/// The stack in use.
[[nodiscard]] StackTarget current_stack(Cpu& cpu);

/// The stack for privilege `cpl` from a 16-bit or 32-bit TSS, checked.
/// Raises #TS or #SS with `ext`. Source: SDM vol. 3A, "Stack Switching".
[[nodiscard]] StackTarget inner_stack_legacy(Cpu& cpu, unsigned cpl, std::uint32_t ext);

/// RSP for privilege `cpl`, or of IST entry `ist` if that is not 0, from the
/// 64-bit TSS; SS becomes null with RPL = cpl. Raises #TS with `ext`.
[[nodiscard]] StackTarget inner_stack_long(Cpu& cpu, unsigned cpl, unsigned ist, std::uint32_t ext);

/// Makes `target` with pointer `sp` the stack.
void install_stack(Cpu& cpu, const StackTarget& target, std::uint64_t sp);

/// Writes RSP, ESP or SP, by `width`.
void set_stack_pointer_width(Cpu& cpu, unsigned width, std::uint64_t value);

/// Reads values upwards from the current stack without moving it.
class StackReader {
 public:
  StackReader(Cpu& cpu, unsigned size) : cpu_(cpu), pointer_(cpu.gpr(kRsp)), size_(size) {}
  /// The next value of the operand size, zero-extended.
  [[nodiscard]] std::uint64_t next();
  void skip(std::uint64_t bytes) { pointer_ += bytes; }
  [[nodiscard]] std::uint64_t pointer() const { return pointer_; }

 private:
  Cpu& cpu_;
  std::uint64_t pointer_;
  unsigned size_;
};

}  // namespace chronovisor
