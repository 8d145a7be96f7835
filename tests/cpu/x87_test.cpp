// Every x87 instruction of the table but the transcendental ones, executed by
// its handler and by the host's processor on the same random state, compared
// to the bit: registers, tags, status, flags, memory, in all rounding and
// precision modes, with exceptions masked and unmasked. The transcendental
// ones against the C library, to the last bit but one. Faults and images.
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/interpret/x87/stack.h"
#include "vmm/cpu/interpret/x87/transcendental.h"

namespace chronovisor {
namespace {

using namespace x87;

constexpr std::uint64_t kMemory = 0x10000;
constexpr std::size_t kMemoryBytes = 112;
constexpr int kCasesPerRow = 2000;

/// The 32-bit protected-mode FSAVE image. Its status word is the last thing
/// FRSTOR reads, so it may not have exceptions pending.
struct [[gnu::packed]] SaveImage {
  std::uint16_t control, reserved0, status, reserved1, tag, reserved2;
  std::uint32_t ip;
  std::uint16_t cs, opcode;
  std::uint32_t dp;
  std::uint16_t ds, reserved3;
  struct [[gnu::packed]] {
    std::uint64_t significand;
    std::uint16_t sign_exponent;
  } st[8];
};
static_assert(sizeof(SaveImage) == 108);

struct Native {
  SaveImage image{};
  std::uint64_t flags = 0;
  std::uint64_t rax = 0;
  alignas(16) std::array<std::uint8_t, kMemoryBytes> memory{};
};

class HostProcessor {
 public:
  HostProcessor()
      : page_(static_cast<std::uint8_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~HostProcessor() { munmap(page_, 4096); }
  HostProcessor(const HostProcessor&) = delete;
  HostProcessor& operator=(const HostProcessor&) = delete;

  /// Runs the instruction; a memory operand is [rbx].
  __attribute__((noinline)) void run(const std::vector<std::uint8_t>& instruction, Native& n) {
    std::memcpy(page_, instruction.data(), instruction.size());
    page_[instruction.size()] = 0xc3;
    SaveImage* image = &n.image;
    std::uint8_t* memory = n.memory.data();
    void* target = page_;
    asm volatile(
        "lea -256(%%rsp), %%rsp\n\t"
        "frstor (%[image])\n\t"
        "push %[flags]\n\tpopfq\n\tcall *%[target]\n\tpushfq\n\tpop %[flags]\n\t"
        "fnsave (%[image])\n\t"
        "lea 256(%%rsp), %%rsp"
        : [flags] "+r"(n.flags), "+a"(n.rax), "+b"(memory)
        : [image] "r"(image), [target] "r"(target)
        : "memory", "cc");
  }

 private:
  std::uint8_t* page_;
};

struct Form {
  const Row* row = nullptr;
  std::uint8_t modrm = 0;
  bool operand16 = false;
  [[nodiscard]] bool memory() const { return row->modrm == ModRm::memory; }
};
std::vector<std::uint8_t> encode(const Form& form) {
  std::vector<std::uint8_t> bytes;
  if (form.operand16) bytes.push_back(0x66);
  bytes.push_back(form.row->opcode);
  if (form.row->modrm != ModRm::absent) bytes.push_back(form.modrm);
  return bytes;
}
Instruction decode(const Form& form) {
  Instruction i;
  i.operand_size = form.operand16 ? 2 : 4;
  i.address_size = 4;
  i.opcode = form.row->opcode;
  i.modrm = form.modrm;
  i.memory = form.memory();
  i.base = kRbx;
  const auto& handlers = form.memory() ? form.row->handlers.memory : form.row->handlers.registers;
  i.handler = handlers[form.operand16 ? 1 : 2];
  return i;
}

class Values {
 public:
  explicit Values(std::uint64_t seed) : random_(seed) {}
  std::uint64_t bits() { return random_(); }
  X87Register value() {
    const std::uint64_t kind = bits() % 16;
    const auto sign = static_cast<std::uint16_t>(bits() & 0x8000);
    const auto with = [&](std::uint64_t significand, std::uint64_t exponent) {
      return X87Register{significand, static_cast<std::uint16_t>(sign | (exponent & 0x7fff))};
    };
    switch (kind) {
      case 0:
        return with(0, 0);
      case 1:
        return with(bits() >> (1 + bits() % 63), 0);  // denormal
      case 2:
        return with(bits() | kIntegerBit, 0);  // pseudo-denormal
      case 3:
        return with(bits() >> 1, bits());  // unnormal, pseudo-NaN
      case 4:
        return with(kIntegerBit, 0x7fff);  // infinity
      case 5:
        return with(bits() | kIntegerBit, 0x7fff);  // NaN
      case 6:
        return with(bits() | kIntegerBit, bits());  // anything
      case 7:
        return with(bits() | kIntegerBit, 1 + bits() % 80);  // nearly denormal
      case 8:
        return with(bits() | kIntegerBit, 0x7ffe - bits() % 80);
      case 9:
        return with((bits() | kIntegerBit) & ~0ULL << (bits() % 64), 0x3ff8 + bits() % 90);
      case 10:
        return with((bits() | kIntegerBit) & ~0ULL << (bits() % 64), 0x3fff);
      case 11:
        return with(bits() | kIntegerBit, 0x3f80 + bits() % 256);  // around float range
      case 12:
        return with((bits() | kIntegerBit), 0x3c00 + bits() % 2048);
      case 13:
        return with(~0ULL << (bits() % 64), 0x3ff0 + bits() % 80);
      case 14:
        return with(bits() | kIntegerBit, 0x3ff0 + bits() % 14);
      default:
        return with(bits() | kIntegerBit, 0x3fff + bits() % 20);
    }
  }
  /// Memory in the formats of the loads: floats, integers, BCD, registers.
  std::uint64_t memory_word() {
    switch (bits() % 8) {
      case 0:
        return bits() & 0x800fffff800fffff;  // denormals
      case 1:
        return bits() | 0x7ff000007f800000;  // NaNs
      case 2:
        return 0x7ff0000000000000;
      case 3:
        return bits() % 3;
      case 4:
        return bits() & 0x9999999999999999;  // BCD digits
      case 5:
        return 0x7f800000ff800000;
      case 6:
        return 0x3ff0000000000000 + (bits() >> 8);
      default:
        return bits();
    }
  }

 private:
  std::mt19937_64 random_;
};

class Comparison {
 public:
  Comparison() { machine_.protected_mode(0); }
  Cpu& cpu() { return machine_.cpu; }

  void fill(Values& values, bool unmask) {
    CpuState& s = cpu().state;
    s.gpr[kRax] = values.bits();
    s.gpr[kRbx] = kMemory;
    cpu().set_flags(static_cast<std::uint32_t>(values.bits()) & kArithmeticFlags);
    s.x87 = X87State{};
    static constexpr std::array<std::uint16_t, 4> kPrecisions{0, 1, 2, 3};
    unsigned control = 0x7f | (kPrecisions[values.bits() % 4] << 8) |
                       static_cast<unsigned>((values.bits() & 3) << 10);
    if (unmask) control &= ~(static_cast<unsigned>(values.bits()) & 0x3fU);
    s.x87.control = static_cast<std::uint16_t>(control);
    const auto sticky = static_cast<unsigned>(values.bits()) & control & 0x3fU;
    s.x87.status = static_cast<std::uint16_t>((values.bits() & 0x7f00) | sticky);
    const bool holes = values.bits() % 4 == 0;
    const std::uint64_t free_slot = values.bits() % 4;
    for (unsigned k = 0; k < 8; ++k) {
      x87::set(s.x87, k, values.value());
      const bool hole = holes ? (values.bits() & 1) != 0 : k == 7 && free_slot != 0;
      if (hole) x87::set_tag(s.x87, k, kTagEmpty);
    }
    for (std::size_t k = 0; k < kMemoryBytes; k += 8) {
      std::uint64_t word = values.memory_word();
      std::memcpy(memory_.data() + k, &word, 8);
    }
    if (values.bits() % 4 == 0) {  // an 80-bit value
      const X87Register value = values.value();
      std::memcpy(memory_.data(), &value.significand, 8);
      std::memcpy(memory_.data() + 8, &value.sign_exponent, 2);
    }
    for (std::size_t k = 0; k < kMemoryBytes; ++k) {
      machine_.put<std::uint8_t>(kMemory + k, memory_[k]);
    }
  }

  /// True when handler and host agree; otherwise says where they differ.
  bool agree(const Form& form, HostProcessor& host, std::string& difference) {
    before_ = cpu().state.x87;
    Native native = to_native();
    host.run(encode(form), native);
    const Instruction i = decode(form);
    i.handler(cpu(), i);
    return same(form, native, difference);
  }

 private:
  Native to_native() {
    const X87State& s = cpu().state.x87;
    Native n;
    n.image.control = s.control;
    n.image.status = s.status;
    n.image.tag = s.tag;
    for (unsigned k = 0; k < 8; ++k) {
      n.image.st[k] = {x87::get(s, k).significand, x87::get(s, k).sign_exponent};
    }
    n.rax = cpu().state.gpr[kRax];
    n.flags = cpu().flags.arithmetic() | 0x202;
    n.memory = memory_;
    return n;
  }
  bool same(const Form& form, const Native& n, std::string& difference) {
    const X87State& s = cpu().state.x87;
    const auto check = [&](const std::string& what, std::uint64_t ours, std::uint64_t host) {
      if (ours == host || !difference.empty()) return;
      char text[300];
      std::snprintf(text, sizeof text,
                    "%s: %016llx, host %016llx; control %04x status %04x tag %04x "
                    "st0 %04x.%016llx st1 %04x.%016llx",
                    what.c_str(), static_cast<unsigned long long>(ours),
                    static_cast<unsigned long long>(host), before_.control, before_.status,
                    before_.tag, x87::get(before_, 0).sign_exponent,
                    static_cast<unsigned long long>(x87::get(before_, 0).significand),
                    x87::get(before_, 1).sign_exponent,
                    static_cast<unsigned long long>(x87::get(before_, 1).significand));
      difference = text;
    };
    check("status", s.status, n.image.status);
    check("control", s.control, n.image.control);
    check("tags", visible_tags(s), n.image.tag);
    for (unsigned k = 0; k < 8; ++k) {
      check("st" + std::to_string(k) + " significand", x87::get(s, k).significand,
            n.image.st[k].significand);
      check("st" + std::to_string(k) + " exponent", x87::get(s, k).sign_exponent,
            n.image.st[k].sign_exponent);
    }
    check("rax", cpu().state.gpr[kRax], n.rax);
    check("flags", cpu().flags.arithmetic(), n.flags & kArithmeticFlags);
    for (std::size_t k = 0; k < kMemoryBytes; ++k) {
      if (is_pointer_byte(form, k)) continue;
      check("memory " + std::to_string(k), machine_.get<std::uint8_t>(kMemory + k), n.memory[k]);
    }
    return difference.empty();
  }
  /// Instruction pointers in the environment images are ours, not the host's.
  static bool is_pointer_byte(const Form& form, std::size_t offset) {
    if (form.row->name != "fnstenv" && form.row->name != "fnsave") return false;
    return form.operand16 ? offset >= 6 && offset < 14 : offset >= 12 && offset < 26;
  }

  test::SystemMachine machine_;
  X87State before_;
  std::array<std::uint8_t, kMemoryBytes> memory_{};
};

Form random_form(const Row& row, Values& values) {
  Form form{.row = &row};
  if (row.modrm == ModRm::absent) return form;
  const auto rm = static_cast<unsigned>(row.rm < 0 ? values.bits() & 7 : unsigned(row.rm));
  const unsigned reg = static_cast<unsigned>(row.reg) << 3;
  form.modrm = static_cast<std::uint8_t>(form.memory() ? 0x03 | reg : 0xc0 | reg | rm);
  form.operand16 = (values.bits() & 3) == 0;
  return form;
}

void compare_all(bool unmask, std::uint64_t seed) {
  Comparison comparison;
  HostProcessor host;
  Values values(seed);
  for (const Row& row : x87_rows()) {
    if (!row.oracle_exception.empty()) continue;
    // A denormal operand that is its own remainder underflows on AMD's processors.
    const bool remainder = row.name.starts_with("fprem") || row.name.starts_with("FPREM");
    if (unmask && remainder && __builtin_cpu_is("intel") == 0) {
      MESSAGE("not compared, on a host that is not Intel's: " << std::string(row.name));
      continue;
    }
    int wrong = 0;
    std::string first;
    for (int k = 0; k < kCasesPerRow; ++k) {
      const Form form = random_form(row, values);
      comparison.fill(values, unmask);
      std::string difference;
      if (comparison.agree(form, host, difference)) continue;
      if (wrong++ == 0) first = difference;
    }
    INFO(row.name, " opcode ", int{row.opcode}, ": ", wrong, " differ; ", first);
    CHECK(wrong == 0);
  }
}

TEST_CASE("x87 instructions do what the host's do, exceptions masked") { compare_all(false, 1); }
TEST_CASE("x87 instructions do what the host's do, exceptions unmasked") { compare_all(true, 2); }

// ============================ transcendental ==========================================
long double to_host(const X87Register& r) {
  long double value = 0;
  std::memcpy(&value, &r.significand, 8);
  std::memcpy(reinterpret_cast<char*>(&value) + 8, &r.sign_exponent, 2);
  return value;
}
X87Register from_host(long double value) {
  X87Register r;
  std::memcpy(&r.significand, &value, 8);
  std::memcpy(&r.sign_exponent, reinterpret_cast<const char*>(&value) + 8, 2);
  return r;
}
/// Distance in units of the last place, for equal signs.
std::uint64_t distance(const X87Register& a, const X87Register& b) {
  if (x87::negative(a) != x87::negative(b)) return ~0ULL;
  const int exponents = static_cast<int>(x87::exponent(a)) - static_cast<int>(x87::exponent(b));
  if (exponents == 0) {
    return a.significand > b.significand ? a.significand - b.significand
                                         : b.significand - a.significand;
  }
  if (exponents != 1 && exponents != -1) return ~0ULL;
  const std::uint64_t upper = exponents > 0 ? a.significand : b.significand;
  const std::uint64_t lower = exponents > 0 ? b.significand : a.significand;
  return 2 * (upper - kIntegerBit) + (~lower + 1);
}

TEST_CASE("transcendental results are right to the last bit but one") {
  constexpr std::uint64_t kTolerance = 2;  // the C library has an error of its own
  Values values(3);
  const auto random = [&](int lowest, int highest) {
    const auto span = static_cast<std::uint64_t>(highest - lowest + 1);
    const auto sign = static_cast<std::uint16_t>(values.bits() & 0x8000);
    const auto e =
        static_cast<std::uint16_t>(kExponentBias + lowest + static_cast<int>(values.bits() % span));
    return X87Register{values.bits() | kIntegerBit, static_cast<std::uint16_t>(sign | e)};
  };
  const auto close = [&](const X87Register& ours, long double expected) {
    return distance(ours, from_host(expected)) <= kTolerance;
  };
  unsigned wrong = 0;
  for (int k = 0; k < 20000; ++k) {
    const X87Register angle = random(-70, -2);  // below the reduction by 66 bits of pi
    const long double a = to_host(angle);
    wrong += close(fsin(angle, kCwInitial).value, std::sin(a)) ? 0 : 1;
    wrong += close(fcos(angle, kCwInitial).value, std::cos(a)) ? 0 : 1;
    wrong += close(fptan(angle, kCwInitial).replaced, std::tan(a)) ? 0 : 1;
    const X87Register x = random(-70, 70);
    const X87Register y = random(-70, 70);
    wrong += close(fpatan(x, y, kCwInitial).value, std::atan2(to_host(y), to_host(x))) ? 0 : 1;
    X87Register positive = x;
    positive.sign_exponent &= kMaxExponent;
    const X87Register one = from_host(1);
    wrong += close(fyl2x(positive, one, kCwInitial).value, std::log2(to_host(positive))) ? 0 : 1;
    const X87Register small = random(-70, -1);
    const long double power = std::expm1(to_host(small) * std::log(2.0L));  // about an ulp off
    wrong += distance(f2xm1(small, kCwInitial).value, from_host(power)) <= 4 ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("transcendental results that are known to the last bit") {
  // From a computation with 110 digits; the angles reduced by 66 bits of pi.
  const X87Register one = from_host(1);
  const X87Register half = from_host(0.5L);
  const auto same = [](const X87Register& ours, const X87Register& known) {
    CHECK(ours.significand == known.significand);
    CHECK(ours.sign_exponent == known.sign_exponent);
  };
  same(fsin(from_host(1.0L), kCwInitial).value, {0xd76aa47848677021, 0x3ffe});
  same(fcos(from_host(1.0L), kCwInitial).value, {0x8a51407da8345c92, 0x3ffe});
  same(fsin(from_host(100.0L), kCwInitial).value, {0x81a12dbc626dc036, 0xbffe});
  same(fcos(from_host(100.0L), kCwInitial).value, {0xdcc0edfb32fefb21, 0x3ffe});
  same(fsin(from_host(1e10L), kCwInitial).value, {0xf99a63c49c6f2b1a, 0xbffd});
  same(fcos(from_host(1e10L), kCwInitial).value, {0xdf84c480eb7f65b5, 0x3ffe});
  same(fsin(from_host(3.140625L), kCwInitial).value, {0xfdaa1f7e64e9c82e, 0x3ff4});
  same(fcos(from_host(3.140625L), kCwInitial).value, {0xfffff8253246b985, 0xbffe});
  same(fsin(from_host(9e18L), kCwInitial).value, {0xf192dd036ae9c918, 0xbffd});
  same(fcos(from_host(9e18L), kCwInitial).value, {0xe1b6a158ac37dffe, 0x3ffe});
  same(fptan(from_host(-100.0L), kCwInitial).replaced, {0x9653a6b15ae9bd79, 0x3ffe});
  same(f2xm1(half, kCwInitial).value, {0xd413cccfe7799211, 0x3ffd});
  same(fyl2x(from_host(10.0L), one, kCwInitial).value, {0xd49a784bcd1b8afe, 0x4000});
  same(fyl2x(from_host(0.75L), half, kCwInitial).value, {0xd47fcb8c0852f0c1, 0xbffc});
  same(fyl2xp1(from_host(0.25L), one, kCwInitial).value, {0xa4d3c25e68dc57f2, 0x3ffd});
  same(fpatan(from_host(3.0L), from_host(2.0L), kCwInitial).value, {0x968756b0331cab69, 0x3ffe});
  same(fpatan(from_host(-3.0L), from_host(-2.0L), kCwInitial).value, {0xa36e04f614a1975b, 0xc000});
  CHECK(to_host(f2xm1(one, kCwInitial).value) == 1.0L);
  CHECK(to_host(f2xm1(from_host(-1), kCwInitial).value) == -0.5L);
  CHECK(to_host(fyl2x(from_host(8), from_host(-2.5L), kCwInitial).value) == -7.5L);
  CHECK(to_host(fyl2x(one, from_host(-3), kCwInitial).value) == 0.0L);
}

TEST_CASE("trigonometric functions refuse operands from 2^63 on and leave them") {
  const X87Register limit{kIntegerBit, kExponentBias + 63};
  const X87Register below{~0ULL, kExponentBias + 62};
  CHECK((fsin(limit, kCwInitial).status & kSwC2) != 0);
  CHECK((fcos(limit, kCwInitial).status & kSwC2) != 0);
  CHECK((fptan(limit, kCwInitial).status & kSwC2) != 0);
  CHECK((fsincos(limit, kCwInitial).status & kSwC2) != 0);
  CHECK((fsin(below, kCwInitial).status & kSwC2) == 0);
}

TEST_CASE("transcendental functions raise what the manual's tables say") {
  const X87Register zero{};
  const X87Register minus_one = from_host(-1);
  const X87Register one = from_host(1);
  const X87Register infinity{kIntegerBit, 0x7fff};
  CHECK(fsin(infinity, kCwInitial).status == kSwInvalid);
  CHECK(fyl2x(minus_one, one, kCwInitial).status == kSwInvalid);
  CHECK(fyl2x(zero, zero, kCwInitial).status == kSwInvalid);
  CHECK(fyl2x(one, infinity, kCwInitial).status == kSwInvalid);
  CHECK(fyl2x(zero, one, kCwInitial).status == kSwZeroDivide);
  CHECK(fyl2x(zero, one, kCwInitial).value.sign_exponent == 0xffff);
  CHECK(fyl2x(infinity, zero, kCwInitial).status == kSwInvalid);
  CHECK(fyl2xp1(zero, infinity, kCwInitial).status == kSwInvalid);
  CHECK(fpatan(zero, zero, kCwInitial).status == 0);
  CHECK((fsin({1, 0}, kCwInitial).status & kSwExceptions) ==
        (kSwDenormal | kSwUnderflow | kSwPrecision));
  CHECK(fsin({1, 0}, kCwInitial & ~kSwDenormal).status == kSwDenormal);
}

// ============================ the processor around it =================================
class Unit {
 public:
  Unit() { machine.protected_mode(0); }
  void run(std::uint8_t opcode, std::uint8_t modrm, unsigned operand_size = 4) {
    for (const Row& row : x87_rows()) {
      const bool names_register = modrm >= 0xc0;
      if (row.opcode != opcode || row.modrm != (names_register ? ModRm::registers : ModRm::memory))
        continue;
      if (row.reg != ((modrm >> 3) & 7) || (row.rm >= 0 && row.rm != (modrm & 7))) continue;
      Instruction i;
      i.opcode = opcode;
      i.modrm = modrm;
      i.memory = !names_register;
      i.base = kRbx;
      i.operand_size = static_cast<std::uint8_t>(operand_size);
      i.address_size = 4;
      row.handlers.memory[2](machine.cpu, i);
      return;
    }
    FAIL("no such row");
  }
  /// The vector it raises, or -1.
  int fault(std::uint8_t opcode, std::uint8_t modrm) {
    try {
      run(opcode, modrm);
    } catch (const GuestFault& raised) {
      return raised.vector;
    }
    return -1;
  }
  X87State& state() { return machine.cpu.state.x87; }
  test::SystemMachine machine;
};

TEST_CASE("a pending exception is raised by the next waiting instruction only") {
  Unit unit;
  unit.machine.cpu.gpr(kRbx) = kMemory;
  x87::initialize(unit.state());
  unit.state().control = 0x37b;  // zero-divide unmasked
  unit.run(0xd9, 0xe8);          // fld1
  unit.run(0xd9, 0xee);          // fldz
  const X87Register before = x87::get(unit.state(), 1);
  CHECK(unit.fault(0xde, 0xf9) == -1);  // fdivp
  CHECK((unit.state().status & kSwSummary) != 0);
  CHECK(x87::get(unit.state(), 1).significand == before.significand);
  CHECK_FALSE(x87::empty(unit.state(), 0));  // not popped
  CHECK(unit.fault(0xd9, 0xe8) == kX87FloatingPoint);
  CHECK(unit.fault(0xd9, 0xd0) == kX87FloatingPoint);  // fnop
  CHECK(unit.fault(0xd9, 0x3b) == -1);                 // fnstcw
  CHECK(unit.fault(0xdf, 0xe0) == -1);                 // fnstsw ax
  CHECK((unit.machine.cpu.gpr(kRax) & kSwZeroDivide) != 0);
  CHECK(unit.fault(0xdb, 0xe2) == -1);  // fnclex
  CHECK(unit.fault(0xd9, 0xe8) == -1);
}

TEST_CASE("CR0.EM and CR0.TS make x87 instructions raise #NM") {
  for (const std::uint64_t bit : {std::uint64_t{kCr0Em}, std::uint64_t{kCr0Ts}}) {
    Unit unit;
    unit.machine.cpu.state.cr0 |= bit;
    CHECK(unit.fault(0xd9, 0xe8) == kDeviceNotAvailable);
    CHECK(unit.fault(0xdb, 0xe3) == kDeviceNotAvailable);
  }
}

TEST_CASE("a store that faults leaves the stack as it was") {
  Unit unit;
  x87::initialize(unit.state());
  unit.run(0xd9, 0xeb);  // fldpi
  for (SegmentRegister& s : unit.machine.cpu.state.segment) s.limit = 0xffff;
  unit.machine.cpu.state_replaced();
  unit.machine.cpu.gpr(kRbx) = 0xfff8;
  const X87State before = unit.state();
  CHECK(unit.fault(0xdb, 0x3b) == kGeneralProtection);  // fstp m80
  CHECK(unit.state().status == before.status);
  CHECK(unit.state().tag == before.tag);
  CHECK(unit.state().last_dp == before.last_dp);
  CHECK(unit.machine.get<std::uint64_t>(0xfff8) == 0);  // nor is the first part written
}

TEST_CASE("FNSAVE and FRSTOR keep the state in all four formats") {
  for (const bool real : {false, true}) {
    for (const unsigned size : {2U, 4U}) {
      Unit unit;
      if (real) unit.machine.cpu.state.cr0 = kCr0Et;
      if (real) unit.machine.real_mode();
      unit.machine.cpu.gpr(kRbx) = 0x6000;
      Values values(5);
      X87State& s = unit.state();
      for (unsigned k = 0; k < 8; ++k) x87::set(s, k, values.value());
      s.status = 0x5a00;
      x87::set_tag(s, 3, kTagEmpty);
      s.last_ip = real ? 0xabcde : 0x9876;
      s.last_dp = real ? 0x12345 : 0xfedc;
      s.last_opcode = real || size == 4 ? 0x5a5 : 0;
      const X87State before = s;
      unit.run(0xdd, 0x33, size);  // fnsave
      CHECK(s.tag == 0xffff);
      CHECK(s.control == kCwInitial);
      s.st = {};
      unit.run(0xdd, 0x23, size);  // frstor
      CHECK(s.control == before.control);
      CHECK(s.status == before.status);
      CHECK(s.tag == before.tag);
      CHECK(s.last_ip == before.last_ip);
      CHECK(s.last_dp == before.last_dp);
      CHECK(s.last_opcode == before.last_opcode);
      for (unsigned k = 0; k < 8; ++k) {
        CHECK(s.st[k].significand == before.st[k].significand);
        CHECK(s.st[k].sign_exponent == before.st[k].sign_exponent);
      }
    }
  }
}

TEST_CASE("only FDP waits for a memory operand") {
  Unit unit;
  x87::initialize(unit.state());
  unit.machine.cpu.gpr(kRbx) = kMemory;
  unit.run(0xd9, 0x03);  // fld m32
  CHECK(unit.state().last_opcode == 0x103);
  CHECK(unit.state().last_dp == kMemory);
  unit.run(0xd8, 0xc0);  // fadd st, st
  CHECK(unit.state().last_opcode == 0x0c0);
  CHECK(unit.state().last_dp == kMemory);
  CHECK(unit.state().last_cs == 0);
}

}  // namespace
}  // namespace chronovisor
