// Owns running single SSE instructions on the host's unit under the guest's
// MXCSR, and turning the exceptions they raise into the guest's flags or #XM.
// Needs SSE2 of the host, no more. IEEE 754 makes the results the same on
// every host. One thread a machine.
#pragma once

#include <emmintrin.h>

#include <cstdint>
#include <span>

#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {

/// MXCSR bits.
enum Mxcsr : std::uint32_t {
  kMxInvalid = 1U << 0,
  kMxDenormal = 1U << 1,
  kMxZeroDivide = 1U << 2,
  kMxOverflow = 1U << 3,
  kMxUnderflow = 1U << 4,
  kMxPrecision = 1U << 5,
  kMxExceptions = 0x3f,
  kMxDenormalsAreZero = 1U << 6,
  kMxMasks = 0x1f80,
  kMxRoundingShift = 13,
  kMxRounding = 3U << 13,
  kMxFlushToZero = 1U << 15,
};
inline constexpr std::uint32_t kMxcsrInitial = 0x1f80;
/// Bits that exist; writing others is #GP(0). FXSAVE shows it as MXCSR_MASK.
inline constexpr std::uint32_t kMxcsrMask = 0xffff;

inline __m128i to_host(const Xmm& value) { return std::bit_cast<__m128i>(value); }
inline Xmm from_host(__m128i value) { return std::bit_cast<Xmm>(value); }

/// The host's MXCSR is the guest's (all exceptions masked, no flags) from the
/// constructor to raised() or the destructor. What runs between must be
/// volatile asm statements: the compiler keeps those in order.
class HostFloat {
 public:
  explicit HostFloat(std::uint32_t guest_mxcsr) : control_(host_control(guest_mxcsr)) {
    asm volatile("ldmxcsr %0" : : "m"(control_));
  }
  ~HostFloat() {
    if (control_ != kMxcsrInitial) restore();
  }
  HostFloat(const HostFloat&) = delete;
  HostFloat& operator=(const HostFloat&) = delete;

  /// The exceptions since the constructor, as MXCSR flags.
  [[nodiscard]] std::uint32_t raised() const {
    std::uint32_t value = 0;
    asm volatile("stmxcsr %0" : "=m"(value));
    return value & kMxExceptions;
  }

 private:
  /// Flush-to-zero has no effect while underflow is unmasked.
  static std::uint32_t host_control(std::uint32_t guest) {
    std::uint32_t control = (guest & ~std::uint32_t{kMxExceptions}) | kMxMasks;
    if ((guest & (kMxUnderflow << 7)) == 0) control &= ~std::uint32_t{kMxFlushToZero};
    return control & kMxcsrMask;
  }
  static void restore() {
    const std::uint32_t initial = kMxcsrInitial;
    asm volatile("ldmxcsr %0" : : "m"(initial));
  }
  std::uint32_t control_;
};

// ============================ exceptions ==============================================
/// One element's operation, kept so that unmasked overflow and underflow can
/// be judged as the manual says.
enum class Operation : std::uint8_t { add, subtract, multiply, divide, narrow };
enum class Format : std::uint8_t { single_precision, double_precision };
struct Element {
  Operation operation = Operation::add;
  double left = 0;  ///< the operands' exact bits are irrelevant for NaNs
  double right = 0;
};

/// Merges `raised` into MXCSR; raises #XM (#UD without CR4.OSXMMEXCPT) if one
/// of them is unmasked. Call before the destination changes.
[[noreturn]] void raise_simd_exception(Cpu& cpu, std::uint32_t raised);
inline void settle_exceptions(Cpu& cpu, std::uint32_t raised) {
  const std::uint32_t masks = cpu.state.mxcsr >> 7;
  if ((raised & ~masks) != 0) [[unlikely]] {
    raise_simd_exception(cpu, raised);
  }
  cpu.state.mxcsr |= raised;
}
/// True when results must be judged element by element: overflow or underflow
/// is unmasked, so that the masked responses of the host say too little.
inline bool needs_elements(const Cpu& cpu) {
  constexpr std::uint32_t kBoth = (kMxOverflow | kMxUnderflow) << 7;
  return (cpu.state.mxcsr & kBoth) != kBoth;
}
/// The flags `elements` raise when overflow or underflow is unmasked, given
/// what the host raised with everything masked.
std::uint32_t judge_elements(const Cpu& cpu, std::uint32_t raised,
                             std::span<const Element> elements, Format format);

}  // namespace chronovisor::sse
