// Packed integer multiplication and sums of differences, MMX and SSE.
// Source: SDM vol. 2, the instructions' own pages.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

struct MultiplyLow16 {
  template <class V>
  static V run(V a, V b) {
    return map2<u16>(a, b, [](u32 x, u32 y) { return x * y; });
  }
};
struct MultiplyLow32 {
  template <class V>
  static V run(V a, V b) {
    return map2<u32>(a, b, [](u32 x, u32 y) { return x * y; });
  }
};
struct MultiplyHighSigned {
  template <class V>
  static V run(V a, V b) {
    return map2<i16>(a, b, [](i32 x, i32 y) { return (x * y) >> 16; });
  }
};
struct MultiplyHighUnsigned {
  template <class V>
  static V run(V a, V b) {
    return map2<u16>(a, b, [](u32 x, u32 y) { return (x * y) >> 16; });
  }
};
struct MultiplyHighRounded {
  template <class V>
  static V run(V a, V b) {
    return map2<i16>(a, b, [](i32 x, i32 y) { return (((x * y) >> 14) + 1) >> 1; });
  }
};
struct MultiplyWideUnsigned {
  template <class V>
  static V run(V a, V b) {
    return map2<u64>(a, b, [](u64 x, u64 y) { return u64{u32(x)} * u32(y); });
  }
};
struct MultiplyWideSigned {
  template <class V>
  static V run(V a, V b) {
    return map2<u64>(a, b, [](u64 x, u64 y) {
      return static_cast<u64>(i64{static_cast<i32>(x)} * static_cast<i32>(y));
    });
  }
};
/// PMADDWD; the one overflow, four times -32768, wraps to 0x80000000.
struct MultiplyAdd {
  template <class V>
  static V run(V a, V b) {
    const auto x = lanes<i16>(a);
    const auto y = lanes<i16>(b);
    Lanes<u32, V> result{};
    for (std::size_t k = 0; k < result.size(); ++k) {
      result[k] =
          static_cast<u32>(x[2 * k] * y[2 * k]) + static_cast<u32>(x[2 * k + 1] * y[2 * k + 1]);
    }
    return vector<V>(result);
  }
};
/// PMADDUBSW: the destination's bytes are unsigned, the source's signed.
struct MultiplyAddBytes {
  template <class V>
  static V run(V a, V b) {
    const auto x = lanes<u8>(a);
    const auto y = lanes<i8>(b);
    Lanes<i16, V> result{};
    for (std::size_t k = 0; k < result.size(); ++k) {
      result[k] = saturate<i16>(x[2 * k] * y[2 * k] + x[2 * k + 1] * y[2 * k + 1]);
    }
    return vector<V>(result);
  }
};
constexpr int distance(int a, int b) { return a < b ? b - a : a - b; }
/// PSADBW: one sum for each eight bytes.
struct SumOfDifferences {
  template <class V>
  static V run(V a, V b) {
    const auto x = lanes<u8>(a);
    const auto y = lanes<u8>(b);
    Lanes<u64, V> result{};
    for (std::size_t k = 0; k < x.size(); ++k) {
      result[k / 8] += static_cast<u64>(distance(x[k], y[k]));
    }
    return vector<V>(result);
  }
};
/// MPSADBW: eight windows of the destination against one block of the source.
struct MultipleSums {
  template <class V>
  static V run(V a, V b, u8 immediate) {
    const auto x = lanes<u8>(a);
    const auto y = lanes<u8>(b);
    const std::size_t window = (immediate & 4U);
    const std::size_t block = (immediate & 3U) * 4;
    Lanes<u16, V> result{};
    for (std::size_t k = 0; k < result.size(); ++k) {
      for (std::size_t n = 0; n < 4; ++n) {
        result[k] = static_cast<u16>(result[k] + distance(x[window + k + n], y[block + n]));
      }
    }
    return vector<V>(result);
  }
};
/// PHMINPOSUW: the smallest word and its index.
struct MinimumPosition {
  template <class V>
  static V run(V, V source) {
    const auto words = lanes<u16>(source);
    Lanes<u16, V> result{};
    result[0] = words[0];
    for (std::size_t k = 1; k < words.size(); ++k) {
      if (words[k] < result[0]) {
        result[0] = words[k];
        result[1] = static_cast<u16>(k);
      }
    }
    return vector<V>(result);
  }
};

constexpr auto kRows = std::to_array<Row>({
    mm_row<MultiplyLow16>("PMULLW mm, mm/m64", k0f, 0xd5),
    xmm_row<MultiplyLow16>("PMULLW xmm, xmm/m128", k0f, 0xd5),
    mm_row<MultiplyHighSigned>("PMULHW mm, mm/m64", k0f, 0xe5),
    xmm_row<MultiplyHighSigned>("PMULHW xmm, xmm/m128", k0f, 0xe5),
    mm_row<MultiplyHighUnsigned>("PMULHUW mm, mm/m64", k0f, 0xe4),
    xmm_row<MultiplyHighUnsigned>("PMULHUW xmm, xmm/m128", k0f, 0xe4),
    mm_row<MultiplyHighRounded>("PMULHRSW mm, mm/m64", k38, 0x0b),
    xmm_row<MultiplyHighRounded>("PMULHRSW xmm, xmm/m128", k38, 0x0b),
    mm_row<MultiplyWideUnsigned>("PMULUDQ mm, mm/m64", k0f, 0xf4),
    xmm_row<MultiplyWideUnsigned>("PMULUDQ xmm, xmm/m128", k0f, 0xf4),
    xmm_row<MultiplyWideSigned>("PMULDQ xmm, xmm/m128", k38, 0x28),
    xmm_row<MultiplyLow32>("PMULLD xmm, xmm/m128", k38, 0x40),
    mm_row<MultiplyAdd>("PMADDWD mm, mm/m64", k0f, 0xf5),
    xmm_row<MultiplyAdd>("PMADDWD xmm, xmm/m128", k0f, 0xf5),
    mm_row<MultiplyAddBytes>("PMADDUBSW mm, mm/m64", k38, 0x04),
    xmm_row<MultiplyAddBytes>("PMADDUBSW xmm, xmm/m128", k38, 0x04),
    mm_row<SumOfDifferences>("PSADBW mm, mm/m64", k0f, 0xf6),
    xmm_row<SumOfDifferences>("PSADBW xmm, xmm/m128", k0f, 0xf6),
    xmm_imm_row<MultipleSums>("MPSADBW xmm, xmm/m128, imm8", k3a, 0x42),
    xmm_row<MinimumPosition>("PHMINPOSUW xmm, xmm/m128", k38, 0x41),
});

}  // namespace

std::span<const Row> packed_multiply_rows() { return kRows; }

}  // namespace chronovisor::sse
