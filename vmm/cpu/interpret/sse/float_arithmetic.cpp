// Floating-point arithmetic: add, subtract, multiply, divide, square root,
// minimum, maximum, horizontal and alternating sums, dot products.
// Source: SDM vol. 2, the instructions' own pages.
#include "vmm/cpu/interpret/sse/host_float.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ============================ one instruction on the host =============================
// A mnemonic must be a literal in the asm statement, hence the macro.
#define CHRONOVISOR_HOST_OP(Name, mnemonic)                \
  struct Name {                                            \
    static __m128i run(__m128i a, __m128i b) {             \
      asm volatile(mnemonic " %1, %0" : "+x"(a) : "x"(b)); \
      return a;                                            \
    }                                                      \
  };
CHRONOVISOR_HOST_OP(Addps, "addps")
CHRONOVISOR_HOST_OP(Addpd, "addpd")
CHRONOVISOR_HOST_OP(Addss, "addss")
CHRONOVISOR_HOST_OP(Addsd, "addsd")
CHRONOVISOR_HOST_OP(Subps, "subps")
CHRONOVISOR_HOST_OP(Subpd, "subpd")
CHRONOVISOR_HOST_OP(Subss, "subss")
CHRONOVISOR_HOST_OP(Subsd, "subsd")
CHRONOVISOR_HOST_OP(Mulps, "mulps")
CHRONOVISOR_HOST_OP(Mulpd, "mulpd")
CHRONOVISOR_HOST_OP(Mulss, "mulss")
CHRONOVISOR_HOST_OP(Mulsd, "mulsd")
CHRONOVISOR_HOST_OP(Divps, "divps")
CHRONOVISOR_HOST_OP(Divpd, "divpd")
CHRONOVISOR_HOST_OP(Divss, "divss")
CHRONOVISOR_HOST_OP(Divsd, "divsd")
CHRONOVISOR_HOST_OP(Minps, "minps")
CHRONOVISOR_HOST_OP(Minpd, "minpd")
CHRONOVISOR_HOST_OP(Minss, "minss")
CHRONOVISOR_HOST_OP(Minsd, "minsd")
CHRONOVISOR_HOST_OP(Maxps, "maxps")
CHRONOVISOR_HOST_OP(Maxpd, "maxpd")
CHRONOVISOR_HOST_OP(Maxss, "maxss")
CHRONOVISOR_HOST_OP(Maxsd, "maxsd")
CHRONOVISOR_HOST_OP(Sqrtps, "sqrtps")
CHRONOVISOR_HOST_OP(Sqrtpd, "sqrtpd")
CHRONOVISOR_HOST_OP(Sqrtss, "sqrtss")
CHRONOVISOR_HOST_OP(Sqrtsd, "sqrtsd")
#undef CHRONOVISOR_HOST_OP

// ============================ elements for the judge ==================================
template <class T>
constexpr Format kFormat = sizeof(T) == 4 ? Format::single_precision : Format::double_precision;

/// Widens by bits: a conversion on the host would depend on its MXCSR.
double widen(double value) { return value; }
double widen(float value) { return static_cast<double>(value); }

/// Flags of `operations` on pairs of elements, element k of `a` with k of `b`.
template <class T, std::size_t N>
u32 judge_pairs(const Cpu& cpu, u32 raised, const Xmm& a, const Xmm& b,
                const std::array<Operation, N>& operations) {
  const auto left = lanes<T>(a);
  const auto right = lanes<T>(b);
  std::array<Element, N> elements{};
  for (std::size_t k = 0; k < N; ++k) {
    elements[k] = {operations[k], widen(left[k]), widen(right[k])};
  }
  return judge_elements(cpu, raised, elements, kFormat<T>);
}
template <class T, std::size_t N>
u32 judge_same(const Cpu& cpu, u32 raised, const Xmm& a, const Xmm& b, Operation operation) {
  std::array<Operation, N> operations{};
  operations.fill(operation);
  return judge_pairs<T>(cpu, raised, a, b, operations);
}

/// Runs Op on the host, settles its exceptions and gives the result. N is how
/// many elements of T it works on.
template <class Op, class T, std::size_t N>
Xmm compute(Cpu& cpu, const Xmm& a, const Xmm& b, Operation operation) {
  __m128i result{};
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    result = Op::run(to_host(a), to_host(b));
    raised = host.raised();
  }
  if (needs_elements(cpu)) [[unlikely]] {
    raised = judge_same<T, N>(cpu, raised, a, b, operation);
  }
  settle_exceptions(cpu, raised);
  return from_host(result);
}

// ============================ add, subtract, multiply, divide =========================
template <class T, bool Memory>
Xmm scalar_source(Cpu& cpu, const Instruction& i) {
  if constexpr (Memory) {
    return {cpu.load_operand<T>(i), 0};
  } else {
    return cpu.state.xmm[i.rm];
  }
}
template <class Op, class T, Operation O, bool Memory>
void arithmetic_packed(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  xmm(cpu, i.reg) = compute<Op, T, 16 / sizeof(T)>(cpu, xmm(cpu, i.reg), source, O);
}
template <class Op, class T, Operation O, bool Memory>
void arithmetic_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  using Bits = std::conditional_t<sizeof(T) == 4, u32, u64>;
  const Xmm source = scalar_source<Bits, Memory>(cpu, i);
  xmm(cpu, i.reg) = compute<Op, T, 1>(cpu, xmm(cpu, i.reg), source, O);
}

// ============================ square root, minimum, maximum ===========================
/// These neither overflow nor underflow: the host's flags are the answer.
template <class Op>
Xmm compute_simple(Cpu& cpu, const Xmm& a, const Xmm& b) {
  __m128i result{};
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    result = Op::run(to_host(a), to_host(b));
    raised = host.raised();
  }
  settle_exceptions(cpu, raised);
  return from_host(result);
}
template <class Op, bool Memory>
void simple_packed(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  xmm(cpu, i.reg) = compute_simple<Op>(cpu, xmm(cpu, i.reg), source);
}
template <class Op, class Bits, bool Memory>
void simple_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = scalar_source<Bits, Memory>(cpu, i);
  xmm(cpu, i.reg) = compute_simple<Op>(cpu, xmm(cpu, i.reg), source);
}

// ============================ horizontal and alternating ==============================
/// HADDPS, HSUBPS: even elements against odd ones of destination and source.
template <class Op, Operation O, bool Memory>
void horizontal_single(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const auto b = lanes<u32>(source128<Memory>(cpu, i));
  const auto a = lanes<u32>(xmm(cpu, i.reg));
  const Xmm even = vector<Xmm>(std::array<u32, 4>{a[0], a[2], b[0], b[2]});
  const Xmm odd = vector<Xmm>(std::array<u32, 4>{a[1], a[3], b[1], b[3]});
  xmm(cpu, i.reg) = compute<Op, float, 4>(cpu, even, odd, O);
}
template <class Op, Operation O, bool Memory>
void horizontal_double(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm b = source128<Memory>(cpu, i);
  const Xmm a = xmm(cpu, i.reg);
  xmm(cpu, i.reg) = compute<Op, double, 2>(cpu, {a.low, b.low}, {a.high, b.high}, O);
}

/// The even elements of `value`, zero in place of the odd ones, or the reverse.
/// Sums and differences of two zeros raise nothing.
template <class T>
Xmm keep(const Xmm& value, unsigned parity) {
  auto elements = lanes<T>(value);
  for (std::size_t k = 0; k < elements.size(); ++k) {
    if ((k & 1) != parity) elements[k] = 0;
  }
  return vector<Xmm>(elements);
}
/// ADDSUBPS, ADDSUBPD: subtract in even elements, add in odd ones.
template <class Plus, class Minus, class T, bool Memory>
void alternating(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  using Bits = std::conditional_t<sizeof(T) == 4, u32, u64>;
  const Xmm b = source128<Memory>(cpu, i);
  const Xmm a = xmm(cpu, i.reg);
  __m128i difference{};
  __m128i sum{};
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    difference = Minus::run(to_host(keep<Bits>(a, 0)), to_host(keep<Bits>(b, 0)));
    sum = Plus::run(to_host(keep<Bits>(a, 1)), to_host(keep<Bits>(b, 1)));
    raised = host.raised();
  }
  if (needs_elements(cpu)) [[unlikely]] {
    std::array<Operation, 16 / sizeof(T)> operations{};
    for (std::size_t k = 0; k < operations.size(); ++k) {
      operations[k] = (k & 1) != 0 ? Operation::add : Operation::subtract;
    }
    raised = judge_pairs<T>(cpu, raised, a, b, operations);
  }
  settle_exceptions(cpu, raised);
  auto result = lanes<Bits>(from_host(difference));
  const auto odd = lanes<Bits>(from_host(sum));
  for (std::size_t k = 1; k < result.size(); k += 2) result[k] = odd[k];
  xmm(cpu, i.reg) = vector<Xmm>(result);
}

// ============================ dot products ============================================
/// Keeps element k where bit k of `mask` is set; others become +0.
template <class T>
Xmm keep_masked(const Xmm& value, unsigned mask) {
  auto elements = lanes<T>(value);
  for (std::size_t k = 0; k < elements.size(); ++k) {
    if (((mask >> k) & 1) == 0) elements[k] = 0;
  }
  return vector<Xmm>(elements);
}
/// DPPS: imm8 bits 7:4 choose the products, 3:0 where the sum goes. The order
/// of additions (which NaN survives) is that of Intel processors: element k
/// adds its neighbour's product first, and the other pair's sum last.
template <bool Memory>
void dpps(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  const auto immediate = static_cast<unsigned>(i.immediate);
  const Xmm a = keep_masked<u32>(xmm(cpu, i.reg), immediate >> 4);
  const Xmm b = keep_masked<u32>(source, immediate >> 4);
  const Xmm products = compute<Mulps, float, 4>(cpu, a, b, Operation::multiply);
  const auto p = lanes<u32>(products);
  const Xmm swapped = vector<Xmm>(std::array<u32, 4>{p[1], p[0], p[3], p[2]});
  const Xmm pairs = compute<Addps, float, 4>(cpu, swapped, products, Operation::add);
  const Xmm sum = compute<Addps, float, 4>(cpu, pairs, {pairs.high, pairs.low}, Operation::add);
  xmm(cpu, i.reg) = keep_masked<u32>(sum, immediate);
}
template <bool Memory>
void dppd(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  const auto immediate = static_cast<unsigned>(i.immediate);
  const Xmm a = keep_masked<u64>(xmm(cpu, i.reg), immediate >> 4);
  const Xmm b = keep_masked<u64>(source, immediate >> 4);
  const Xmm products = compute<Mulpd, double, 2>(cpu, a, b, Operation::multiply);
  const Xmm sum =
      compute<Addpd, double, 2>(cpu, products, {products.high, products.low}, Operation::add);
  xmm(cpu, i.reg) = keep_masked<u64>(sum, immediate);
}

// ============================ rows ====================================================
template <class Op, class T, Operation O>
constexpr Row packed(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, sizeof(T) == 4 ? none : p66, ModRm::any,
             by_form(&arithmetic_packed<Op, T, O, false>, &arithmetic_packed<Op, T, O, true>));
}
template <class Op, class T, Operation O>
constexpr Row scalar(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, sizeof(T) == 4 ? pf3 : pf2, ModRm::any,
             by_form(&arithmetic_scalar<Op, T, O, false>, &arithmetic_scalar<Op, T, O, true>));
}
template <class Op>
constexpr Row simple(std::string_view name, std::uint8_t opcode, MandatoryPrefix prefix) {
  return row(name, k0f, opcode, prefix, ModRm::any,
             by_form(&simple_packed<Op, false>, &simple_packed<Op, true>));
}
template <class Op, class Bits>
constexpr Row simple_one(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, sizeof(Bits) == 4 ? pf3 : pf2, ModRm::any,
             by_form(&simple_scalar<Op, Bits, false>, &simple_scalar<Op, Bits, true>));
}
using enum Operation;

constexpr auto kRows = std::to_array<Row>({
    packed<Addps, float, add>("ADDPS xmm, xmm/m128", 0x58),
    packed<Addpd, double, add>("ADDPD xmm, xmm/m128", 0x58),
    scalar<Addss, float, add>("ADDSS xmm, xmm/m32", 0x58),
    scalar<Addsd, double, add>("ADDSD xmm, xmm/m64", 0x58),
    packed<Mulps, float, multiply>("MULPS xmm, xmm/m128", 0x59),
    packed<Mulpd, double, multiply>("MULPD xmm, xmm/m128", 0x59),
    scalar<Mulss, float, multiply>("MULSS xmm, xmm/m32", 0x59),
    scalar<Mulsd, double, multiply>("MULSD xmm, xmm/m64", 0x59),
    packed<Subps, float, subtract>("SUBPS xmm, xmm/m128", 0x5c),
    packed<Subpd, double, subtract>("SUBPD xmm, xmm/m128", 0x5c),
    scalar<Subss, float, subtract>("SUBSS xmm, xmm/m32", 0x5c),
    scalar<Subsd, double, subtract>("SUBSD xmm, xmm/m64", 0x5c),
    packed<Divps, float, divide>("DIVPS xmm, xmm/m128", 0x5e),
    packed<Divpd, double, divide>("DIVPD xmm, xmm/m128", 0x5e),
    scalar<Divss, float, divide>("DIVSS xmm, xmm/m32", 0x5e),
    scalar<Divsd, double, divide>("DIVSD xmm, xmm/m64", 0x5e),
    simple<Sqrtps>("SQRTPS xmm, xmm/m128", 0x51, none),
    simple<Sqrtpd>("SQRTPD xmm, xmm/m128", 0x51, p66),
    simple_one<Sqrtss, u32>("SQRTSS xmm, xmm/m32", 0x51),
    simple_one<Sqrtsd, u64>("SQRTSD xmm, xmm/m64", 0x51),
    simple<Minps>("MINPS xmm, xmm/m128", 0x5d, none),
    simple<Minpd>("MINPD xmm, xmm/m128", 0x5d, p66),
    simple_one<Minss, u32>("MINSS xmm, xmm/m32", 0x5d),
    simple_one<Minsd, u64>("MINSD xmm, xmm/m64", 0x5d),
    simple<Maxps>("MAXPS xmm, xmm/m128", 0x5f, none),
    simple<Maxpd>("MAXPD xmm, xmm/m128", 0x5f, p66),
    simple_one<Maxss, u32>("MAXSS xmm, xmm/m32", 0x5f),
    simple_one<Maxsd, u64>("MAXSD xmm, xmm/m64", 0x5f),
    row("HADDPD xmm, xmm/m128", k0f, 0x7c, p66, ModRm::any,
        by_form(&horizontal_double<Addpd, add, false>, &horizontal_double<Addpd, add, true>)),
    row("HADDPS xmm, xmm/m128", k0f, 0x7c, pf2, ModRm::any,
        by_form(&horizontal_single<Addps, add, false>, &horizontal_single<Addps, add, true>)),
    row("HSUBPD xmm, xmm/m128", k0f, 0x7d, p66, ModRm::any,
        by_form(&horizontal_double<Subpd, subtract, false>,
                &horizontal_double<Subpd, subtract, true>)),
    row("HSUBPS xmm, xmm/m128", k0f, 0x7d, pf2, ModRm::any,
        by_form(&horizontal_single<Subps, subtract, false>,
                &horizontal_single<Subps, subtract, true>)),
    row("ADDSUBPD xmm, xmm/m128", k0f, 0xd0, p66, ModRm::any,
        by_form(&alternating<Addpd, Subpd, double, false>,
                &alternating<Addpd, Subpd, double, true>)),
    row("ADDSUBPS xmm, xmm/m128", k0f, 0xd0, pf2, ModRm::any,
        by_form(&alternating<Addps, Subps, float, false>, &alternating<Addps, Subps, float, true>)),
    with_imm8(row("DPPS xmm, xmm/m128, imm8", k3a, 0x40, p66, ModRm::any,
                  by_form(&dpps<false>, &dpps<true>))),
    with_imm8(row("DPPD xmm, xmm/m128, imm8", k3a, 0x41, p66, ModRm::any,
                  by_form(&dppd<false>, &dppd<true>))),
});

}  // namespace

std::span<const Row> float_rows() { return kRows; }

}  // namespace chronovisor::sse
