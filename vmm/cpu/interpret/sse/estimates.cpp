// RCPPS, RCPSS, RSQRTPS, RSQRTSS. Vendors return different bits for these, so
// this machine has its own definition, the same on every host:
//
//   The operand's significand is replaced by the middle of the 2^-12 wide
//   interval it lies in (its top 12 fraction bits, then a one), and the
//   reciprocal, or the reciprocal square root, of that is cut to 24 bits.
//
// The relative error is below 2^-12.99 for both, within the 1.5 * 2^-12 the
// manual grants. No exceptions, no flags, MXCSR is not consulted. Denormal
// operands are zeros, and tiny results become zeros.
// Source: SDM vol. 2, RCPPS and RSQRTPS.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 kSign = 0x80000000;
constexpr u32 kInfinity = 0x7f800000;
constexpr u32 kQuietBit = 0x00400000;
constexpr u32 kDefaultNan = 0xffc00000;

/// 1.f of the middle of the operand's interval, in units of 2^-13.
constexpr u32 middle(u32 bits) { return 0x2001U | (((bits >> 11) & 0xfffU) << 1); }

constexpr u64 square_root(u64 value) {
  u64 root = 0;
  for (u64 bit = u64{1} << 31; bit != 0; bit >>= 1) {
    if ((root | bit) * (root | bit) <= value) root |= bit;
  }
  return root;
}

constexpr u32 reciprocal(u32 bits) {
  const u32 sign = bits & kSign;
  const u32 magnitude = bits & ~kSign;
  if (magnitude > kInfinity) return bits | kQuietBit;
  if (magnitude == kInfinity) return sign;
  if (magnitude < 0x00800000) return sign | kInfinity;
  // 2^e * 1.f with 1.f above 1: the reciprocal lies in (2^(-e-1), 2^-e).
  const u32 exponent = magnitude >> 23;
  if (exponent >= 253) return sign;
  const u32 significand = static_cast<u32>((u64{1} << 37) / middle(bits));
  return sign | ((253 - exponent) << 23) | (significand & 0x7fffff);
}
static_assert(reciprocal(0x40000000) == 0x3efff800);

constexpr u32 reciprocal_root(u32 bits) {
  const u32 sign = bits & kSign;
  const u32 magnitude = bits & ~kSign;
  if (magnitude > kInfinity) return bits | kQuietBit;
  if (magnitude < 0x00800000) return sign | kInfinity;
  if (sign != 0) return kDefaultNan;
  if (magnitude == kInfinity) return 0;
  // With e = 2h or 2h + 1 the root's argument 2^(e-2h) * 1.f lies in (1, 4).
  const int e = static_cast<int>(magnitude >> 23) - 127;
  const int h = e >> 1;
  const u64 argument = u64{middle(bits)} << (e & 1);
  const u64 significand = square_root((u64{1} << 61) / argument);
  return (static_cast<u32>(126 - h) << 23) | static_cast<u32>(significand & 0x7fffff);
}
static_assert(reciprocal_root(0x40800000) == 0x3efffc00);

struct Reciprocal {
  static u32 of(u32 bits) { return reciprocal(bits); }
};
struct ReciprocalRoot {
  static u32 of(u32 bits) { return reciprocal_root(bits); }
};

template <class Estimate>
struct Packed {
  template <class V>
  static V run(V, V source) {
    return map1<u32>(source, [](u32 x) { return Estimate::of(x); });
  }
};
template <class Estimate, bool Memory>
void estimate_scalar(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  const u32 source = source_low<u32, Memory>(cpu, i);
  u64& low = xmm(cpu, i.reg).low;
  low = (low & ~u64{0xffffffff}) | Estimate::of(source);
}

constexpr std::string_view kReason = "an estimate: processors differ, ours is defined by us";
template <class Estimate>
constexpr Row scalar(std::string_view name, std::uint8_t opcode) {
  return without_oracle(
      row(name, k0f, opcode, pf3, ModRm::any,
          by_form(&estimate_scalar<Estimate, false>, &estimate_scalar<Estimate, true>)),
      kReason);
}

constexpr auto kRows = std::to_array<Row>({
    without_oracle(xmm_row<Packed<ReciprocalRoot>>("RSQRTPS xmm, xmm/m128", k0f, 0x52, none),
                   kReason),
    scalar<ReciprocalRoot>("RSQRTSS xmm, xmm/m32", 0x52),
    without_oracle(xmm_row<Packed<Reciprocal>>("RCPPS xmm, xmm/m128", k0f, 0x53, none), kReason),
    scalar<Reciprocal>("RCPSS xmm, xmm/m32", 0x53),
});

}  // namespace

std::span<const Row> estimate_rows() { return kRows; }

}  // namespace chronovisor::sse
