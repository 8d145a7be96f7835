// AES-NI and PCLMULQDQ, computed here so that the host needs neither.
// Source: SDM vol. 2, AESxxx and PCLMULQDQ; FIPS 197 for the transformations.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using Block16 = std::array<u8, 16>;  // FIPS 197's state, column by column

// ============================ GF(2^8) and the S-box ===================================
constexpr u8 double_gf(u8 a) {
  return static_cast<u8>((unsigned{a} << 1) ^ ((a & 0x80U) != 0 ? 0x1bU : 0U));
}
constexpr u8 multiply_gf(u8 a, unsigned b) {
  u8 product = 0;
  for (; b != 0; b >>= 1, a = double_gf(a)) {
    if ((b & 1) != 0) product = static_cast<u8>(product ^ a);
  }
  return product;
}
constexpr u8 inverse_gf(u8 a) {
  u8 result = 1;  // a^254
  for (int k = 0; k < 254; ++k) result = multiply_gf(result, a);
  return result;
}

struct Tables {
  std::array<u8, 256> substitute{};
  std::array<u8, 256> invert{};
  std::array<std::array<u8, 256>, 16> times{};  // of 9, 11, 13 and 14
};
Tables make_tables() {
  Tables t;
  for (unsigned a = 0; a < 256; ++a) {
    const u8 x = inverse_gf(static_cast<u8>(a));
    u8 s = 0x63;
    for (int k = 0; k < 5; ++k) s = static_cast<u8>(s ^ std::rotl(x, k));
    t.substitute[a] = s;
    t.invert[s] = static_cast<u8>(a);
    for (const unsigned factor : {9U, 11U, 13U, 14U}) {
      t.times[factor][a] = multiply_gf(static_cast<u8>(a), factor);
    }
  }
  return t;
}
const Tables& tables() {
  static const Tables kTables = make_tables();
  return kTables;
}

// ============================ transformations =========================================
/// ShiftRows and SubBytes; row r of column c comes from column c + r.
Block16 shift_and_substitute(const Block16& state) {
  const Tables& t = tables();
  Block16 result{};
  for (std::size_t k = 0; k < 16; ++k) result[k] = t.substitute[state[(k + 4 * (k & 3)) & 15]];
  return result;
}
Block16 inverse_shift_and_substitute(const Block16& state) {
  const Tables& t = tables();
  Block16 result{};
  for (std::size_t k = 0; k < 16; ++k) result[k] = t.invert[state[(k - 4 * (k & 3)) & 15]];
  return result;
}
Block16 mix_columns(const Block16& state) {
  Block16 result{};
  for (std::size_t c = 0; c < 16; c += 4) {
    const u8 all = static_cast<u8>(state[c] ^ state[c + 1] ^ state[c + 2] ^ state[c + 3]);
    for (std::size_t r = 0; r < 4; ++r) {
      const u8 pair = static_cast<u8>(state[c + r] ^ state[c + ((r + 1) & 3)]);
      result[c + r] = static_cast<u8>(state[c + r] ^ all ^ double_gf(pair));
    }
  }
  return result;
}
Block16 inverse_mix_columns(const Block16& state) {
  const Tables& t = tables();
  Block16 result{};
  for (std::size_t c = 0; c < 16; c += 4) {
    for (std::size_t r = 0; r < 4; ++r) {
      result[c + r] = static_cast<u8>(
          t.times[14][state[c + r]] ^ t.times[11][state[c + ((r + 1) & 3)]] ^
          t.times[13][state[c + ((r + 2) & 3)]] ^ t.times[9][state[c + ((r + 3) & 3)]]);
    }
  }
  return result;
}
Xmm xor_key(const Block16& state, const Xmm& key) {
  const Xmm value = vector<Xmm>(state);
  return {value.low ^ key.low, value.high ^ key.high};
}

// ============================ instructions ============================================
struct Encrypt {
  template <class V>
  static V run(V state, V key) {
    return xor_key(mix_columns(shift_and_substitute(lanes<u8>(state))), key);
  }
};
struct EncryptLast {
  template <class V>
  static V run(V state, V key) {
    return xor_key(shift_and_substitute(lanes<u8>(state)), key);
  }
};
struct Decrypt {
  template <class V>
  static V run(V state, V key) {
    return xor_key(inverse_mix_columns(inverse_shift_and_substitute(lanes<u8>(state))), key);
  }
};
struct DecryptLast {
  template <class V>
  static V run(V state, V key) {
    return xor_key(inverse_shift_and_substitute(lanes<u8>(state)), key);
  }
};
struct InverseMixColumns {
  template <class V>
  static V run(V, V source) {
    return vector<V>(inverse_mix_columns(lanes<u8>(source)));
  }
};
u32 substitute_word(u32 word) {
  const Tables& t = tables();
  auto bytes = std::bit_cast<std::array<u8, 4>>(word);
  for (u8& byte : bytes) byte = t.substitute[byte];
  return std::bit_cast<u32>(bytes);
}
struct KeyGenerationAssist {
  template <class V>
  static V run(V, V source, u8 round_constant) {
    const auto words = lanes<u32>(source);
    const u32 first = substitute_word(words[1]);
    const u32 third = substitute_word(words[3]);
    return vector<V>(Lanes<u32, V>{first, std::rotr(first, 8) ^ round_constant, third,
                                   std::rotr(third, 8) ^ round_constant});
  }
};
/// PCLMULQDQ: polynomial product of a half of each operand.
struct CarrylessMultiply {
  template <class V>
  static V run(V a, V b, u8 selector) {
    const u64 x = (selector & 1) != 0 ? a.high : a.low;
    const u64 y = (selector & 0x10) != 0 ? b.high : b.low;
    Xmm product{(y & 1) != 0 ? x : 0, 0};
    for (unsigned k = 1; k < 64; ++k) {
      const u64 mask = u64{0} - ((y >> k) & 1);
      product.low ^= (x << k) & mask;
      product.high ^= (x >> (64 - k)) & mask;
    }
    return product;
  }
};

constexpr auto kRows = std::to_array<Row>({
    xmm_row<InverseMixColumns>("AESIMC xmm, xmm/m128", k38, 0xdb),
    xmm_row<Encrypt>("AESENC xmm, xmm/m128", k38, 0xdc),
    xmm_row<EncryptLast>("AESENCLAST xmm, xmm/m128", k38, 0xdd),
    xmm_row<Decrypt>("AESDEC xmm, xmm/m128", k38, 0xde),
    xmm_row<DecryptLast>("AESDECLAST xmm, xmm/m128", k38, 0xdf),
    xmm_imm_row<KeyGenerationAssist>("AESKEYGENASSIST xmm, xmm/m128, imm8", k3a, 0xdf),
    xmm_imm_row<CarrylessMultiply>("PCLMULQDQ xmm, xmm/m128, imm8", k3a, 0x44),
});

}  // namespace

std::span<const Row> crypto_rows() { return kRows; }

}  // namespace chronovisor::sse
