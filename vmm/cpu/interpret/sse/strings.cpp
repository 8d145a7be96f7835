// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
// Source: SDM vol. 2, "Imm8 Control Byte Operation for PCMPESTRI / PCMPESTRM /
// PCMPISTRI / PCMPISTRM"; names of intermediate results are the manual's.
#include "vmm/cpu/interpret/sse/support.h"

namespace chronovisor::sse {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

enum class Aggregation : std::uint8_t { equal_any, ranges, equal_each, equal_ordered };
enum class LengthKind : std::uint8_t { implicit_zero, explicit_registers };
enum class ResultKind : std::uint8_t { index, mask };

/// One of the two strings: elements widened with their sign, and how many are valid.
struct Text {
  std::array<std::int32_t, 16> elements{};
  unsigned length = 0;
};

template <class T>
void fill(Text& text, const Xmm& value) {
  const auto elements = lanes<T>(value);
  for (std::size_t k = 0; k < elements.size(); ++k) text.elements[k] = elements[k];
}
Text make_text(const Xmm& value, u64 immediate) {
  Text text;
  switch (immediate & 3) {
    case 0:
      fill<u8>(text, value);
      break;
    case 1:
      fill<u16>(text, value);
      break;
    case 2:
      fill<std::int8_t>(text, value);
      break;
    default:
      fill<std::int16_t>(text, value);
      break;
  }
  return text;
}
unsigned zero_terminated_length(const Text& text, unsigned count) {
  unsigned length = 0;
  while (length < count && text.elements[length] != 0) ++length;
  return length;
}
/// The absolute value of a signed register, at most `count`.
template <class S>
unsigned register_length(S value, unsigned count) {
  const u64 magnitude =
      value < 0 ? u64{0} - static_cast<u64>(std::int64_t{value}) : static_cast<u64>(value);
  return magnitude < count ? static_cast<unsigned>(magnitude) : count;
}

/// IntRes1. `first` is the register operand (the set, the ranges, the needle),
/// `second` the other one; bit j of the result belongs to element j of `second`.
u32 aggregate(const Text& first, const Text& second, Aggregation aggregation, unsigned count) {
  u32 result = 0;
  for (unsigned j = 0; j < count; ++j) {
    const bool valid = j < second.length;
    const std::int32_t element = second.elements[j];
    bool bit = false;
    switch (aggregation) {
      case Aggregation::equal_any:
        for (unsigned k = 0; k < first.length; ++k) {
          bit = bit || (valid && first.elements[k] == element);
        }
        break;
      case Aggregation::ranges:
        for (unsigned k = 0; k + 1 < first.length; k += 2) {
          bit = bit || (valid && first.elements[k] <= element && element <= first.elements[k + 1]);
        }
        break;
      case Aggregation::equal_each:
        bit =
            valid && j < first.length ? first.elements[j] == element : valid == (j < first.length);
        break;
      case Aggregation::equal_ordered:
        bit = true;
        for (unsigned k = 0; k < first.length && j + k < count; ++k) {
          bit = bit && j + k < second.length && first.elements[k] == second.elements[j + k];
        }
        break;
    }
    if (bit) result |= 1U << j;
  }
  return result;
}

/// IntRes2: the polarity of bits 5:4.
u32 polarize(u32 result, u64 immediate, unsigned second_length, unsigned count) {
  const u32 all = (1U << count) - 1;
  switch ((immediate >> 4) & 3) {
    case 1:
      return ~result & all;
    case 3:
      return result ^ ((1U << second_length) - 1);
    default:
      return result;
  }
}

/// Bit 6: a mask of whole elements, or of bits.
Xmm expand_mask(u32 result, u64 immediate) {
  if ((immediate & 0x40) == 0) return {result, 0};
  Xmm value;
  if ((immediate & 1) != 0) {
    Lanes<u16, Xmm> elements{};
    for (std::size_t k = 0; k < 8; ++k) elements[k] = ((result >> k) & 1) != 0 ? 0xffff : 0;
    value = vector<Xmm>(elements);
  } else {
    Lanes<u8, Xmm> elements{};
    for (std::size_t k = 0; k < 16; ++k) elements[k] = ((result >> k) & 1) != 0 ? 0xff : 0;
    value = vector<Xmm>(elements);
  }
  return value;
}

template <LengthKind L>
void set_lengths(const Cpu& cpu, const Instruction& i, Text& first, Text& second, unsigned count) {
  if constexpr (L == LengthKind::implicit_zero) {
    first.length = zero_terminated_length(first, count);
    second.length = zero_terminated_length(second, count);
  } else if (i.operand_size == 8) {
    first.length = register_length(static_cast<std::int64_t>(cpu.reg<u64>(kRax)), count);
    second.length = register_length(static_cast<std::int64_t>(cpu.reg<u64>(kRdx)), count);
  } else {
    first.length = register_length(static_cast<std::int32_t>(cpu.reg<u32>(kRax)), count);
    second.length = register_length(static_cast<std::int32_t>(cpu.reg<u32>(kRdx)), count);
  }
}

/// The memory operand need not be aligned.
template <LengthKind L, ResultKind R, bool Memory>
void compare_strings(Cpu& cpu, const Instruction& i) {
  check_sse(cpu);
  Xmm source;
  if constexpr (Memory) {
    source = cpu.load_operand<Xmm>(i);
  } else {
    source = xmm(cpu, i.rm);
  }
  const unsigned count = (i.immediate & 1) != 0 ? 8 : 16;
  Text first = make_text(xmm(cpu, i.reg), i.immediate);
  Text second = make_text(source, i.immediate);
  set_lengths<L>(cpu, i, first, second, count);
  const u32 result =
      polarize(aggregate(first, second, static_cast<Aggregation>((i.immediate >> 2) & 3), count),
               i.immediate, second.length, count);
  cpu.flags.set_arithmetic((result != 0 ? kCf : 0U) | (second.length < count ? kZf : 0U) |
                           (first.length < count ? kSf : 0U) | ((result & 1) != 0 ? kOf : 0U));
  if constexpr (R == ResultKind::mask) {
    xmm(cpu, 0) = expand_mask(result, i.immediate);
  } else {
    const bool most_significant = (i.immediate & 0x40) != 0;
    const int index = result == 0        ? static_cast<int>(count)
                      : most_significant ? 31 - std::countl_zero(result)
                                         : std::countr_zero(result);
    cpu.set_reg<u32>(kRcx, static_cast<u32>(index));
  }
}

template <LengthKind L, ResultKind R>
constexpr Row string_row(std::string_view name, std::uint8_t opcode) {
  return row(name, k3a, opcode, p66, ModRm::any,
             by_form(&compare_strings<L, R, false>, &compare_strings<L, R, true>),
             Immediate::imm8_zero);
}

constexpr auto kRows = std::to_array<Row>({
    string_row<LengthKind::explicit_registers, ResultKind::mask>("PCMPESTRM xmm, xmm/m128, imm8",
                                                                 0x60),
    string_row<LengthKind::explicit_registers, ResultKind::index>("PCMPESTRI xmm, xmm/m128, imm8",
                                                                  0x61),
    string_row<LengthKind::implicit_zero, ResultKind::mask>("PCMPISTRM xmm, xmm/m128, imm8", 0x62),
    string_row<LengthKind::implicit_zero, ResultKind::index>("PCMPISTRI xmm, xmm/m128, imm8", 0x63),
});

}  // namespace

std::span<const Row> string_rows() { return kRows; }

}  // namespace chronovisor::sse
