// The instruction oracle: every row of the instruction table that user mode
// can run, with random operands and states, by the engine and by the host's
// processor, compared bit for bit. No row is left out without a reason.
#include <cpuid.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>

#include "base/error.h"
#include "tests/oracle/case_generator.h"
#include "tests/oracle/comparison.h"
#include "tests/oracle/engine_runner.h"
#include "tests/oracle/native_runner.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor::oracle {
namespace {

struct Options {
  std::uint64_t seed = 0;
  std::uint64_t first = 0;
  std::uint64_t cases = 1'000'000;
  std::string row;
  bool verbose = false;
};

struct RowResult {
  std::uint64_t cases = 0;
  std::uint64_t failures = 0;
  std::uint64_t faults = 0;
};

// ============================ which rows ==============================================
/// The CPUID bit a row needs: leaf 1 ECX, or 0 when every x86-64 has it.
struct Feature {
  std::uint32_t bit = 0;
  std::string_view name;
};
Feature feature_of(const Row& row) {
  const std::uint8_t op = row.opcode;
  if (row.name == "movbe") return {bit_MOVBE, "MOVBE"};
  if (row.name == "popcnt") return {bit_POPCNT, "POPCNT"};
  if (row.name.starts_with("crc32")) return {bit_SSE4_2, "SSE4.2"};
  if (row.name.starts_with("cmpxchg8b")) return {bit_CMPXCHG16B, "CMPXCHG16B"};
  if (row.map == OpcodeMap::map_0f38) {
    if (op >= 0xdb && op <= 0xdf) return {bit_AES, "AES"};
    if (op == 0x37) return {bit_SSE4_2, "SSE4.2"};
    return op < 0x10 || (op >= 0x1c && op <= 0x1e) ? Feature{bit_SSSE3, "SSSE3"}
                                                   : Feature{bit_SSE4_1, "SSE4.1"};
  }
  if (row.map == OpcodeMap::map_0f3a) {
    if (op == 0xdf) return {bit_AES, "AES"};
    if (op == 0x44) return {bit_PCLMUL, "PCLMULQDQ"};
    if (op >= 0x60 && op <= 0x63) return {bit_SSE4_2, "SSE4.2"};
    return op == 0x0f ? Feature{bit_SSSE3, "SSSE3"} : Feature{bit_SSE4_1, "SSE4.1"};
  }
  const bool sse3 = row.map == OpcodeMap::map_0f &&
                    (op == 0x7c || op == 0x7d || op == 0xd0 || (op == 0xf0) ||
                     (op == 0x12 && row.prefix != MandatoryPrefix::p66) || op == 0x16);
  return sse3 ? Feature{bit_SSE3, "SSE3"} : Feature{};
}

std::uint32_t host_features() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  return c;
}
bool host_is_intel() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  __get_cpuid(0, &a, &b, &c, &d);
  return b == signature_INTEL_ebx;
}

/// Rows in which an AMD EPYC was found to do otherwise than Intel's processors, whom the
/// soft one follows: results of shifts by more than the operand, #AC of unaligned SSE
/// moves, reserved forms, the order of faults of operands that wrap.
bool vendors_differ(const std::string& title) {
  static const std::set<std::string> rows{"shld [0f a4]",
                                          "shld [0f a5]",
                                          "shrd [0f ac]",
                                          "shrd [0f ad]",
                                          "bts [0f ab]",
                                          "btc [0f bb]",
                                          "btr [0f b3]",
                                          "bt [0f a3]",
                                          "movsxd [63]",
                                          "pause [f3 90]",
                                          "movs [a4]",
                                          "movs [a5]",
                                          "cmps [a6]",
                                          "cmps [a7]",
                                          "lods [ac]",
                                          "lods [ad]",
                                          "stos [aa]",
                                          "stos [ab]",
                                          "scas [ae]",
                                          "scas [af]",
                                          "prefetchw [0f 0d]",
                                          "call rm [ff /2]",
                                          "bound [62]",
                                          "fstp m80 [db /7]",
                                          "fbstp m80 [df /6]",
                                          "MOVUPS xmm, xmm/m128 [np 0f 10]",
                                          "MOVUPD xmm, xmm/m128 [66 0f 10]",
                                          "MOVUPS xmm/m128, xmm [np 0f 11]",
                                          "MOVUPD xmm/m128, xmm [66 0f 11]",
                                          "MOVDQU xmm, xmm/m128 [f3 0f 6f]",
                                          "MOVDQU xmm/m128, xmm [f3 0f 7f]",
                                          "LDDQU xmm, m128 [f2 0f f0]",
                                          "DPPS xmm, xmm/m128, imm8 [66 0f3a 40]",
                                          "DPPD xmm, xmm/m128, imm8 [66 0f3a 41]",
                                          "PCMPESTRM xmm, xmm/m128, imm8 [66 0f3a 60]",
                                          "PCMPESTRI xmm, xmm/m128, imm8 [66 0f3a 61]",
                                          "PCMPISTRM xmm, xmm/m128, imm8 [66 0f3a 62]",
                                          "PCMPISTRI xmm, xmm/m128, imm8 [66 0f3a 63]"};
  return rows.contains(title);
}
/// CR4.LA57 by what the kernel shows of it.
bool host_has_wide_addresses() {
  std::ifstream info("/proc/cpuinfo");
  std::string word;
  while (info >> word) {
    if (word == "la57") return true;
  }
  return false;
}
std::uint32_t host_mxcsr_mask() {
  FpImage image;
  asm volatile("fxsave64 %0" : "=m"(image));
  return (image.mxcsr_mask != 0 ? image.mxcsr_mask : 0xffbf) & 0xffff;
}

/// Rows to drive, and for the others why not.
struct Selection {
  std::vector<std::uint16_t> driven;
  std::map<std::string, std::vector<std::string>> left_out;
  std::vector<std::string> system;
};

std::string title(const Row& row) {
  static constexpr std::array<const char*, 4> kMaps{"", "0f ", "0f38 ", "0f3a "};
  static constexpr std::array<const char*, 5> kPrefixes{"", "np ", "66 ", "f3 ", "f2 "};
  std::array<char, 8> opcode{};
  std::snprintf(opcode.data(), opcode.size(), "%02x", row.opcode);
  std::string out = std::string(row.name) + " [" + kPrefixes[static_cast<unsigned>(row.prefix)] +
                    kMaps[static_cast<unsigned>(row.map)] + opcode.data();
  if (row.reg >= 0) out += " /" + std::to_string(row.reg);
  if (row.rm >= 0) out += " rm " + std::to_string(row.rm);
  return out + "]";
}

Selection select_rows(const Options& options, const HostTraits& host) {
  Selection selection;
  const std::uint32_t features = host_features();
  const std::span<const Row> table = instruction_table();
  for (std::size_t r = 0; r < table.size(); ++r) {
    const Row& row = table[r];
    if (!options.row.empty() && row.name != options.row) continue;
    const Feature feature = feature_of(row);
    if ((row.attributes & kUserMode) == 0) {
      selection.system.push_back(title(row));
    } else if (!row.oracle_exception.empty()) {
      selection.left_out[std::string(row.oracle_exception)].push_back(title(row));
    } else if (!host_is_intel() && vendors_differ(title(row))) {
      selection.left_out["this host's processor is not Intel's, and differs in corners"].push_back(
          title(row));
    } else if ((features & feature.bit) != feature.bit) {
      selection.left_out["this host lacks " + std::string(feature.name)].push_back(title(row));
    } else if ((row.attributes & kInvalid64) != 0 && !host.compatibility_mode) {
      selection.left_out["this host runs no 32-bit code"].push_back(title(row));
    } else {
      selection.driven.push_back(static_cast<std::uint16_t>(r));
    }
  }
  return selection;
}

// ============================ the run =================================================
class Oracle {
 public:
  explicit Oracle(const Options& options)
      : options_(options),
        pool_(make_pool(options.seed)),
        native_(pool_),
        engine_(pool_, native_.fs_base()),
        host_{native_.has_compatibility_mode(), host_is_intel(), host_has_wide_addresses(),
              native_.fs_base(), host_mxcsr_mask()},
        selection_(select_rows(options, host_)),
        generator_(options.seed, host_),
        results_(instruction_table().size()) {}

  bool run() {
    if (selection_.driven.empty()) {
      std::printf("no row to drive\n");
      print_left_out();
      return options_.row.empty() ? false : !selection_.left_out.empty();
    }
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t number = options_.first;
    const std::uint64_t end = options_.first + options_.cases;
    while (number < end) number = run_batch(number, end);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    return report(took.count());
  }

 private:
  static std::vector<std::uint8_t> make_pool(std::uint64_t seed) {
    std::vector<std::uint8_t> pool(kPoolBytes);
    Random random(seed, ~std::uint64_t{0});
    fill_interesting(pool, random);
    return pool;
  }

  /// Makes and runs cases from `number` on. @return the next number
  std::uint64_t run_batch(std::uint64_t number, std::uint64_t end) {
    const std::span<Case> cases = native_.cases();
    std::size_t count = 0;
    while (number < end && count < cases.size()) {
      const std::uint16_t row = selection_.driven[number % selection_.driven.size()];
      if (generator_.make(number, row, cases[count])) ++count;
      ++number;
    }
    if (count == 0) return number;
    native_.start(count);
    for (std::size_t k = 0; k < count; ++k) engine_.run(cases[k], engine_outcomes_[k]);
    native_.finish();
    for (std::size_t k = 0; k < count; ++k)
      judge(cases[k], engine_outcomes_[k], native_.outcomes()[k]);
    return number;
  }

  void judge(const Case& c, const Outcome& engine, const Outcome& host) {
    if (host_.wide_addresses && host.done && not_canonical_here(engine, host)) {
      ++wide_address_cases_;
      return;
    }
    const Row& row = instruction_table()[c.row];
    RowResult& result = results_[c.row];
    ++result.cases;
    if (host.vector != kNoFault) ++result.faults;
    const std::vector<std::string> lines = differences(c, row, engine, host);
    if (lines.empty()) return;
    constexpr std::uint64_t kShown = 2;
    if (++result.failures > kShown && !options_.verbose) return;
    std::printf("FAILED case %llu: %s\n  %s\n", static_cast<unsigned long long>(c.number),
                title(row).c_str(), disassembly(c).c_str());
    for (const std::string& line : lines) std::printf("    %s\n", line.c_str());
    if (options_.verbose || options_.cases == 1) std::printf("%s", describe_start(c).c_str());
    std::printf("  repeat: oracle_native_test --seed %llu --first %llu --cases 1%s%s%s\n",
                static_cast<unsigned long long>(options_.seed),
                static_cast<unsigned long long>(c.number), options_.row.empty() ? "" : " --row '",
                options_.row.c_str(), options_.row.empty() ? "" : "'");
  }

  /// An address that is canonical in 57 bits but not in the guest's 48.
  static bool not_canonical_here(const Outcome& engine, const Outcome& host) {
    const bool refused = engine.vector == kGeneralProtection || engine.vector == kStackFault;
    return refused && engine.error_code == 0 && host.vector != engine.vector;
  }

  void print_left_out() const {
    for (const auto& [reason, rows] : selection_.left_out) {
      std::printf("left out, %zu rows: %s\n ", rows.size(), reason.c_str());
      for (const std::string& row : rows) std::printf(" %s;", row.c_str());
      std::printf("\n");
    }
    std::printf("covered by guests, %zu system rows", selection_.system.size());
    if (options_.verbose) {
      std::printf(":");
      for (const std::string& row : selection_.system) std::printf(" %s;", row.c_str());
    }
    std::printf("\n");
  }

  void print_kept_away() const {
    std::printf(
        "never generated: locked accesses across a cache line (they stall or kill on the host); "
        "16-bit BSWAP (undefined); 66 before near branches on AMD hosts (vendors differ); F2 and "
        "F3 where they name instructions the guest lacks; FS and GS in 32-bit code (null "
        "selectors there); reserved x87 precision control\n"
        "not compared: the x87 last-instruction pointers; flags the table says are undefined; and "
        "of instructions that fault on both sides: what FNSTENV, FNSAVE, FSTP m80, FBSTP and ENTER "
        "had stored, the registers POPA had loaded, TOP and tags of MMX instructions, the flags of "
        "repeated CMPS and SCAS, upper halves of 32-bit repeat counters, the exact byte in CR2 for "
        "x87 environments; MASKMOVQ and MASKMOVDQU that fault on either side; x87 stores that an "
        "unmasked exception keeps from storing, where the host does not fault for their memory\n");
    if (wide_address_cases_ != 0) {
      std::printf("%llu cases not compared: canonical with this host's 57-bit addresses\n",
                  static_cast<unsigned long long>(wide_address_cases_));
    }
  }

  bool report(double seconds) const {
    std::uint64_t cases = 0;
    std::uint64_t failures = 0;
    std::uint64_t faults = 0;
    std::uint64_t least = ~std::uint64_t{0};
    std::size_t without = 0;
    for (const std::uint16_t r : selection_.driven) {
      const RowResult& result = results_[r];
      const std::string name = title(instruction_table()[r]);
      cases += result.cases;
      failures += result.failures;
      faults += result.faults;
      least = std::min(least, result.cases);
      if (result.cases == 0 && options_.cases >= selection_.driven.size()) {
        ++without;
        std::printf("FAILED: no case could be made for %s\n", name.c_str());
      }
      if (result.failures != 0) {
        std::printf("FAILED: %llu of %llu cases of %s\n",
                    static_cast<unsigned long long>(result.failures),
                    static_cast<unsigned long long>(result.cases), name.c_str());
      } else if (options_.verbose) {
        std::printf("%8llu cases, %6llu faults: %s\n",
                    static_cast<unsigned long long>(result.cases),
                    static_cast<unsigned long long>(result.faults), name.c_str());
      }
    }
    print_left_out();
    print_kept_away();
    std::printf(
        "%zu rows driven, %llu cases, at least %llu a row, %llu of them faults; %llu differences; "
        "%.1f s\n",
        selection_.driven.size(), static_cast<unsigned long long>(cases),
        static_cast<unsigned long long>(least), static_cast<unsigned long long>(faults),
        static_cast<unsigned long long>(failures), seconds);
    return failures == 0 && without == 0;
  }

  Options options_;
  std::vector<std::uint8_t> pool_;
  NativeRunner native_;
  EngineRunner engine_;
  HostTraits host_;
  Selection selection_;
  CaseGenerator generator_;
  std::vector<RowResult> results_;
  std::uint64_t wide_address_cases_ = 0;
  std::array<Outcome, NativeRunner::kBatch> engine_outcomes_{};
};

std::uint64_t number_argument(std::string_view option, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw Error{ErrorCode::usage,
                std::string(option) + " needs a number, not " + std::string(text)};
  }
  return value;
}

Options parse(std::span<char*> arguments) {
  Options options;
  options.seed = std::random_device{}();
  for (std::size_t k = 1; k < arguments.size(); ++k) {
    const std::string_view option = arguments[k];
    if (option == "--verbose") {
      options.verbose = true;
      continue;
    }
    if (k + 1 == arguments.size()) {
      throw Error{ErrorCode::usage,
                  "usage: oracle_native_test [--seed N] [--first N] [--cases N] "
                  "[--row NAME] [--verbose]"};
    }
    const std::string_view value = arguments[++k];
    if (option == "--seed") {
      options.seed = number_argument(option, value);
    } else if (option == "--first") {
      options.first = number_argument(option, value);
    } else if (option == "--cases") {
      options.cases = number_argument(option, value);
    } else if (option == "--row") {
      options.row = value;
    } else {
      throw Error{ErrorCode::usage, "unknown option " + std::string(option)};
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
    std::fflush(stdout);
    const auto oracle = std::make_unique<Oracle>(options);
    return oracle->run() ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
