// Every SSE and MMX instruction of the table, executed by its handler and by
// the host's processor on the same random state, compared to the bit: results,
// flags, MXCSR, x87 tags, memory, and the exceptions of unmasked MXCSR bits.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kMemory = 0x10000;
constexpr std::size_t kMemoryBytes = 64;
/// General registers that operands may name; the thunk needs the others.
constexpr std::array<std::uint8_t, 6> kNumbers{kRax, kRcx, kRdx, kRsi, kR8, kR9};

/// What the native thunk loads and stores; offsets are known to its assembly.
struct alignas(64) NativeState {
  std::array<std::uint8_t, 512> image{};
  std::array<std::uint64_t, 8> gpr{};  // rax rcx rdx rsi r8 r9 rbx rdi
  std::uint64_t flags = 0;
};
struct NativeFault {
  bool raised = false;
  std::uint32_t mxcsr = 0;
};

sigjmp_buf g_landing;
volatile std::uint32_t g_fault_mxcsr;
void on_fault(int, siginfo_t*, void* context) {
  g_fault_mxcsr = static_cast<ucontext_t*>(context)->uc_mcontext.fpregs->mxcsr;
  siglongjmp(g_landing, 1);
}

class NativeCode {
 public:
  NativeCode()
      : page_(static_cast<std::uint8_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    struct sigaction action {};
    action.sa_sigaction = &on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGFPE, &action, &previous_);
  }
  ~NativeCode() {
    sigaction(SIGFPE, &previous_, nullptr);
    munmap(page_, 4096);
  }
  NativeCode(const NativeCode&) = delete;
  NativeCode& operator=(const NativeCode&) = delete;

  NativeFault run(const std::vector<std::uint8_t>& instruction, NativeState& state) {
    std::memcpy(page_, instruction.data(), instruction.size());
    page_[instruction.size()] = 0xc3;
    if (sigsetjmp(g_landing, 1) != 0) return {true, g_fault_mxcsr};
    enter(&state);
    return {};
  }

 private:
  __attribute__((noinline)) void enter(NativeState* state) {
    const std::uint32_t mxcsr = 0x1f80;
    void* target = page_;
    const std::uint32_t* control = &mxcsr;
    asm volatile(
        "lea -256(%%rsp), %%rsp\n\tmov %%rdi, %%r15\n\tmov %%rsi, %%r14\n\tmov %%rdx, %%r13\n\t"
        "fxrstor64 (%%r15)\n\t"
        "push 576(%%r15)\n\tpopfq\n\t"
        "mov 512(%%r15), %%rax\n\tmov 520(%%r15), %%rcx\n\tmov 528(%%r15), %%rdx\n\t"
        "mov 536(%%r15), %%rsi\n\tmov 544(%%r15), %%r8\n\tmov 552(%%r15), %%r9\n\t"
        "mov 560(%%r15), %%rbx\n\tmov 568(%%r15), %%rdi\n\t"
        "call *%%r14\n\t"
        "pushfq\n\tpopq 576(%%r15)\n\t"
        "mov %%rax, 512(%%r15)\n\tmov %%rcx, 520(%%r15)\n\tmov %%rdx, 528(%%r15)\n\t"
        "mov %%rsi, 536(%%r15)\n\tmov %%r8, 544(%%r15)\n\tmov %%r9, 552(%%r15)\n\t"
        "fxsave64 (%%r15)\n\tfninit\n\tldmxcsr (%%r13)\n\tlea 256(%%rsp), %%rsp"
        : "+D"(state), "+S"(target), "+d"(control)
        :
        : "rax", "rbx", "rcx", "r8", "r9", "r13", "r14", "r15", "memory", "cc", "xmm0", "xmm1",
          "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
          "xmm13", "xmm14", "xmm15");
  }

  std::uint8_t* page_;
  struct sigaction previous_ {};
};

// ============================ encoding ================================================
struct Form {
  const Row* row = nullptr;
  bool memory = false;
  bool wide = false;
  std::uint8_t reg = 0;
  std::uint8_t rm = 0;
  std::uint8_t immediate = 0;
};
std::vector<std::uint8_t> encode(const Form& form) {
  const Row& row = *form.row;
  std::vector<std::uint8_t> bytes;
  if (row.prefix == MandatoryPrefix::p66) bytes.push_back(0x66);
  if (row.prefix == MandatoryPrefix::pf3) bytes.push_back(0xf3);
  if (row.prefix == MandatoryPrefix::pf2) bytes.push_back(0xf2);
  const unsigned b = form.memory ? 0U : form.rm >> 3U;
  const unsigned rex = 0x40U | (form.wide ? 8U : 0U) | ((form.reg >> 3U) << 2) | b;
  if (rex != 0x40) bytes.push_back(static_cast<std::uint8_t>(rex));
  bytes.push_back(0x0f);
  if (row.map == OpcodeMap::map_0f38) bytes.push_back(0x38);
  if (row.map == OpcodeMap::map_0f3a) bytes.push_back(0x3a);
  bytes.push_back(row.opcode);
  if (row.modrm != ModRm::absent) {
    const unsigned rm = form.memory ? 3U : 0xc0U | (form.rm & 7U);  // [rbx]
    bytes.push_back(static_cast<std::uint8_t>(rm | ((form.reg & 7U) << 3)));
  }
  if (row.immediate != Immediate::none) bytes.push_back(form.immediate);
  return bytes;
}
Instruction decode(const Form& form) {
  const Row& row = *form.row;
  Instruction i;
  i.operand_size = form.wide ? 8 : 4;
  i.address_size = 4;
  i.opcode = row.opcode;
  i.reg = form.reg;
  i.rm = form.rm;
  i.memory = form.memory;
  i.base = kRbx;
  i.immediate = form.immediate;
  const auto& handlers = form.memory ? row.handlers.memory : row.handlers.registers;
  i.handler = handlers[form.wide ? 3 : 2];
  return i;
}

// ============================ random states ===========================================
class States {
 public:
  explicit States(std::uint64_t seed) : random_(seed) {}
  std::uint64_t bits() { return random_(); }
  template <class C>
  auto pick(const C& values) {
    return values[bits() % values.size()];
  }
  std::uint64_t single_value() {
    static constexpr std::array<std::uint32_t, 20> kSpecial{
        0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00001,
        0xffc00002, 0x7f800003, 0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff, 0x3f000000,
        0x3fc00000, 0x4b000001, 0x4effffff, 0x4f000000, 0x5f000000, 0x3fffffff};
    const std::uint64_t r = bits();
    if ((r & 7) < 4) return pick(kSpecial);
    if ((r & 7) == 4) return 0x3f000000U + ((r >> 8) & 0x01ffffff);  // around one
    if ((r & 7) == 5) return (r >> 8) & 0x81ffffff;                  // tiny
    return static_cast<std::uint32_t>(r >> 16);
  }
  std::uint64_t double_value() {
    static constexpr std::array<std::uint64_t, 18> kSpecial{0,
                                                            0x8000000000000000,
                                                            0x3ff0000000000000,
                                                            0xbff0000000000000,
                                                            0x7ff0000000000000,
                                                            0xfff0000000000000,
                                                            0x7ff8000000000001,
                                                            0xfff8000000000002,
                                                            0x7ff0000000000003,
                                                            1,
                                                            0x800fffffffffffff,
                                                            0x0010000000000000,
                                                            0x7fefffffffffffff,
                                                            0x3fe0000000000000,
                                                            0x41dfffffffc00000,
                                                            0x41e0000000000000,
                                                            0x43e0000000000000,
                                                            0x36a0000000000001};
    const std::uint64_t r = bits();
    if ((r & 7) < 4) return pick(kSpecial);
    if ((r & 7) == 4) return 0x3fe0000000000000 + ((bits() & 0x003fffffffffffff));
    if ((r & 7) == 5)
      return 0x3800000000000000 + (bits() & 0x8fffffffffffffff) % 0x0100000000000000;
    if ((r & 7) == 6) return bits() & 0x801fffffffffffff;
    return bits();
  }
  Xmm vector() {
    switch (bits() & 3) {
      case 0:
        return {bits(), bits()};
      case 1:
        return {single_value() | (single_value() << 32), single_value() | (single_value() << 32)};
      case 2:
        return {double_value(), double_value()};
      default: {  // bytes with many repeats and zeros, for strings
        Xmm value{bits() & 0x0303030303030303, bits() & 0x8103017f03030303};
        return value;
      }
    }
  }

 private:
  std::mt19937_64 random_;
};

template <class T>
void put(NativeState& s, std::size_t offset, T value) {
  std::memcpy(s.image.data() + offset, &value, sizeof(T));
}
template <class T>
T get(const NativeState& s, std::size_t offset) {
  T value;
  std::memcpy(&value, s.image.data() + offset, sizeof(T));
  return value;
}

class Comparison {
 public:
  Comparison() {
    machine_.protected_mode(0);
    cpu().state.cr4 |= kCr4Osfxsr | kCr4Osxmmexcpt;
  }
  Cpu& cpu() { return machine_.cpu; }
  /// How many #XM both sides agreed on.
  [[nodiscard]] unsigned exceptions() const { return exceptions_; }

  void fill(States& states, bool unmask) {
    CpuState& s = cpu().state;
    for (Xmm& value : s.xmm) value = states.vector();
    for (const std::uint8_t k : kNumbers) s.gpr[k] = states.bits();
    if ((states.bits() & 1) != 0) s.gpr[kRax] &= 0x1f;  // string lengths
    if ((states.bits() & 1) != 0) s.gpr[kRdx] &= 0x1f;
    s.gpr[kRbx] = kMemory;
    s.gpr[kRdi] = kMemory + 16;
    cpu().set_flags(static_cast<std::uint32_t>(states.bits()) & kArithmeticFlags);
    s.mxcsr = 0x1f80;
    if ((states.bits() & 1) != 0) s.mxcsr |= static_cast<std::uint32_t>(states.bits()) & 0xe07f;
    if (unmask) s.mxcsr &= ~(static_cast<std::uint32_t>(states.bits()) & 0x1f80U);
    if (unmask) s.mxcsr &= ~0x3fU;
    s.x87 = X87State{};
    s.x87.status = static_cast<std::uint16_t>((states.bits() & 7) << 11);
    for (X87Register& st : s.x87.st) {
      st = {states.vector().low, static_cast<std::uint16_t>(states.bits())};
    }
    for (std::uint64_t& word : memory_) word = 0;
    for (std::size_t k = 0; k < memory_.size(); k += 2) {
      const Xmm value = states.vector();
      memory_[k] = value.low;
      memory_[k + 1] = value.high;
    }
    for (std::size_t k = 0; k < memory_.size(); ++k) {
      machine_.put<std::uint64_t>(kMemory + 8 * k, memory_[k]);
    }
  }

  /// True when handler and host agree; otherwise says where they differ.
  bool agree(const Form& form, NativeCode& code, std::string& difference) {
    NativeState native = to_native();
    const NativeFault fault = code.run(encode(form), native);
    const CpuState before = cpu().state;
    const std::uint32_t flags_before = cpu().flags.arithmetic();
    bool raised = false;
    try {
      const Instruction i = decode(form);
      i.handler(cpu(), i);
    } catch (const GuestFault& guest_fault) {
      raised = guest_fault.vector == kSimdFloatingPoint;
      if (!raised) difference = "vector " + std::to_string(guest_fault.vector);
      if (!raised) return false;
    }
    if (raised != fault.raised) {
      difference = raised ? "only the handler raised #XM" : "only the host raised #XM";
      return false;
    }
    if (raised) ++exceptions_;
    if (raised) return unchanged(before, flags_before, fault.mxcsr, difference);
    return same(native, difference);
  }

 private:
  NativeState to_native() {
    const CpuState& s = cpu().state;
    NativeState n;
    put<std::uint16_t>(n, 0, s.x87.control);
    put<std::uint16_t>(n, 2, s.x87.status);
    put<std::uint32_t>(n, 24, s.mxcsr);
    const unsigned top = (s.x87.status >> 11) & 7U;
    for (unsigned k = 0; k < 8; ++k) {
      put<std::uint64_t>(n, 32 + 16 * k, s.x87.st[(top + k) & 7].significand);
      put<std::uint64_t>(n, 40 + 16 * k, s.x87.st[(top + k) & 7].sign_exponent);
    }
    for (unsigned k = 0; k < 16; ++k) put<Xmm>(n, 160 + 16 * k, s.xmm[k]);
    for (std::size_t k = 0; k < kNumbers.size(); ++k) n.gpr[k] = s.gpr[kNumbers[k]];
    n.gpr[6] = reinterpret_cast<std::uint64_t>(memory_.data());
    n.gpr[7] = n.gpr[6] + 16;
    n.flags = cpu().flags.arithmetic() | 0x202;
    return n;
  }
  bool same(const NativeState& n, std::string& difference) {
    const CpuState& s = cpu().state;
    const auto check = [&](const char* what, std::uint64_t ours, std::uint64_t host) {
      if (ours == host || !difference.empty()) return;
      char text[120];
      std::snprintf(text, sizeof text, "%s: %016llx, host %016llx", what,
                    static_cast<unsigned long long>(ours), static_cast<unsigned long long>(host));
      difference = text;
    };
    for (unsigned k = 0; k < 16; ++k) {
      const Xmm host = get<Xmm>(n, 160 + 16 * k);
      check("xmm low", s.xmm[k].low, host.low);
      check("xmm high", s.xmm[k].high, host.high);
    }
    check("mxcsr", s.mxcsr, get<std::uint32_t>(n, 24));
    check("x87 status", s.x87.status, get<std::uint16_t>(n, 2));
    unsigned valid = 0;
    for (unsigned k = 0; k < 8; ++k) {
      if (((s.x87.tag >> (2 * k)) & 3) != 3) valid |= 1U << k;
    }
    check("tags", valid, get<std::uint8_t>(n, 4));
    const unsigned top = (s.x87.status >> 11) & 7U;
    for (unsigned k = 0; k < 8; ++k) {
      check("mm", s.x87.st[(top + k) & 7].significand, get<std::uint64_t>(n, 32 + 16 * k));
      check("exponent", s.x87.st[(top + k) & 7].sign_exponent, get<std::uint16_t>(n, 40 + 16 * k));
    }
    for (std::size_t k = 0; k < kNumbers.size(); ++k) {
      check("gpr", s.gpr[kNumbers[k]], n.gpr[k]);
    }
    check("flags", cpu().flags.arithmetic(), n.flags & kArithmeticFlags);
    for (std::size_t k = 0; k < memory_.size(); ++k) {
      check("memory", machine_.get<std::uint64_t>(kMemory + 8 * k), memory_[k]);
    }
    return difference.empty();
  }
  /// After #XM only MXCSR's flags may have changed.
  bool unchanged(const CpuState& before, std::uint32_t flags, std::uint32_t host_mxcsr,
                 std::string& difference) {
    const CpuState& s = cpu().state;
    if (std::memcmp(s.xmm.data(), before.xmm.data(), sizeof s.xmm) != 0) difference = "xmm changed";
    if (s.gpr != before.gpr || cpu().flags.arithmetic() != flags)
      difference = "gpr or flags changed";
    if (s.x87.tag != before.x87.tag || s.x87.status != before.x87.status) {
      difference = "x87 changed";
    }
    if (s.mxcsr != host_mxcsr) {
      char text[80];
      std::snprintf(text, sizeof text, "#XM mxcsr %04x, host %04x", s.mxcsr, host_mxcsr);
      difference = text;
    }
    return difference.empty();
  }

  test::SystemMachine machine_;
  unsigned exceptions_ = 0;
  alignas(64) std::array<std::uint64_t, kMemoryBytes / 8> memory_{};
};

/// Which of several NaNs a dot product gives follows from the order of its additions,
/// which the manual leaves open; the soft processor has Intel's.
bool vendors_differ(const Row& row) {
  return row.name.starts_with("DPPS") || row.name.starts_with("DPPD");
}

bool runs_here(const Row& row) {
  const bool loads_mxcsr = row.opcode == 0xae && row.reg == 2;
  if (vendors_differ(row) && __builtin_cpu_is("intel") == 0) {
    MESSAGE("not compared, on a host that is not Intel's: " << std::string(row.name));
    return false;
  }
  return (row.attributes & kUserMode) != 0 && row.oracle_exception.empty() && !loads_mxcsr;
}

void compare_rows(unsigned rounds, bool unmask) {
  unsigned instructions = 0;
  NativeCode code;
  Comparison comparison;
  States states(unmask ? 77 : 7);
  for (const Row& row : sse_rows()) {
    if (!runs_here(row)) continue;
    unsigned failures = 0;
    ++instructions;
    for (unsigned round = 0; round < rounds && failures < 2; ++round) {
      Form form{&row};
      form.memory =
          row.modrm == ModRm::memory || (row.modrm == ModRm::any && (states.bits() & 1) != 0);
      form.wide = (states.bits() & 1) != 0;
      form.reg = row.reg >= 0 ? static_cast<std::uint8_t>(row.reg) : states.pick(kNumbers);
      form.rm = states.pick(kNumbers);
      form.immediate = static_cast<std::uint8_t>(states.bits());
      comparison.fill(states, unmask);
      std::string difference;
      if (!comparison.agree(form, code, difference)) {
        ++failures;
        FAIL_CHECK(std::string(row.name)
                   << std::string(form.memory ? " (memory)" : " (registers)") << " imm8 "
                   << unsigned{form.immediate} << " round " << round << ": " << difference);
      }
    }
  }
  CHECK(instructions > 300);
  if (unmask) CHECK(comparison.exceptions() > 1000);
}

TEST_CASE("every MMX and SSE instruction gives what the host's processor gives") {
  compare_rows(400, false);
}

TEST_CASE("unmasked SIMD exceptions are raised where the host raises them, with its flags") {
  compare_rows(400, true);
}

}  // namespace
}  // namespace chronovisor
