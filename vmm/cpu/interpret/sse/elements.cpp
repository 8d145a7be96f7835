// Single elements into and out of vectors, and masks of sign bits.
// Source: SDM vol. 2, PEXTRx, PINSRx, EXTRACTPS, INSERTPS, MOVMSKPx, PMOVMSKB.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

/// One bit for the sign of each element.
template <class T, class V>
u32 signs(const V& value) {
  const auto elements = lanes<T>(value);
  u32 mask = 0;
  for (std::size_t k = 0; k < elements.size(); ++k) {
    mask |= static_cast<u32>(elements[k] >> (8 * sizeof(T) - 1)) << k;
  }
  return mask;
}
/// The sign bits of eight bytes: the product gathers bits 7, 15, ... in its top byte.
u32 byte_signs(u64 value) {
  return static_cast<u32>((((value >> 7) & 0x0101010101010101) * 0x0102040810204080) >> 56);
}
template <class T>
void movmsk(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.set_reg<u32>(i.reg, signs<T>(xmm(cpu, i.rm)));
}
void pmovmskb(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = xmm(cpu, i.rm);
  cpu.set_reg<u32>(i.reg, byte_signs(source.low) | (byte_signs(source.high) << 8));
}
void pmovmskb_mm(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  cpu.set_reg<u32>(i.reg, byte_signs(mm(cpu, i.rm)));
}

template <class T, class V>
T element(const V& value, u64 index) {
  const auto elements = lanes<T>(value);
  return elements[index & (elements.size() - 1)];
}
template <class T, class V>
V with_element(const V& value, u64 index, T replacement) {
  auto elements = lanes<T>(value);
  elements[index & (elements.size() - 1)] = replacement;
  return vector<V>(elements);
}

/// PEXTRB, PEXTRW (0F 3A), PEXTRD, PEXTRQ, EXTRACTPS: to r/m, zero-extended.
template <class T>
void extract_register(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.set_reg<u64>(i.rm, element<T>(xmm(cpu, i.reg), i.immediate));
}
template <class T>
void extract_memory(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.store_operand<T>(i, element<T>(xmm(cpu, i.reg), i.immediate));
}
/// PEXTRW r, xmm (0F C5).
void pextrw(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.set_reg<u32>(i.reg, element<u16>(xmm(cpu, i.rm), i.immediate));
}
void pextrw_mm(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  cpu.set_reg<u32>(i.reg, element<u16>(mm(cpu, i.rm), i.immediate));
}
/// The inserted value comes from the low end of a full general register, so
/// PINSRB never means AH to BH.
template <class T, bool Memory>
T insert_source(Cpu& cpu, const Instruction& i) {
  if constexpr (Memory) {
    return cpu.load_operand<T>(i);
  } else {
    return static_cast<T>(cpu.state.gpr[i.rm]);
  }
}
template <class T, bool Memory>
void insert(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const T value = insert_source<T, Memory>(cpu, i);
  xmm(cpu, i.reg) = with_element<T>(xmm(cpu, i.reg), i.immediate, value);
}
template <bool Memory>
void pinsrw_mm(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  const u16 value = insert_source<u16, Memory>(cpu, i);
  enter_mmx(cpu);
  set_mm(cpu, i.reg, with_element<u16>(mm(cpu, i.reg), i.immediate, value));
}
/// INSERTPS: imm8 bits 7:6 choose the source element (registers only), 5:4 the
/// destination's, 3:0 which elements become zero.
template <bool Memory>
void insertps(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  u32 value = 0;
  if constexpr (Memory) {
    value = cpu.load_operand<u32>(i);
  } else {
    value = element<u32>(xmm(cpu, i.rm), (i.immediate >> 6) & 3);
  }
  auto elements = lanes<u32>(xmm(cpu, i.reg));
  elements[(i.immediate >> 4) & 3] = value;
  for (std::size_t k = 0; k < 4; ++k) {
    if (((i.immediate >> k) & 1) != 0) elements[k] = 0;
  }
  xmm(cpu, i.reg) = vector<Xmm>(elements);
}

constexpr Row mask_row(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix,
                       Handler handler) {
  return row(name, k0f, opcode, prefix, ModRm::registers, by_form(handler, nullptr));
}
constexpr Row imm_row(std::string_view name, OpcodeMap map, std::uint8_t opcode,
                      MandatoryPrefix prefix, const Handlers& handlers) {
  return row(name, map, opcode, prefix, ModRm::any, handlers, Immediate::imm8_zero);
}

constexpr auto kRows = std::to_array<Row>({
    mask_row("MOVMSKPS r, xmm", 0x50, none, &movmsk<u32>),
    mask_row("MOVMSKPD r, xmm", 0x50, p66, &movmsk<u64>),
    mask_row("PMOVMSKB r, mm", 0xd7, none, &pmovmskb_mm),
    mask_row("PMOVMSKB r, xmm", 0xd7, p66, &pmovmskb),
    imm_row("PINSRW mm, r/m16, imm8", k0f, 0xc4, none,
            by_form(&pinsrw_mm<false>, &pinsrw_mm<true>)),
    imm_row("PINSRW xmm, r/m16, imm8", k0f, 0xc4, p66,
            by_form(&insert<u16, false>, &insert<u16, true>)),
    with_imm8(mask_row("PEXTRW r, mm, imm8", 0xc5, none, &pextrw_mm)),
    with_imm8(mask_row("PEXTRW r, xmm, imm8", 0xc5, p66, &pextrw)),
    imm_row("PEXTRB r/m8, xmm, imm8", k3a, 0x14, p66,
            by_form(&extract_register<u8>, &extract_memory<u8>)),
    imm_row("PEXTRW r/m16, xmm, imm8", k3a, 0x15, p66,
            by_form(&extract_register<u16>, &extract_memory<u16>)),
    imm_row("PEXTRD/PEXTRQ r/m, xmm, imm8", k3a, 0x16, p66,
            {{nullptr, nullptr, &extract_register<u32>, &extract_register<u64>},
             {nullptr, nullptr, &extract_memory<u32>, &extract_memory<u64>}}),
    imm_row("EXTRACTPS r/m32, xmm, imm8", k3a, 0x17, p66,
            by_form(&extract_register<u32>, &extract_memory<u32>)),
    imm_row("PINSRB xmm, r/m8, imm8", k3a, 0x20, p66,
            by_form(&insert<u8, false>, &insert<u8, true>)),
    imm_row("INSERTPS xmm, xmm/m32, imm8", k3a, 0x21, p66,
            by_form(&insertps<false>, &insertps<true>)),
    imm_row("PINSRD/PINSRQ xmm, r/m, imm8", k3a, 0x22, p66,
            {{nullptr, nullptr, &insert<u32, false>, &insert<u64, false>},
             {nullptr, nullptr, &insert<u32, true>, &insert<u64, true>}}),
});

}  // namespace

std::span<const Row> element_rows() { return kRows; }

}  // namespace chronovisor::sse
