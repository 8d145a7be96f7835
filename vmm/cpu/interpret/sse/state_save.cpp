// FXSAVE, FXRSTOR, XSAVE, XRSTOR, LDMXCSR, STMXCSR. The images hold nothing
// that depends on the host or on how a state came about: a component is "in
// use" exactly when it differs from its initial state.
// Source: SDM vol. 1, "Managing State Using the XSAVE Feature Set"; vol. 2,
// FXSAVE (layout of the image).
#include <cstring>

#include "vmm/cpu/interpret/sse/host_float.h"
#include "vmm/cpu/interpret/x87/error_report.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ============================ the image ===============================================
// 0 FCW, 2 FSW, 4 abridged tags, 6 FOP, 8 FIP (or EIP, CS), 16 FDP (or offset,
// DS), 24 MXCSR, 28 MXCSR_MASK, 32 ST0-ST7, 160 XMM0-XMM15; 16 bytes a register.
constexpr unsigned kImageBytes = 512;
constexpr unsigned kMxcsrOffset = 24;
constexpr unsigned kStackOffset = 32;
constexpr unsigned kXmmOffset = 160;
// XSAVE: the header behind the image is XSTATE_BV, XCOMP_BV, reserved.
constexpr unsigned kHeaderOffset = 512;
constexpr unsigned kXsaveBytes = 576;
constexpr u64 kComponentX87 = 1;
constexpr u64 kComponentSse = 2;

using Image = std::array<u8, kImageBytes>;

template <class T>
void put(Image& image, unsigned offset, T value) {
  std::memcpy(image.data() + offset, &value, sizeof(T));
}
template <class T>
T get(const Image& image, unsigned offset) {
  T value;
  std::memcpy(&value, image.data() + offset, sizeof(T));
  return value;
}
/// Outside 64-bit mode XMM8-XMM15 are neither saved nor restored.
unsigned xmm_count(const Cpu& cpu) { return cpu.long64() ? 16 : 8; }

void put_x87(Image& image, const X87State& x87, unsigned operand_size) {
  put<u16>(image, 0, x87.control);
  put<u16>(image, 2, x87.status);
  u8 valid = 0;
  for (unsigned k = 0; k < 8; ++k) {
    if (((x87.tag >> (2 * k)) & 3) != 3) valid = static_cast<u8>(valid | (1U << k));
  }
  put<u16>(image, 4, valid);
  put<u16>(image, 6, x87.last_opcode & 0x7ff);
  if (operand_size == 8) {
    put<u64>(image, 8, x87.last_ip);
    put<u64>(image, 16, x87.last_dp);
  } else {
    put<u32>(image, 8, static_cast<u32>(x87.last_ip));
    put<u32>(image, 12, x87.last_cs);
    put<u32>(image, 16, static_cast<u32>(x87.last_dp));
    put<u32>(image, 20, x87.last_ds);
  }
  const unsigned top = (x87.status >> 11) & 7U;
  for (unsigned k = 0; k < 8; ++k) {
    const X87Register& st = x87.st[(top + k) & 7];
    put<u64>(image, kStackOffset + 16 * k, st.significand);
    put<u64>(image, kStackOffset + 16 * k + 8, st.sign_exponent);
  }
}

/// The full tag of a register that is not empty.
unsigned full_tag(const X87Register& st) {
  const unsigned exponent = st.sign_exponent & 0x7fffU;
  if (exponent == 0 && st.significand == 0) return 1;
  const bool integer_bit = (st.significand >> 63) != 0;
  return exponent == 0 || exponent == 0x7fff || !integer_bit ? 2 : 0;
}
X87State get_x87(const Image& image, unsigned operand_size) {
  constexpr unsigned kErrorSummaryAndBusy = 0x8080;
  X87State x87;
  // What does not exist in the control word reads as zero, bit 6 as one; the
  // summary bits follow from flags and masks.
  x87.control = static_cast<u16>((get<u16>(image, 0) & 0x1f3fU) | 0x40U);
  const unsigned status = get<u16>(image, 2) & ~kErrorSummaryAndBusy;
  const bool pending = (status & ~unsigned{x87.control} & 0x3fU) != 0;
  x87.status = static_cast<u16>(status | (pending ? kErrorSummaryAndBusy : 0U));
  x87.last_opcode = get<u16>(image, 6) & 0x7ff;
  if (operand_size == 8) {
    x87.last_ip = get<u64>(image, 8);
    x87.last_dp = get<u64>(image, 16);
  } else {
    x87.last_ip = get<u32>(image, 8);
    x87.last_dp = get<u32>(image, 16);
  }
  const unsigned top = (x87.status >> 11) & 7U;
  const unsigned valid = get<u8>(image, 4);
  for (unsigned k = 0; k < 8; ++k) {
    const unsigned physical = (top + k) & 7;
    X87Register& st = x87.st[physical];
    st.significand = get<u64>(image, kStackOffset + 16 * k);
    st.sign_exponent = get<u16>(image, kStackOffset + 16 * k + 8);
    if (((valid >> physical) & 1) != 0) {
      x87.tag =
          static_cast<u16>((x87.tag & ~(3U << (2 * physical))) | (full_tag(st) << (2 * physical)));
    }
  }
  return x87;
}
void put_mxcsr(Image& image, const Cpu& cpu) {
  put<u32>(image, kMxcsrOffset, cpu.state.mxcsr);
  put<u32>(image, kMxcsrOffset + 4, kMxcsrMask);
}
void put_xmm(Image& image, const Cpu& cpu) {
  for (unsigned k = 0; k < xmm_count(cpu); ++k) {
    put<Xmm>(image, kXmmOffset + 16 * k, cpu.state.xmm[k]);
  }
}
void get_xmm(const Image& image, Cpu& cpu) {
  for (unsigned k = 0; k < xmm_count(cpu); ++k) {
    cpu.state.xmm[k] = get<Xmm>(image, kXmmOffset + 16 * k);
  }
}

/// Reads or writes bytes [begin, end) of an image in memory, multiples of 8.
void read_part(Cpu& cpu, const Instruction& i, Image& image, unsigned begin, unsigned end) {
  const u64 offset = cpu.effective_address(i);
  for (unsigned k = begin; k < end; k += 8) {
    put<u64>(image, k, cpu.load<u64>(i.segment, offset + k));
  }
}
void write_part(Cpu& cpu, const Instruction& i, const Image& image, unsigned begin, unsigned end) {
  const u64 offset = cpu.effective_address(i);
  for (unsigned k = begin; k < end; k += 8) {
    cpu.store<u64>(i.segment, offset + k, get<u64>(image, k));
  }
}
/// Alignment and access rights of the whole area.
template <Access A>
void check_area(Cpu& cpu, const Instruction& i, unsigned size, unsigned alignment) {
  const u64 offset = cpu.effective_address(i);
  if ((cpu.linear<A>(i.segment, offset, size) & (alignment - 1)) != 0) cpu.raise_gp0();
  cpu.probe(i.segment, offset, size, A);
}

// ============================ FXSAVE and FXRSTOR ======================================
void check_fxsave(Cpu& cpu) {
  if ((cpu.state.cr0 & kCr0Em) != 0) cpu.raise_ud();
  if ((cpu.state.cr0 & kCr0Ts) != 0) cpu.raise(kDeviceNotAvailable);
}
/// Without CR4.OSFXSR the SSE state is left out (the manual allows either).
bool with_sse_state(const Cpu& cpu) { return (cpu.state.cr4 & kCr4Osfxsr) != 0; }

void fxsave(Cpu& cpu, const Instruction& i) {
  check_fxsave(cpu);
  check_area<Access::write>(cpu, i, kImageBytes, 16);
  Image image{};
  put_x87(image, cpu.state.x87, i.operand_size);
  write_part(cpu, i, image, 0, kMxcsrOffset);
  write_part(cpu, i, image, kStackOffset, kXmmOffset);
  if (with_sse_state(cpu)) {
    put_mxcsr(image, cpu);
    put_xmm(image, cpu);
    write_part(cpu, i, image, kMxcsrOffset, kStackOffset);
    write_part(cpu, i, image, kXmmOffset, kXmmOffset + 16 * xmm_count(cpu));
  }
}
void fxrstor(Cpu& cpu, const Instruction& i) {
  check_fxsave(cpu);
  check_area<Access::read>(cpu, i, kImageBytes, 16);
  Image image{};
  read_part(cpu, i, image, 0, kXmmOffset + 16 * xmm_count(cpu));
  const u32 mxcsr = get<u32>(image, kMxcsrOffset);
  if (with_sse_state(cpu)) {
    if ((mxcsr & ~kMxcsrMask) != 0) cpu.raise_gp0();
    cpu.state.mxcsr = mxcsr;
    get_xmm(image, cpu);
  }
  cpu.state.x87 = get_x87(image, i.operand_size);
  x87::settle_error_line(cpu);
}

// ============================ XSAVE and XRSTOR ========================================
void check_xsave(Cpu& cpu) {
  if ((cpu.state.cr4 & kCr4Osxsave) == 0) cpu.raise_ud();
  if ((cpu.state.cr0 & kCr0Ts) != 0) cpu.raise(kDeviceNotAvailable);
}
/// The requested-feature bitmap: EDX:EAX of what XCR0 enables.
u64 requested(const Cpu& cpu) {
  return (static_cast<u64>(cpu.reg<u32>(kRdx)) << 32 | cpu.reg<u32>(kRax)) & cpu.state.xcr0;
}
bool x87_in_use(const X87State& x87) {
  constexpr X87State kInitial;
  bool used = x87.control != kInitial.control || x87.status != kInitial.status ||
              x87.tag != kInitial.tag || x87.last_opcode != 0 || x87.last_cs != 0 ||
              x87.last_ds != 0 || x87.last_ip != 0 || x87.last_dp != 0;
  for (const X87Register& st : x87.st) {
    used = used || st.significand != 0 || st.sign_exponent != 0;
  }
  return used;
}
/// MXCSR does not count. Source: SDM vol. 1, "SSE State".
bool sse_in_use(const Cpu& cpu) {
  bool used = false;
  for (const Xmm& value : cpu.state.xmm) used = used || (value.low | value.high) != 0;
  return used;
}

void xsave(Cpu& cpu, const Instruction& i) {
  check_xsave(cpu);
  check_area<Access::write>(cpu, i, kXsaveBytes, 64);
  const u64 mask = requested(cpu);
  const u64 header = cpu.effective_address(i) + kHeaderOffset;
  const u64 in_use =
      (x87_in_use(cpu.state.x87) ? kComponentX87 : 0) | (sse_in_use(cpu) ? kComponentSse : 0);
  const u64 old = cpu.load<u64>(i.segment, header);
  Image image{};
  if ((mask & kComponentX87) != 0) {
    put_x87(image, cpu.state.x87, i.operand_size);
    write_part(cpu, i, image, 0, kMxcsrOffset);
    write_part(cpu, i, image, kStackOffset, kXmmOffset);
  }
  if ((mask & kComponentSse) != 0) {
    put_mxcsr(image, cpu);
    put_xmm(image, cpu);
    write_part(cpu, i, image, kMxcsrOffset, kStackOffset);
    write_part(cpu, i, image, kXmmOffset, kXmmOffset + 16 * xmm_count(cpu));
  }
  cpu.store<u64>(i.segment, header, (old & ~mask) | (in_use & mask));
}
/// XSTATE_BV after its checks: only enabled components, the standard format
/// (XCOMP_BV zero) and zeros in bytes 16-23 of the header.
u64 load_header(Cpu& cpu, const Instruction& i) {
  const u64 header = cpu.effective_address(i) + kHeaderOffset;
  const u64 state_bv = cpu.load<u64>(i.segment, header);
  const u64 compact_bv = cpu.load<u64>(i.segment, header + 8);
  const u64 reserved = cpu.load<u64>(i.segment, header + 16);
  if ((state_bv & ~cpu.state.xcr0) != 0 || compact_bv != 0 || reserved != 0) cpu.raise_gp0();
  return state_bv;
}
void xrstor(Cpu& cpu, const Instruction& i) {
  check_xsave(cpu);
  check_area<Access::read>(cpu, i, kXsaveBytes, 64);
  const u64 mask = requested(cpu);
  const u64 state_bv = load_header(cpu, i);
  Image image{};
  read_part(cpu, i, image, 0, kXmmOffset + 16 * xmm_count(cpu));
  // MXCSR is loaded whenever SSE is requested, whatever XSTATE_BV says.
  const u32 mxcsr = get<u32>(image, kMxcsrOffset);
  if ((mask & kComponentSse) != 0) {
    if ((mxcsr & ~kMxcsrMask) != 0) cpu.raise_gp0();
    cpu.state.mxcsr = mxcsr;
    if ((state_bv & kComponentSse) == 0) {
      constexpr Image kInitial{};
      get_xmm(kInitial, cpu);
    } else {
      get_xmm(image, cpu);
    }
  }
  if ((mask & kComponentX87) != 0) {
    cpu.state.x87 = (state_bv & kComponentX87) != 0 ? get_x87(image, i.operand_size) : X87State{};
    x87::settle_error_line(cpu);
  }
}

// ============================ MXCSR ===================================================
void ldmxcsr(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const u32 value = cpu.load_operand<u32>(i);
  if ((value & ~kMxcsrMask) != 0) cpu.raise_gp0();
  cpu.state.mxcsr = value;
}
void stmxcsr(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  cpu.store_operand<u32>(i, cpu.state.mxcsr);
}

constexpr std::string_view kPointers =
    "images hold the x87 last-instruction pointers, which differ between vendors";
constexpr Row group15(std::string_view name, int reg, Handler handler) {
  return with_reg(row(name, k0f, 0xae, none, ModRm::memory, by_form(nullptr, handler)), reg);
}
constexpr auto kRows = std::to_array<Row>({
    without_oracle(group15("FXSAVE m512", 0, &fxsave), kPointers),
    without_oracle(group15("FXRSTOR m512", 1, &fxrstor), kPointers),
    group15("LDMXCSR m32", 2, &ldmxcsr),
    group15("STMXCSR m32", 3, &stmxcsr),
    without_oracle(group15("XSAVE mem", 4, &xsave), kPointers),
    without_oracle(group15("XRSTOR mem", 5, &xrstor), kPointers),
});

}  // namespace

std::span<const Row> save_rows() { return kRows; }

}  // namespace chronovisor::sse
