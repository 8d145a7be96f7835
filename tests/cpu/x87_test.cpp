// Every x87 instruction of the table but the transcendental ones, executed by
// its handler and by the host's processor on the same random state, compared
// to the bit: registers, tags, status, flags, memory, in all rounding and
// precision modes, with exceptions masked and unmasked.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/instruction_table.h"
#include "vmm/cpu/x87/stack.h"

namespace chronovisor {
namespace {

using namespace x87;

constexpr std::uint64_t kMemory = 0x10000;
constexpr std::size_t kMemoryBytes = 112;
constexpr int kCasesPerRow = 4000;

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
  const auto& handlers =
      form.memory() ? form.row->handlers.memory : form.row->handlers.registers;
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
      case 0: return with(0, 0);
      case 1: return with(bits() >> (1 + bits() % 63), 0);         // denormal
      case 2: return with(bits() | kIntegerBit, 0);                // pseudo-denormal
      case 3: return with(bits() >> 1, bits());                    // unnormal, pseudo-NaN
      case 4: return with(kIntegerBit, 0x7fff);                    // infinity
      case 5: return with(bits() | kIntegerBit, 0x7fff);           // NaN
      case 6: return with(bits() | kIntegerBit, bits());           // anything
      case 7: return with(bits() | kIntegerBit, 1 + bits() % 80);  // nearly denormal
      case 8: return with(bits() | kIntegerBit, 0x7ffe - bits() % 80);
      case 9: return with((bits() | kIntegerBit) & ~0ULL << (bits() % 64), 0x3ff8 + bits() % 90);
      case 10: return with((bits() | kIntegerBit) & ~0ULL << (bits() % 64), 0x3fff);
      case 11: return with(bits() | kIntegerBit, 0x3f80 + bits() % 256);  // around float range
      case 12: return with((bits() | kIntegerBit), 0x3c00 + bits() % 2048);
      case 13: return with(~0ULL << (bits() % 64), 0x3ff0 + bits() % 80);
      case 14: return with(bits() | kIntegerBit, 0x3ff0 + bits() % 14);
      default: return with(bits() | kIntegerBit, 0x3fff + bits() % 20);
    }
  }
  /// Memory in the formats of the loads: floats, integers, BCD, registers.
  std::uint64_t memory_word() {
    switch (bits() % 8) {
      case 0: return bits() & 0x800fffff800fffff;          // denormals
      case 1: return bits() | 0x7ff000007f800000;          // NaNs
      case 2: return 0x7ff0000000000000;
      case 3: return bits() % 3;
      case 4: return bits() & 0x9999999999999999;          // BCD digits
      case 5: return 0x7f800000ff800000;
      case 6: return 0x3ff0000000000000 + (bits() >> 8);
      default: return bits();
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
    cpu().flags.set(static_cast<std::uint32_t>(values.bits()) & kArithmeticFlags);
    s.x87 = X87State{};
    static constexpr std::array<std::uint16_t, 3> kPrecisions{0, 2, 3};
    unsigned control = 0x7f | (kPrecisions[values.bits() % 3] << 8) |
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

}  // namespace
}  // namespace chronovisor
