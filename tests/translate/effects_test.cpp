// What the table of effects claims, against the interpreter: a register or flag
// that is said not to be read makes no difference, one that is said not to be
// written stays.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/oracle/case_generator.h"
#include "tests/translate/twin_guest.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_effects.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::test {
namespace {

using oracle::Random;

struct Result {
  std::array<std::uint64_t, 17> registers{};
  std::uint32_t flags = 0;
  unsigned cpl = 0;
  std::array<std::uint64_t, 64> memory{};
};

struct Start {
  CodeKind kind = CodeKind::long64;
  std::array<std::uint64_t, 16> registers{};
  std::uint32_t flags = 0;
};

constexpr std::uint64_t kRip = TwinGuest::kCode + 0x100;

/// One step of side 0 from `start`.
Result step(TwinGuest& twin, const Start& start, std::uint64_t seed) {
  Random same(seed, 1);
  twin.start(start.kind, kRip, same);
  Cpu& cpu = twin.side(0).cpu;
  for (unsigned n = 0; n < 16; ++n) cpu.state.gpr[n] = start.registers[n];
  cpu.set_flags((cpu.flags.value() & ~std::uint32_t{kArithmeticFlags}) | start.flags);
  cpu.set_position({1000});  // devices answer by it
  cpu.run({1000}, cpu.deliveries() + 1);
  Result result;
  for (unsigned n = 0; n < 16; ++n) result.registers[n] = cpu.state.gpr[n];
  result.registers[16] = cpu.rip();
  result.flags = cpu.flags.value() & kArithmeticFlags;
  result.cpl = cpu.cpl();
  Ram& ram = twin.side(0).ram;
  for (std::uint64_t at = 0; at < TwinGuest::kWindowBytes; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, ram.host(0x10000 + at), sizeof word);
    result.memory[at / 8 % 64] = result.memory[at / 8 % 64] * 31 + word;
  }
  return result;
}

class Checker {
 public:
  explicit Checker(std::uint64_t seed) : seed_(seed) {}

  bool check(std::uint64_t number) {
    Random random(seed_, number);
    const auto table = instruction_table();
    const auto row = static_cast<std::uint16_t>(random.below(table.size()));
    if ((table[row].attributes & kUserMode) == 0) return true;
    Start start;
    start.kind = random.chance(70) ? CodeKind::long64 : CodeKind::flat32;
    const oracle::Encoding e =
        oracle::encode_row(table[row], start.kind == CodeKind::long64, random);
    Instruction i;
    const DecodeMode mode{start.kind == CodeKind::long64, true, 4};
    if (decode(mode, e.bytes, i) != DecodeStatus::ok || i.row != row) return true;
    // What lies beside the code is not put back between two steps.
    if (i.memory && i.base == kGprRip) return true;
    const InstructionEffects effects = instruction_effects(i);
    twin_.place(0x100, e.bytes);
    for (std::uint64_t& r : start.registers) {
      r = random.chance(60) ? TwinGuest::kWindow + random.below(TwinGuest::kWindowBytes - 64)
                            : random.bits() >> random.below(64);
    }
    if (i.memory && i.base < kGprZero) {
      start.registers[i.base] =
          TwinGuest::kWindow + 0x800 - static_cast<std::uint64_t>(std::int64_t{i.displacement});
    }
    if (i.memory && i.index < kGprZero && i.index != i.base)
      start.registers[i.index] = random.below(8);
    start.flags = static_cast<std::uint32_t>(random.bits() >> 13) & kArithmeticFlags;
    const Result first = step(twin_, start, number);
    if (first.cpl != 3) return true;  // it faulted: nothing was done
    const auto fail = [&](const char* what, unsigned n) {
      std::printf("effects: seed %llu case %llu: %s: %s %u\n",
                  static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(number),
                  std::string(table[row].name).c_str(), what, n);
      for (unsigned k = 0; k < i.length(); ++k) std::printf(" %02x", e.bytes[k]);
      std::printf("\n");
      return false;
    };
    ++checked_;
    for (unsigned n = 0; n < 16; ++n) {
      const bool written = (effects.registers_written >> n & 1) != 0;
      if (!written && first.registers[n] != start.registers[n]) return fail("writes register", n);
      if ((effects.registers_read >> n & 1) != 0) continue;
      Start other = start;
      other.registers[n] ^= random.bits() | 1;
      Result second = step(twin_, other, number);
      if (!written) second.registers[n] = first.registers[n];
      if (!same(first, second)) return fail("reads register", n);
    }
    for (unsigned n = 0; n < 12; ++n) {
      const std::uint32_t flag = 1U << n;
      if ((flag & kArithmeticFlags) == 0) continue;
      const bool written = (effects.flags_written & flag) != 0;
      const bool perhaps = (effects.flags_maybe & flag) != 0;
      if (!written && !perhaps && ((first.flags ^ start.flags) & flag) != 0) {
        return fail("writes flag", n);
      }
      if ((effects.flags_read & flag) != 0) continue;
      Start other = start;
      other.flags ^= flag;
      Result second = step(twin_, other, number);
      if (!written) second.flags = (second.flags & ~flag) | (first.flags & flag);
      if (!same(first, second)) return fail(written ? "reads or keeps flag" : "reads flag", n);
    }
    return true;
  }
  [[nodiscard]] std::uint64_t checked() const { return checked_; }

 private:
  static bool same(const Result& a, const Result& b) {
    return a.registers == b.registers && a.flags == b.flags && a.cpl == b.cpl &&
           a.memory == b.memory;
  }
  std::uint64_t seed_;
  std::uint64_t checked_ = 0;
  TwinGuest twin_{translate::Settings{translate::Mode::off}};
};

}  // namespace
}  // namespace chronovisor::test

int main(int argc, char** argv) {
  const std::uint64_t cases = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 20000;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 5;
  chronovisor::test::Checker checker(seed);
  for (std::uint64_t n = 0; n < cases; ++n) {
    if (!checker.check(n)) return 1;
  }
  std::printf("effects: %llu instructions do what the table says\n",
              static_cast<unsigned long long>(checker.checked()));
  return 0;
}
