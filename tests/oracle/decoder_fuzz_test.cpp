// The decoder against Zydis: random bytes and mutated encodings of the table's
// rows, in 16, 32 and 64-bit mode. Where both know an instruction they must
// agree on its length; where only one does, the reason must be a known one.
#include <Zydis/Zydis.h>

#include <charconv>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>

#include "base/error.h"
#include "tests/oracle/case_generator.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::oracle {
namespace {

constexpr std::size_t kBytes = kLongestInstruction;

struct Mode {
  DecodeMode ours;
  ZydisMachineMode machine;
  ZydisStackWidth stack;
  const char* name;
};
constexpr std::array<Mode, 3> kModes{{
    {{false, true, 2}, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16, "16-bit"},
    {{false, true, 4}, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32, "32-bit"},
    {{true, true, 4}, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, "64-bit"},
}};

struct Options {
  std::uint64_t seed = 0;
  std::uint64_t first = 0;
  std::uint64_t cases = 500'000;
};

using Bytes = std::array<std::uint8_t, kBytes>;

/// A third random, a third encodings of rows, a third of those damaged.
Bytes make_bytes(Random& random, bool long64) {
  Bytes bytes{};
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.bits() >> 24);
  const std::uint64_t kind = random.below(3);
  if (kind == 0) return bytes;
  const std::span<const Row> table = instruction_table();
  const Encoding e = encode_row(table[random.below(table.size())], long64, random);
  std::copy_n(e.bytes.begin(), std::min(e.bytes.size(), bytes.size()), bytes.begin());
  if (kind == 2) {
    const std::uint64_t at = random.below(8);
    if (random.chance(50)) {
      bytes[at] = static_cast<std::uint8_t>(random.bits() >> 24);
    } else {
      bytes[at] ^= static_cast<std::uint8_t>(1U << random.below(8));
    }
  }
  return bytes;
}

/// Why the guest's processor lacks an instruction that Zydis knows; empty when
/// it should have it.
std::string reason_for_lacking(const ZydisDecodedInstruction& z) {
  switch (z.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
      return "3DNow! is not offered";
    case ZYDIS_INSTRUCTION_ENCODING_XOP:
      return "XOP is not offered";
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
    case ZYDIS_INSTRUCTION_ENCODING_MVEX:
      return "AVX, AVX-512, BMI are not offered";
    default:
      break;
  }
  // What Zydis calls the instruction sets that are offered as a whole.
  static const std::set<std::string> kOffered{
      "AES",      "CLFSH",        "CMOV",      "CMPXCHG16B",    "FAT_NOP",      "FCMOV",
      "FXSAVE",   "FXSAVE64",     "I186",      "I286PROTECTED", "I286REAL",     "I386",
      "I486",     "I486REAL",     "I86",       "INVPCID",       "LAHF",         "LONGMODE",
      "MOVBE",    "PAUSE",        "PCLMULQDQ", "PENTIUMMMX",    "PENTIUMREAL",  "POPCNT",
      "PPRO",     "PREFETCH_NOP", "RDPMC",     "RDRAND",        "RDSEED",       "RDTSCP",
      "RDWRFSGS", "SMAP",         "SSE",       "SSE2",          "SSE2MMX",      "SSE3",
      "SSE3X87",  "SSE4",         "SSE42",     "SSEMXCSR",      "SSE_PREFETCH", "SSSE3",
      "SSSE3MMX", "X87",          "XSAVE"};
  if (z.mnemonic == ZYDIS_MNEMONIC_RSM) return "RSM: there is no system management mode";
  const std::string set = ZydisISASetGetString(z.meta.isa_set);
  if (!kOffered.contains(set)) return set + " is not offered";
  return {};
}

/// Why Zydis refuses what we decode; empty when it should not.
std::string reason_for_refusing(ZyanStatus status, const Row& row) {
  if (status == ZYDIS_STATUS_BAD_REGISTER) return "the handler raises #UD for the register number";
  const bool mpx = row.map == OpcodeMap::map_0f && (row.opcode == 0x1a || row.opcode == 0x1b);
  if (mpx) return "MPX to Zydis, with rules of its own; a no-operation to us";
  return {};
}

class Fuzz {
 public:
  explicit Fuzz(const Options& options) : options_(options) {
    for (std::size_t m = 0; m < kModes.size(); ++m) {
      ZydisDecoderInit(&decoders_[m], kModes[m].machine, kModes[m].stack);
    }
  }

  bool run() {
    for (std::uint64_t n = options_.first; n < options_.first + options_.cases; ++n) one(n);
    for (const auto& [reason, count] : explained_) {
      std::printf("%8llu: %s\n", static_cast<unsigned long long>(count), reason.c_str());
    }
    std::printf(
        "%llu decoded by both with the same length, %llu refused by both, %llu explained, "
        "%llu differences\n",
        static_cast<unsigned long long>(same_), static_cast<unsigned long long>(refused_),
        static_cast<unsigned long long>(options_.cases - same_ - refused_ - failures_),
        static_cast<unsigned long long>(failures_));
    return failures_ == 0;
  }

 private:
  void one(std::uint64_t number) {
    Random random(options_.seed, number);
    const std::size_t m = random.below(kModes.size());
    const Bytes bytes = make_bytes(random, kModes[m].ours.long64);
    Instruction ours;
    const DecodeStatus status = decode(kModes[m].ours, bytes, ours);
    ZydisDecodedInstruction theirs;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    const ZyanStatus their_status =
        ZydisDecoderDecodeFull(&decoders_[m], bytes.data(), bytes.size(), &theirs, operands.data());
    const bool known = ours.row != kNoRow;
    if (status != DecodeStatus::ok) return fail(number, m, bytes, "15 bytes were not enough");
    if (ZYAN_SUCCESS(their_status) && known) {
      if (ours.length() == theirs.length) {
        ++same_;
        return;
      }
      return fail(number, m, bytes,
                  "length " + std::to_string(ours.length()) + ", Zydis " +
                      std::to_string(theirs.length) + " (" +
                      ZydisMnemonicGetString(theirs.mnemonic) + ")");
    }
    if (!ZYAN_SUCCESS(their_status) && !known) {
      ++refused_;
      return;
    }
    std::string reason;
    std::string complaint;
    if (known) {
      const Row& row = instruction_table()[ours.row];
      reason = reason_for_refusing(their_status, row);
      complaint = "we decode " + std::string(row.name) + ", Zydis refuses with status " +
                  std::to_string(their_status & 0xff);
    } else {
      reason = reason_for_lacking(theirs);
      complaint = std::string("we refuse ") + ZydisMnemonicGetString(theirs.mnemonic) + " (" +
                  ZydisISASetGetString(theirs.meta.isa_set) + ", " +
                  ZydisISAExtGetString(theirs.meta.isa_ext) + ")";
    }
    if (reason.empty()) return fail(number, m, bytes, complaint);
    ++explained_[reason];
  }

  void fail(std::uint64_t number, std::size_t mode, const Bytes& bytes, const std::string& what) {
    ++failures_;
    constexpr unsigned kShown = 3;
    if (++shown_[what] > kShown) return;
    std::printf("FAILED case %llu, %s:", static_cast<unsigned long long>(number),
                kModes[mode].name);
    for (const std::uint8_t byte : bytes) std::printf(" %02x", byte);
    std::printf("\n  %s\n  repeat: oracle_decoder_test --seed %llu --first %llu --cases 1\n",
                what.c_str(), static_cast<unsigned long long>(options_.seed),
                static_cast<unsigned long long>(number));
  }

  Options options_;
  std::array<ZydisDecoder, kModes.size()> decoders_{};
  std::map<std::string, std::uint64_t> explained_;
  std::map<std::string, unsigned> shown_;
  std::uint64_t same_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t failures_ = 0;
};

Options parse(std::span<char*> arguments) {
  Options options;
  options.seed = std::random_device{}();
  for (std::size_t k = 1; k < arguments.size(); k += 2) {
    const std::string_view option = arguments[k];
    std::uint64_t* target = option == "--seed"    ? &options.seed
                            : option == "--first" ? &options.first
                            : option == "--cases" ? &options.cases
                                                  : nullptr;
    const std::string_view value = k + 1 < arguments.size() ? arguments[k + 1] : "";
    if (target == nullptr ||
        std::from_chars(value.data(), value.data() + value.size(), *target).ptr !=
            value.data() + value.size() ||
        value.empty()) {
      throw Error{ErrorCode::usage,
                  "usage: oracle_decoder_test [--seed N] [--first N] [--cases N]"};
    }
  }
  return options;
}

}  // namespace
}  // namespace chronovisor::oracle

int main(int argc, char** argv) {
  using namespace chronovisor;
  using namespace chronovisor::oracle;
  try {
    const Options options = parse({argv, static_cast<std::size_t>(argc)});
    std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
    return Fuzz(options).run() ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
