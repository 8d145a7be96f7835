#include "vmm/cpu/interpret/x87/arithmetic.h"

#include <bit>
#include <cstring>

// Source: SDM vol. 1, chapter 8; vol. 2, the instructions' pages.

namespace chronovisor::x87 {
namespace {

struct [[gnu::packed]] Extended {
  std::uint64_t significand;
  std::uint16_t sign_exponent;
};
static_assert(sizeof(Extended) == 10);
Extended to_host(const X87Register& r) { return {r.significand, r.sign_exponent}; }
X87Register from_host(const Extended& e) { return {e.significand, e.sign_exponent}; }

constexpr std::uint16_t kHostControl = kCwInitial;  // what the ABI promises to C++ code
constexpr unsigned kArithmeticBits = kSwExceptions | kSwC1;

// Every asm statement below starts and ends with an empty register stack and
// the host's own control word. Between, unmasked exceptions stay pending: only
// non-waiting instructions follow the one that is emulated, and FNCLEX forgets
// them. A macro, because asm takes nothing but literals.
#define HOST_X87_BEGIN "fnclex\n\tfldcw %[guest]\n\t"
#define HOST_X87_END "\n\tfnstsw %[status]\n\tfnclex\n\tfldcw %[host]\n\t"

/// Runs `text` with a in ST(0) and b in ST(1); the result is ST(0).
#define HOST_X87_BINARY(text)                                                \
  asm volatile(HOST_X87_BEGIN "fldt %[b]\n\tfldt %[a]\n\t" text HOST_X87_END \
                              "fstpt %[a]\n\tfstp %%st(0)"                   \
               : [a] "+m"(x), [status] "=m"(status)                          \
               : [b] "m"(y), [guest] "m"(control), [host] "m"(kHostControl)  \
               : "st", "st(1)", "memory")
/// Runs `text` with a in ST(0); the result is ST(0).
#define HOST_X87_UNARY(text)                                                   \
  asm volatile(HOST_X87_BEGIN "fldt %[a]\n\t" text HOST_X87_END "fstpt %[a]"   \
               : [a] "+m"(x), [status] "=m"(status)                            \
               : [m] "m"(bits), [guest] "m"(control), [host] "m"(kHostControl) \
               : "st", "memory")
#define HOST_X87_BY_SOURCE(instruction)          \
  switch (source) {                              \
    case Source::float32:                        \
      HOST_X87_UNARY("f" instruction "s %[m]");  \
      break;                                     \
    case Source::float64:                        \
      HOST_X87_UNARY("f" instruction "l %[m]");  \
      break;                                     \
    case Source::int16:                          \
      HOST_X87_UNARY("fi" instruction "s %[m]"); \
      break;                                     \
    default:                                     \
      HOST_X87_UNARY("fi" instruction "l %[m]"); \
      break;                                     \
  }
/// Pushes the operand; the control word masks everything.
#define HOST_X87_LOAD(text)                                                   \
  asm volatile(HOST_X87_BEGIN text HOST_X87_END "fstpt %[a]"                  \
               : [a] "=m"(x), [status] "=m"(status)                           \
               : [m] "m"(bits), [guest] "m"(masked), [host] "m"(kHostControl) \
               : "st", "memory")
/// Stores a without popping it.
#define HOST_X87_STORE(text)                                                   \
  asm volatile(HOST_X87_BEGIN "fldt %[a]\n\t" text HOST_X87_END "fstp %%st(0)" \
               : [m] "+m"(bits), [status] "=m"(status)                         \
               : [a] "m"(x), [guest] "m"(control), [host] "m"(kHostControl)    \
               : "st", "memory")
/// Stores a and pops it; the control word masks everything.
#define HOST_X87_STORE_POP(text, destination)                              \
  asm volatile(HOST_X87_BEGIN "fldt %[a]\n\t" text HOST_X87_END            \
               : [m] "+m"(destination), [status] "=m"(status)              \
               : [a] "m"(x), [guest] "m"(masked), [host] "m"(kHostControl) \
               : "st", "memory")
/// Takes two values off the stack; the control word masks everything.
#define HOST_X87_EXTRACT                                                                     \
  asm volatile(HOST_X87_BEGIN "fldt %[a]\n\tfxtract" HOST_X87_END "fstpt %[a]\n\tfstpt %[e]" \
               : [a] "+m"(x), [e] "=m"(e), [status] "=m"(status)                             \
               : [guest] "m"(masked), [host] "m"(kHostControl)                               \
               : "st", "st(1)", "memory")

std::uint16_t all_masked(std::uint16_t control) {
  return static_cast<std::uint16_t>(control | kCwMasks);
}
/// The reserved precision control 1 means full precision on Intel processors;
/// the host is told so in clear words.
std::uint16_t settled(std::uint16_t control) {
  constexpr unsigned kReserved = 1U << 8;
  return (control & kCwPrecision) == kReserved ? static_cast<std::uint16_t>(control | kCwPrecision)
                                               : control;
}
std::uint16_t keep(unsigned status, unsigned bits) {
  return static_cast<std::uint16_t>(status & bits);
}

}  // namespace

Outcome binary(Binary op, const X87Register& a, const X87Register& b, std::uint16_t control) {
  control = settled(control);
  Extended x = to_host(a);
  const Extended y = to_host(b);
  std::uint16_t status = 0;
  switch (op) {
    case Binary::add:
      HOST_X87_BINARY("fadd %%st(1), %%st");
      break;
    case Binary::mul:
      HOST_X87_BINARY("fmul %%st(1), %%st");
      break;
    case Binary::sub:
      HOST_X87_BINARY("fsub %%st(1), %%st");
      break;
    case Binary::subr:
      HOST_X87_BINARY("fsubr %%st(1), %%st");
      break;
    case Binary::div:
      HOST_X87_BINARY("fdiv %%st(1), %%st");
      break;
    case Binary::divr:
      HOST_X87_BINARY("fdivr %%st(1), %%st");
      break;
  }
  return {from_host(x), keep(status, kArithmeticBits)};
}

Outcome binary(Binary op, const X87Register& a, Source source, std::uint64_t bits,
               std::uint16_t control) {
  control = settled(control);
  Extended x = to_host(a);
  std::uint16_t status = 0;
  switch (op) {
    case Binary::add:
      HOST_X87_BY_SOURCE("add") break;
    case Binary::mul:
      HOST_X87_BY_SOURCE("mul") break;
    case Binary::sub:
      HOST_X87_BY_SOURCE("sub") break;
    case Binary::subr:
      HOST_X87_BY_SOURCE("subr") break;
    case Binary::div:
      HOST_X87_BY_SOURCE("div") break;
    case Binary::divr:
      HOST_X87_BY_SOURCE("divr") break;
  }
  return {from_host(x), keep(status, kArithmeticBits)};
}

Outcome load(Source source, std::uint64_t bits, std::uint16_t control) {
  const std::uint16_t masked = all_masked(control);
  Extended x{};
  std::uint16_t status = 0;
  switch (source) {
    case Source::float32:
      HOST_X87_LOAD("flds %[m]");
      break;
    case Source::float64:
      HOST_X87_LOAD("fldl %[m]");
      break;
    case Source::int16:
      HOST_X87_LOAD("filds %[m]");
      break;
    case Source::int32:
      HOST_X87_LOAD("fildl %[m]");
      break;
    case Source::int64:
      HOST_X87_LOAD("fildll %[m]");
      break;
  }
  return {from_host(x), keep(status, kSwExceptions)};
}

X87Register load_bcd(const X87Register& value) {
  std::uint64_t magnitude = 0;
  for (int digit = 17; digit >= 0; --digit) {
    const unsigned nibble = digit >= 16
                                ? (value.sign_exponent >> (4 * (digit - 16))) & 0xfU
                                : static_cast<unsigned>(value.significand >> (4 * digit)) & 0xfU;
    magnitude = magnitude * 10 + nibble;
  }
  const std::uint16_t sign = value.sign_exponent & kSignBit;
  if (magnitude == 0) return {0, sign};
  const int shift = std::countl_zero(magnitude);
  return {magnitude << shift, static_cast<std::uint16_t>(sign | (kExponentBias + 63 - shift))};
}

Stored store(Destination destination, const X87Register& a, std::uint16_t control) {
  const std::uint16_t masked = all_masked(control);
  const Extended x = to_host(a);
  std::uint64_t bits = 0;
  Extended packed{};
  std::uint16_t status = 0;
  switch (destination) {
    case Destination::float32:
      HOST_X87_STORE("fsts %[m]");
      break;
    case Destination::float64:
      HOST_X87_STORE("fstl %[m]");
      break;
    case Destination::int16:
      HOST_X87_STORE_POP("fistps %[m]", bits);
      break;
    case Destination::int32:
      HOST_X87_STORE_POP("fistpl %[m]", bits);
      break;
    case Destination::int64:
      HOST_X87_STORE_POP("fistpll %[m]", bits);
      break;
    case Destination::bcd:
      HOST_X87_STORE_POP("fbstp %[m]", packed);
      break;
  }
  return {bits, from_host(packed), keep(status, kArithmeticBits)};
}

std::uint16_t compare(const X87Register& a, const X87Register& b, bool unordered,
                      std::uint16_t control) {
  Extended x = to_host(a);
  const Extended y = to_host(b);
  std::uint16_t status = 0;
  if (unordered) {
    HOST_X87_BINARY("fucom %%st(1)");
  } else {
    HOST_X87_BINARY("fcom %%st(1)");
  }
  return keep(status, kSwExceptions | kSwConditions);
}

std::uint16_t compare(const X87Register& a, Source source, std::uint64_t bits,
                      std::uint16_t control) {
  Extended x = to_host(a);
  std::uint16_t status = 0;
  HOST_X87_BY_SOURCE("com")
  return keep(status, kSwExceptions | kSwConditions);
}

std::uint16_t examine(const X87Register& a) {
  unsigned conditions = negative(a) ? kSwC1 : 0U;
  switch (classify(a)) {
    case Class::unsupported:
      break;
    case Class::nan:
      conditions |= kSwC0;
      break;
    case Class::normal:
      conditions |= kSwC2;
      break;
    case Class::infinity:
      conditions |= kSwC2 | kSwC0;
      break;
    case Class::zero:
      conditions |= kSwC3;
      break;
    case Class::denormal:
      conditions |= kSwC3 | kSwC2;
      break;
  }
  return static_cast<std::uint16_t>(conditions);
}

Outcome square_root(const X87Register& a, std::uint16_t control) {
  control = settled(control);
  Extended x = to_host(a);
  const std::uint64_t bits = 0;
  std::uint16_t status = 0;
  HOST_X87_UNARY("fsqrt");
  return {from_host(x), keep(status, kArithmeticBits)};
}

Outcome round_to_integer(const X87Register& a, std::uint16_t control) {
  Extended x = to_host(a);
  const std::uint64_t bits = 0;
  std::uint16_t status = 0;
  HOST_X87_UNARY("frndint");
  return {from_host(x), keep(status, kArithmeticBits)};
}

Outcome scale(const X87Register& a, const X87Register& b, std::uint16_t control) {
  control = settled(control);
  Extended x = to_host(a);
  const Extended y = to_host(b);
  std::uint16_t status = 0;
  HOST_X87_BINARY("fscale");
  return {from_host(x), keep(status, kArithmeticBits)};
}

Extracted extract(const X87Register& a, std::uint16_t control) {
  const std::uint16_t masked = all_masked(control);
  Extended x = to_host(a);
  Extended e{};
  std::uint16_t status = 0;
  HOST_X87_EXTRACT;
  return {from_host(x), from_host(e), keep(status, kArithmeticBits)};
}

}  // namespace chronovisor::x87
