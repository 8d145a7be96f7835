// Owns the arithmetic of the x87 unit short of the transcendentals: operands
// and control word in, result and flags out. Runs single instructions on the
// host's x87 unit under the guest's control word, which IEEE 754 and the
// manual define to the last bit; only what hosts do differently is computed
// here. Knows no stack and no Cpu. Pure; any thread.
//
// `control` is the guest's, its exception masks included. After an unmasked
// exception of kPreComputation the value means nothing; after an unmasked
// overflow or underflow it is the result scaled by 2^24576, as the manual says.
#pragma once

#include <cstdint>

#include "vmm/cpu/interpret/x87/bits.h"

namespace chronovisor::x87 {

/// Numbered like ModRM.reg of D8.
enum class Binary : std::uint8_t { add = 0, mul = 1, sub = 4, subr = 5, div = 6, divr = 7 };

/// a op b, or b op a for subr and divr.
[[nodiscard]] Outcome binary(Binary op, const X87Register& a, const X87Register& b,
                             std::uint16_t control);

/// Memory operands. The conversion can raise exceptions of its own.
enum class Source : std::uint8_t { float32, float64, int16, int32, int64 };
/// a op memory; `bits` holds the operand in its low bytes. int64 is for loads only.
[[nodiscard]] Outcome binary(Binary op, const X87Register& a, Source source, std::uint64_t bits,
                             std::uint16_t control);
/// FLD and FILD. The value is what is pushed if the exceptions are masked.
[[nodiscard]] Outcome load(Source source, std::uint64_t bits, std::uint16_t control);
/// FBLD. `value` holds the ten bytes of packed BCD. Digits above 9 count as their value.
[[nodiscard]] X87Register load_bcd(const X87Register& value);

/// A stored number: its bytes are the low ones of `bits`, for FBSTP `packed`.
struct Stored {
  std::uint64_t bits = 0;
  X87Register packed;
  std::uint16_t status = 0;
};
enum class Destination : std::uint8_t { float32, float64, int16, int32, int64, bcd };
/// FST, FIST and FBSTP: nothing is stored after an unmasked kNoMemoryResult.
[[nodiscard]] Stored store(Destination destination, const X87Register& a, std::uint16_t control);

/// FCOM (`unordered` false: any NaN is invalid) and FUCOM. C0, C2 and C3 are in the status.
[[nodiscard]] std::uint16_t compare(const X87Register& a, const X87Register& b, bool unordered,
                                    std::uint16_t control);
/// The same with a memory operand, never int64.
[[nodiscard]] std::uint16_t compare(const X87Register& a, Source source, std::uint64_t bits,
                                    std::uint16_t control);
/// FXAM: C0, C2, C3 and C1 of a non-empty register.
[[nodiscard]] std::uint16_t examine(const X87Register& a);

[[nodiscard]] Outcome square_root(const X87Register& a, std::uint16_t control);
[[nodiscard]] Outcome round_to_integer(const X87Register& a, std::uint16_t control);
/// FSCALE: a * 2^trunc(b).
[[nodiscard]] Outcome scale(const X87Register& a, const X87Register& b, std::uint16_t control);

struct Extracted {
  X87Register significand;
  X87Register exponent;
  std::uint16_t status = 0;
};
/// FXTRACT. The values are those of the masked responses.
[[nodiscard]] Extracted extract(const X87Register& a, std::uint16_t control);

enum class Remainder : std::uint8_t { truncating, nearest };
/// FPREM and FPREM1. One execution lowers the exponent by at most 63; a partial
/// one sets C2 and takes away 32 + D mod 32 powers of two, D being the
/// difference of the exponents, as Intel processors do.
[[nodiscard]] Outcome remainder(Remainder kind, const X87Register& a, const X87Register& b,
                                std::uint16_t control);

}  // namespace chronovisor::x87
