#include "vmm/cpu/interpret/sse/host_float.h"

#include <cfloat>
#include <cmath>

namespace chronovisor::sse {
namespace {

constexpr std::uint32_t kBeforeComputation = kMxInvalid | kMxDenormal | kMxZeroDivide;

bool is_denormal(double value, Format format) {
  const double least = format == Format::single_precision ? double{FLT_MIN} : DBL_MIN;
  return value != 0 && std::fabs(value) < least;
}

struct WideResult {
  long double value = 0;
  bool inexact = false;
};

/// The operation rounded to the format's precision with an unbounded exponent:
/// the x87 unit, whose exponent range holds every such result, under a control
/// word with the guest's rounding. This is what decides tininess and overflow.
WideResult compute_unbounded(const Element& element, Format format, unsigned rounding) {
  // Exceptions masked; precision control 0 is 24 bits, 2 is 53 bits.
  const auto control = static_cast<std::uint16_t>(
      0x3f | (format == Format::single_precision ? 0U : 0x200U) | (rounding << 10));
  std::uint16_t saved = 0;
  std::uint16_t status = 0;
  long double value = element.left;
  const long double right = element.operation == Operation::narrow ? 1.0L : element.right;
  asm volatile("fnstcw %0" : "=m"(saved));
  asm volatile("fnclex\n\tfldcw %0" : : "m"(control));
  switch (element.operation) {
    case Operation::add:
      asm volatile("faddp" : "+t"(value) : "u"(right) : "st(1)");
      break;
    case Operation::subtract:
      asm volatile("fsubrp %%st, %%st(1)" : "=t"(value) : "0"(right), "u"(value) : "st(1)");
      break;
    case Operation::multiply:
    case Operation::narrow:
      asm volatile("fmulp" : "+t"(value) : "u"(right) : "st(1)");
      break;
    case Operation::divide:
      asm volatile("fdivrp %%st, %%st(1)" : "=t"(value) : "0"(right), "u"(value) : "st(1)");
      break;
  }
  asm volatile("fnstsw %0\n\tfnclex\n\tfldcw %1" : "=m"(status) : "m"(saved));
  return {value, (status & 0x20U) != 0};
}

}  // namespace

void raise_simd_exception(Cpu& cpu, std::uint32_t raised) {
  const std::uint32_t unmasked = raised & ~(cpu.state.mxcsr >> 7);
  // Exceptions found before the computation keep it from happening.
  // Source: SDM vol. 1, "SIMD Floating-Point Exception Conditions".
  if ((unmasked & kBeforeComputation) != 0) raised &= kBeforeComputation;
  cpu.state.mxcsr |= raised;
  if ((cpu.state.cr4 & kCr4Osxmmexcpt) == 0) cpu.raise_ud();
  cpu.raise(kSimdFloatingPoint);
}

std::uint32_t judge_elements(const Cpu& cpu, std::uint32_t raised,
                             std::span<const Element> elements, Format format) {
  const std::uint32_t mxcsr = cpu.state.mxcsr;
  if ((raised & ~(mxcsr >> 7) & kBeforeComputation) != 0) return raised;
  const unsigned rounding = (mxcsr >> kMxRoundingShift) & 3;
  const bool overflow_masked = (mxcsr & (kMxOverflow << 7)) != 0;
  const bool underflow_masked = (mxcsr & (kMxUnderflow << 7)) != 0;
  const bool zero_denormals = (mxcsr & kMxDenormalsAreZero) != 0;
  const Format source = elements.size() != 0 && elements[0].operation == Operation::narrow
                            ? Format::double_precision
                            : format;
  const long double largest =
      format == Format::single_precision ? static_cast<long double>(FLT_MAX) : DBL_MAX;
  const long double least =
      format == Format::single_precision ? static_cast<long double>(FLT_MIN) : DBL_MIN;
  std::uint32_t flags = raised & kBeforeComputation;
  for (Element element : elements) {
    if (zero_denormals) {
      if (is_denormal(element.left, source)) element.left = std::copysign(0.0, element.left);
      if (is_denormal(element.right, source)) element.right = std::copysign(0.0, element.right);
    }
    if (!std::isfinite(element.left) || !std::isfinite(element.right)) continue;
    const WideResult result = compute_unbounded(element, format, rounding);
    if (!std::isfinite(result.value)) continue;  // division by zero
    const long double magnitude = std::fabs(result.value);
    const bool tiny = magnitude != 0 && magnitude < least;
    if (magnitude > largest) {
      flags |= kMxOverflow;
      if (overflow_masked || result.inexact) flags |= kMxPrecision;
    } else if (tiny && !underflow_masked) {
      flags |= kMxUnderflow | (result.inexact ? std::uint32_t{kMxPrecision} : 0U);
    } else if (tiny) {
      // Masked: flagged only together with a loss of accuracy in the denormal
      // result, which the host has seen. Rounding to the denormal grid loses
      // whatever is not a multiple of the least denormal.
      const long double grid = format == Format::single_precision
                                   ? static_cast<long double>(FLT_TRUE_MIN)
                                   : DBL_TRUE_MIN;
      const long double steps = magnitude / grid;
      const bool flush = (mxcsr & kMxFlushToZero) != 0;
      if (flush || result.inexact || steps != std::floor(steps)) {
        flags |= kMxUnderflow | kMxPrecision;
      }
    } else if (result.inexact) {
      flags |= kMxPrecision;
    }
  }
  return flags;
}

}  // namespace chronovisor::sse
