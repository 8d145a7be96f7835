// Fuzzes the translator with sequences of instructions from the table: the same
// code on two processors, cut at random budgets, with faults, self-modification,
// page remapping, observers, breakpoints and watchpoints coming and going.
//
//   translate_fuzz [--seed N] [--cases N] [--seconds N] [--case N]
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/oracle/case_generator.h"
#include "tests/translate/twin_guest.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::test {
namespace {

using oracle::Random;

struct Sequence {
  CodeKind kind = CodeKind::long64;
  std::uint64_t offset = 0;
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint32_t> starts;
};

DecodeMode mode_of(CodeKind kind) {
  switch (kind) {
    case CodeKind::long64:
      return {true, true, 4};
    case CodeKind::flat32:
      return {false, true, 4};
    default:
      return {false, false, 2};
  }
}

/// Rows that sequences are made of, the plain integer ones several times.
const std::vector<std::uint16_t>& rows() {
  static const std::vector<std::uint16_t> all = [] {
    std::vector<std::uint16_t> list;
    const auto table = instruction_table();
    for (std::size_t r = 0; r < table.size(); ++r) {
      const Row& row = table[r];
      const bool extra = row.name == "RDTSC" || row.name == "IN AL, DX" ||
                         row.name == "OUT DX, AL" || row.name == "pushf" || row.name == "popf" ||
                         row.name == "STI";
      if ((row.attributes & kUserMode) == 0 && !extra) continue;
      const bool integer = r < integer_rows().size() + control_rows().size();
      const bool sse = !integer && row.map != OpcodeMap::primary;
      for (int n = 0; n < (integer ? 8 : sse ? 2 : 1); ++n) {
        list.push_back(static_cast<std::uint16_t>(r));
      }
    }
    return list;
  }();
  return all;
}

void append(std::vector<std::uint8_t>& to, std::initializer_list<unsigned> bytes) {
  for (const unsigned b : bytes) to.push_back(static_cast<std::uint8_t>(b));
}
void append_word(std::vector<std::uint8_t>& to, std::uint64_t value, unsigned size) {
  for (unsigned k = 0; k < size; ++k) to.push_back(static_cast<std::uint8_t>(value >> (8 * k)));
}

/// MOV register, immediate, so that an operand falls where something is.
void append_aim(Sequence& s, unsigned guest, std::uint64_t value) {
  s.starts.push_back(static_cast<std::uint32_t>(s.bytes.size()));
  if (guest >= 8) {
    append(s.bytes, {0x41U});
  }
  append(s.bytes, {0xb8U | (guest & 7)});
  append_word(s.bytes, value, s.kind == CodeKind::real16 ? 2 : 4);
}

std::uint64_t address(const Sequence& s, Random& random) {
  if (s.kind == CodeKind::real16) return random.below(0x1f00);
  const std::uint64_t p = random.below(100);
  if (p < 80) return TwinGuest::kWindow + random.below(TwinGuest::kWindowBytes - 64);
  if (p < 88) return TwinGuest::kWindow + kPageSize - random.below(16);
  if (p < 91) return TwinGuest::kDevice + random.below(0x100);
  if (p < 95) return TwinGuest::kCode + s.offset + random.below(0x100);
  return TwinGuest::kWindow + TwinGuest::kWindowBytes - random.below(8);
}

Sequence make_sequence(Random& random) {
  Sequence s;
  const std::uint64_t k = random.below(100);
  s.kind = k < 65 ? CodeKind::long64 : k < 90 ? CodeKind::flat32 : CodeKind::real16;
  s.offset = random.chance(20) ? kPageSize - 1 - random.below(160) : random.below(0x300);
  const std::uint64_t count = 3 + random.below(40);
  const bool long64 = s.kind == CodeKind::long64;
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint16_t number = rows()[random.below(rows().size())];
    const Row& row = instruction_table()[number];
    for (unsigned attempt = 0; attempt < 10; ++attempt) {
      oracle::Encoding e = oracle::encode_row(row, long64, random);
      Instruction i;
      if (decode(mode_of(s.kind), e.bytes, i) != DecodeStatus::ok || i.row != number) continue;
      if (i.length() > e.bytes.size()) continue;
      const bool branch = (row.attributes & kEndsBlock) != 0 && (row.attributes & kUserMode) != 0;
      if (branch && i.immediate != 0 && !s.starts.empty() && random.chance(90)) {
        // A branch to some instruction of the sequence, mostly forwards over a few bytes.
        const std::uint64_t behind = s.bytes.size() + i.length();
        const std::uint64_t target =
            random.chance(35) ? s.starts[random.below(s.starts.size())] : behind + random.below(24);
        const auto distance = static_cast<std::int64_t>(target - behind);
        const unsigned size = row.immediate == Immediate::rel8 ? 1
                              : row.immediate == Immediate::rel_z
                                  ? (i.operand_size == 2 && !long64 ? 2U : 4U)
                                  : 0U;
        if (size == 1 && (distance < -128 || distance > 127)) continue;
        std::memcpy(e.bytes.data() + i.length() - size, &distance, size);
      }
      if ((row.attributes & kString) != 0 && random.chance(90)) {
        append_aim(s, kRsi, address(s, random));
        append_aim(s, kRdi, address(s, random));
        append_aim(s, kRcx, random.below(40));
      }
      if (i.memory && random.chance(80)) {
        if (i.index < 16 && i.index != i.base) append_aim(s, i.index, random.below(16));
        if (i.base < 16) {
          append_aim(s, i.base,
                     address(s, random) - static_cast<std::uint64_t>(std::int64_t{i.displacement}));
        }
      }
      s.starts.push_back(static_cast<std::uint32_t>(s.bytes.size()));
      s.bytes.insert(s.bytes.end(), e.bytes.begin(), e.bytes.begin() + i.length());
      break;
    }
  }
  // Back to the start.
  s.starts.push_back(static_cast<std::uint32_t>(s.bytes.size()));
  const std::int64_t back =
      -static_cast<std::int64_t>(s.bytes.size() + (s.kind == CodeKind::real16 ? 3 : 5));
  append(s.bytes, {0xe9});
  append_word(s.bytes, static_cast<std::uint64_t>(back), s.kind == CodeKind::real16 ? 2 : 4);
  return s;
}

void print(const Sequence& s) {
  std::printf("kind %d at offset %llx:\n", static_cast<int>(s.kind),
              static_cast<unsigned long long>(s.offset));
  for (std::size_t at = 0; at < s.bytes.size();) {
    Instruction i;
    if (decode(mode_of(s.kind), ByteView(s.bytes).subspan(at), i) != DecodeStatus::ok) break;
    std::printf("  %llx:",
                static_cast<unsigned long long>(
                    (s.kind == CodeKind::real16 ? 0 : TwinGuest::kCode) + s.offset + at));
    for (unsigned k = 0; k < i.length(); ++k) std::printf(" %02x", s.bytes[at + k]);
    std::printf("   %s\n",
                i.row == kNoRow ? "?" : std::string(instruction_table()[i.row].name).c_str());
    at += i.length();
  }
}

/// @return whether both sides were alike all the time
bool run_case(std::uint64_t seed, std::uint64_t number, std::unique_ptr<TwinGuest>& twin) {
  Random random(seed, number);
  if (twin == nullptr || random.chance(2)) {
    translate::Settings settings;
    settings.mode = translate::Mode::always;
    settings.cache_bytes = std::size_t{random.chance(30) ? 1U : 8U} << 20;
    twin = std::make_unique<TwinGuest>(settings);
  }
  const Sequence s = make_sequence(random);
  twin->place(s.offset, s.bytes);
  const auto entry = [&] {
    const std::uint64_t at = s.offset + s.starts[random.below(s.starts.size())];
    if (s.kind == CodeKind::real16) return at;
    return (random.chance(85) ? TwinGuest::kCode : TwinGuest::kAlias) + at;
  };
  twin->start(s.kind, entry(), random);
  std::optional<std::string> difference;
  const auto failed = [&] {
    std::printf("translate_fuzz: seed %llu case %llu: %s\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(number), difference->c_str());
    print(s);
    return false;
  };
  unsigned restarts = 0;
  for (unsigned chunk = 0; chunk < 60; ++chunk) {
    const std::uint64_t steps =
        random.chance(30) ? 1 + random.below(4) : 1 + random.below(random.chance(50) ? 40 : 400);
    difference = twin->run(steps);
    if (difference) return failed();
    if (twin->halted()) {
      if (++restarts == 6) break;
      twin->start(s.kind, entry(), random);
      continue;
    }
    switch (random.below(40)) {
      case 0:
        twin->swap_window_pages();
        break;
      case 1: {
        const std::uint64_t at = random.below(s.bytes.size());
        twin->write_code(s.offset + at, random.chance(70)
                                            ? s.bytes[at]
                                            : static_cast<std::uint8_t>(random.bits() >> 9));
        break;
      }
      case 2:
      case 3:
        twin->observe(true);
        break;
      case 4:
        twin->observe(false);
        break;
      case 5:
        twin->set_hooks(true, random);
        break;
      case 6:
        twin->set_hooks(false, random);
        break;
      case 7:
        twin->drop_write_tags();
        break;
      default:
        break;
    }
  }
  difference = twin->compare_all();
  if (difference) return failed();
  twin->set_hooks(false, random);
  return true;
}

}  // namespace
}  // namespace chronovisor::test

int main(int argc, char** argv) {
  std::uint64_t seed =
      static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::uint64_t cases = 10000;
  std::uint64_t seconds = 0;
  std::uint64_t only = ~std::uint64_t{0};
  for (int n = 1; n + 1 < argc; n += 2) {
    const std::string_view name = argv[n];
    const std::uint64_t value = std::strtoull(argv[n + 1], nullptr, 0);
    if (name == "--seed") seed = value;
    if (name == "--cases") cases = value;
    if (name == "--seconds") seconds = value;
    if (name == "--case") only = value;
  }
  const auto start = std::chrono::steady_clock::now();
  std::unique_ptr<chronovisor::test::TwinGuest> twin;
  std::uint64_t done = 0;
  if (std::getenv("FUZZ_TRACE") != nullptr) std::setvbuf(stdout, nullptr, _IONBF, 0);
  if (only != ~std::uint64_t{0}) {
    return chronovisor::test::run_case(seed, only, twin) ? 0 : 1;
  }
  for (std::uint64_t n = 0; seconds != 0 || n < cases; ++n) {
    if (seconds != 0 && std::chrono::steady_clock::now() - start > std::chrono::seconds(seconds))
      break;
    if (!chronovisor::test::run_case(seed, n, twin)) return 1;
    ++done;
  }
  std::printf("translate_fuzz: seed %llu: %llu sequences alike\n",
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(done));
  return 0;
}
