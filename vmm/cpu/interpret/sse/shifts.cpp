// Packed shifts by a register, by memory and by an immediate, MMX and SSE.
// Source: SDM vol. 2, PSLLW/PSLLD/PSLLQ and their kin.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// Counts beyond the element's width give zero.
template <class T>
struct ShiftLeft {
  template <class V>
  static V by(const V& a, u64 count) {
    if (count >= 8 * sizeof(T)) return V{};
    return map1<T>(a, [count](T x) { return x << count; });
  }
};
template <class T>
struct ShiftRight {
  template <class V>
  static V by(const V& a, u64 count) {
    if (count >= 8 * sizeof(T)) return V{};
    return map1<T>(a, [count](T x) { return x >> count; });
  }
};
/// Counts beyond the element's width give its sign everywhere.
template <class T>
struct ShiftRightSigned {
  template <class V>
  static V by(const V& a, u64 count) {
    const u64 bounded = count < 8 * sizeof(T) ? count : 8 * sizeof(T) - 1;
    return map1<std::make_signed_t<T>>(a,
                                       [bounded](std::make_signed_t<T> x) { return x >> bounded; });
  }
};
/// PSLLDQ and PSRLDQ: the whole register, by bytes.
struct BytesLeft {
  static Xmm by(const Xmm& a, u64 count) {
    if (count >= 16) return {};
    if (count >= 8) return {0, a.low << (8 * (count - 8))};
    if (count == 0) return a;
    return {a.low << (8 * count), (a.high << (8 * count)) | (a.low >> (64 - 8 * count))};
  }
};
struct BytesRight {
  static Xmm by(const Xmm& a, u64 count) {
    if (count >= 16) return {};
    if (count >= 8) return {a.high >> (8 * (count - 8)), 0};
    if (count == 0) return a;
    return {(a.low >> (8 * count)) | (a.high << (64 - 8 * count)), a.high >> (8 * count)};
  }
};

/// The count is the low quadword of the source, all 64 bits of it.
template <class Shift>
struct ByVector {
  template <class V>
  static V run(V a, V b) {
    return Shift::by(a, lanes<u64>(b)[0]);
  }
};

template <class Shift>
void shift_xmm_imm(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.rm) = Shift::by(xmm(cpu, i.rm), i.immediate & 0xff);
}
template <class Shift>
void shift_mm_imm(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  set_mm(cpu, i.rm, Shift::by(mm(cpu, i.rm), i.immediate & 0xff));
}

template <class Shift>
constexpr Row mm_imm(std::string_view name, std::uint8_t opcode, int reg) {
  return with_reg(row(name, k0f, opcode, none, ModRm::registers, all_forms(&shift_mm_imm<Shift>),
                      Immediate::imm8_zero),
                  reg);
}
template <class Shift>
constexpr Row xmm_imm(std::string_view name, std::uint8_t opcode, int reg) {
  return with_reg(row(name, k0f, opcode, p66, ModRm::registers, all_forms(&shift_xmm_imm<Shift>),
                      Immediate::imm8_zero),
                  reg);
}

constexpr auto kRows = std::to_array<Row>({
    mm_row<ByVector<ShiftRight<u16>>>("PSRLW mm, mm/m64", k0f, 0xd1),
    xmm_row<ByVector<ShiftRight<u16>>>("PSRLW xmm, xmm/m128", k0f, 0xd1),
    mm_row<ByVector<ShiftRight<u32>>>("PSRLD mm, mm/m64", k0f, 0xd2),
    xmm_row<ByVector<ShiftRight<u32>>>("PSRLD xmm, xmm/m128", k0f, 0xd2),
    mm_row<ByVector<ShiftRight<u64>>>("PSRLQ mm, mm/m64", k0f, 0xd3),
    xmm_row<ByVector<ShiftRight<u64>>>("PSRLQ xmm, xmm/m128", k0f, 0xd3),
    mm_row<ByVector<ShiftRightSigned<u16>>>("PSRAW mm, mm/m64", k0f, 0xe1),
    xmm_row<ByVector<ShiftRightSigned<u16>>>("PSRAW xmm, xmm/m128", k0f, 0xe1),
    mm_row<ByVector<ShiftRightSigned<u32>>>("PSRAD mm, mm/m64", k0f, 0xe2),
    xmm_row<ByVector<ShiftRightSigned<u32>>>("PSRAD xmm, xmm/m128", k0f, 0xe2),
    mm_row<ByVector<ShiftLeft<u16>>>("PSLLW mm, mm/m64", k0f, 0xf1),
    xmm_row<ByVector<ShiftLeft<u16>>>("PSLLW xmm, xmm/m128", k0f, 0xf1),
    mm_row<ByVector<ShiftLeft<u32>>>("PSLLD mm, mm/m64", k0f, 0xf2),
    xmm_row<ByVector<ShiftLeft<u32>>>("PSLLD xmm, xmm/m128", k0f, 0xf2),
    mm_row<ByVector<ShiftLeft<u64>>>("PSLLQ mm, mm/m64", k0f, 0xf3),
    xmm_row<ByVector<ShiftLeft<u64>>>("PSLLQ xmm, xmm/m128", k0f, 0xf3),
    mm_imm<ShiftRight<u16>>("PSRLW mm, imm8", 0x71, 2),
    xmm_imm<ShiftRight<u16>>("PSRLW xmm, imm8", 0x71, 2),
    mm_imm<ShiftRightSigned<u16>>("PSRAW mm, imm8", 0x71, 4),
    xmm_imm<ShiftRightSigned<u16>>("PSRAW xmm, imm8", 0x71, 4),
    mm_imm<ShiftLeft<u16>>("PSLLW mm, imm8", 0x71, 6),
    xmm_imm<ShiftLeft<u16>>("PSLLW xmm, imm8", 0x71, 6),
    mm_imm<ShiftRight<u32>>("PSRLD mm, imm8", 0x72, 2),
    xmm_imm<ShiftRight<u32>>("PSRLD xmm, imm8", 0x72, 2),
    mm_imm<ShiftRightSigned<u32>>("PSRAD mm, imm8", 0x72, 4),
    xmm_imm<ShiftRightSigned<u32>>("PSRAD xmm, imm8", 0x72, 4),
    mm_imm<ShiftLeft<u32>>("PSLLD mm, imm8", 0x72, 6),
    xmm_imm<ShiftLeft<u32>>("PSLLD xmm, imm8", 0x72, 6),
    mm_imm<ShiftRight<u64>>("PSRLQ mm, imm8", 0x73, 2),
    xmm_imm<ShiftRight<u64>>("PSRLQ xmm, imm8", 0x73, 2),
    xmm_imm<BytesRight>("PSRLDQ xmm, imm8", 0x73, 3),
    mm_imm<ShiftLeft<u64>>("PSLLQ mm, imm8", 0x73, 6),
    xmm_imm<ShiftLeft<u64>>("PSLLQ xmm, imm8", 0x73, 6),
    xmm_imm<BytesLeft>("PSLLDQ xmm, imm8", 0x73, 7),
});

}  // namespace

std::span<const Row> shift_rows() { return kRows; }

}  // namespace chronovisor::sse
