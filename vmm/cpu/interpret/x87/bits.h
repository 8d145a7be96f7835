// Owns the names of the x87 control and status bits and the classification of
// 80-bit values. Knows no instruction. Pure; any thread.
// Source: SDM vol. 1, "x87 FPU Execution Environment" and "x87 FPU Data Types".
#pragma once

#include <cstdint>

#include "vmm/cpu/state/registers.h"

namespace chronovisor::x87 {

/// Status word. The exception bits also index the masks of the control word.
inline constexpr std::uint16_t kSwInvalid = 1U << 0;
inline constexpr std::uint16_t kSwDenormal = 1U << 1;
inline constexpr std::uint16_t kSwZeroDivide = 1U << 2;
inline constexpr std::uint16_t kSwOverflow = 1U << 3;
inline constexpr std::uint16_t kSwUnderflow = 1U << 4;
inline constexpr std::uint16_t kSwPrecision = 1U << 5;
inline constexpr std::uint16_t kSwExceptions = 0x3f;
inline constexpr std::uint16_t kSwStackFault = 1U << 6;
inline constexpr std::uint16_t kSwSummary = 1U << 7;
inline constexpr std::uint16_t kSwC0 = 1U << 8;
inline constexpr std::uint16_t kSwC1 = 1U << 9;
inline constexpr std::uint16_t kSwC2 = 1U << 10;
inline constexpr std::uint16_t kSwTop = 7U << 11;
inline constexpr std::uint16_t kSwC3 = 1U << 14;
inline constexpr std::uint16_t kSwBusy = 1U << 15;
inline constexpr std::uint16_t kSwConditions = kSwC0 | kSwC1 | kSwC2 | kSwC3;

/// Control word.
inline constexpr std::uint16_t kCwMasks = 0x3f;
inline constexpr std::uint16_t kCwReservedOne = 0x40;
inline constexpr std::uint16_t kCwPrecision = 3U << 8;
inline constexpr std::uint16_t kCwRounding = 3U << 10;
/// Masks, precision, rounding and the inert infinity control.
inline constexpr std::uint16_t kCwWritable = 0x1f3f;
inline constexpr std::uint16_t kCwInitial = 0x37f;
enum class Rounding : std::uint8_t { nearest, down, up, toward_zero };
constexpr Rounding rounding(std::uint16_t control) {
  return static_cast<Rounding>((control >> 10) & 3);
}

/// Exceptions after which the destination stays as it was, if unmasked.
inline constexpr std::uint16_t kPreComputation = kSwInvalid | kSwDenormal | kSwZeroDivide;
/// The same for a destination in memory.
inline constexpr std::uint16_t kNoMemoryResult = kPreComputation | kSwOverflow | kSwUnderflow;

inline constexpr std::uint64_t kIntegerBit = 1ULL << 63;
inline constexpr std::uint64_t kQuietBit = 1ULL << 62;
inline constexpr std::uint16_t kSignBit = 0x8000;
inline constexpr std::uint16_t kMaxExponent = 0x7fff;
inline constexpr int kExponentBias = 16383;

/// "Real indefinite", the default QNaN.
inline constexpr X87Register kIndefinite{kIntegerBit | kQuietBit, 0xffff};

/// `unsupported` are unnormals, pseudo-infinities and pseudo-NaNs. A
/// pseudo-denormal counts as denormal.
enum class Class : std::uint8_t { unsupported, nan, normal, infinity, zero, denormal };

constexpr unsigned exponent(const X87Register& r) { return r.sign_exponent & kMaxExponent; }
constexpr bool negative(const X87Register& r) { return (r.sign_exponent & kSignBit) != 0; }

constexpr Class classify(const X87Register& r) {
  const unsigned e = exponent(r);
  if (e == 0) return r.significand == 0 ? Class::zero : Class::denormal;
  if ((r.significand & kIntegerBit) == 0) return Class::unsupported;
  if (e != kMaxExponent) return Class::normal;
  return r.significand == kIntegerBit ? Class::infinity : Class::nan;
}
constexpr bool signaling(const X87Register& r) {
  return classify(r) == Class::nan && (r.significand & kQuietBit) == 0;
}

/// What an operation gives: the value, and in `status` the exceptions it
/// raised and the condition codes it set.
struct Outcome {
  X87Register value;
  std::uint16_t status = 0;
};

}  // namespace chronovisor::x87
