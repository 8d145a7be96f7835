// Conversions between integers and floating-point formats, and rounding to
// integral values. Source: SDM vol. 2, CVTxx2yy and ROUNDxx.
#include "vmm/cpu/interpret/sse/host_float.h"

namespace chronovisor::sse {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ============================ one instruction on the host =============================
// A mnemonic must be a literal in the asm statement, hence the macros.
#define CHRONOVISOR_HOST_OP(Name, mnemonic)                \
  struct Name {                                            \
    static __m128i run(__m128i a, __m128i b) {             \
      asm volatile(mnemonic " %1, %0" : "+x"(a) : "x"(b)); \
      return a;                                            \
    }                                                      \
  };
CHRONOVISOR_HOST_OP(Cvtps2pd, "cvtps2pd")
CHRONOVISOR_HOST_OP(Cvtpd2ps, "cvtpd2ps")
CHRONOVISOR_HOST_OP(Cvtss2sd, "cvtss2sd")
CHRONOVISOR_HOST_OP(Cvtsd2ss, "cvtsd2ss")
CHRONOVISOR_HOST_OP(Cvtdq2ps, "cvtdq2ps")
CHRONOVISOR_HOST_OP(Cvtps2dq, "cvtps2dq")
CHRONOVISOR_HOST_OP(Cvttps2dq, "cvttps2dq")
CHRONOVISOR_HOST_OP(Cvtdq2pd, "cvtdq2pd")
CHRONOVISOR_HOST_OP(Cvtpd2dq, "cvtpd2dq")
CHRONOVISOR_HOST_OP(Cvttpd2dq, "cvttpd2dq")
#undef CHRONOVISOR_HOST_OP
/// From a general register into the low element.
#define CHRONOVISOR_HOST_FROM_INTEGER(Name, mnemonic, Integer) \
  struct Name {                                                \
    using Source = Integer;                                    \
    static __m128i run(__m128i a, Integer value) {             \
      asm volatile(mnemonic " %1, %0" : "+x"(a) : "r"(value)); \
      return a;                                                \
    }                                                          \
  };
CHRONOVISOR_HOST_FROM_INTEGER(Cvtsi2ss32, "cvtsi2ssl", u32)
CHRONOVISOR_HOST_FROM_INTEGER(Cvtsi2ss64, "cvtsi2ssq", u64)
CHRONOVISOR_HOST_FROM_INTEGER(Cvtsi2sd32, "cvtsi2sdl", u32)
CHRONOVISOR_HOST_FROM_INTEGER(Cvtsi2sd64, "cvtsi2sdq", u64)
#undef CHRONOVISOR_HOST_FROM_INTEGER
/// From the low element, of type Bits, into a general register.
#define CHRONOVISOR_HOST_TO_INTEGER(Name, mnemonic, Bits_, Integer) \
  struct Name {                                                     \
    using Bits = Bits_;                                             \
    using Result = Integer;                                         \
    static Integer run(__m128i source) {                            \
      Integer value = 0;                                            \
      asm volatile(mnemonic " %1, %0" : "=r"(value) : "x"(source)); \
      return value;                                                 \
    }                                                               \
  };
CHRONOVISOR_HOST_TO_INTEGER(Cvtss2si32, "cvtss2si", u32, u32)
CHRONOVISOR_HOST_TO_INTEGER(Cvtss2si64, "cvtss2si", u32, u64)
CHRONOVISOR_HOST_TO_INTEGER(Cvtsd2si32, "cvtsd2si", u64, u32)
CHRONOVISOR_HOST_TO_INTEGER(Cvtsd2si64, "cvtsd2si", u64, u64)
CHRONOVISOR_HOST_TO_INTEGER(Cvttss2si32, "cvttss2si", u32, u32)
CHRONOVISOR_HOST_TO_INTEGER(Cvttss2si64, "cvttss2si", u32, u64)
CHRONOVISOR_HOST_TO_INTEGER(Cvttsd2si32, "cvttsd2si", u64, u32)
CHRONOVISOR_HOST_TO_INTEGER(Cvttsd2si64, "cvttsd2si", u64, u64)
#undef CHRONOVISOR_HOST_TO_INTEGER

/// Runs Op, settles its exceptions and gives the result.
template <class Op, class Source>
Xmm convert(Cpu& cpu, const Xmm& destination, Source source) {
  __m128i result{};
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    result = Op::run(to_host(destination), source);
    raised = host.raised();
  }
  settle_exceptions(cpu, raised);
  return from_host(result);
}

// ============================ vectors =================================================
template <class Op, bool Memory>
void convert_packed(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  xmm(cpu, i.reg) = convert<Op>(cpu, xmm(cpu, i.reg), to_host(source));
}
/// From the low 64 (or 32) bits of the source; memory need not be aligned.
template <class Op, class Bits, bool Memory>
void convert_low(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source{source_low<Bits, Memory>(cpu, i), 0};
  xmm(cpu, i.reg) = convert<Op>(cpu, xmm(cpu, i.reg), to_host(source));
}
/// CVTPD2PS, CVTSD2SS: the only conversions that can overflow or underflow.
template <class Op, std::size_t N>
void narrow(Cpu& cpu, const Instruction& i, const Xmm& source) {
  __m128i result{};
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    result = Op::run(to_host(xmm(cpu, i.reg)), to_host(source));
    raised = host.raised();
  }
  if (needs_elements(cpu)) [[unlikely]] {
    const auto values = lanes<double>(source);
    std::array<Element, N> elements{};
    for (std::size_t k = 0; k < N; ++k) elements[k] = {Operation::narrow, values[k], 0};
    raised = judge_elements(cpu, raised, elements, Format::single_precision);
  }
  settle_exceptions(cpu, raised);
  xmm(cpu, i.reg) = from_host(result);
}
template <bool Memory>
void cvtpd2ps(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  narrow<Cvtpd2ps, 2>(cpu, i, source128<Memory>(cpu, i));
}
template <bool Memory>
void cvtsd2ss(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  narrow<Cvtsd2ss, 1>(cpu, i, {source_low<u64, Memory>(cpu, i), 0});
}

// ============================ general registers =======================================
template <class Op, bool Memory>
void from_integer(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  using Source = typename Op::Source;
  Source source = 0;
  if constexpr (Memory) {
    source = cpu.load_operand<Source>(i);
  } else {
    source = cpu.reg<Source>(i.rm);
  }
  xmm(cpu, i.reg) = convert<Op>(cpu, xmm(cpu, i.reg), source);
}
template <class Op, bool Memory>
void to_integer(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source{source_low<typename Op::Bits, Memory>(cpu, i), 0};
  typename Op::Result result = 0;
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    result = Op::run(to_host(source));
    raised = host.raised();
  }
  settle_exceptions(cpu, raised);
  cpu.set_reg<typename Op::Result>(i.reg, result);
}

// ============================ MMX registers ===========================================
/// CVTPI2PS and CVTPI2PD. With a memory operand the x87 unit is left alone:
/// processors do so for both, the manual says it of CVTPI2PD.
template <bool Memory>
u64 integers_source(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  if constexpr (Memory) {
    return cpu.load_operand<u64>(i);
  } else {
    check_mmx(cpu);
    return mm(cpu, i.rm);
  }
}
template <bool Memory>
void cvtpi2ps(Cpu& cpu, const Instruction& i) {
  const Xmm source{integers_source<Memory>(cpu, i), 0};
  const Xmm result = convert<Cvtdq2ps>(cpu, {}, to_host(source));
  if constexpr (!Memory) enter_mmx(cpu);
  xmm(cpu, i.reg).low = result.low;
}
template <bool Memory>
void cvtpi2pd(Cpu& cpu, const Instruction& i) {
  const Xmm source{integers_source<Memory>(cpu, i), 0};
  const Xmm result = convert<Cvtdq2pd>(cpu, {}, to_host(source));
  if constexpr (!Memory) enter_mmx(cpu);
  xmm(cpu, i.reg) = result;
}
/// CVTPS2PI and CVTTPS2PI take 64 bits; the zeros above them raise nothing.
template <class Op, bool Memory>
void singles_to_mm(Cpu& cpu, const Instruction& i) {
  check_sse_and_mmx(cpu);
  const Xmm source{source_low<u64, Memory>(cpu, i), 0};
  const Xmm result = convert<Op>(cpu, {}, to_host(source));
  enter_mmx(cpu);
  set_mm(cpu, i.reg, result.low);
}
template <class Op, bool Memory>
void doubles_to_mm(Cpu& cpu, const Instruction& i) {
  check_sse_and_mmx(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  const Xmm result = convert<Op>(cpu, {}, to_host(source));
  enter_mmx(cpu);
  set_mm(cpu, i.reg, result.low);
}

// ============================ rounding ================================================
template <class Bits>
struct FloatFormat {
  static constexpr unsigned kFraction = sizeof(Bits) == 4 ? 23 : 52;
  static constexpr int kBias = sizeof(Bits) == 4 ? 127 : 1023;
  static constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  static constexpr Bits kQuiet = Bits{1} << (kFraction - 1);
  static constexpr Bits kFractionMask = (Bits{1} << kFraction) - 1;
  static constexpr Bits kInfinity = static_cast<Bits>(~kSign & ~kFractionMask);
  static constexpr Bits kOne = static_cast<Bits>(Bits{kBias} << kFraction);
};

/// ROUNDxx is an SSE4.1 instruction, which the host need not have, and simple.
/// `mode` is a rounding control: nearest even, down, up, toward zero.
template <class Bits>
Bits round_integral(Bits value, unsigned mode, bool zero_denormals, u32& raised) {
  using F = FloatFormat<Bits>;
  const Bits sign = value & F::kSign;
  const Bits magnitude = static_cast<Bits>(value & ~F::kSign);
  if (magnitude > F::kInfinity) {
    if ((value & F::kQuiet) == 0) raised |= kMxInvalid;
    return value | F::kQuiet;
  }
  const int exponent = static_cast<int>(magnitude >> F::kFraction) - F::kBias;
  if (exponent >= static_cast<int>(F::kFraction) || magnitude == 0) return value;
  if (zero_denormals && magnitude <= F::kFractionMask) return sign;
  Bits truncated = sign;
  Bits unit = F::kOne;  // what rounding away from zero adds to the bits
  bool half = false;
  bool above_half = false;
  bool odd = false;
  bool inexact = true;
  if (exponent < 0) {
    half = exponent == -1;
    above_half = half && (magnitude & F::kFractionMask) != 0;
  } else {
    unit = Bits{1} << (F::kFraction - static_cast<unsigned>(exponent));
    const Bits fraction = magnitude & (unit - 1);
    truncated = static_cast<Bits>(value & ~(unit - 1));
    inexact = fraction != 0;
    half = fraction >= unit / 2;
    above_half = fraction > unit / 2;
    // At exponent 0 the unit's bit is the implicit one, and odd.
    odd = exponent == 0 || (magnitude & unit) != 0;
  }
  if (!inexact) return value;
  raised |= kMxPrecision;
  const bool away = mode == 0   ? above_half || (half && odd)
                    : mode == 1 ? sign != 0
                    : mode == 2 ? sign == 0
                                : false;
  return away ? static_cast<Bits>(truncated + unit) : truncated;
}
/// imm8: bits 1:0 the rounding, unless bit 2 says MXCSR's; bit 3 no precision exception.
template <class Bits, std::size_t N>
Xmm round(Cpu& cpu, const Xmm& destination, const Xmm& source, u64 immediate) {
  const u32 mxcsr = cpu.state.mxcsr;
  const unsigned mode =
      static_cast<unsigned>((immediate & 4) != 0 ? (mxcsr >> kMxRoundingShift) & 3 : immediate & 3);
  u32 raised = 0;
  auto result = lanes<Bits>(destination);
  const auto values = lanes<Bits>(source);
  for (std::size_t k = 0; k < N; ++k) {
    result[k] = round_integral<Bits>(values[k], mode, (mxcsr & kMxDenormalsAreZero) != 0, raised);
  }
  if ((immediate & 8) != 0) raised &= ~std::uint32_t{kMxPrecision};
  settle_exceptions(cpu, raised);
  return vector<Xmm>(result);
}
template <class Bits, bool Memory>
void round_packed(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  xmm(cpu, i.reg) = round<Bits, 16 / sizeof(Bits)>(cpu, xmm(cpu, i.reg), source, i.immediate);
}
template <class Bits, bool Memory>
void round_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source{source_low<Bits, Memory>(cpu, i), 0};
  xmm(cpu, i.reg) = round<Bits, 1>(cpu, xmm(cpu, i.reg), source, i.immediate);
}

// ============================ rows ====================================================
template <class Op>
constexpr Row packed(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix) {
  return row(name, k0f, opcode, prefix, ModRm::any,
             by_form(&convert_packed<Op, false>, &convert_packed<Op, true>));
}
template <class Op, class Bits>
constexpr Row low(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix) {
  return row(name, k0f, opcode, prefix, ModRm::any,
             by_form(&convert_low<Op, Bits, false>, &convert_low<Op, Bits, true>));
}
template <class Op32, class Op64>
constexpr Row from_gpr(std::string_view name, MandatoryPrefix prefix) {
  return row(name, k0f, 0x2a, prefix, ModRm::any,
             {{nullptr, nullptr, &from_integer<Op32, false>, &from_integer<Op64, false>},
              {nullptr, nullptr, &from_integer<Op32, true>, &from_integer<Op64, true>}});
}
template <class Op32, class Op64>
constexpr Row to_gpr(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix) {
  return row(name, k0f, opcode, prefix, ModRm::any,
             {{nullptr, nullptr, &to_integer<Op32, false>, &to_integer<Op64, false>},
              {nullptr, nullptr, &to_integer<Op32, true>, &to_integer<Op64, true>}});
}
template <class Op>
constexpr Row singles_to_pi(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, none, ModRm::any,
             by_form(&singles_to_mm<Op, false>, &singles_to_mm<Op, true>));
}
template <class Op>
constexpr Row doubles_to_pi(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, p66, ModRm::any,
             by_form(&doubles_to_mm<Op, false>, &doubles_to_mm<Op, true>));
}

constexpr auto kRows = std::to_array<Row>({
    row("CVTPI2PS xmm, mm/m64", k0f, 0x2a, none, ModRm::any,
        by_form(&cvtpi2ps<false>, &cvtpi2ps<true>)),
    row("CVTPI2PD xmm, mm/m64", k0f, 0x2a, p66, ModRm::any,
        by_form(&cvtpi2pd<false>, &cvtpi2pd<true>)),
    from_gpr<Cvtsi2ss32, Cvtsi2ss64>("CVTSI2SS xmm, r/m", pf3),
    from_gpr<Cvtsi2sd32, Cvtsi2sd64>("CVTSI2SD xmm, r/m", pf2),
    singles_to_pi<Cvttps2dq>("CVTTPS2PI mm, xmm/m64", 0x2c),
    doubles_to_pi<Cvttpd2dq>("CVTTPD2PI mm, xmm/m128", 0x2c),
    to_gpr<Cvttss2si32, Cvttss2si64>("CVTTSS2SI r, xmm/m32", 0x2c, pf3),
    to_gpr<Cvttsd2si32, Cvttsd2si64>("CVTTSD2SI r, xmm/m64", 0x2c, pf2),
    singles_to_pi<Cvtps2dq>("CVTPS2PI mm, xmm/m64", 0x2d),
    doubles_to_pi<Cvtpd2dq>("CVTPD2PI mm, xmm/m128", 0x2d),
    to_gpr<Cvtss2si32, Cvtss2si64>("CVTSS2SI r, xmm/m32", 0x2d, pf3),
    to_gpr<Cvtsd2si32, Cvtsd2si64>("CVTSD2SI r, xmm/m64", 0x2d, pf2),
    low<Cvtps2pd, u64>("CVTPS2PD xmm, xmm/m64", 0x5a, none),
    row("CVTPD2PS xmm, xmm/m128", k0f, 0x5a, p66, ModRm::any,
        by_form(&cvtpd2ps<false>, &cvtpd2ps<true>)),
    low<Cvtss2sd, u32>("CVTSS2SD xmm, xmm/m32", 0x5a, pf3),
    row("CVTSD2SS xmm, xmm/m64", k0f, 0x5a, pf2, ModRm::any,
        by_form(&cvtsd2ss<false>, &cvtsd2ss<true>)),
    packed<Cvtdq2ps>("CVTDQ2PS xmm, xmm/m128", 0x5b, none),
    packed<Cvtps2dq>("CVTPS2DQ xmm, xmm/m128", 0x5b, p66),
    packed<Cvttps2dq>("CVTTPS2DQ xmm, xmm/m128", 0x5b, pf3),
    packed<Cvttpd2dq>("CVTTPD2DQ xmm, xmm/m128", 0xe6, p66),
    low<Cvtdq2pd, u64>("CVTDQ2PD xmm, xmm/m64", 0xe6, pf3),
    packed<Cvtpd2dq>("CVTPD2DQ xmm, xmm/m128", 0xe6, pf2),
    with_imm8(row("ROUNDPS xmm, xmm/m128, imm8", k3a, 0x08, p66, ModRm::any,
                  by_form(&round_packed<u32, false>, &round_packed<u32, true>))),
    with_imm8(row("ROUNDPD xmm, xmm/m128, imm8", k3a, 0x09, p66, ModRm::any,
                  by_form(&round_packed<u64, false>, &round_packed<u64, true>))),
    with_imm8(row("ROUNDSS xmm, xmm/m32, imm8", k3a, 0x0a, p66, ModRm::any,
                  by_form(&round_scalar<u32, false>, &round_scalar<u32, true>))),
    with_imm8(row("ROUNDSD xmm, xmm/m64, imm8", k3a, 0x0b, p66, ModRm::any,
                  by_form(&round_scalar<u64, false>, &round_scalar<u64, true>))),
});

}  // namespace

std::span<const Row> conversion_rows() { return kRows; }

}  // namespace chronovisor::sse
