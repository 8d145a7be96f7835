// Owns the decimal adjustments, which exist outside 64-bit mode only.
// Undefined flags, as on Intel processors: SF, ZF and PF describe AL, the others
// are 0; after AAD all six are those of its addition. Stateless.
#pragma once

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

inline void daa(Cpu& cpu, const Instruction& /*i*/) {
  const u8 old = cpu.reg<u8>(kRax);
  const bool old_carry = cpu.flags.cf();
  const bool adjust = (old & 0xf) > 9 || cpu.flags.af();
  const bool carry = old > 0x99 || old_carry;
  const u8 result = static_cast<u8>(old + (adjust ? 6 : 0) + (carry ? 0x60 : 0));
  cpu.set_reg<u8>(kRax, result);
  cpu.flags.set_result<u8>(result, carry, false, adjust);
}

inline void das(Cpu& cpu, const Instruction& /*i*/) {
  const u8 old = cpu.reg<u8>(kRax);
  const bool old_carry = cpu.flags.cf();
  const bool adjust = (old & 0xf) > 9 || cpu.flags.af();
  const bool high = old > 0x99 || old_carry;
  const bool borrow = high || (adjust && old < 6);  // unlike DAA: the low step's borrow stays
  const u8 result = static_cast<u8>(old - (adjust ? 6 : 0) - (high ? 0x60 : 0));
  cpu.set_reg<u8>(kRax, result);
  cpu.flags.set_result<u8>(result, borrow, false, adjust);
}

inline void finish_ascii_adjust(Cpu& cpu, u16 ax, bool adjust) {
  ax = static_cast<u16>(ax & 0xff0f);
  cpu.set_reg<u16>(kRax, ax);
  cpu.flags.set_result<u8>(static_cast<u8>(ax), adjust, false, adjust);
}
inline void aaa(Cpu& cpu, const Instruction& /*i*/) {
  const u16 ax = cpu.reg<u16>(kRax);
  const bool adjust = (ax & 0xf) > 9 || cpu.flags.af();
  finish_ascii_adjust(cpu, static_cast<u16>(ax + (adjust ? 0x106 : 0)), adjust);
}
inline void aas(Cpu& cpu, const Instruction& /*i*/) {
  const u16 ax = cpu.reg<u16>(kRax);
  const bool adjust = (ax & 0xf) > 9 || cpu.flags.af();
  finish_ascii_adjust(cpu, static_cast<u16>(ax - (adjust ? 0x106 : 0)), adjust);
}

inline void aam(Cpu& cpu, const Instruction& i) {
  const unsigned base = static_cast<unsigned>(i.immediate & 0xff);
  if (base == 0) cpu.raise(kDivideError);
  const unsigned al = cpu.reg<u8>(kRax);
  cpu.set_reg<u16>(kRax, static_cast<u16>(((al / base) << 8) | (al % base)));
  cpu.flags.set_logic<u8>(static_cast<u8>(al % base));
}
inline void aad(Cpu& cpu, const Instruction& i) {
  const u8 low = cpu.reg<u8>(kRax);
  const u8 product =
      static_cast<u8>(cpu.reg<u8>(kHighByte | kRax) * static_cast<unsigned>(i.immediate & 0xff));
  const u8 sum = static_cast<u8>(low + product);
  cpu.set_reg<u16>(kRax, sum);
  cpu.flags.set_add<u8>(low, product, sum);
}

}  // namespace chronovisor::execute
