// Owns the transcendental functions: operands and control word in, result and
// flags out. Processors disagree about their last bit, so none is asked: all
// is computed from 128-bit integers, with results within one unit in the last
// place of the 64-bit significand. Knows no stack and no Cpu. Pure; any thread.
//
// The trigonometric functions reduce their argument by pi cut to 66 bits, as
// Intel processors do and the manual documents; the remainder is exact.
// Where the manual calls a result undefined, F2XM1 beyond +-1 and FYL2XP1 from
// -1 down return x, and FYL2XP1 above its range the mathematical value.
// Source: SDM vol. 1, 8.3.10 "Transcendental Instruction Accuracy"; vol. 2A,
// the tables of the instructions' pages.
#pragma once

#include <cstdint>

#include "vmm/cpu/interpret/x87/bits.h"

namespace chronovisor::x87 {

/// 2^x - 1.
[[nodiscard]] Outcome f2xm1(const X87Register& x, std::uint16_t control);
/// y * log2(x).
[[nodiscard]] Outcome fyl2x(const X87Register& x, const X87Register& y, std::uint16_t control);
/// y * log2(x + 1).
[[nodiscard]] Outcome fyl2xp1(const X87Register& x, const X87Register& y, std::uint16_t control);
/// The angle of the point (x, y).
[[nodiscard]] Outcome fpatan(const X87Register& x, const X87Register& y, std::uint16_t control);

/// For |x| >= 2^63 the status has C2 and the values mean nothing.
[[nodiscard]] Outcome fsin(const X87Register& x, std::uint16_t control);
[[nodiscard]] Outcome fcos(const X87Register& x, std::uint16_t control);
struct TwoOutcomes {
  X87Register replaced;  ///< goes to where x was
  X87Register pushed;
  std::uint16_t status = 0;
};
/// The sine, and above it the cosine.
[[nodiscard]] TwoOutcomes fsincos(const X87Register& x, std::uint16_t control);
/// The tangent, and above it 1.0.
[[nodiscard]] TwoOutcomes fptan(const X87Register& x, std::uint16_t control);

}  // namespace chronovisor::x87
