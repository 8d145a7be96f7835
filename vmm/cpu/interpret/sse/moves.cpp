// Moves between MMX, SSE and general registers and memory, the non-temporal
// and masked ones included (the memory type makes no difference here), EMMS.
// Source: SDM vol. 2, the instructions' own pages.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ============================ 128 bits ================================================
void move_register(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg) = xmm(cpu, i.rm);
}
void move_register_reverse(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.rm) = xmm(cpu, i.reg);
}
void load_aligned128(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg) = load_aligned(cpu, i);
}
void store_aligned128(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  store_aligned(cpu, i, xmm(cpu, i.reg));
}
void load_unaligned128(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg) = cpu.load_operand<Xmm>(i);
}
void store_unaligned128(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.store_operand<Xmm>(i, xmm(cpu, i.reg));
}

// ============================ scalars and halves ======================================
/// MOVSS, MOVSD between registers: the rest of the destination stays.
template <class T>
u64 replace_low(u64 old, T value) {
  if constexpr (sizeof(T) == 8) {
    return value;
  } else {
    return (old & ~u64{0xffffffff}) | value;
  }
}
template <class T>
void move_scalar_register(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg).low = replace_low(xmm(cpu, i.reg).low, static_cast<T>(xmm(cpu, i.rm).low));
}
template <class T>
void move_scalar_register_reverse(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.rm).low = replace_low(xmm(cpu, i.rm).low, static_cast<T>(xmm(cpu, i.reg).low));
}
/// From memory the rest is cleared.
template <class T>
void load_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg) = {cpu.load_operand<T>(i), 0};
}
template <class T>
void store_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.store_operand<T>(i, static_cast<T>(xmm(cpu, i.reg).low));
}
void load_low_half(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg).low = cpu.load_operand<u64>(i);
}
void load_high_half(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg).high = cpu.load_operand<u64>(i);
}
void store_high_half(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.store_operand<u64>(i, xmm(cpu, i.reg).high);
}
void movhlps(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg).low = xmm(cpu, i.rm).high;
}
void movlhps(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg).high = xmm(cpu, i.rm).low;
}
/// MOVQ xmm, xmm: the upper half is cleared.
void movq_register(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg) = {xmm(cpu, i.rm).low, 0};
}
void movq_register_reverse(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.rm) = {xmm(cpu, i.reg).low, 0};
}

// ============================ general registers =======================================
/// MOVD and MOVQ to xmm from r/m; T is 4 or 8 bytes (REX.W).
template <class T>
void xmm_from_gpr(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  xmm(cpu, i.reg) = {cpu.reg<T>(i.rm), 0};
}
template <class T>
void gpr_from_xmm(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.set_reg<T>(i.rm, static_cast<T>(xmm(cpu, i.reg).low));
}
template <class T>
void mm_from_gpr(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  set_mm(cpu, i.reg, cpu.reg<T>(i.rm));
}
template <class T>
void gpr_from_mm(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  cpu.set_reg<T>(i.rm, static_cast<T>(mm(cpu, i.reg)));
}

// ============================ MMX =====================================================
template <class T>
void mm_load(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  const u64 value = cpu.load_operand<T>(i);
  enter_mmx(cpu);
  set_mm(cpu, i.reg, value);
}
template <class T>
void mm_store(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  cpu.store_operand<T>(i, static_cast<T>(mm(cpu, i.reg)));
  enter_mmx(cpu);
}
void mm_move(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  set_mm(cpu, i.reg, mm(cpu, i.rm));
}
void mm_move_reverse(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  enter_mmx(cpu);
  set_mm(cpu, i.rm, mm(cpu, i.reg));
}
void movq2dq(Cpu& cpu, const Instruction& i) {
  check_sse_and_mmx(cpu);
  enter_mmx(cpu);
  xmm(cpu, i.reg) = {mm(cpu, i.rm), 0};
}
void movdq2q(Cpu& cpu, const Instruction& i) {
  check_sse_and_mmx(cpu);
  enter_mmx(cpu);
  set_mm(cpu, i.reg, xmm(cpu, i.rm).low);
}
void emms(Cpu& cpu, const Instruction&) {
  check_mmx(cpu);
  enter_mmx(cpu);
  cpu.state.x87.tag = 0xffff;
}

// ============================ other stores ============================================
/// MOVNTI uses general registers only: no SSE availability checks.
template <class T>
void movnti(Cpu& cpu, const Instruction& i) {
  cpu.store_operand<T>(i, cpu.reg<T>(i.reg));
}

/// Stores the bytes whose mask byte has its sign set, to rDI. The whole operand must
/// be writable, even if no byte is stored: measured (the manual leaves that open).
template <std::size_t N>
void store_masked(Cpu& cpu, const Instruction& i, const std::array<u8, N>& data,
                  const std::array<u8, N>& mask) {
  const auto offset_of = [&](std::size_t k) {
    return Cpu::cut(cpu.state.gpr[kRdi] + k, i.address_size);
  };
  cpu.probe(i.segment, offset_of(0), N, Access::write);
  for (std::size_t k = 0; k < N; ++k) {
    if ((mask[k] & 0x80U) != 0) cpu.store<u8>(i.segment, offset_of(k), data[k]);
  }
}
void maskmovdqu(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  store_masked(cpu, i, lanes<u8>(xmm(cpu, i.reg)), lanes<u8>(xmm(cpu, i.rm)));
}
void maskmovq(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  store_masked(cpu, i, lanes<u8>(mm(cpu, i.reg)), lanes<u8>(mm(cpu, i.rm)));
  enter_mmx(cpu);
}

// ============================ rows ====================================================
constexpr Row reg_mem(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix,
                      Handler registers, Handler memory) {
  return row(name, k0f, opcode, prefix, ModRm::any, by_form(registers, memory));
}
constexpr Row mem(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix,
                  Handler memory) {
  return row(name, k0f, opcode, prefix, ModRm::memory, by_form(nullptr, memory));
}
constexpr Row regs(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix,
                   Handler registers) {
  return row(name, k0f, opcode, prefix, ModRm::registers, by_form(registers, nullptr));
}
/// 6E and 7E: forms by register or memory and by 32 or 64 bits.
constexpr Row sized(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix,
                    const Handlers& handlers) {
  return row(name, k0f, opcode, prefix, ModRm::any, handlers);
}

constexpr auto kRows = std::to_array<Row>({
    reg_mem("MOVUPS xmm, xmm/m128", 0x10, none, &move_register, &load_unaligned128),
    reg_mem("MOVUPD xmm, xmm/m128", 0x10, p66, &move_register, &load_unaligned128),
    reg_mem("MOVSS xmm, xmm/m32", 0x10, pf3, &move_scalar_register<u32>, &load_scalar<u32>),
    reg_mem("MOVSD xmm, xmm/m64", 0x10, pf2, &move_scalar_register<u64>, &load_scalar<u64>),
    reg_mem("MOVUPS xmm/m128, xmm", 0x11, none, &move_register_reverse, &store_unaligned128),
    reg_mem("MOVUPD xmm/m128, xmm", 0x11, p66, &move_register_reverse, &store_unaligned128),
    reg_mem("MOVSS xmm/m32, xmm", 0x11, pf3, &move_scalar_register_reverse<u32>,
            &store_scalar<u32>),
    reg_mem("MOVSD xmm/m64, xmm", 0x11, pf2, &move_scalar_register_reverse<u64>,
            &store_scalar<u64>),
    reg_mem("MOVLPS xmm, m64 / MOVHLPS xmm, xmm", 0x12, none, &movhlps, &load_low_half),
    mem("MOVLPD xmm, m64", 0x12, p66, &load_low_half),
    mem("MOVLPS m64, xmm", 0x13, none, &store_scalar<u64>),
    mem("MOVLPD m64, xmm", 0x13, p66, &store_scalar<u64>),
    reg_mem("MOVHPS xmm, m64 / MOVLHPS xmm, xmm", 0x16, none, &movlhps, &load_high_half),
    mem("MOVHPD xmm, m64", 0x16, p66, &load_high_half),
    mem("MOVHPS m64, xmm", 0x17, none, &store_high_half),
    mem("MOVHPD m64, xmm", 0x17, p66, &store_high_half),
    reg_mem("MOVAPS xmm, xmm/m128", 0x28, none, &move_register, &load_aligned128),
    reg_mem("MOVAPD xmm, xmm/m128", 0x28, p66, &move_register, &load_aligned128),
    reg_mem("MOVAPS xmm/m128, xmm", 0x29, none, &move_register_reverse, &store_aligned128),
    reg_mem("MOVAPD xmm/m128, xmm", 0x29, p66, &move_register_reverse, &store_aligned128),
    mem("MOVNTPS m128, xmm", 0x2b, none, &store_aligned128),
    mem("MOVNTPD m128, xmm", 0x2b, p66, &store_aligned128),
    sized("MOVD/MOVQ mm, r/m", 0x6e, none,
          {{nullptr, nullptr, &mm_from_gpr<u32>, &mm_from_gpr<u64>},
           {nullptr, nullptr, &mm_load<u32>, &mm_load<u64>}}),
    sized("MOVD/MOVQ xmm, r/m", 0x6e, p66,
          {{nullptr, nullptr, &xmm_from_gpr<u32>, &xmm_from_gpr<u64>},
           {nullptr, nullptr, &load_scalar<u32>, &load_scalar<u64>}}),
    reg_mem("MOVQ mm, mm/m64", 0x6f, none, &mm_move, &mm_load<u64>),
    reg_mem("MOVDQA xmm, xmm/m128", 0x6f, p66, &move_register, &load_aligned128),
    reg_mem("MOVDQU xmm, xmm/m128", 0x6f, pf3, &move_register, &load_unaligned128),
    row("EMMS", k0f, 0x77, none, ModRm::absent, all_forms(&emms)),
    sized("MOVD/MOVQ r/m, mm", 0x7e, none,
          {{nullptr, nullptr, &gpr_from_mm<u32>, &gpr_from_mm<u64>},
           {nullptr, nullptr, &mm_store<u32>, &mm_store<u64>}}),
    sized("MOVD/MOVQ r/m, xmm", 0x7e, p66,
          {{nullptr, nullptr, &gpr_from_xmm<u32>, &gpr_from_xmm<u64>},
           {nullptr, nullptr, &store_scalar<u32>, &store_scalar<u64>}}),
    reg_mem("MOVQ xmm, xmm/m64", 0x7e, pf3, &movq_register, &load_scalar<u64>),
    reg_mem("MOVQ mm/m64, mm", 0x7f, none, &mm_move_reverse, &mm_store<u64>),
    reg_mem("MOVDQA xmm/m128, xmm", 0x7f, p66, &move_register_reverse, &store_aligned128),
    reg_mem("MOVDQU xmm/m128, xmm", 0x7f, pf3, &move_register_reverse, &store_unaligned128),
    row("MOVNTI m, r", k0f, 0xc3, none, ModRm::memory,
        {{}, {nullptr, nullptr, &movnti<u32>, &movnti<u64>}}),
    reg_mem("MOVQ xmm/m64, xmm", 0xd6, p66, &movq_register_reverse, &store_scalar<u64>),
    regs("MOVQ2DQ xmm, mm", 0xd6, pf3, &movq2dq),
    regs("MOVDQ2Q mm, xmm", 0xd6, pf2, &movdq2q),
    mem("MOVNTQ m64, mm", 0xe7, none, &mm_store<u64>),
    mem("MOVNTDQ m128, xmm", 0xe7, p66, &store_aligned128),
    mem("LDDQU xmm, m128", 0xf0, pf2, &load_unaligned128),
    regs("MASKMOVQ mm, mm", 0xf7, none, &maskmovq),
    regs("MASKMOVDQU xmm, xmm", 0xf7, p66, &maskmovdqu),
    row("MOVNTDQA xmm, m128", k38, 0x2a, p66, ModRm::memory, by_form(nullptr, &load_aligned128)),
});

}  // namespace

std::span<const Row> move_rows() { return kRows; }

}  // namespace chronovisor::sse
