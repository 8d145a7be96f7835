// Owns bit tests, bit scans, POPCNT, BSWAP and CRC32. Stateless.
#pragma once

#include <array>
#include <bit>

#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

// What BT and its relatives do with the bit.
struct BitKeep {
  static constexpr bool kWrites = false;
  template <class T>
  static T apply(T value, T /*mask*/) {
    return value;
  }
};
struct BitSet {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(T value, T mask) {
    return static_cast<T>(value | mask);
  }
};
struct BitReset {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(T value, T mask) {
    return static_cast<T>(value & ~mask);
  }
};
struct BitComplement {
  static constexpr bool kWrites = true;
  template <class T>
  static T apply(T value, T mask) {
    return static_cast<T>(value ^ mask);
  }
};

template <class T>
[[nodiscard]] inline unsigned bit_in_operand(u64 bit_offset) {
  return static_cast<unsigned>(bit_offset & (kBits<T> - 1));
}

/// Second is SecondIsReg or SecondIsImmediate (see arithmetic.h).
template <class Op, class Second>
struct BitRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const unsigned bit = bit_in_operand<T>(Second::template get<T>(cpu, i));
    const T value = cpu.reg<T>(i.rm);
    if constexpr (Op::kWrites) {
      cpu.set_reg<T>(i.rm, Op::template apply<T>(value, static_cast<T>(T{1} << bit)));
    }
    cpu.flags.set_cf(bit_of(value, bit));
  }
};

template <class Op, class T>
void bit_in_memory(Cpu& cpu, const Instruction& i, u64 offset, unsigned bit) {
  T value;
  if constexpr (Op::kWrites) {
    value = cpu.load_for_update<T>(i.segment, offset);
    cpu.store<T>(i.segment, offset, Op::template apply<T>(value, static_cast<T>(T{1} << bit)));
  } else {
    value = cpu.load<T>(i.segment, offset);
  }
  cpu.flags.set_cf(bit_of(value, bit));
}
template <class Op>
struct BitMemoryImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    bit_in_memory<Op, T>(cpu, i, cpu.effective_address(i), bit_in_operand<T>(i.immediate));
  }
};
/// The register is a signed offset into a bit string that starts at the operand.
template <class Op>
struct BitMemoryReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T bits = cpu.reg<T>(i.reg);
    const auto units =
        std::int64_t{static_cast<std::make_signed_t<T>>(bits)} >> std::countr_zero(kBits<T>);
    const u64 offset =
        Cpu::cut(cpu.effective_address(i) + static_cast<u64>(units * std::int64_t{sizeof(T)}),
                 i.address_size);
    bit_in_memory<Op, T>(cpu, i, offset, bit_in_operand<T>(bits));
  }
};

struct ScanForward {
  template <class T>
  static unsigned apply(T value) {
    return static_cast<unsigned>(std::countr_zero(value));
  }
};
struct ScanReverse {
  template <class T>
  static unsigned apply(T value) {
    return kBits<T> - 1 - static_cast<unsigned>(std::countl_zero(value));
  }
};
/// BSF and BSR. A zero source leaves the whole destination alone. PF comes from
/// the index and the other undefined flags are 0, as on Intel processors.
template <class Op, class Source>
struct BitScan {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T value = Source::template load<T>(cpu, i);
    if (value == 0) {
      cpu.flags.set_arithmetic(kZf | kPf);
      return;
    }
    const unsigned index = Op::template apply<T>(value);
    cpu.set_reg<T>(i.reg, static_cast<T>(index));
    cpu.flags.set_arithmetic((std::popcount(index) & 1) == 0 ? kPf : 0U);
  }
};

template <class Source>
struct Popcnt {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T value = Source::template load<T>(cpu, i);
    cpu.set_reg<T>(i.reg, static_cast<T>(std::popcount(value)));
    cpu.flags.set_arithmetic(value == 0 ? kZf : 0U);
  }
};

template <class T>
[[nodiscard]] inline T byte_swapped(T value) {
  if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(value);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    return __builtin_bswap64(value);
  }
}
/// The 16-bit form is undefined; processors clear the low word.
struct Bswap {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if constexpr (sizeof(T) == 2) {
      cpu.set_reg<T>(i.reg, 0);
    } else {
      cpu.set_reg<T>(i.reg, byte_swapped<T>(cpu.reg<T>(i.reg)));
    }
  }
};

/// CRC-32C, bits reflected: polynomial 0x11edc6f41. Source: SDM vol. 2A, "CRC32".
inline constexpr std::array<u32, 256> kCrc32cTable = [] {
  std::array<u32, 256> table{};
  for (u32 byte = 0; byte < 256; ++byte) {
    u32 crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    table[byte] = crc;
  }
  return table;
}();
template <class T>
[[nodiscard]] inline u32 crc32c(u32 crc, T data) {
  u64 rest = data;
  for (unsigned k = 0; k < sizeof(T); ++k, rest >>= 8) {
    crc = (crc >> 8) ^ kCrc32cTable[(crc ^ rest) & 0xff];
  }
  return crc;
}
/// The destination is a 32-bit value in a register of 32 or 64 bits.
template <class Source>
struct Crc32 {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T data = Source::template load<T>(cpu, i);
    cpu.set_reg<u32>(i.reg, crc32c<T>(cpu.reg<u32>(i.reg), data));
  }
};

}  // namespace chronovisor::execute
