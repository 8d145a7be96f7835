// Owns moves, exchanges, conversions and the flag instructions of user mode.
// Stateless.
#pragma once

#include "vmm/cpu/interpret/integer/bits.h"
#include "vmm/cpu/interpret/integer/conditions.h"
#include "vmm/cpu/interpret/integer/operand.h"

namespace chronovisor::execute {

/// reg = rm.
template <class Source>
struct MovToReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, Source::template load<T>(cpu, i));
  }
};
struct MovRegisterReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.rm, cpu.reg<T>(i.reg));
  }
};
struct MovMemoryReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.store_operand<T>(i, cpu.reg<T>(i.reg));
  }
};
struct MovRegisterImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.rm, static_cast<T>(i.immediate));
  }
};
struct MovMemoryImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.store_operand<T>(i, static_cast<T>(i.immediate));
  }
};
struct MovPlusRegisterImmediate {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, static_cast<T>(i.immediate));
  }
};
struct MovFromMoffs {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(kRax, cpu.load<T>(i.segment, i.immediate));
  }
};
struct MovToMoffs {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.store<T>(i.segment, i.immediate, cpu.reg<T>(kRax));
  }
};

/// MOVZX from a From.
template <class Source, class From>
struct Movzx {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, static_cast<T>(Source::template load<From>(cpu, i)));
  }
};
/// MOVSX and MOVSXD from a From; a destination no wider than it gets a plain copy.
template <class Source, class From>
struct Movsx {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if constexpr (sizeof(T) <= sizeof(From)) {
      cpu.set_reg<T>(i.reg, Source::template load<T>(cpu, i));
    } else {
      const auto value = static_cast<std::make_signed_t<From>>(Source::template load<From>(cpu, i));
      cpu.set_reg<T>(i.reg, static_cast<T>(std::int64_t{value}));
    }
  }
};
struct MovbeToReg {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, byte_swapped<T>(cpu.load_operand<T>(i)));
  }
};
struct MovbeToMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.store_operand<T>(i, byte_swapped<T>(cpu.reg<T>(i.reg)));
  }
};
struct Lea {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    cpu.set_reg<T>(i.reg, static_cast<T>(cpu.effective_address(i)));
  }
};

struct XchgRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T value = cpu.reg<T>(i.rm);
    cpu.set_reg<T>(i.rm, cpu.reg<T>(i.reg));
    cpu.set_reg<T>(i.reg, value);
  }
};
struct XchgMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const u64 offset = cpu.effective_address(i);
    const T value = cpu.load_for_update<T>(i.segment, offset);
    cpu.store<T>(i.segment, offset, cpu.reg<T>(i.reg));
    cpu.set_reg<T>(i.reg, value);
  }
};
/// XCHG rAX, r. With rAX itself it is NOP, which leaves even the upper half alone.
struct XchgAccumulator {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    if (i.reg == kRax) return;
    const T value = cpu.reg<T>(kRax);
    cpu.set_reg<T>(kRax, cpu.reg<T>(i.reg));
    cpu.set_reg<T>(i.reg, value);
  }
};

struct XaddRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T destination = cpu.reg<T>(i.rm);
    const T source = cpu.reg<T>(i.reg);
    const T sum = static_cast<T>(destination + source);
    cpu.set_reg<T>(i.reg, destination);
    cpu.set_reg<T>(i.rm, sum);
    cpu.flags.set_add<T>(destination, source, sum);
  }
};
struct XaddMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const u64 offset = cpu.effective_address(i);
    const T destination = cpu.load_for_update<T>(i.segment, offset);
    const T source = cpu.reg<T>(i.reg);
    const T sum = static_cast<T>(destination + source);
    cpu.store<T>(i.segment, offset, sum);
    cpu.set_reg<T>(i.reg, destination);
    cpu.flags.set_add<T>(destination, source, sum);
  }
};

/// A 32-bit register that is not written keeps its upper half, here and in the
/// accumulator: measured on an Intel processor.
struct CmpxchgRegister {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T expected = cpu.reg<T>(kRax);
    const T value = cpu.reg<T>(i.rm);
    if (value == expected) {
      cpu.set_reg<T>(i.rm, cpu.reg<T>(i.reg));
    } else {
      cpu.set_reg<T>(kRax, value);
    }
    cpu.flags.set_sub<T>(expected, value, static_cast<T>(expected - value));
  }
};
/// Writes memory whatever the comparison says, as the processor does.
struct CmpxchgMemory {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const u64 offset = cpu.effective_address(i);
    const T expected = cpu.reg<T>(kRax);
    const T value = cpu.load_for_update<T>(i.segment, offset);
    const bool equal = value == expected;
    cpu.store<T>(i.segment, offset, equal ? cpu.reg<T>(i.reg) : value);
    if (!equal) cpu.set_reg<T>(kRax, value);
    cpu.flags.set_sub<T>(expected, value, static_cast<T>(expected - value));
  }
};
/// CMPXCHG8B, and CMPXCHG16B with REX.W.
inline void cmpxchg8b(Cpu& cpu, const Instruction& i) {
  const u64 offset = cpu.effective_address(i);
  const u64 expected = (cpu.reg<u64>(kRdx) << 32) | cpu.reg<u32>(kRax);
  const u64 value = cpu.load_for_update<u64>(i.segment, offset);
  const bool equal = value == expected;
  const u64 replacement = (cpu.reg<u64>(kRcx) << 32) | cpu.reg<u32>(kRbx);
  cpu.store<u64>(i.segment, offset, equal ? replacement : value);
  if (!equal) {
    cpu.set_reg<u32>(kRax, static_cast<u32>(value));
    cpu.set_reg<u32>(kRdx, static_cast<u32>(value >> 32));
  }
  cpu.flags.set_zf(equal);
}
inline void cmpxchg16b(Cpu& cpu, const Instruction& i) {
  const u64 offset = cpu.effective_address(i);
  if ((cpu.linear<Access::write>(i.segment, offset, 16) & 15) != 0) cpu.raise_gp0();
  const Xmm value = cpu.load_for_update<Xmm>(i.segment, offset);
  const bool equal = value.low == cpu.reg<u64>(kRax) && value.high == cpu.reg<u64>(kRdx);
  cpu.store<Xmm>(i.segment, offset, equal ? Xmm{cpu.reg<u64>(kRbx), cpu.reg<u64>(kRcx)} : value);
  if (!equal) {
    cpu.set_reg<u64>(kRax, value.low);
    cpu.set_reg<u64>(kRdx, value.high);
  }
  cpu.flags.set_zf(equal);
}

/// CBW, CWDE, CDQE.
struct ConvertAccumulator {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    constexpr unsigned kHalf = kBits<T> / 2;
    const u64 upper = cpu.gpr(kRax) << (64 - kHalf);
    cpu.set_reg<T>(kRax, static_cast<T>(static_cast<std::int64_t>(upper) >> (64 - kHalf)));
  }
};
/// CWD, CDQ, CQO.
struct ExtendIntoDx {
  template <class T>
  static void run(Cpu& cpu, const Instruction& /*i*/) {
    cpu.set_reg<T>(kRdx, top_bit(cpu.reg<T>(kRax)) ? static_cast<T>(~T{0}) : T{0});
  }
};

template <unsigned Code>
void setcc_register(Cpu& cpu, const Instruction& i) {
  cpu.set_reg<u8>(i.rm, condition<Code>(cpu.flags) ? 1 : 0);
}
template <unsigned Code>
void setcc_memory(Cpu& cpu, const Instruction& i) {
  cpu.store_operand<u8>(i, condition<Code>(cpu.flags) ? 1 : 0);
}
/// The source is read and the destination written whatever the condition.
template <unsigned Code, class Source>
struct Cmovcc {
  template <class T>
  static void run(Cpu& cpu, const Instruction& i) {
    const T value = Source::template load<T>(cpu, i);
    cpu.set_reg<T>(i.reg, condition<Code>(cpu.flags) ? value : cpu.reg<T>(i.reg));
  }
};

inline void lahf(Cpu& cpu, const Instruction& /*i*/) {
  cpu.set_reg<u8>(kHighByte | kRax, static_cast<u8>(cpu.flags.value()));
}
inline void sahf(Cpu& cpu, const Instruction& /*i*/) {
  constexpr u32 kLoaded = kCf | kPf | kAf | kZf | kSf;
  cpu.flags.set_arithmetic((cpu.reg<u8>(kHighByte | kRax) & kLoaded) | (cpu.flags.of() ? kOf : 0U));
}
inline void clc(Cpu& cpu, const Instruction& /*i*/) { cpu.flags.set_cf(false); }
inline void stc(Cpu& cpu, const Instruction& /*i*/) { cpu.flags.set_cf(true); }
inline void cmc(Cpu& cpu, const Instruction& /*i*/) { cpu.flags.set_cf(!cpu.flags.cf()); }
inline void clear_direction(Cpu& cpu, const Instruction& /*i*/) { cpu.flags.assign<kDf>(false); }
inline void set_direction(Cpu& cpu, const Instruction& /*i*/) { cpu.flags.assign<kDf>(true); }

inline void xlat(Cpu& cpu, const Instruction& i) {
  const u64 offset = Cpu::cut(cpu.gpr(kRbx) + cpu.reg<u8>(kRax), i.address_size);
  cpu.set_reg<u8>(kRax, cpu.load<u8>(i.segment, offset));
}
inline void salc(Cpu& cpu, const Instruction& /*i*/) {
  cpu.set_reg<u8>(kRax, cpu.flags.cf() ? 0xff : 0);
}
/// Caches are not modelled; what is left of CLFLUSH are the faults of a read.
inline void clflush(Cpu& cpu, const Instruction& i) {
  cpu.probe(i.segment, cpu.effective_address(i), 1, Access::read);
}

}  // namespace chronovisor::execute
