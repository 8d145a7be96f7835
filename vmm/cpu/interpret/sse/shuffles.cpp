// Shuffles, unpacks, packs, blends, duplications, extensions and alignments,
// MMX and SSE. Nothing here computes; it only rearranges.
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

// ============================ interleaving and packing ================================
enum class Half : std::size_t { low, high };

template <class T, Half H>
struct Unpack {
  template <class V>
  static V run(V a, V b) {
    const auto x = lanes<T>(a);
    const auto y = lanes<T>(b);
    Lanes<T, V> result{};
    constexpr std::size_t kCount = result.size() / 2;
    constexpr std::size_t kFirst = H == Half::low ? 0 : kCount;
    for (std::size_t k = 0; k < kCount; ++k) {
      result[2 * k] = x[kFirst + k];
      result[2 * k + 1] = y[kFirst + k];
    }
    return vector<V>(result);
  }
};

/// Wide elements of the destination, then of the source, saturated to Narrow.
template <class Wide, class Narrow>
struct Pack {
  template <class V>
  static V run(V a, V b) {
    const auto x = lanes<Wide>(a);
    const auto y = lanes<Wide>(b);
    Lanes<Narrow, V> result{};
    for (std::size_t k = 0; k < x.size(); ++k) {
      result[k] = saturate<Narrow>(x[k]);
      result[x.size() + k] = saturate<Narrow>(y[k]);
    }
    return vector<V>(result);
  }
};

/// PUNPCKLxx mm, mm/m32 reads only 32 bits of memory.
template <class T, bool Memory>
void unpack_low_mm(Cpu& cpu, const Instruction& i) {
  check_mmx(cpu);
  u64 source = 0;
  if constexpr (Memory) {
    source = cpu.load_operand<u32>(i);
  } else {
    source = mm(cpu, i.rm);
  }
  enter_mmx(cpu);
  set_mm(cpu, i.reg, Unpack<T, Half::low>::run(mm(cpu, i.reg), source));
}

// ============================ shuffles ================================================
struct ShuffleBytes {
  template <class V>
  static V run(V a, V b) {
    const auto x = lanes<u8>(a);
    const auto control = lanes<u8>(b);
    Lanes<u8, V> result{};
    for (std::size_t k = 0; k < result.size(); ++k) {
      result[k] = (control[k] & 0x80U) != 0 ? u8{0} : x[control[k] & (result.size() - 1)];
    }
    return vector<V>(result);
  }
};
/// Four elements of a 64-bit half, or of the whole register, by a selector of
/// two bits each.
template <class T, class V>
V select_four(V source, unsigned selector) {
  const auto x = lanes<T>(source);
  Lanes<T, V> result{};
  for (std::size_t k = 0; k < 4; ++k) result[k] = x[(selector >> (2 * k)) & 3];
  return vector<V>(result);
}
struct ShuffleDoublewords {
  template <class V>
  static V run(V, V source, u8 selector) {
    return select_four<u32>(source, selector);
  }
};
struct ShuffleWords {
  template <class V>
  static V run(V, V source, u8 selector) {
    return select_four<u16>(source, selector);
  }
};
struct ShuffleLowWords {
  template <class V>
  static V run(V, V source, u8 selector) {
    return {select_four<u16>(source.low, selector), source.high};
  }
};
struct ShuffleHighWords {
  template <class V>
  static V run(V, V source, u8 selector) {
    return {source.low, select_four<u16>(source.high, selector)};
  }
};
/// SHUFPS: two elements of the destination, two of the source.
struct ShuffleSingles {
  template <class V>
  static V run(V a, V b, u8 selector) {
    const auto x = lanes<u32>(a);
    const auto y = lanes<u32>(b);
    return vector<V>(Lanes<u32, V>{x[selector & 3], x[(selector >> 2) & 3], y[(selector >> 4) & 3],
                                   y[selector >> 6]});
  }
};
struct ShuffleDoubles {
  template <class V>
  static V run(V a, V b, u8 selector) {
    return {(selector & 1) != 0 ? a.high : a.low, (selector & 2) != 0 ? b.high : b.low};
  }
};
/// PALIGNR: bytes of destination:source from a byte offset on.
struct AlignRight {
  template <class V>
  static V run(V a, V b, u8 offset) {
    const auto high = lanes<u8>(a);
    const auto low = lanes<u8>(b);
    Lanes<u8, V> result{};
    constexpr std::size_t kSize = result.size();
    for (std::size_t k = 0; k < kSize; ++k) {
      const std::size_t from = offset + k;
      if (from < kSize) {
        result[k] = low[from];
      } else if (from < 2 * kSize) {
        result[k] = high[from - kSize];
      }
    }
    return vector<V>(result);
  }
};

// ============================ blends ==================================================
template <class T>
struct BlendImmediate {
  template <class V>
  static V run(V a, V b, u8 selector) {
    auto result = lanes<T>(a);
    const auto y = lanes<T>(b);
    for (std::size_t k = 0; k < result.size(); ++k) {
      if (((selector >> k) & 1) != 0) result[k] = y[k];
    }
    return vector<V>(result);
  }
};
/// PBLENDVB, BLENDVPS, BLENDVPD: selected by the sign bits of XMM0.
template <class S, bool Memory>
void blend_variable(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const Xmm source = source128<Memory>(cpu, i);
  const auto selector = lanes<S>(xmm(cpu, 0));
  auto result = lanes<S>(xmm(cpu, i.reg));
  const auto y = lanes<S>(source);
  for (std::size_t k = 0; k < result.size(); ++k) {
    if (selector[k] < 0) result[k] = y[k];
  }
  xmm(cpu, i.reg) = vector<Xmm>(result);
}

// ============================ duplications and extensions =============================
struct DuplicateEven {
  template <class V>
  static V run(V, V source) {
    return select_four<u32>(source, 0xa0);
  }
};
struct DuplicateOdd {
  template <class V>
  static V run(V, V source) {
    return select_four<u32>(source, 0xf5);
  }
};
template <bool Memory>
void movddup(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const u64 source = source_low<u64, Memory>(cpu, i);
  xmm(cpu, i.reg) = {source, source};
}
/// PMOVSX and PMOVZX: From is signed or unsigned accordingly.
template <class From, class To, bool Memory>
void extend(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  constexpr std::size_t kCount = sizeof(Xmm) / sizeof(To);
  constexpr std::size_t kBytes = kCount * sizeof(From);
  using Source = std::conditional_t<kBytes == 8, u64, std::conditional_t<kBytes == 4, u32, u16>>;
  const auto x = std::bit_cast<std::array<From, kCount>>(source_low<Source, Memory>(cpu, i));
  std::array<To, kCount> result{};
  for (std::size_t k = 0; k < kCount; ++k) result[k] = static_cast<To>(x[k]);
  xmm(cpu, i.reg) = vector<Xmm>(result);
}

// ============================ rows ====================================================
template <class T>
constexpr Row mm_low_row(std::string_view name, std::uint8_t opcode) {
  return row(name, k0f, opcode, none, ModRm::any,
             by_form(&unpack_low_mm<T, false>, &unpack_low_mm<T, true>));
}
template <class S>
constexpr Row blend_row(std::string_view name, std::uint8_t opcode) {
  return row(name, k38, opcode, p66, ModRm::any,
             by_form(&blend_variable<S, false>, &blend_variable<S, true>));
}
template <class From, class To>
constexpr Row extend_row(std::string_view name, std::uint8_t opcode) {
  return row(name, k38, opcode, p66, ModRm::any,
             by_form(&extend<From, To, false>, &extend<From, To, true>));
}

constexpr auto kRows = std::to_array<Row>({
    mm_low_row<u8>("PUNPCKLBW mm, mm/m32", 0x60),
    xmm_row<Unpack<u8, Half::low>>("PUNPCKLBW xmm, xmm/m128", k0f, 0x60),
    mm_low_row<u16>("PUNPCKLWD mm, mm/m32", 0x61),
    xmm_row<Unpack<u16, Half::low>>("PUNPCKLWD xmm, xmm/m128", k0f, 0x61),
    mm_low_row<u32>("PUNPCKLDQ mm, mm/m32", 0x62),
    xmm_row<Unpack<u32, Half::low>>("PUNPCKLDQ xmm, xmm/m128", k0f, 0x62),
    xmm_row<Unpack<u64, Half::low>>("PUNPCKLQDQ xmm, xmm/m128", k0f, 0x6c),
    mm_row<Unpack<u8, Half::high>>("PUNPCKHBW mm, mm/m64", k0f, 0x68),
    xmm_row<Unpack<u8, Half::high>>("PUNPCKHBW xmm, xmm/m128", k0f, 0x68),
    mm_row<Unpack<u16, Half::high>>("PUNPCKHWD mm, mm/m64", k0f, 0x69),
    xmm_row<Unpack<u16, Half::high>>("PUNPCKHWD xmm, xmm/m128", k0f, 0x69),
    mm_row<Unpack<u32, Half::high>>("PUNPCKHDQ mm, mm/m64", k0f, 0x6a),
    xmm_row<Unpack<u32, Half::high>>("PUNPCKHDQ xmm, xmm/m128", k0f, 0x6a),
    xmm_row<Unpack<u64, Half::high>>("PUNPCKHQDQ xmm, xmm/m128", k0f, 0x6d),
    xmm_row<Unpack<u32, Half::low>>("UNPCKLPS xmm, xmm/m128", k0f, 0x14, none),
    xmm_row<Unpack<u64, Half::low>>("UNPCKLPD xmm, xmm/m128", k0f, 0x14),
    xmm_row<Unpack<u32, Half::high>>("UNPCKHPS xmm, xmm/m128", k0f, 0x15, none),
    xmm_row<Unpack<u64, Half::high>>("UNPCKHPD xmm, xmm/m128", k0f, 0x15),
    mm_row<Pack<i16, i8>>("PACKSSWB mm, mm/m64", k0f, 0x63),
    xmm_row<Pack<i16, i8>>("PACKSSWB xmm, xmm/m128", k0f, 0x63),
    mm_row<Pack<i16, u8>>("PACKUSWB mm, mm/m64", k0f, 0x67),
    xmm_row<Pack<i16, u8>>("PACKUSWB xmm, xmm/m128", k0f, 0x67),
    mm_row<Pack<i32, i16>>("PACKSSDW mm, mm/m64", k0f, 0x6b),
    xmm_row<Pack<i32, i16>>("PACKSSDW xmm, xmm/m128", k0f, 0x6b),
    xmm_row<Pack<i32, u16>>("PACKUSDW xmm, xmm/m128", k38, 0x2b),
    mm_row<ShuffleBytes>("PSHUFB mm, mm/m64", k38, 0x00),
    xmm_row<ShuffleBytes>("PSHUFB xmm, xmm/m128", k38, 0x00),
    mm_imm_row<ShuffleWords>("PSHUFW mm, mm/m64, imm8", k0f, 0x70),
    xmm_imm_row<ShuffleDoublewords>("PSHUFD xmm, xmm/m128, imm8", k0f, 0x70),
    xmm_imm_row<ShuffleHighWords>("PSHUFHW xmm, xmm/m128, imm8", k0f, 0x70, pf3),
    xmm_imm_row<ShuffleLowWords>("PSHUFLW xmm, xmm/m128, imm8", k0f, 0x70, pf2),
    xmm_imm_row<ShuffleSingles>("SHUFPS xmm, xmm/m128, imm8", k0f, 0xc6, none),
    xmm_imm_row<ShuffleDoubles>("SHUFPD xmm, xmm/m128, imm8", k0f, 0xc6),
    mm_imm_row<AlignRight>("PALIGNR mm, mm/m64, imm8", k3a, 0x0f),
    xmm_imm_row<AlignRight>("PALIGNR xmm, xmm/m128, imm8", k3a, 0x0f),
    xmm_imm_row<BlendImmediate<u32>>("BLENDPS xmm, xmm/m128, imm8", k3a, 0x0c),
    xmm_imm_row<BlendImmediate<u64>>("BLENDPD xmm, xmm/m128, imm8", k3a, 0x0d),
    xmm_imm_row<BlendImmediate<u16>>("PBLENDW xmm, xmm/m128, imm8", k3a, 0x0e),
    blend_row<i8>("PBLENDVB xmm, xmm/m128", 0x10),
    blend_row<i32>("BLENDVPS xmm, xmm/m128", 0x14),
    blend_row<i64>("BLENDVPD xmm, xmm/m128", 0x15),
    xmm_row<DuplicateEven>("MOVSLDUP xmm, xmm/m128", k0f, 0x12, pf3),
    xmm_row<DuplicateOdd>("MOVSHDUP xmm, xmm/m128", k0f, 0x16, pf3),
    row("MOVDDUP xmm, xmm/m64", k0f, 0x12, pf2, ModRm::any,
        by_form(&movddup<false>, &movddup<true>)),
    extend_row<i8, i16>("PMOVSXBW xmm, xmm/m64", 0x20),
    extend_row<i8, i32>("PMOVSXBD xmm, xmm/m32", 0x21),
    extend_row<i8, i64>("PMOVSXBQ xmm, xmm/m16", 0x22),
    extend_row<i16, i32>("PMOVSXWD xmm, xmm/m64", 0x23),
    extend_row<i16, i64>("PMOVSXWQ xmm, xmm/m32", 0x24),
    extend_row<i32, i64>("PMOVSXDQ xmm, xmm/m64", 0x25),
    extend_row<u8, u16>("PMOVZXBW xmm, xmm/m64", 0x30),
    extend_row<u8, u32>("PMOVZXBD xmm, xmm/m32", 0x31),
    extend_row<u8, u64>("PMOVZXBQ xmm, xmm/m16", 0x32),
    extend_row<u16, u32>("PMOVZXWD xmm, xmm/m64", 0x33),
    extend_row<u16, u64>("PMOVZXWQ xmm, xmm/m32", 0x34),
    extend_row<u32, u64>("PMOVZXDQ xmm, xmm/m64", 0x35),
});

}  // namespace

std::span<const Row> shuffle_rows() { return kRows; }

}  // namespace chronovisor::sse
