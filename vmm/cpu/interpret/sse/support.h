// Owns what all SSE and MMX handlers share: availability checks, operands, lane
// loops and the shorthand their table rows are written in. Knows no single
// instruction. One thread a machine.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "vmm/cpu/code/instruction.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor::sse {

// ============================ availability ============================================
/// #UD for CR0.EM or no CR4.OSFXSR, #NM for CR0.TS.
/// Source: SDM vol. 3A, "System Programming for Streaming SIMD Extensions".
[[noreturn]] void raise_sse_unavailable(Cpu& cpu);
inline void check_sse(Cpu& cpu) {
  const std::uint64_t bad = (cpu.state.cr0 & (kCr0Em | kCr0Ts)) | (~cpu.state.cr4 & kCr4Osfxsr);
  if (bad != 0) [[unlikely]] {
    raise_sse_unavailable(cpu);
  }
}
/// #UD for CR0.EM, #NM for CR0.TS, #MF for a pending x87 exception.
void check_mmx(Cpu& cpu);
/// For instructions that use both register files.
inline void check_sse_and_mmx(Cpu& cpu) {
  check_sse(cpu);
  check_mmx(cpu);
}

// ============================ registers ===============================================
/// Every MMX instruction but EMMS leaves TOP = 0 and all tags valid.
/// Source: SDM vol. 1, "MMX Instructions and the x87 FPU Tag Word".
inline void enter_mmx(Cpu& cpu) {
  cpu.state.x87.status &= static_cast<std::uint16_t>(~0x3800U);
  cpu.state.x87.tag = 0;
}
inline std::uint64_t mm(const Cpu& cpu, unsigned index) {
  return cpu.state.x87.st[index & 7].significand;
}
/// Writes an MMX register; the exponent above it becomes all ones.
inline void set_mm(Cpu& cpu, unsigned index, std::uint64_t value) {
  cpu.state.x87.st[index & 7] = {value, 0xffff};
}
inline Xmm& xmm(Cpu& cpu, unsigned index) { return cpu.state.xmm[index]; }

// ============================ memory operands =========================================
/// Linear address of a 16-byte operand that must be aligned, else #GP(0).
template <Access A>
std::uint64_t aligned_linear(Cpu& cpu, const Instruction& i) {
  const std::uint64_t address = cpu.linear<A>(i.segment, cpu.effective_address(i), 16);
  if ((address & 15) != 0) [[unlikely]] {
    cpu.raise_gp0();
  }
  return address;
}
inline Xmm load_aligned(Cpu& cpu, const Instruction& i) {
  return cpu.load_linear<Xmm>(aligned_linear<Access::read>(cpu, i), i.segment);
}
inline void store_aligned(Cpu& cpu, const Instruction& i, Xmm value) {
  cpu.store_linear<Xmm>(aligned_linear<Access::write>(cpu, i), value, i.segment);
}

/// xmm/m128, the memory aligned.
template <bool Memory>
Xmm source128(Cpu& cpu, const Instruction& i) {
  if constexpr (Memory) {
    return load_aligned(cpu, i);
  } else {
    return cpu.state.xmm[i.rm];
  }
}
/// xmm/m8-m64: `T` from memory or from the low end of the register.
template <class T, bool Memory>
T source_low(Cpu& cpu, const Instruction& i) {
  if constexpr (Memory) {
    return cpu.load_operand<T>(i);
  } else {
    return static_cast<T>(cpu.state.xmm[i.rm].low);
  }
}
/// mm/m64.
template <bool Memory>
std::uint64_t source_mm(Cpu& cpu, const Instruction& i) {
  if constexpr (Memory) {
    return cpu.load_operand<std::uint64_t>(i);
  } else {
    return mm(cpu, i.rm);
  }
}

// ============================ lanes ===================================================
/// A vector V (std::uint64_t for MMX, Xmm for SSE) seen as elements of type T.
template <class T, class V>
using Lanes = std::array<T, sizeof(V) / sizeof(T)>;

template <class T, class V>
Lanes<T, V> lanes(const V& value) {
  return std::bit_cast<Lanes<T, V>>(value);
}
template <class V, class T, std::size_t N>
V vector(const std::array<T, N>& elements) {
  static_assert(sizeof(V) == sizeof(T) * N);
  return std::bit_cast<V>(elements);
}
/// f(a, b) for each pair of elements.
template <class T, class V, class F>
V map2(const V& a, const V& b, F f) {
  const auto left = lanes<T>(a);
  const auto right = lanes<T>(b);
  Lanes<T, V> result{};
  for (std::size_t k = 0; k < result.size(); ++k) {
    result[k] = static_cast<T>(f(left[k], right[k]));
  }
  return vector<V>(result);
}
template <class T, class V, class F>
V map1(const V& a, F f) {
  const auto source = lanes<T>(a);
  Lanes<T, V> result{};
  for (std::size_t k = 0; k < result.size(); ++k) {
    result[k] = static_cast<T>(f(source[k]));
  }
  return vector<V>(result);
}
/// `value` cut to the range of T.
template <class T>
constexpr T saturate(std::int64_t value) {
  constexpr std::int64_t kLow = std::numeric_limits<T>::min();
  constexpr std::int64_t kHigh = std::numeric_limits<T>::max();
  return static_cast<T>(value < kLow ? kLow : value > kHigh ? kHigh : value);
}

// ============================ generic handlers ========================================
/// Op::run(destination, source) -> destination, for xmm, xmm/m128.
template <class Op, bool Memory>
void xmm_binary(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  Xmm& destination = cpu.state.xmm[i.reg];
  destination = Op::template run<Xmm>(destination, source);
}
/// The same for mm, mm/m64.
template <class Op, bool Memory>
void mm_binary(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  const std::uint64_t source = source_mm<Memory>(cpu, i);
  enter_mmx(cpu);
  set_mm(cpu, i.reg, Op::template run<std::uint64_t>(mm(cpu, i.reg), source));
}
/// Op::run(destination, source, imm8).
template <class Op, bool Memory>
void xmm_immediate(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  Xmm& destination = cpu.state.xmm[i.reg];
  destination = Op::template run<Xmm>(destination, source, static_cast<std::uint8_t>(i.immediate));
}
template <class Op, bool Memory>
void mm_immediate(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  const std::uint64_t source = source_mm<Memory>(cpu, i);
  enter_mmx(cpu);
  set_mm(cpu, i.reg,
         Op::template run<std::uint64_t>(mm(cpu, i.reg), source,
                                         static_cast<std::uint8_t>(i.immediate)));
}

// ============================ rows ====================================================
using enum MandatoryPrefix;
inline constexpr OpcodeMap k0f = OpcodeMap::map_0f;
inline constexpr OpcodeMap k38 = OpcodeMap::map_0f38;
inline constexpr OpcodeMap k3a = OpcodeMap::map_0f3a;

/// A row with the attributes all of this group have: 66 selects, never sizes.
constexpr Row row(std::string_view name, OpcodeMap map, std::uint8_t opcode, MandatoryPrefix prefix,
                  ModRm modrm, const Handlers& handlers, Immediate immediate = Immediate::none) {
  Row r;
  r.name = name;
  r.map = map;
  r.opcode = opcode;
  r.prefix = prefix;
  r.modrm = modrm;
  r.immediate = immediate;
  r.attributes = kUserMode | kIgnore66;
  r.handlers = handlers;
  return r;
}
constexpr Row with_imm8(Row r) {
  r.immediate = Immediate::imm8_zero;
  return r;
}
constexpr Row with_reg(Row r, int reg) {
  r.reg = static_cast<std::int8_t>(reg);
  return r;
}
constexpr Row without_oracle(Row r, std::string_view reason) {
  r.oracle_exception = reason;
  return r;
}
template <class Op>
constexpr Handlers xmm_forms() {
  return by_form(&xmm_binary<Op, false>, &xmm_binary<Op, true>);
}
template <class Op>
constexpr Handlers mm_forms() {
  return by_form(&mm_binary<Op, false>, &mm_binary<Op, true>);
}
/// xmm, xmm/m128 with prefix 66.
template <class Op>
constexpr Row xmm_row(std::string_view name, OpcodeMap map, std::uint8_t opcode,
                      MandatoryPrefix prefix = p66) {
  return row(name, map, opcode, prefix, ModRm::any, xmm_forms<Op>());
}
/// mm, mm/m64 without prefix.
template <class Op>
constexpr Row mm_row(std::string_view name, OpcodeMap map, std::uint8_t opcode) {
  return row(name, map, opcode, none, ModRm::any, mm_forms<Op>());
}
template <class Op>
constexpr Row xmm_imm_row(std::string_view name, OpcodeMap map, std::uint8_t opcode,
                          MandatoryPrefix prefix = p66) {
  return row(name, map, opcode, prefix, ModRm::any,
             by_form(&xmm_immediate<Op, false>, &xmm_immediate<Op, true>), Immediate::imm8_zero);
}
template <class Op>
constexpr Row mm_imm_row(std::string_view name, OpcodeMap map, std::uint8_t opcode) {
  return row(name, map, opcode, none, ModRm::any,
             by_form(&mm_immediate<Op, false>, &mm_immediate<Op, true>), Immediate::imm8_zero);
}

// The rows of each handler file.
std::span<const Row> move_rows();
std::span<const Row> float_rows();
std::span<const Row> compare_rows();
std::span<const Row> conversion_rows();
std::span<const Row> estimate_rows();
std::span<const Row> packed_arithmetic_rows();
std::span<const Row> packed_multiply_rows();
std::span<const Row> shift_rows();
std::span<const Row> shuffle_rows();
std::span<const Row> element_rows();
std::span<const Row> string_rows();
std::span<const Row> crypto_rows();
std::span<const Row> save_rows();

}  // namespace chronovisor::sse
