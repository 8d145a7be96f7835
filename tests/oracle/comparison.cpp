#include "tests/oracle/comparison.h"

#include <Zydis/Zydis.h>

#include <cstdio>
#include <cstring>

#include "vmm/cpu/code/decoder.h"

namespace chronovisor::oracle {
namespace {

constexpr std::array<const char*, 16> kNames{"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                             "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                             "r12", "r13", "r14", "r15"};
constexpr std::uint32_t kComparedFlags = kArithmeticFlags | kDf | kAc;

template <class... Values>
std::string text(const char* format, Values... values) {
  std::array<char, 256> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, values...);
  return buffer.data();
}
unsigned long long wide(std::uint64_t value) { return value; }

class Differences {
 public:
  void check(const std::string& what, std::uint64_t engine, std::uint64_t host) {
    if (engine == host) return;
    lines.push_back(what + text(": engine %llx, host %llx", wide(engine), wide(host)));
  }
  std::vector<std::string> lines;
};

/// What of a fault's traces in memory and registers is the implementation's.
struct FaultTraces {
  bool image = false;         ///< x87 environment: any byte of the page may be reported
  bool partial = false;       ///< stores in parts: those before the fault may have been done
  bool below_stack = false;   ///< pushes whose RSP was taken back
  bool cut_counters = false;  ///< REP with 32-bit addresses: upper halves cleared or not
  bool registers = false;     ///< POPA may have loaded some before the fault
  bool flags = false;         ///< REP CMPS, SCAS: the flags of the last iteration or the first
};
FaultTraces fault_traces(const Case& c, const Row& row) {
  FaultTraces traces;
  const std::string_view name = row.name;
  traces.image = name == "fldenv" || name == "fnstenv" || name == "frstor" || name == "fnsave";
  traces.partial =
      name == "fnstenv" || name == "fnsave" || name == "fstp m80" || name == "fbstp m80";
  traces.below_stack = name == "enter" || name == "pusha";
  traces.cut_counters = c.end == End::breakpoint && !c.compatibility;
  traces.registers = name == "popa";
  traces.flags = c.end == End::breakpoint && (name == "cmps" || name == "scas");
  return traces;
}

void compare_faults(Differences& d, const FaultTraces& traces, const Outcome& engine,
                    const Outcome& host) {
  if (engine.vector != host.vector) {
    d.lines.push_back(text("fault: engine %d, host %d (255: none)", static_cast<int>(engine.vector),
                           static_cast<int>(host.vector)));
    if (engine.vector == kPageFault) d.lines.push_back(text("  engine cr2 %llx", wide(engine.cr2)));
    if (host.vector == kPageFault) d.lines.push_back(text("  host cr2 %llx", wide(host.cr2)));
    return;
  }
  if (engine.vector == kPageFault) {
    const std::uint64_t bytes = traces.image ? ~0xfffULL : ~0ULL;
    d.check("cr2", engine.cr2 & bytes, host.cr2 & bytes);
    // For the kernel's half Linux always shows a protection fault.
    const std::uint32_t mask = (host.cr2 >> 63) != 0 ? ~1U : ~0U;
    d.check("error code", engine.error_code & mask, host.error_code & mask);
  } else if (engine.vector == kGeneralProtection || engine.vector == kStackFault) {
    d.check("error code", engine.error_code, host.error_code);
  }
}

/// FNSTENV and FNSAVE store the last-instruction pointers, on which vendors
/// disagree: those bytes of the window.
std::pair<std::uint64_t, std::uint64_t> pointer_bytes(const Case& c, const Row& row) {
  if (row.name != "fnstenv" && row.name != "fnsave") return {0, 0};
  Instruction i;
  decode({!c.compatibility, true, 4}, ByteView(c.code).first(c.length), i);
  const auto reg = [&](unsigned n) -> std::uint64_t {
    if (n == kGprRip) return c.rip + c.length;
    return n == kGprZero ? 0 : c.gpr[n];
  };
  std::uint64_t address = reg(i.base) + (reg(i.index) << i.scale) +
                          static_cast<std::uint64_t>(std::int64_t{i.displacement});
  if (i.address_size == 4) address = static_cast<std::uint32_t>(address);
  if (i.segment == kGs) address += kGsBase;
  return i.operand_size == 2 ? std::pair{address + 6, address + 14}
                             : std::pair{address + 12, address + 28};
}

void compare_window(Differences& d, const Case& c, const Row& row, bool below_stack,
                    const Outcome& engine, const Outcome& host) {
  if (engine.window == host.window) return;
  const auto [skip_from, skip_to] = pointer_bytes(c, row);
  unsigned shown = 0;
  for (std::size_t k = 0; k < kWindowBytes; ++k) {
    const std::uint64_t address = kWindow + k;
    if (engine.window[k] == host.window[k]) continue;
    if (address >= skip_from && address < skip_to) continue;
    if (below_stack && address < c.gpr[kRsp]) continue;
    if (++shown > 20) return;
    d.check(text("memory %llx", wide(address)), engine.window[k], host.window[k]);
  }
}

/// MMX instructions that fault: hosts differ in whether TOP and the tags have
/// changed by then (the manual asks for it of completed instructions only).
bool is_mmx(const Row& row) {
  return row.map != OpcodeMap::primary && row.name.find("mm") != std::string_view::npos &&
         (row.name.find(" mm") != std::string_view::npos);
}

void compare_fp(Differences& d, const Row& row, bool faulted, const FpImage& engine,
                const FpImage& host) {
  const bool entered = faulted && is_mmx(row);
  const std::uint32_t status = entered ? ~0x3800U : ~0U;
  d.check("x87 control", engine.control, host.control);
  d.check("x87 status", engine.status & status, host.status & status);
  if (!entered) d.check("x87 tags", engine.tags, host.tags);
  d.check("mxcsr", engine.mxcsr, host.mxcsr);
  const unsigned engine_top = engine.status >> 11 & 7U;
  const unsigned host_top = host.status >> 11 & 7U;
  for (unsigned n = 0; n < 8; ++n) {
    const FpImage::St& ours = engine.st[(n - engine_top) & 7];
    const FpImage::St& theirs = host.st[(n - host_top) & 7];
    d.check(text("physical st%u significand", n), ours.significand, theirs.significand);
    d.check(text("physical st%u exponent", n), ours.sign_exponent, theirs.sign_exponent);
  }
  for (unsigned n = 0; n < 16; ++n) {
    d.check(text("xmm%u low", n), engine.xmm[n][0], host.xmm[n][0]);
    d.check(text("xmm%u high", n), engine.xmm[n][1], host.xmm[n][1]);
  }
}

/// An x87 store whose exception is unmasked stores nothing. Memory that could not be written
/// faults all the same in some of Intel's processors, as in the soft one, and not in others
/// (a Xeon of family 6, model 207).
bool may_store_nothing_unseen(const Row& row, const Outcome& engine, const Outcome& host) {
  constexpr std::uint16_t kErrorSummary = 0x80;
  const std::string_view name = row.name;
  const bool stores =
      name.find(" m") != std::string_view::npos &&
      (name.starts_with("fist") || name.starts_with("fst") || name.starts_with("fbstp"));
  return stores && engine.vector != kNoFault && host.vector == kNoFault &&
         (host.fp.status & kErrorSummary) != 0;
}

}  // namespace

std::vector<std::string> differences(const Case& c, const Row& row, const Outcome& engine,
                                     const Outcome& host) {
  Differences d;
  if (!host.done) {
    d.lines.emplace_back("the native child died or hung");
    return d.lines;
  }
  // Whether masked-out bytes fault is left to the implementation.
  const bool masked_store = row.name.starts_with("MASKMOV");
  if (masked_store && (engine.vector != kNoFault || host.vector != kNoFault)) return {};
  if (may_store_nothing_unseen(row, engine, host)) return {};
  const bool both = host.vector != kNoFault && host.vector == engine.vector;
  const FaultTraces traces = both ? fault_traces(c, row) : FaultTraces{};
  compare_faults(d, traces, engine, host);
  for (unsigned n = 0; n < 16; ++n) {
    if (traces.registers && n != kRsp) continue;
    const bool counter = n == kRcx || n == kRsi || n == kRdi;
    // Where the upper half was cleared it may also have been left.
    const bool cut = traces.cut_counters && counter && (host.gpr[n] >> 32) == 0;
    d.check(kNames[n], cut ? static_cast<std::uint32_t>(engine.gpr[n]) : engine.gpr[n],
            host.gpr[n]);
  }
  d.check("rip", engine.rip, host.rip);
  std::uint32_t undefined = host.vector == kNoFault ? row.undefined_flags : 0;
  if (traces.flags) undefined |= kArithmeticFlags;
  const std::uint32_t flags = kComparedFlags & ~undefined;
  d.check("rflags", engine.rflags & flags, host.rflags & flags);
  compare_fp(d, row, host.vector != kNoFault, engine.fp, host.fp);
  if (!traces.partial) compare_window(d, c, row, traces.below_stack, engine, host);
  if (!d.lines.empty() && both) {
    d.lines.push_back(text("(both raised vector %u)", host.vector));
  }
  return d.lines;
}

std::string disassembly(const Case& c) {
  std::string out;
  for (unsigned n = 0; n < c.length; ++n) out += text("%02x ", c.code[n]);
  ZydisDisassembledInstruction instruction;
  const ZydisMachineMode mode =
      c.compatibility ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64;
  const bool read =
      ZYAN_SUCCESS(ZydisDisassembleIntel(mode, c.rip, c.code.data(), c.length, &instruction));
  return out + " " + (read ? instruction.text : "(not an instruction)");
}

std::string describe_start(const Case& c) {
  std::string out = text("  %s, rip %llx, rflags %x\n",
                         c.compatibility ? "32-bit code" : "64-bit code", wide(c.rip), c.rflags);
  for (std::size_t n = 0; n < 16; ++n) {
    out += text("  %s %016llx%s", kNames[n], wide(c.gpr[n]), n % 4 == 3 ? "\n" : "");
  }
  out += text("  x87 control %x status %x tags %x mxcsr %x\n", c.fp.control, c.fp.status, c.fp.tags,
              c.fp.mxcsr);
  for (unsigned n = 0; n < 8; ++n) {
    out += text("  st%u %04x:%016llx%s", n, c.fp.st[n].sign_exponent, wide(c.fp.st[n].significand),
                n % 4 == 3 ? "\n" : "");
  }
  for (unsigned n = 0; n < 16; ++n) {
    out += text("  xmm%u %016llx:%016llx%s", n, wide(c.fp.xmm[n][1]), wide(c.fp.xmm[n][0]),
                n % 2 == 1 ? "\n" : "");
  }
  for (unsigned p = 0; p < c.patch_count; ++p) {
    out += text("  memory %llx:", wide(kWindow + c.patches[p].offset));
    for (unsigned k = 0; k < c.patches[p].size; ++k) out += text(" %02x", c.patches[p].bytes[k]);
    out += "\n";
  }
  return out;
}

}  // namespace chronovisor::oracle
