// Floating-point comparisons: CMPccPS/PD/SS/SD into masks, COMIS and UCOMIS
// into RFLAGS. Source: SDM vol. 2, the instructions' own pages.
#include "vmm/cpu/interpret/sse/host_float.h"

namespace chronovisor::sse {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

// A mnemonic must be a literal in the asm statement, hence the macro. The
// predicate is an immediate, hence one function for each.
#define CHRONOVISOR_HOST_COMPARE(Name, mnemonic)                               \
  struct Name {                                                                \
    template <int Predicate>                                                   \
    static __m128i run(__m128i a, __m128i b) {                                 \
      asm volatile(mnemonic " %2, %1, %0" : "+x"(a) : "x"(b), "i"(Predicate)); \
      return a;                                                                \
    }                                                                          \
  };
CHRONOVISOR_HOST_COMPARE(Cmpps, "cmpps")
CHRONOVISOR_HOST_COMPARE(Cmppd, "cmppd")
CHRONOVISOR_HOST_COMPARE(Cmpss, "cmpss")
CHRONOVISOR_HOST_COMPARE(Cmpsd, "cmpsd")
#undef CHRONOVISOR_HOST_COMPARE

template <class Op>
__m128i compare_on_host(__m128i a, __m128i b, unsigned predicate) {
  switch (predicate & 7) {
    case 0:
      return Op::template run<0>(a, b);
    case 1:
      return Op::template run<1>(a, b);
    case 2:
      return Op::template run<2>(a, b);
    case 3:
      return Op::template run<3>(a, b);
    case 4:
      return Op::template run<4>(a, b);
    case 5:
      return Op::template run<5>(a, b);
    case 6:
      return Op::template run<6>(a, b);
    default:
      return Op::template run<7>(a, b);
  }
}
template <class Op>
void compare(Cpu& cpu, const Instruction& i, const Xmm& source) {
  __m128i result{};
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    result = compare_on_host<Op>(to_host(xmm(cpu, i.reg)), to_host(source),
                                 static_cast<unsigned>(i.immediate));
    raised = host.raised();
  }
  settle_exceptions(cpu, raised);
  xmm(cpu, i.reg) = from_host(result);
}
template <class Op, bool Memory>
void compare_packed(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  compare<Op>(cpu, i, source128<Memory>(cpu, i));
}
template <class Op, class Bits, bool Memory>
void compare_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  compare<Op>(cpu, i, {source_low<Bits, Memory>(cpu, i), 0});
}

/// What COMIS and UCOMIS leave in RFLAGS.
struct Ordering {
  bool zero = false;
  bool parity = false;
  bool carry = false;
};
#define CHRONOVISOR_HOST_COMIS(Name, mnemonic)                      \
  struct Name {                                                     \
    static Ordering run(__m128i a, __m128i b) {                     \
      bool zero = false;                                            \
      bool parity = false;                                          \
      bool carry = false;                                           \
      asm volatile(mnemonic " %4, %3"                               \
                   : "=@ccz"(zero), "=@ccp"(parity), "=@ccc"(carry) \
                   : "x"(a), "x"(b));                               \
      return {zero, parity, carry};                                 \
    }                                                               \
  };
CHRONOVISOR_HOST_COMIS(Comiss, "comiss")
CHRONOVISOR_HOST_COMIS(Comisd, "comisd")
CHRONOVISOR_HOST_COMIS(Ucomiss, "ucomiss")
CHRONOVISOR_HOST_COMIS(Ucomisd, "ucomisd")
#undef CHRONOVISOR_HOST_COMIS

template <class Op, class Bits, bool Memory>
void compare_flags(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source{source_low<Bits, Memory>(cpu, i), 0};
  Ordering order;
  u32 raised = 0;
  {
    const HostFloat host(cpu.state.mxcsr);
    order = Op::run(to_host(xmm(cpu, i.reg)), to_host(source));
    raised = host.raised();
  }
  settle_exceptions(cpu, raised);
  cpu.flags.set_arithmetic((order.zero ? kZf : 0U) | (order.parity ? kPf : 0U) |
                           (order.carry ? kCf : 0U));
}

template <class Op>
constexpr Row packed(std::string_view name, MandatoryPrefix prefix) {
  return with_imm8(row(name, k0f, 0xc2, prefix, ModRm::any,
                       by_form(&compare_packed<Op, false>, &compare_packed<Op, true>)));
}
template <class Op, class Bits>
constexpr Row scalar(std::string_view name, MandatoryPrefix prefix) {
  return with_imm8(row(name, k0f, 0xc2, prefix, ModRm::any,
                       by_form(&compare_scalar<Op, Bits, false>, &compare_scalar<Op, Bits, true>)));
}
template <class Op, class Bits>
constexpr Row comis(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, sizeof(Bits) == 4 ? none : p66, ModRm::any,
             by_form(&compare_flags<Op, Bits, false>, &compare_flags<Op, Bits, true>));
}

constexpr auto kRows = std::to_array<Row>({
    packed<Cmpps>("CMPPS xmm, xmm/m128, imm8", none),
    packed<Cmppd>("CMPPD xmm, xmm/m128, imm8", p66),
    scalar<Cmpss, u32>("CMPSS xmm, xmm/m32, imm8", pf3),
    scalar<Cmpsd, u64>("CMPSD xmm, xmm/m64, imm8", pf2),
    comis<Ucomiss, u32>("UCOMISS xmm, xmm/m32", 0x2e),
    comis<Ucomisd, u64>("UCOMISD xmm, xmm/m64", 0x2e),
    comis<Comiss, u32>("COMISS xmm, xmm/m32", 0x2f),
    comis<Comisd, u64>("COMISD xmm, xmm/m64", 0x2f),
});

}  // namespace

std::span<const Row> compare_rows() { return kRows; }

}  // namespace chronovisor::sse
