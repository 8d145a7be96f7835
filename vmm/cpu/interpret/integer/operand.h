// Owns the small vocabulary the instruction functions share: operand types and
// the step from a family of functions, one a type, to the handlers of a row.
// A family is a struct with `template <class T> static void run(Cpu&, const
// Instruction&)`. Knows no instruction. Stateless; any thread.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor::execute {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
__extension__ using u128 = unsigned __int128;
__extension__ using s128 = __int128;

template <class T>
inline constexpr unsigned kBits = 8 * sizeof(T);

template <class T>
[[nodiscard]] constexpr bool bit_of(T value, unsigned index) {
  return ((value >> index) & 1) != 0;
}
template <class T>
[[nodiscard]] constexpr bool top_bit(T value) {
  return bit_of(value, kBits<T> - 1);
}

/// Handlers of a family for byte, word, doubleword and quadword operands.
template <class Family>
inline constexpr std::array<Handler, 4> kAllSizes{
    &Family::template run<u8>, &Family::template run<u16>, &Family::template run<u32>,
    &Family::template run<u64>};
/// The same without byte operands.
template <class Family>
inline constexpr std::array<Handler, 4> kWordSizes{
    nullptr, &Family::template run<u16>, &Family::template run<u32>, &Family::template run<u64>};
/// Instructions that do not exist in 64-bit mode.
template <class Family>
inline constexpr std::array<Handler, 4> kLegacySizes{nullptr, &Family::template run<u16>,
                                                     &Family::template run<u32>, nullptr};

template <class Registers, class Memory>
inline constexpr Handlers kAllForms{kAllSizes<Registers>, kAllSizes<Memory>};
template <class Registers, class Memory>
inline constexpr Handlers kWordForms{kWordSizes<Registers>, kWordSizes<Memory>};

/// For rows without ModRM, or whose function is the same in both forms.
template <class Family>
inline constexpr Handlers kAllSame{kAllSizes<Family>, kAllSizes<Family>};
template <class Family>
inline constexpr Handlers kWordSame{kWordSizes<Family>, kWordSizes<Family>};
template <class Family>
inline constexpr Handlers kLegacySame{kLegacySizes<Family>, kLegacySizes<Family>};

/// Reads and writes the operand that ModRM.rm names, when it is a register.
struct InRegister {
  template <class T>
  static T load(Cpu& cpu, const Instruction& i) {
    return cpu.reg<T>(i.rm);
  }
};
/// The same when it is in memory.
struct InMemory {
  template <class T>
  static T load(Cpu& cpu, const Instruction& i) {
    return cpu.load_operand<T>(i);
  }
};

inline void do_nothing(Cpu& /*cpu*/, const Instruction& /*i*/) {}

}  // namespace chronovisor::execute
