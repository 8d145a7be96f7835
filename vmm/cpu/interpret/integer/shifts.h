// Owns shifts and rotates, single and double. Where the manual leaves OF open
// (counts above 1) it is what a shift by one would have given, and AF is 0
// after a shift; both are what current Intel processors do. Stateless.
#pragma once

#include <bit>

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

// Operations get a count that is already masked and not zero.
struct Shl {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    const T result = static_cast<T>(u64{a} << count);
    const bool carry = count <= kBits<T> && bit_of(a, kBits<T> - count);
    flags.set_result<T>(result, carry, top_bit(static_cast<T>(a ^ (a << 1))));
    return result;
  }
};
struct Shr {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    const T result = static_cast<T>(u64{a} >> count);
    flags.set_result<T>(result, bit_of(u64{a}, count - 1), top_bit(a));
    return result;
  }
};
struct Sar {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    const auto wide = static_cast<std::int64_t>(static_cast<std::make_signed_t<T>>(a));
    const T result = static_cast<T>(wide >> count);
    flags.set_result<T>(result, bit_of(wide, count - 1), false);
    return result;
  }
};
/// ROL and ROR of a register by an immediate other than 1 leave OF alone; by CL or in
/// memory they do not. Measured on an Intel processor.
enum class OverflowFlag : std::uint8_t { as_for_one, kept_unless_one };
template <OverflowFlag Rule>
struct Rol {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    const T result = std::rotl(a, static_cast<int>(count % kBits<T>));
    flags.set_cf(bit_of(result, 0));
    if (Rule == OverflowFlag::as_for_one || count == 1) {
      flags.set_of(top_bit(static_cast<T>(a ^ (a << 1))));
    }
    return result;
  }
};
template <OverflowFlag Rule>
struct Ror {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    const T result = std::rotr(a, static_cast<int>(count % kBits<T>));
    flags.set_cf(top_bit(result));
    if (Rule == OverflowFlag::as_for_one || count == 1) flags.set_of(top_bit(a) != bit_of(a, 0));
    return result;
  }
};
/// Rotates through CF turn kBits + 1 bits; a whole turn leaves the flags alone.
struct Rcl {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    count %= kBits<T> + 1;
    if (count == 0) return a;
    const u64 wide = a;
    const u64 carry = flags.cf() ? 1 : 0;
    const T result = static_cast<T>((count == kBits<T> ? 0 : wide << count) |
                                    (carry << (count - 1)) | ((wide >> (kBits<T> - count)) >> 1));
    flags.set_cf(bit_of(wide, kBits<T> - count));
    flags.set_of(top_bit(static_cast<T>(a ^ (a << 1))));
    return result;
  }
};
struct Rcr {
  template <class T>
  static T apply(Flags& flags, T a, unsigned count) {
    count %= kBits<T> + 1;
    if (count == 0) return a;
    const u64 wide = a;
    const u64 carry = flags.cf() ? 1 : 0;
    const T result =
        static_cast<T>((count == kBits<T> ? 0 : wide >> count) | (carry << (kBits<T> - count)) |
                       ((wide << (kBits<T> - count)) << 1));
    flags.set_cf(bit_of(wide, count - 1));
    flags.set_of(top_bit(a) != (carry != 0));
    return result;
  }
};

struct CountOne {
  static unsigned get(Cpu& /*cpu*/, const Instruction& /*i*/) { return 1; }
};
struct CountImmediate {
  static unsigned get(Cpu& /*cpu*/, const Instruction& i) {
    return static_cast<unsigned>(i.immediate);
  }
};
struct CountCl {
  static unsigned get(Cpu& cpu, const Instruction& /*i*/) { return cpu.reg<u8>(kRcx); }
};

template <class T>
[[nodiscard]] inline unsigned masked_count(unsigned count) {
  return count & (sizeof(T) == 8 ? 63U : 31U);
}

template <class Op, class Count>
struct ShiftRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const unsigned count = masked_count<T>(Count::get(cpu, i));
    T value = cpu.reg<T>(i.rm);
    if (count != 0) [[likely]]
      value = Op::template apply<T>(cpu.flags, value, count);
    cpu.set_reg<T>(i.rm, value);  // also with count 0: a 32-bit register loses its upper half
  }
};
template <class Op, class Count>
struct ShiftMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const unsigned count = masked_count<T>(Count::get(cpu, i));
    const u64 offset = cpu.effective_address(i);
    const T value = cpu.load_for_update<T>(i.segment, offset);
    if (count == 0) return;
    cpu.store<T>(i.segment, offset, Op::template apply<T>(cpu.flags, value, count));
  }
};

/// A 16-bit operand and a count above 16 are undefined; there the bits come
/// from destination : source : destination, as on Intel processors.
struct Shld {
  template <class T>
  static T apply(Flags& flags, T a, T b, unsigned count) {
    T result;
    bool carry;
    if constexpr (sizeof(T) == 2) {
      const u64 all = (u64{a} << 32) | (u64{b} << 16) | a;
      result = static_cast<T>((all << count) >> 32);
      carry = bit_of(all, 48 - count);
    } else {
      result = static_cast<T>((a << count) | (b >> (kBits<T> - count)));
      carry = bit_of(a, kBits<T> - count);
    }
    flags.set_result<T>(result, carry, top_bit(static_cast<T>(a ^ (a << 1))));
    return result;
  }
};
struct Shrd {
  template <class T>
  static T apply(Flags& flags, T a, T b, unsigned count) {
    T result;
    bool carry;
    if constexpr (sizeof(T) == 2) {
      const u64 all = (u64{a} << 32) | (u64{b} << 16) | a;
      result = static_cast<T>(all >> count);
      carry = bit_of(all, count - 1);
    } else {
      result = static_cast<T>((a >> count) | (b << (kBits<T> - count)));
      carry = bit_of(a, count - 1);
    }
    flags.set_result<T>(result, carry, top_bit(a) != bit_of(b, 0));
    return result;
  }
};

template <class Op, class Count>
struct DoubleShiftRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const unsigned count = masked_count<T>(Count::get(cpu, i));
    T value = cpu.reg<T>(i.rm);
    if (count != 0) [[likely]] {
      value = Op::template apply<T>(cpu.flags, value, cpu.reg<T>(i.reg), count);
    }
    cpu.set_reg<T>(i.rm, value);
  }
};
template <class Op, class Count>
struct DoubleShiftMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const unsigned count = masked_count<T>(Count::get(cpu, i));
    const u64 offset = cpu.effective_address(i);
    const T value = cpu.load_for_update<T>(i.segment, offset);
    if (count == 0) return;
    cpu.store<T>(i.segment, offset,
                 Op::template apply<T>(cpu.flags, value, cpu.reg<T>(i.reg), count));
  }
};

}  // namespace chronovisor::execute
