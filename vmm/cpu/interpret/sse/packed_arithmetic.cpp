// Packed integer addition, subtraction, comparison, minimum, maximum, average,
// absolute value, sign and bitwise logic, MMX and SSE.
// Source: SDM vol. 2, the instructions' own pages.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

/// The compiler's vector type of V's size: these operations are hot.
template <class T, class V>
struct SimdOf {
  typedef T Type __attribute__((vector_size(sizeof(V))));
};
template <class T, class V>
using Simd = typename SimdOf<T, V>::Type;

template <class T>
struct Add {
  template <class V>
  static V run(V a, V b) {
    return std::bit_cast<V>(std::bit_cast<Simd<T, V>>(a) + std::bit_cast<Simd<T, V>>(b));
  }
};
template <class T>
struct Subtract {
  template <class V>
  static V run(V a, V b) {
    return std::bit_cast<V>(std::bit_cast<Simd<T, V>>(a) - std::bit_cast<Simd<T, V>>(b));
  }
};
template <class T>
struct Equal {
  template <class V>
  static V run(V a, V b) {
    return std::bit_cast<V>(std::bit_cast<Simd<T, V>>(a) == std::bit_cast<Simd<T, V>>(b));
  }
};
template <class T>
struct Greater {
  template <class V>
  static V run(V a, V b) {
    return std::bit_cast<V>(std::bit_cast<Simd<T, V>>(a) > std::bit_cast<Simd<T, V>>(b));
  }
};
struct And {
  template <class V>
  static V run(V a, V b) {
    using U = Simd<std::uint64_t, V>;
    return std::bit_cast<V>(std::bit_cast<U>(a) & std::bit_cast<U>(b));
  }
};
struct AndNot {
  template <class V>
  static V run(V a, V b) {
    using U = Simd<std::uint64_t, V>;
    return std::bit_cast<V>(~std::bit_cast<U>(a) & std::bit_cast<U>(b));
  }
};
struct Or {
  template <class V>
  static V run(V a, V b) {
    using U = Simd<std::uint64_t, V>;
    return std::bit_cast<V>(std::bit_cast<U>(a) | std::bit_cast<U>(b));
  }
};
struct Xor {
  template <class V>
  static V run(V a, V b) {
    using U = Simd<std::uint64_t, V>;
    return std::bit_cast<V>(std::bit_cast<U>(a) ^ std::bit_cast<U>(b));
  }
};

template <class T>
struct AddSaturated {
  template <class V>
  static V run(V a, V b) {
    return map2<T>(a, b, [](T x, T y) { return saturate<T>(std::int64_t{x} + y); });
  }
};
template <class T>
struct SubtractSaturated {
  template <class V>
  static V run(V a, V b) {
    return map2<T>(a, b, [](T x, T y) { return saturate<T>(std::int64_t{x} - y); });
  }
};
template <class T>
struct Minimum {
  template <class V>
  static V run(V a, V b) {
    return map2<T>(a, b, [](T x, T y) { return x < y ? x : y; });
  }
};
template <class T>
struct Maximum {
  template <class V>
  static V run(V a, V b) {
    return map2<T>(a, b, [](T x, T y) { return x > y ? x : y; });
  }
};
template <class T>
struct Average {
  template <class V>
  static V run(V a, V b) {
    return map2<T>(a, b, [](T x, T y) { return (std::uint32_t{x} + y + 1) >> 1; });
  }
};
/// T is unsigned; the elements are signed, and the most negative stays itself.
template <class T>
struct Absolute {
  template <class V>
  static V run(V, V source) {
    using S = std::make_signed_t<T>;
    return map1<T>(source,
                   [](T x) { return static_cast<S>(x) < 0 ? static_cast<T>(T{0} - x) : x; });
  }
};
template <class T>
struct Sign {
  template <class V>
  static V run(V a, V b) {
    using S = std::make_signed_t<T>;
    return map2<T>(a, b, [](T x, T y) {
      const S sign = static_cast<S>(y);
      return sign < 0 ? static_cast<T>(T{0} - x) : sign == 0 ? T{0} : x;
    });
  }
};

/// Combines neighbours: the low half of the result from `a`, the high from `b`.
template <class T, class V, class F>
V horizontal(const V& a, const V& b, F f) {
  const auto left = lanes<T>(a);
  const auto right = lanes<T>(b);
  Lanes<T, V> result{};
  constexpr std::size_t kHalf = result.size() / 2;
  for (std::size_t k = 0; k < kHalf; ++k) {
    result[k] = static_cast<T>(f(left[2 * k], left[2 * k + 1]));
    result[kHalf + k] = static_cast<T>(f(right[2 * k], right[2 * k + 1]));
  }
  return vector<V>(result);
}
template <class T>
struct HorizontalAdd {
  template <class V>
  static V run(V a, V b) {
    return horizontal<T>(a, b, [](T x, T y) { return x + y; });
  }
};
template <class T>
struct HorizontalSubtract {
  template <class V>
  static V run(V a, V b) {
    return horizontal<T>(a, b, [](T x, T y) { return x - y; });
  }
};
struct HorizontalAddSaturated {
  template <class V>
  static V run(V a, V b) {
    return horizontal<std::int16_t>(a, b,
                                    [](int x, int y) { return saturate<std::int16_t>(x + y); });
  }
};
struct HorizontalSubtractSaturated {
  template <class V>
  static V run(V a, V b) {
    return horizontal<std::int16_t>(a, b,
                                    [](int x, int y) { return saturate<std::int16_t>(x - y); });
  }
};

/// PTEST: ZF for (source AND destination) = 0, CF for (source AND NOT
/// destination) = 0; the other arithmetic flags are cleared.
template <bool Memory>
void ptest(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  const Xmm destination = xmm(cpu, i.reg);
  const bool zero = ((source.low & destination.low) | (source.high & destination.high)) == 0;
  const bool carry = ((source.low & ~destination.low) | (source.high & ~destination.high)) == 0;
  cpu.flags.set_arithmetic((zero ? kZf : 0U) | (carry ? kCf : 0U));
}

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

constexpr auto kRows = std::to_array<Row>({
    mm_row<Add<u8>>("PADDB mm, mm/m64", k0f, 0xfc),
    xmm_row<Add<u8>>("PADDB xmm, xmm/m128", k0f, 0xfc),
    mm_row<Add<u16>>("PADDW mm, mm/m64", k0f, 0xfd),
    xmm_row<Add<u16>>("PADDW xmm, xmm/m128", k0f, 0xfd),
    mm_row<Add<u32>>("PADDD mm, mm/m64", k0f, 0xfe),
    xmm_row<Add<u32>>("PADDD xmm, xmm/m128", k0f, 0xfe),
    mm_row<Add<u64>>("PADDQ mm, mm/m64", k0f, 0xd4),
    xmm_row<Add<u64>>("PADDQ xmm, xmm/m128", k0f, 0xd4),
    mm_row<Subtract<u8>>("PSUBB mm, mm/m64", k0f, 0xf8),
    xmm_row<Subtract<u8>>("PSUBB xmm, xmm/m128", k0f, 0xf8),
    mm_row<Subtract<u16>>("PSUBW mm, mm/m64", k0f, 0xf9),
    xmm_row<Subtract<u16>>("PSUBW xmm, xmm/m128", k0f, 0xf9),
    mm_row<Subtract<u32>>("PSUBD mm, mm/m64", k0f, 0xfa),
    xmm_row<Subtract<u32>>("PSUBD xmm, xmm/m128", k0f, 0xfa),
    mm_row<Subtract<u64>>("PSUBQ mm, mm/m64", k0f, 0xfb),
    xmm_row<Subtract<u64>>("PSUBQ xmm, xmm/m128", k0f, 0xfb),
    mm_row<AddSaturated<i8>>("PADDSB mm, mm/m64", k0f, 0xec),
    xmm_row<AddSaturated<i8>>("PADDSB xmm, xmm/m128", k0f, 0xec),
    mm_row<AddSaturated<i16>>("PADDSW mm, mm/m64", k0f, 0xed),
    xmm_row<AddSaturated<i16>>("PADDSW xmm, xmm/m128", k0f, 0xed),
    mm_row<AddSaturated<u8>>("PADDUSB mm, mm/m64", k0f, 0xdc),
    xmm_row<AddSaturated<u8>>("PADDUSB xmm, xmm/m128", k0f, 0xdc),
    mm_row<AddSaturated<u16>>("PADDUSW mm, mm/m64", k0f, 0xdd),
    xmm_row<AddSaturated<u16>>("PADDUSW xmm, xmm/m128", k0f, 0xdd),
    mm_row<SubtractSaturated<i8>>("PSUBSB mm, mm/m64", k0f, 0xe8),
    xmm_row<SubtractSaturated<i8>>("PSUBSB xmm, xmm/m128", k0f, 0xe8),
    mm_row<SubtractSaturated<i16>>("PSUBSW mm, mm/m64", k0f, 0xe9),
    xmm_row<SubtractSaturated<i16>>("PSUBSW xmm, xmm/m128", k0f, 0xe9),
    mm_row<SubtractSaturated<u8>>("PSUBUSB mm, mm/m64", k0f, 0xd8),
    xmm_row<SubtractSaturated<u8>>("PSUBUSB xmm, xmm/m128", k0f, 0xd8),
    mm_row<SubtractSaturated<u16>>("PSUBUSW mm, mm/m64", k0f, 0xd9),
    xmm_row<SubtractSaturated<u16>>("PSUBUSW xmm, xmm/m128", k0f, 0xd9),
    mm_row<Equal<u8>>("PCMPEQB mm, mm/m64", k0f, 0x74),
    xmm_row<Equal<u8>>("PCMPEQB xmm, xmm/m128", k0f, 0x74),
    mm_row<Equal<u16>>("PCMPEQW mm, mm/m64", k0f, 0x75),
    xmm_row<Equal<u16>>("PCMPEQW xmm, xmm/m128", k0f, 0x75),
    mm_row<Equal<u32>>("PCMPEQD mm, mm/m64", k0f, 0x76),
    xmm_row<Equal<u32>>("PCMPEQD xmm, xmm/m128", k0f, 0x76),
    xmm_row<Equal<u64>>("PCMPEQQ xmm, xmm/m128", k38, 0x29),
    mm_row<Greater<i8>>("PCMPGTB mm, mm/m64", k0f, 0x64),
    xmm_row<Greater<i8>>("PCMPGTB xmm, xmm/m128", k0f, 0x64),
    mm_row<Greater<i16>>("PCMPGTW mm, mm/m64", k0f, 0x65),
    xmm_row<Greater<i16>>("PCMPGTW xmm, xmm/m128", k0f, 0x65),
    mm_row<Greater<i32>>("PCMPGTD mm, mm/m64", k0f, 0x66),
    xmm_row<Greater<i32>>("PCMPGTD xmm, xmm/m128", k0f, 0x66),
    xmm_row<Greater<i64>>("PCMPGTQ xmm, xmm/m128", k38, 0x37),
    mm_row<And>("PAND mm, mm/m64", k0f, 0xdb),
    xmm_row<And>("PAND xmm, xmm/m128", k0f, 0xdb),
    mm_row<AndNot>("PANDN mm, mm/m64", k0f, 0xdf),
    xmm_row<AndNot>("PANDN xmm, xmm/m128", k0f, 0xdf),
    mm_row<Or>("POR mm, mm/m64", k0f, 0xeb),
    xmm_row<Or>("POR xmm, xmm/m128", k0f, 0xeb),
    mm_row<Xor>("PXOR mm, mm/m64", k0f, 0xef),
    xmm_row<Xor>("PXOR xmm, xmm/m128", k0f, 0xef),
    xmm_row<And>("ANDPS xmm, xmm/m128", k0f, 0x54, none),
    xmm_row<And>("ANDPD xmm, xmm/m128", k0f, 0x54),
    xmm_row<AndNot>("ANDNPS xmm, xmm/m128", k0f, 0x55, none),
    xmm_row<AndNot>("ANDNPD xmm, xmm/m128", k0f, 0x55),
    xmm_row<Or>("ORPS xmm, xmm/m128", k0f, 0x56, none),
    xmm_row<Or>("ORPD xmm, xmm/m128", k0f, 0x56),
    xmm_row<Xor>("XORPS xmm, xmm/m128", k0f, 0x57, none),
    xmm_row<Xor>("XORPD xmm, xmm/m128", k0f, 0x57),
    mm_row<Minimum<u8>>("PMINUB mm, mm/m64", k0f, 0xda),
    xmm_row<Minimum<u8>>("PMINUB xmm, xmm/m128", k0f, 0xda),
    mm_row<Maximum<u8>>("PMAXUB mm, mm/m64", k0f, 0xde),
    xmm_row<Maximum<u8>>("PMAXUB xmm, xmm/m128", k0f, 0xde),
    mm_row<Minimum<i16>>("PMINSW mm, mm/m64", k0f, 0xea),
    xmm_row<Minimum<i16>>("PMINSW xmm, xmm/m128", k0f, 0xea),
    mm_row<Maximum<i16>>("PMAXSW mm, mm/m64", k0f, 0xee),
    xmm_row<Maximum<i16>>("PMAXSW xmm, xmm/m128", k0f, 0xee),
    xmm_row<Minimum<i8>>("PMINSB xmm, xmm/m128", k38, 0x38),
    xmm_row<Minimum<i32>>("PMINSD xmm, xmm/m128", k38, 0x39),
    xmm_row<Minimum<u16>>("PMINUW xmm, xmm/m128", k38, 0x3a),
    xmm_row<Minimum<u32>>("PMINUD xmm, xmm/m128", k38, 0x3b),
    xmm_row<Maximum<i8>>("PMAXSB xmm, xmm/m128", k38, 0x3c),
    xmm_row<Maximum<i32>>("PMAXSD xmm, xmm/m128", k38, 0x3d),
    xmm_row<Maximum<u16>>("PMAXUW xmm, xmm/m128", k38, 0x3e),
    xmm_row<Maximum<u32>>("PMAXUD xmm, xmm/m128", k38, 0x3f),
    mm_row<Average<u8>>("PAVGB mm, mm/m64", k0f, 0xe0),
    xmm_row<Average<u8>>("PAVGB xmm, xmm/m128", k0f, 0xe0),
    mm_row<Average<u16>>("PAVGW mm, mm/m64", k0f, 0xe3),
    xmm_row<Average<u16>>("PAVGW xmm, xmm/m128", k0f, 0xe3),
    mm_row<Absolute<u8>>("PABSB mm, mm/m64", k38, 0x1c),
    xmm_row<Absolute<u8>>("PABSB xmm, xmm/m128", k38, 0x1c),
    mm_row<Absolute<u16>>("PABSW mm, mm/m64", k38, 0x1d),
    xmm_row<Absolute<u16>>("PABSW xmm, xmm/m128", k38, 0x1d),
    mm_row<Absolute<u32>>("PABSD mm, mm/m64", k38, 0x1e),
    xmm_row<Absolute<u32>>("PABSD xmm, xmm/m128", k38, 0x1e),
    mm_row<Sign<u8>>("PSIGNB mm, mm/m64", k38, 0x08),
    xmm_row<Sign<u8>>("PSIGNB xmm, xmm/m128", k38, 0x08),
    mm_row<Sign<u16>>("PSIGNW mm, mm/m64", k38, 0x09),
    xmm_row<Sign<u16>>("PSIGNW xmm, xmm/m128", k38, 0x09),
    mm_row<Sign<u32>>("PSIGND mm, mm/m64", k38, 0x0a),
    xmm_row<Sign<u32>>("PSIGND xmm, xmm/m128", k38, 0x0a),
    mm_row<HorizontalAdd<u16>>("PHADDW mm, mm/m64", k38, 0x01),
    xmm_row<HorizontalAdd<u16>>("PHADDW xmm, xmm/m128", k38, 0x01),
    mm_row<HorizontalAdd<u32>>("PHADDD mm, mm/m64", k38, 0x02),
    xmm_row<HorizontalAdd<u32>>("PHADDD xmm, xmm/m128", k38, 0x02),
    mm_row<HorizontalAddSaturated>("PHADDSW mm, mm/m64", k38, 0x03),
    xmm_row<HorizontalAddSaturated>("PHADDSW xmm, xmm/m128", k38, 0x03),
    mm_row<HorizontalSubtract<u16>>("PHSUBW mm, mm/m64", k38, 0x05),
    xmm_row<HorizontalSubtract<u16>>("PHSUBW xmm, xmm/m128", k38, 0x05),
    mm_row<HorizontalSubtract<u32>>("PHSUBD mm, mm/m64", k38, 0x06),
    xmm_row<HorizontalSubtract<u32>>("PHSUBD xmm, xmm/m128", k38, 0x06),
    mm_row<HorizontalSubtractSaturated>("PHSUBSW mm, mm/m64", k38, 0x07),
    xmm_row<HorizontalSubtractSaturated>("PHSUBSW xmm, xmm/m128", k38, 0x07),
    row("PTEST xmm, xmm/m128", k38, 0x17, p66, ModRm::any, by_form(&ptest<false>, &ptest<true>)),
});

}  // namespace

std::span<const Row> packed_arithmetic_rows() { return kRows; }

}  // namespace chronovisor::sse
