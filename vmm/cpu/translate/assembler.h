// Owns the choice of host registers and the small vocabulary over Xbyak that
// emitted code is written in. Knows no guest instruction. One thread.
//
// RBP points at the Cpu's general registers; ten of the guest's live in host registers
// while emitted code runs, the others in memory; R9 holds the budget; RAX, R10 and R11
// are free for use within one instruction.
#pragma once

#include <array>
#include <cstdint>

#define XBYAK64
#include <xbyak/xbyak.h>

#include "vmm/cpu/state/registers.h"
#include "vmm/cpu/translate/code_buffer.h"

namespace chronovisor::translate {

/// Conditions as Jcc encodes them.
enum HostCondition : unsigned {
  kIfCarry = 2,
  kIfAboveEqual = 3,
  kIfZero = 4,
  kIfNotZero = 5,
  kIfBelowEqual = 6,
  kIfAbove = 7,
  kIfSign = 8,
};

/// Displacements from RBP.
struct Layout {
  std::int32_t budget, rip_base, raw_flags, tag, jumps, exit_value, scratch;
  std::int32_t execute, tell, translator;
  std::int32_t tlb;
  std::array<std::int32_t, kSegmentCount> segment_base, segment_limit, segment_shortcut;
  std::int32_t xmm, mxcsr, cr0, cr4;
  std::int32_t float_used;  ///< a byte: the host's MXCSR gathers flags for the guest
  std::int32_t kept_mxcsr;
};

inline constexpr int kNotPinned = -1;
/// Host register of each guest register.
inline constexpr std::array<int, 16> kHostOf{
    15, 1,          2,          3,          14, 13,         6,          7,
    8,  kNotPinned, kNotPinned, kNotPinned, 12, kNotPinned, kNotPinned, kNotPinned};

class Assembler : public Xbyak::CodeGenerator {
 public:
  Assembler(const CodeBuffer& buffer, const Layout& displacements)
      : CodeGenerator(buffer.size(), buffer.writable()), layout(displacements) {}

  const Layout layout;

  static constexpr int kT0 = 0, kT1 = 10, kT2 = 11;
  static constexpr int kBudget = 9;

  [[nodiscard]] static Xbyak::Reg sized(int index, unsigned bytes) {
    switch (bytes) {
      case 1:
        return Xbyak::Reg8(index, index >= 4 && index < 8);
      case 2:
        return Xbyak::Reg16(index);
      case 4:
        return Xbyak::Reg32(index);
      default:
        return Xbyak::Reg64(index);
    }
  }
  [[nodiscard]] static bool pinned(unsigned guest) { return kHostOf[guest] != kNotPinned; }
  [[nodiscard]] static Xbyak::Reg host(unsigned guest, unsigned bytes) {
    return sized(kHostOf[guest], bytes);
  }
  [[nodiscard]] Xbyak::Address at(std::int32_t displacement, unsigned bytes) const {
    return Xbyak::AddressFrame(bytes * 8)[Xbyak::RegExp(rbp) + displacement];
  }
  [[nodiscard]] Xbyak::Address slot(unsigned guest, unsigned bytes) const {
    return at(static_cast<std::int32_t>(guest * 8), bytes);
  }
  [[nodiscard]] static Xbyak::Address pointed(int base, unsigned bytes,
                                              std::int32_t displacement = 0) {
    return Xbyak::AddressFrame(bytes * 8)[Xbyak::RegExp(Xbyak::Reg64(base)) + displacement];
  }

  [[nodiscard]] std::uint32_t here() const { return static_cast<std::uint32_t>(getSize()); }
  /// JCC or JMP with a distance to be set later. @return where the distance is
  std::uint32_t jump_if(unsigned condition) {
    db(0x0f);
    db(static_cast<int>(0x80 | condition));
    dd(0);
    return here() - 4;
  }
  std::uint32_t jump() {
    db(0xe9);
    dd(0);
    return here() - 4;
  }
  void jump_to(std::uint32_t target) { set_distance(jump(), target); }
  void call_to(std::uint32_t target) {
    db(0xe8);
    dd(0);
    set_distance(here() - 4, target);
  }
  void set_distance(std::uint32_t at, std::uint32_t target) {
    const std::uint32_t distance = target - (at + 4);
    std::memcpy(top_ + at, &distance, 4);
  }
  /// The executable address of the first byte of all code: LEA from RIP.
  void address_of_code(const Xbyak::Reg64& to) {
    db(to.getIdx() >= 8 ? 0x4c : 0x48);
    db(0x8d);
    db(0x05 | (to.getIdx() & 7) << 3);
    dd(0);
    set_distance(here() - 4, 0);
  }
  void land(std::uint32_t at) { set_distance(at, here()); }

  void load_pinned() {
    for (unsigned g = 0; g < 16; ++g) {
      if (pinned(g)) mov(host(g, 8), slot(g, 8));
    }
    mov(Xbyak::Reg64(kBudget), at(layout.budget, 8));
  }
  void store_pinned() {
    for (unsigned g = 0; g < 16; ++g) {
      if (pinned(g)) mov(slot(g, 8), host(g, 8));
    }
    mov(at(layout.budget, 8), Xbyak::Reg64(kBudget));
  }
};

}  // namespace chronovisor::translate
