#include "tests/oracle/case_generator.h"

#include <algorithm>
#include <cstring>

#include "base/units.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::oracle {
namespace {

// ============================ values ==================================================
std::uint64_t integer_value(Random& random) {
  const std::uint64_t r = random.bits();
  switch (random.below(10)) {
    case 0:
      return r & 15;
    case 1:
      return 0 - (r & 15);
    case 2:
      return 1ULL << (r & 63);
    case 3:
      return (1ULL << (r & 63)) - 1;
    case 4:
      return (r & 0xff) * 0x0101010101010101;
    case 5:
      return static_cast<std::uint32_t>(r);
    case 6:
      return static_cast<std::uint16_t>(r);
    default:
      return r;
  }
}

std::uint32_t single_value(Random& random) {
  static constexpr std::array<std::uint32_t, 16> kSpecial{
      0x00000000, 0x3f800000, 0x7f800000, 0x7fc00001, 0x7f800003, 0x00000001,
      0x007fffff, 0x00800000, 0x7f7fffff, 0x3f000000, 0x3fc00000, 0x4b000001,
      0x4effffff, 0x4f000000, 0x5f000000, 0x3fffffff};
  const auto r = static_cast<std::uint32_t>(random.bits() >> 16);
  switch (random.below(4)) {
    case 0:
      return random.pick(kSpecial) | (r & 0x80000000);
    case 1:
      return (0x3f000000 + (r & 0x01ffffff)) | (r & 0x80000000);
    case 2:
      return r & 0x81ffffff;
    default:
      return r;
  }
}

std::uint64_t double_value(Random& random) {
  static constexpr std::array<std::uint64_t, 16> kSpecial{0,
                                                          0x3ff0000000000000,
                                                          0x7ff0000000000000,
                                                          0x7ff8000000000001,
                                                          0x7ff0000000000003,
                                                          1,
                                                          0x000fffffffffffff,
                                                          0x0010000000000000,
                                                          0x7fefffffffffffff,
                                                          0x3fe0000000000000,
                                                          0x41dfffffffc00000,
                                                          0x41e0000000000000,
                                                          0x43e0000000000000,
                                                          0x36a0000000000001,
                                                          0x47efffffe0000000,
                                                          0x380fffffffffffff};
  constexpr std::uint64_t kSign = 1ULL << 63;
  const std::uint64_t r = random.bits();
  switch (random.below(5)) {
    case 0:
      return random.pick(kSpecial) | (r & kSign);
    case 1:
      return (0x3fe0000000000000 + (r & 0x003fffffffffffff)) | (random.bits() & kSign);
    case 2:
      return (0x3800000000000000 + r % 0x1000000000000000) | (random.bits() & kSign);
    case 3:
      return r & 0x801fffffffffffff;
    default:
      return r;
  }
}

/// An 80-bit number: finite ones of all sizes, and every special encoding.
FpImage::St extended_value(Random& random) {
  constexpr std::uint64_t kInteger = 1ULL << 63;
  static constexpr std::array<std::uint64_t, 8> kSignificands{kInteger,
                                                              kInteger | 1,
                                                              ~0ULL,
                                                              0xc000000000000000,
                                                              0xc000000000000001,
                                                              0,
                                                              kInteger | (1ULL << 40),
                                                              kInteger | (1ULL << 11)};
  const std::uint64_t r = random.bits();
  const auto sign = static_cast<std::uint16_t>(r & 0x8000);
  const std::uint64_t significand =
      random.chance(50) ? random.pick(kSignificands) : (random.bits() | kInteger);
  const auto with = [&](std::uint64_t exponent, std::uint64_t bits) {
    return FpImage::St{bits, static_cast<std::uint16_t>(sign | (exponent & 0x7fff)), {}};
  };
  switch (random.below(10)) {
    case 0:
      return with(0, 0);
    case 1:
      return with(0x7fff, significand);
    case 2:
      return with(0, random.bits() >> random.below(64));  // denormal
    case 3:
      return with(random.bits() >> 20, random.bits());  // unnormal, or any
    case 4:
      return with(random.chance(50) ? 1 : 0x7ffe, significand);  // next to the limits
    case 5:
      return with(0x3fff - 1023 + random.below(2048), significand);
    case 6:
      return with(0x3fff + random.below(66), significand);  // integers
    default:
      return with(0x3fff - 20 + random.below(40), significand);
  }
}

/// Ten bytes of packed decimal, mostly valid.
void fill_decimal(std::span<std::uint8_t> out, Random& random) {
  for (std::uint8_t& byte : out) {
    byte = static_cast<std::uint8_t>(random.below(10) | (random.below(10) << 4));
  }
  if (out.size() > 9) out[9] = random.chance(50) ? 0x80 : 0;
}

template <class T>
void put(std::span<std::uint8_t> out, std::size_t at, T value) {
  if (at >= out.size()) return;
  std::memcpy(out.data() + at, &value, std::min(sizeof value, out.size() - at));
}

// ============================ encodings ===============================================
bool takes_operand_size(const Row& row) {
  const bool sized = (row.attributes & kIgnore66) == 0;
  switch (row.prefix) {
    case MandatoryPrefix::any:
      return sized;
    case MandatoryPrefix::pf2:
    case MandatoryPrefix::pf3:
      return true;
    default:
      return false;
  }
}

/// F2 and F3 change nothing in these; elsewhere they may name an instruction
/// that the guest does not have, or start lock elision.
bool ignores_repeat(const Row& row) {
  if (row.map != OpcodeMap::primary || row.prefix != MandatoryPrefix::any) return false;
  if ((row.attributes & (kString | kLockable)) != 0) return false;
  const std::uint8_t op = row.opcode;
  return op < 0x40 || (op >= 0x50 && op < 0x60) || (op >= 0x68 && op < 0x80) || op == 0x84 ||
         op == 0x85 || (op >= 0xb0 && op < 0xc0) || op == 0xc2 || op == 0xc3 || op == 0xe8 ||
         op == 0xe9 || (op >= 0xd8 && op < 0xe0);
}

struct PrefixChoice {
  std::vector<std::uint8_t> bytes;
  bool address_size = false;
};

PrefixChoice choose_prefixes(const Row& row, bool long64, Random& random) {
  static constexpr std::array<std::uint8_t, 6> kSegments64{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  static constexpr std::array<std::uint8_t, 4> kSegments32{0x26, 0x2e, 0x36, 0x3e};
  PrefixChoice choice;
  std::vector<std::uint8_t>& bytes = choice.bytes;
  if (row.prefix == MandatoryPrefix::p66) bytes.push_back(0x66);
  if (row.prefix == MandatoryPrefix::pf3) bytes.push_back(0xf3);
  if (row.prefix == MandatoryPrefix::pf2) bytes.push_back(0xf2);
  if (takes_operand_size(row) && random.chance(25)) bytes.push_back(0x66);
  choice.address_size = random.chance(8);
  if (choice.address_size) bytes.push_back(0x67);
  if (random.chance(12)) {
    bytes.push_back(long64 ? random.pick(kSegments64) : random.pick(kSegments32));
  }
  const bool lock = random.chance((row.attributes & kLockable) != 0 ? 30 : 2);
  if (lock) bytes.push_back(0xf0);
  if ((row.attributes & kString) != 0) {
    if (random.chance(70)) bytes.push_back(random.chance(50) ? 0xf2 : 0xf3);
  } else if (!lock && ignores_repeat(row) && random.chance(3)) {
    bytes.push_back(random.chance(50) ? 0xf2 : 0xf3);
  }
  for (std::size_t n = bytes.size(); n > 1; --n) std::swap(bytes[n - 1], bytes[random.below(n)]);
  return choice;
}

void append_random(Encoding& e, unsigned count, Random& random) {
  for (unsigned k = 0; k < count; ++k)
    e.bytes.push_back(static_cast<std::uint8_t>(random.bits() >> 24));
}
void append_displacement(Encoding& e, unsigned size, Random& random) {
  e.displacement_at = e.bytes.size();
  e.displacement_size = size;
  append_random(e, size, random);
  if (size == 4) {  // mostly small: registers make up for it either way
    if (random.chance(70)) e.bytes[e.displacement_at + 3] = e.bytes[e.displacement_at + 2] = 0;
  }
}

void append_modrm(Encoding& e, const Row& row, bool sixteen_bit, Random& random) {
  const bool registers =
      row.modrm == ModRm::registers || (row.modrm == ModRm::any && random.chance(45));
  const std::uint64_t reg = row.reg >= 0 ? static_cast<unsigned>(row.reg) : random.below(8);
  const std::uint64_t rm = row.rm >= 0 ? static_cast<unsigned>(row.rm) : random.below(8);
  const std::uint64_t mod = registers ? 3 : random.below(3);
  e.bytes.push_back(static_cast<std::uint8_t>(mod << 6 | reg << 3 | rm));
  if (registers) return;
  if (sixteen_bit) {
    if (mod == 1) append_displacement(e, 1, random);
    if (mod == 2 || (mod == 0 && rm == 6)) append_displacement(e, 2, random);
    return;
  }
  std::uint64_t base = rm;
  if (rm == 4) {
    e.bytes.push_back(static_cast<std::uint8_t>(random.bits() >> 30));
    base = e.bytes.back() & 7U;
  }
  if (mod == 1) append_displacement(e, 1, random);
  if (mod == 2 || (mod == 0 && base == 5)) append_displacement(e, 4, random);
}

// ============================ addresses ===============================================
std::uint64_t somewhere_in_window(Random& random) {
  static constexpr std::array<std::uint64_t, 6> kAlignments{1, 2, 4, 8, 16, 64};
  return (kWindow + random.below(kWindowBytes - 256)) & ~(random.pick(kAlignments) - 1);
}

/// Mostly in the window; the rest across its pages, in the read-only page, in
/// the unmapped pages at both ends, and outside the canonical half.
std::uint64_t choose_address(Random& random, bool long64) {
  const std::uint64_t near = random.below(32);
  const std::uint64_t p = random.below(100);
  if (p < 72) return somewhere_in_window(random);
  if (p < 82) return kWindow + kPageSize - near;
  if (p < 85) return kReadOnly - near;
  if (p < 88) return kReadOnly + (random.below(kReadOnlyBytes - 64) & ~15ULL);
  if (p < 91) return kWindow - near;
  if (p < 94) return kReadOnly + kReadOnlyBytes - near;
  if (p < 97 || !long64) return 0x21000000 + random.below(0x1000000);
  if (p < 98) return 0x0000123456780000 + random.below(0x10000);
  return 0x8123456789ab0000 + random.below(0x10000);
}

std::uint64_t choose_branch_target(Random& random, bool long64) {
  const std::uint64_t r = random.bits();
  if (!long64) return static_cast<std::uint32_t>(r);
  switch (random.below(10)) {
    case 0:
      return 0x8123456789ab0000 + (r & 0xffff);
    case 1:
      return 0xffff900000000000 + (r & 0xffffffff);
    case 2:
    case 3:
      return r & 0x7fffffffffff;
    case 4:
    case 5:
      return static_cast<std::uint32_t>(r);
    default:
      return kCode + (r & 0xfff);
  }
}

// ============================ one case ================================================
/// Fills one case around a decoded instruction.
class Filler {
 public:
  Filler(Case& c, const Row& row, const Instruction& i, Encoding& e, const HostTraits& host,
         Random& random)
      : c_(c), row_(row), i_(i), e_(e), host_(host), random_(random) {}

  void fill() {
    fill_registers();
    fill_floating_point();
    c_.pool_offset = static_cast<std::uint32_t>(random_.below(kPoolBytes - kWindowBytes));
    if (locked()) {
      target_ = somewhere_in_window(random_) & ~15ULL;
    } else {
      target_ = choose_address(random_, long64());
    }
    aim_implicit();
    aim();
    patch_memory();
    if (!long64()) {
      for (std::uint64_t& value : c_.gpr) value = static_cast<std::uint32_t>(value);
    }
  }

 private:
  [[nodiscard]] bool long64() const { return !c_.compatibility; }
  [[nodiscard]] bool has(std::uint32_t attributes) const {
    return (row_.attributes & attributes) != 0;
  }
  [[nodiscard]] bool primary(unsigned low, unsigned high) const {
    return row_.map == OpcodeMap::primary && row_.opcode >= low && row_.opcode <= high;
  }
  [[nodiscard]] bool two_byte(unsigned low, unsigned high) const {
    return row_.map == OpcodeMap::map_0f && row_.opcode >= low && row_.opcode <= high;
  }
  [[nodiscard]] bool named(std::string_view start) const { return row_.name.starts_with(start); }
  /// Locked accesses across cache lines stop or slow the whole host.
  [[nodiscard]] bool locked() const { return i_.lock || (primary(0x86, 0x87) && i_.memory); }
  [[nodiscard]] bool uses_stack() const {
    return primary(0x50, 0x5f) || primary(0x60, 0x61) || primary(0x68, 0x68) ||
           primary(0x6a, 0x6a) || primary(0x8f, 0x8f) || primary(0xc2, 0xc3) ||
           primary(0xc8, 0xc9) || primary(0xe8, 0xe8) ||
           (primary(0xff, 0xff) && (row_.reg == 2 || row_.reg == 6));
  }
  [[nodiscard]] std::uint64_t segment_base() const {
    if (!long64()) return 0;
    if (i_.segment == kFs) return host_.fs_base;
    return i_.segment == kGs ? kGsBase : 0;
  }

  void fill_registers() {
    for (std::uint64_t& value : c_.gpr) value = integer_value(random_);
    c_.gpr[kRsp] = uses_stack() && random_.chance(20) ? choose_address(random_, long64())
                                                      : kWindow + 0x800 + 8 * random_.below(0x180);
    c_.rflags = static_cast<std::uint32_t>(random_.bits()) & kArithmeticFlags;
    if (random_.chance(30)) c_.rflags |= kDf;
    if (random_.chance(6)) c_.rflags |= kAc;
  }

  void fill_floating_point() {
    FpImage& fp = c_.fp;
    fp = FpImage{};
    const auto r = static_cast<std::uint32_t>(random_.bits() >> 8);
    std::uint32_t masks = 0x3f;
    if (random_.chance(40)) masks = random_.below(64) & 0x3fU;
    std::uint32_t precision = r >> 4 & 3;
    if (precision == 1) precision = 3;
    fp.control = static_cast<std::uint16_t>(0x40 | masks | precision << 8 | (r & 3) << 10);
    std::uint32_t exceptions = random_.chance(25) ? (r >> 16 & 0x3f) : 0;
    if (!random_.chance(10)) exceptions &= masks;
    std::uint32_t status = exceptions | (r >> 8 & 0x7) << 8 | (r >> 11 & 0xf) << 11;
    if ((exceptions & ~masks) != 0) status |= 0x8080;
    if (random_.chance(5)) status |= 0x40 & ~((masks & 1) != 0 ? 0U : 0x40U);
    fp.status = static_cast<std::uint16_t>(status);
    fp.tags = static_cast<std::uint8_t>(random_.chance(70) ? 0xff : random_.bits() >> 20);
    for (FpImage::St& st : fp.st) st = extended_value(random_);
    std::uint32_t mxcsr = 0x1f80;
    if (random_.chance(60)) mxcsr |= random_.below(0x10000) & 0xe07f;
    if (random_.chance(40)) mxcsr &= ~(random_.below(0x10000) & 0x1f80U);
    fp.mxcsr = mxcsr & host_.mxcsr_mask;
    for (auto& xmm : fp.xmm) {
      fill_interesting(std::span(reinterpret_cast<std::uint8_t*>(xmm.data()), 16), random_);
    }
  }

  /// Operands that the encoding does not show.
  void aim_implicit() {
    const auto address = [this] { return choose_address(random_, long64()); };
    if (has(kString)) {
      c_.gpr[kRsi] = address() - segment_base();
      c_.gpr[kRdi] =
          random_.chance(30) ? c_.gpr[kRsi] + segment_base() + random_.below(24) - 12 : address();
      c_.gpr[kRcx] = random_.chance(90) ? random_.below(50) : random_.below(10000);
      if (i_.address_size == 4 && long64()) c_.gpr[kRcx] |= random_.bits() << 32;
      if (i_.repeat != 0) c_.end = End::breakpoint;
    } else if (named("xlat")) {
      c_.gpr[kRbx] = target_ - segment_base() - (c_.gpr[kRax] & 0xff);
    } else if (named("MASKMOV")) {
      c_.gpr[kRdi] = target_ - segment_base();
    } else if (primary(0xc8, 0xc9)) {
      if (row_.opcode == 0xc8 && random_.chance(80)) {
        e_.bytes[i_.length() - 2U] &= 1;  // a small frame
      }
      c_.gpr[kRbp] = random_.chance(85) ? kWindow + 0x400 + 8 * random_.below(0x200) : address();
    } else if (primary(0xe0, 0xe3)) {
      static constexpr std::array<std::uint64_t, 5> kCounts{0, 1, 2, 0x100000000, 0x100000001};
      if (random_.chance(80)) c_.gpr[kRcx] = random_.pick(kCounts);
    } else if (primary(0xf6, 0xf7) && row_.reg >= 6) {
      aim_division();
    } else if (two_byte(0xa3, 0xa3) || two_byte(0xab, 0xab) || two_byte(0xb3, 0xb3) ||
               two_byte(0xbb, 0xbb)) {
      c_.gpr[i_.reg & 15] =
          static_cast<std::uint64_t>(static_cast<std::int64_t>(random_.below(0x8000)) - 0x4000);
    } else if (named("PCMP") && row_.map == OpcodeMap::map_0f3a && random_.chance(70)) {
      c_.gpr[kRax] = random_.below(40) - 20;
      c_.gpr[kRdx] = random_.below(40) - 20;
    }
  }

  void aim_division() {
    switch (random_.below(4)) {
      case 0:
        c_.gpr[kRdx] = 0;
        break;
      case 1:
        c_.gpr[kRdx] = random_.bits() & 3;
        break;
      case 2:
        c_.gpr[kRdx] = static_cast<std::uint64_t>(static_cast<std::int64_t>(c_.gpr[kRax]) >> 63);
        break;
      default:
        break;
    }
    if (i_.operand_size == 1) {
      if (random_.chance(50)) c_.gpr[kRax] &= 0x3ff;
      if (random_.chance(30)) c_.gpr[kRax] |= 0xff00;
    }
  }

  /// Makes the memory operand fall on target_.
  void aim() {
    std::uint64_t offset = target_ - segment_base();
    if (row_.immediate == Immediate::moffs) {
      set_displacement(offset);
      return;
    }
    if (!i_.memory) {
      if (primary(0xff, 0xff) && (row_.reg == 2 || row_.reg == 4)) {
        c_.gpr[i_.rm & 15] = choose_branch_target(random_, long64());
      }
      return;
    }
    if (i_.address_size == 2) return;
    offset -= static_cast<std::uint64_t>(std::int64_t{i_.displacement});
    const bool has_base = i_.base < kGprZero;
    const bool has_index = i_.index < kGprZero;
    if (!has_base && !has_index) {
      offset += static_cast<std::uint64_t>(std::int64_t{i_.displacement});
      set_displacement(i_.base == kGprRip ? offset - c_.rip - i_.length() : offset);
    } else if (has_base && has_index && i_.base == i_.index) {
      c_.gpr[i_.base] = offset / (1 + (1ULL << i_.scale));
    } else if (has_base) {
      const std::uint64_t scaled = has_index ? c_.gpr[i_.index] << i_.scale : 0;
      c_.gpr[i_.base] = offset - scaled;
      if (i_.address_size == 4 && random_.chance(50)) {
        c_.gpr[i_.base] = static_cast<std::uint32_t>(c_.gpr[i_.base]) | random_.bits() << 32;
      }
    } else {
      c_.gpr[i_.index] = offset >> i_.scale;
    }
  }

  void set_displacement(std::uint64_t value) {
    std::memcpy(e_.bytes.data() + e_.displacement_at, &value, e_.displacement_size);
  }

  void add_patch(std::uint64_t address, std::span<const std::uint8_t> bytes) {
    if (address < kWindow || address + bytes.size() > kReadOnly) return;
    Patch& patch = c_.patches[c_.patch_count++];
    patch.offset = static_cast<std::uint32_t>(address - kWindow);
    patch.size = static_cast<std::uint32_t>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), patch.bytes.begin());
  }

  void patch_memory() {
    std::array<std::uint8_t, 128> bytes{};
    std::span<std::uint8_t> operand = std::span(bytes).first(16);
    fill_interesting(operand, random_);
    bool wanted = i_.memory && random_.chance(60);
    if (primary(0xff, 0xff) && i_.memory && (row_.reg == 2 || row_.reg == 4)) {
      put(operand, 0, choose_branch_target(random_, long64()));
      wanted = true;
    } else if (primary(0xc2, 0xc3)) {
      put(operand, 0, choose_branch_target(random_, long64()));
      add_patch(c_.gpr[kRsp], operand.first(8));
      return;
    } else if (named("LDMXCSR")) {
      put<std::uint32_t>(operand, 0,
                         static_cast<std::uint32_t>(random_.bits()) &
                             (random_.chance(90) ? host_.mxcsr_mask : ~0U));
      wanted = true;
    } else if (named("fldcw") || named("fldenv") || named("frstor")) {
      patch_environment(bytes);
      return;
    } else if (named("fbld") && random_.chance(80)) {
      fill_decimal(operand, random_);
      wanted = true;
    } else if (two_byte(0xb0, 0xb1) && random_.chance(50)) {
      put(operand, 0, c_.gpr[kRax]);
      if (!i_.memory && i_.rm < 16) c_.gpr[i_.rm] = c_.gpr[kRax];
      wanted = true;
    } else if (named("cmpxchg8b") && random_.chance(60)) {
      const bool wide = i_.operand_size == 8;
      put(operand, 0, c_.gpr[kRax]);
      put(operand, wide ? 8 : 4, c_.gpr[kRdx]);
      wanted = true;
    } else if (primary(0xd8, 0xdf) && random_.chance(40)) {
      const FpImage::St st = extended_value(random_);
      put(operand, 0, st.significand);
      put(operand, 8, st.sign_exponent);
      wanted = true;
    }
    if (wanted) add_patch(target_, operand);
  }

  /// A control word alone, or the environment (and registers) in either format.
  void patch_environment(std::span<std::uint8_t> bytes) {
    for (std::size_t n = 0; n + 16 <= bytes.size(); n += 16) {
      fill_interesting(bytes.subspan(n, 16), random_);
    }
    std::uint64_t control = random_.below(0x10000) & 0x1fff;
    if ((control & 0x300) == 0x100) control |= 0x300;
    put(bytes, 0, static_cast<std::uint16_t>(control));
    const std::size_t step = i_.operand_size == 2 ? 2 : 4;
    if (!named("fldcw")) {
      put(bytes, step, static_cast<std::uint16_t>(random_.bits() >> 9));
      put(bytes, 2 * step, static_cast<std::uint16_t>(random_.bits() >> 9));
    }
    add_patch(target_, bytes);
  }

  Case& c_;
  const Row& row_;
  const Instruction& i_;
  Encoding& e_;
  const HostTraits& host_;
  Random& random_;
  std::uint64_t target_ = 0;
};

/// Encodings whose result the manuals leave open, or that hosts treat differently.
bool comparable(const Row& row, const Instruction& i, const Encoding& e, bool long64,
                const HostTraits& host) {
  // The prefixes are what stands before the opcode; an operand cannot be taken
  // for one because only the presence in front matters.
  bool operand_size = false;
  for (const std::uint8_t byte : e.bytes) {
    const bool prefix = byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 ||
                        byte == 0xf3 || byte == 0x26 || byte == 0x2e || byte == 0x36 ||
                        byte == 0x3e || byte == 0x64 || byte == 0x65;
    if (!prefix) break;
    operand_size = operand_size || byte == 0x66;
  }
  if ((row.attributes & kForce64) != 0 && long64 && operand_size && !host.intel) return false;
  return !(row.name == "bswap" && i.operand_size == 2);
}

}  // namespace

Encoding encode_row(const Row& row, bool long64, Random& random) {
  Encoding e;
  const PrefixChoice prefixes = choose_prefixes(row, long64, random);
  e.bytes = prefixes.bytes;
  if (long64 && random.chance(60)) {
    e.bytes.push_back(static_cast<std::uint8_t>(0x40 | random.below(16)));
  }
  if (row.map != OpcodeMap::primary) e.bytes.push_back(0x0f);
  if (row.map == OpcodeMap::map_0f38) e.bytes.push_back(0x38);
  if (row.map == OpcodeMap::map_0f3a) e.bytes.push_back(0x3a);
  const std::uint64_t plus = (row.attributes & kPlusRegister) != 0 ? random.below(8) : 0;
  e.bytes.push_back(static_cast<std::uint8_t>(row.opcode + plus));
  if (row.modrm != ModRm::absent) {
    append_modrm(e, row, !long64 && prefixes.address_size, random);
  }
  if (row.immediate == Immediate::moffs) {
    append_displacement(
        e, long64 ? (prefixes.address_size ? 4 : 8) : (prefixes.address_size ? 2 : 4), random);
  } else {
    append_random(e, 8, random);  // immediates; what is not needed is cut off
  }
  return e;
}

void fill_interesting(std::span<std::uint8_t> out, Random& random) {
  for (std::size_t n = 0; n < out.size(); n += 16) {
    const std::span<std::uint8_t> part = out.subspan(n, std::min<std::size_t>(16, out.size() - n));
    switch (random.below(7)) {
      case 0:
        for (std::size_t k = 0; k < 16; k += 4) put(part, k, single_value(random));
        break;
      case 1:
        for (std::size_t k = 0; k < 16; k += 8) put(part, k, double_value(random));
        break;
      case 2: {
        const FpImage::St st = extended_value(random);
        put(part, 0, st.significand);
        put(part, 8, st.sign_exponent);
        break;
      }
      case 3:
        fill_decimal(part, random);
        break;
      case 4:  // few different bytes, for strings and comparisons
        for (std::size_t k = 0; k < 16; k += 8) put(part, k, random.bits() & 0x8101037f03030303);
        break;
      default:
        for (std::size_t k = 0; k < 16; k += 8) put(part, k, integer_value(random));
    }
  }
}

bool CaseGenerator::make(std::uint64_t number, std::uint16_t row_number, Case& out) const {
  const Row& row = instruction_table()[row_number];
  Random random(seed_, number);
  bool compatibility = host_.compatibility_mode && random.chance(20);
  if ((row.attributes & kInvalid64) != 0) compatibility = true;
  if ((row.attributes & kOnly64) != 0) compatibility = false;
  if (compatibility && !host_.compatibility_mode) return false;
  const DecodeMode mode{!compatibility, true, 4};
  for (unsigned attempt = 0; attempt < 40; ++attempt) {
    Encoding e = encode_row(row, !compatibility, random);
    Instruction i;
    if (decode(mode, e.bytes, i) != DecodeStatus::ok) continue;
    const bool only_lock = i.lock && i.row == kNoRow && attempt < 20;
    if (i.row != row_number && !only_lock) continue;
    if (!comparable(row, i, e, !compatibility, host_)) continue;
    if (i.length() > kLongestInstruction || i.length() > e.bytes.size()) continue;
    out = Case{};
    out.number = number;
    out.row = row_number;
    out.compatibility = compatibility;
    out.length = static_cast<std::uint8_t>(i.length());
    out.rip = kCode + (random.chance(5) ? kPageSize - random.below(16) : random.below(0xfc0));
    Filler(out, row, i, e, host_, random).fill();
    out.code.fill(kBreakpointByte);
    std::copy_n(e.bytes.begin(), out.length, out.code.begin());
    return true;
  }
  return false;
}

}  // namespace chronovisor::oracle
