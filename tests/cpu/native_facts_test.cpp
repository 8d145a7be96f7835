// What the host's processor does where the manual leaves something open or the
// cross-check's KVM does it otherwise: each fact is measured in user mode, and
// the soft processor must agree. Needs an x86-64 Linux host, as the build does.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/cpu/system_machine.h"

namespace {

using namespace chronovisor;
using test::SystemMachine;

/// Where vendors differ the soft processor is Intel's, and another one's host has
/// nothing to say.
bool on_intel() { return __builtin_cpu_is("intel") != 0; }

sigjmp_buf g_back;
std::uint64_t g_fault_address = 0;

void on_fault(int /*signal*/, siginfo_t* info, void* /*context*/) {
  g_fault_address = reinterpret_cast<std::uint64_t>(info->si_addr);
  siglongjmp(g_back, 1);
}

struct TrapSeen {
  std::uint64_t rcx = 0;
  bool resume_flag = false;
};
std::vector<TrapSeen>* g_traps = nullptr;

void on_trap(int /*signal*/, siginfo_t* /*info*/, void* context) {
  const auto& gregs = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  g_traps->push_back({static_cast<std::uint64_t>(gregs[REG_RCX]),
                      (static_cast<std::uint64_t>(gregs[REG_EFL]) & kRf) != 0});
}

/// Pages of their own, of which one can be taken away; faults come back here.
class Pages {
 public:
  static constexpr std::size_t kPage = 4096;

  Pages()
      : at_(static_cast<std::uint8_t*>(
            mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_);
  }
  ~Pages() {
    sigaction(SIGSEGV, &before_, nullptr);
    munmap(at_, 4 * kPage);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  [[nodiscard]] std::uint8_t* page(std::size_t n) const { return at_ + n * kPage; }
  void take_away(std::size_t n) const { mprotect(page(n), kPage, PROT_NONE); }

 private:
  std::uint8_t* at_;
  struct sigaction before_ {};
};

}  // namespace

TEST_CASE("CMPXCHG r32 that fails leaves all 64 bits of its destination") {
  std::uint64_t rax = 0xaaaa000011111111, rbx = 0xbbbb000022222222;
  const std::uint64_t rcx = 3;
  asm volatile("cmpxchg %%ecx, %%ebx" : "+a"(rax), "+b"(rbx) : "c"(rcx) : "cc");
  CHECK(rbx == 0xbbbb000022222222);
  CHECK(rax == 0x22222222);

  SystemMachine m;
  m.long_mode(0);
  m.gate64(14, SystemMachine::kHandler, 0xe, 0, 0);
  CpuState& s = m.cpu.state;
  s.gpr[kRax] = 0xaaaa000011111111;
  s.gpr[kRbx] = 0xbbbb000022222222;
  s.gpr[kRcx] = 3;
  m.code(SystemMachine::kCode, {0x0f, 0xb1, 0xcb});
  m.step();
  CHECK(s.gpr[kRbx] == rbx);
  CHECK(s.gpr[kRax] == rax);
}

TEST_CASE("CMPS whose operands are both absent reports the one at ES:DI") {
  const Pages pages;
  pages.take_away(0);
  pages.take_away(2);
  const std::uint8_t* source = pages.page(0) + 0x100;
  const std::uint8_t* destination = pages.page(2) + 0x200;
  g_fault_address = 0;
  if (sigsetjmp(g_back, 1) == 0)
    asm volatile("cmpsb" : "+S"(source), "+D"(destination) : : "cc", "memory");
  CHECK(g_fault_address == reinterpret_cast<std::uint64_t>(pages.page(2) + 0x200));

  SystemMachine m;
  m.long_mode(0);
  m.gate64(14, SystemMachine::kHandler, 0xe, 0, 0);
  m.cpu.state.gpr[kRsi] = 0x7f0000100100;
  m.cpu.state.gpr[kRdi] = 0x7f0000102200;
  m.code(SystemMachine::kCode, {0xa6});
  m.fault();
  CHECK(m.cpu.state.cr2 == 0x7f0000102200);
}

TEST_CASE("a store across two pages whose second is absent writes nothing") {
  const Pages pages;
  pages.take_away(1);
  std::uint8_t* last = pages.page(1) - 4;
  g_fault_address = 0;
  if (sigsetjmp(g_back, 1) == 0) asm volatile("movq $-1, (%0)" : : "r"(last) : "memory");
  CHECK(g_fault_address == reinterpret_cast<std::uint64_t>(pages.page(1)));
  for (int n = 0; n < 4; ++n) CHECK(last[n] == 0);

  SystemMachine m;
  m.long_mode(0);
  m.gate64(14, SystemMachine::kHandler, 0xe, 0, 0);
  constexpr std::uint64_t end = 1 << 21;  // of what long_mode() maps
  m.cpu.state.gpr[kRbx] = end - 4;
  m.code(SystemMachine::kCode, {0x48, 0xc7, 0x03, 0xff, 0xff, 0xff, 0xff});
  m.fault();
  CHECK(m.cpu.state.cr2 == end);
  CHECK(m.get<std::uint32_t>(end - 4) == 0);
}

TEST_CASE("PAUSE with REX.B does nothing") {
  std::uint64_t rax = 1, r8 = 2;
  asm volatile("mov %1, %%r8\n\t.byte 0xf3, 0x41, 0x90\n\tmov %%r8, %1"
               : "+a"(rax), "+c"(r8)
               :
               : "r8");
  // Others exchange the registers, as without F3.
  if (on_intel()) {
    CHECK(rax == 1);
    CHECK(r8 == 2);
  }

  SystemMachine m;
  m.long_mode(0);
  m.gate64(14, SystemMachine::kHandler, 0xe, 0, 0);
  m.cpu.state.gpr[kRax] = 1;
  m.cpu.state.gpr[8] = 2;
  m.code(SystemMachine::kCode, {0xf3, 0x41, 0x90});
  m.step();
  CHECK(m.cpu.state.gpr[kRax] == 1);
  CHECK(m.cpu.state.gpr[8] == 2);
}

TEST_CASE("ENTER with a 66 prefix pushes two bytes and changes two of RBP") {
  const Pages pages;
  std::uint8_t* top = pages.page(1);
  std::uint64_t rsp = reinterpret_cast<std::uint64_t>(top), rbp = 0x1122334455667788;
  // Returning from other stacks is what R12 and R13 are for.
  asm volatile(
      "mov %%rsp, %%r12\n\t"
      "mov %%rbp, %%r13\n\t"
      "mov %0, %%rsp\n\t"
      "mov %1, %%rbp\n\t"
      ".byte 0x66, 0xc8, 16, 0, 0\n\t"
      "mov %%rsp, %0\n\t"
      "mov %%rbp, %1\n\t"
      "mov %%r12, %%rsp\n\t"
      "mov %%r13, %%rbp"
      : "+a"(rsp), "+c"(rbp)
      :
      : "r12", "r13", "memory");
  const std::uint64_t frame = reinterpret_cast<std::uint64_t>(top) - 2;
  CHECK(rsp == frame - 16);
  CHECK(rbp == (0x1122334455660000 | (frame & 0xffff)));
  CHECK(top[-2] == 0x88);
  CHECK(top[-3] == 0);

  SystemMachine m;
  m.long_mode(0);
  m.gate64(14, SystemMachine::kHandler, 0xe, 0, 0);
  const std::uint64_t stack = SystemMachine::kStack0;
  m.cpu.state.gpr[kRsp] = stack;
  m.cpu.state.gpr[kRbp] = 0x1122334455667788;
  m.code(SystemMachine::kCode, {0x66, 0xc8, 16, 0, 0});
  m.step();
  CHECK(m.cpu.state.gpr[kRsp] == stack - 18);
  CHECK(m.cpu.state.gpr[kRbp] == (0x1122334455660000 | ((stack - 2) & 0xffff)));
  CHECK(m.get<std::uint16_t>(stack - 2) == 0x7788);
}

// Linux/ia32 relies on it: its sigreturn loads null selectors with RPL 3.
TEST_CASE("a return to an outer level makes null selectors 0 and leaves the base of GS") {
  // The host's own interrupts return to this loop, a few hundred times a second.
  std::uint32_t selector = 3;
  asm volatile("mov %0, %%gs" : : "r"(selector));
  const auto begun = std::chrono::steady_clock::now();
  while (selector == 3 && std::chrono::steady_clock::now() - begun < std::chrono::seconds(5))
    asm volatile("mov %%gs, %0" : "=r"(selector));
  asm volatile("mov %0, %%gs" : : "r"(0));
  CHECK(selector == 0);

  SystemMachine m;
  m.long_mode(0);
  CpuState& s = m.cpu.state;
  for (const unsigned index : {kEs, kDs, kFs, kGs}) {
    s.segment[index] = {};
    s.segment[index].selector = static_cast<std::uint16_t>(index % 4);
  }
  s.segment[kGs].selector = 3;
  s.segment[kGs].base = 0x123456789000;
  const std::uint64_t stack = SystemMachine::kStack0 - 40;
  s.gpr[kRsp] = stack;
  m.put<std::uint64_t>(stack, SystemMachine::kHandler);
  m.put<std::uint64_t>(stack + 8, SystemMachine::kLong3);
  m.put<std::uint64_t>(stack + 16, 2);
  m.put<std::uint64_t>(stack + 24, SystemMachine::kStack3);
  m.put<std::uint64_t>(stack + 32, SystemMachine::kData3);
  m.cpu.state_replaced();
  m.code(SystemMachine::kCode, {0x48, 0xcf});
  m.step();
  CHECK(m.cpu.rip() == SystemMachine::kHandler);
  CHECK(m.cpu.cpl() == 3);
  for (const unsigned index : {kEs, kDs, kFs, kGs}) CHECK(s.segment[index].selector == 0);
  CHECK(s.segment[kGs].base == 0x123456789000);
}

TEST_CASE("what comes between two iterations of a REP instruction finds RF in its frame") {
  constexpr std::uint64_t kIterations = 3;
  std::vector<TrapSeen> traps;
  g_traps = &traps;
  struct sigaction action {
  }, before{};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, &before);
  std::array<char, 8> from{}, to{};
  const char* source = from.data();
  char* destination = to.data();
  std::uint64_t count = kIterations;
  // The flags go through memory of our own: the red zone is not ours to push on.
  asm volatile(
      "sub $256, %%rsp\n\t"
      "pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\t"
      "nop\n\t"
      "rep movsb\n\t"
      "pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq\n\t"
      "add $256, %%rsp"
      : "+S"(source), "+D"(destination), "+c"(count)
      :
      : "cc", "memory");
  sigaction(SIGTRAP, &before, nullptr);
  REQUIRE(traps.size() >= kIterations + 1);  // one before, then one an iteration
  for (std::size_t n = 0; n <= kIterations; ++n) {
    INFO(n);
    CHECK(traps[n].rcx == kIterations - n);
    if (on_intel()) CHECK(traps[n].resume_flag == (n != 0 && n != kIterations));
  }

  const std::uint64_t flags_at = SystemMachine::kStack0 - 24;
  const auto machine_at_rep = [](SystemMachine& m) {
    m.long_mode(0);
    for (const unsigned vector : {1U, 2U, 32U})
      m.gate64(vector, SystemMachine::kHandler, 0xe, 0, 0);
    m.code(SystemMachine::kHandler, {0x48, 0xcf});  // IRETQ
    m.code(SystemMachine::kCode, {0xf3, 0xa4});     // REP MOVSB
    m.cpu.state.gpr[kRsp] = SystemMachine::kStack0;
    m.cpu.state.gpr[kRcx] = kIterations;
    m.cpu.state.gpr[kRsi] = 0x10000;
    m.cpu.state.gpr[kRdi] = 0x11000;
  };
  const auto deliver = [&](SystemMachine& m) {
    m.fault();
    REQUIRE(m.cpu.rip() == SystemMachine::kHandler);
    return (m.get<std::uint64_t>(flags_at) & kRf) != 0;
  };
  for (std::size_t n = 1; n <= kIterations; ++n) {
    INFO(n);
    const bool inside = n != kIterations;
    SystemMachine trapped;
    machine_at_rep(trapped);
    trapped.cpu.flags.assign<kTf>(n == 1);
    for (std::size_t i = 0; i < n; ++i) {
      if (i + 1 == n) trapped.cpu.flags.assign<kTf>(true);
      trapped.step();
    }
    CHECK(deliver(trapped) == inside);

    SystemMachine interrupted;
    machine_at_rep(interrupted);
    for (std::size_t i = 0; i < n; ++i) interrupted.step();
    interrupted.cpu.flags.assign<kIf>(true);
    interrupted.cpu.set_interrupt_request(true);
    CHECK(deliver(interrupted) == inside);

    SystemMachine hurried;
    machine_at_rep(hurried);
    for (std::size_t i = 0; i < n; ++i) hurried.step();
    hurried.cpu.state.nmi_pending = true;
    CHECK(deliver(hurried) == inside);
  }
}

// Measured on the host with ptrace and DR0: one #DB, before the first iteration.
TEST_CASE("an instruction breakpoint on a REP instruction is met once") {
  SystemMachine m;
  m.long_mode(0);
  m.gate64(1, SystemMachine::kHandler, 0xe, 0, 0);
  m.gate64(32, SystemMachine::kHandler, 0xe, 0, 0);
  // The handler sets RF in its frame, as a kernel's does: OR DWORD [RSP+16], 10000H; IRETQ.
  m.code(SystemMachine::kHandler, {0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x48, 0xcf});
  m.code(SystemMachine::kCode, {0xf3, 0xa4, 0x90, 0xf4});  // REP MOVSB, NOP, HLT
  CpuState& s = m.cpu.state;
  s.gpr[kRsp] = SystemMachine::kStack0;
  s.gpr[kRcx] = 4;
  s.gpr[kRsi] = 0x10000;
  s.gpr[kRdi] = 0x11000;
  s.dr[0] = SystemMachine::kCode;
  s.dr7 = 0x401;
  m.cpu.state_replaced();
  m.fault();
  CHECK(m.cpu.rip() == SystemMachine::kHandler);
  CHECK((s.dr6 & 1) == 1);
  CHECK(s.gpr[kRcx] == 4);
  s.dr6 = 0;
  m.step();  // OR
  m.step();  // IRETQ
  for (std::uint64_t left = 4; left-- > 0;) {
    m.step();
    CHECK(s.gpr[kRcx] == left);
    if (left != 2) continue;
    // An interrupt in the middle, whose handler returns with the RF it found.
    m.code(SystemMachine::kHandler, {0x48, 0xcf});
    m.cpu.flags.assign<kIf>(true);
    m.cpu.set_interrupt_request(true);
    m.fault();
    m.cpu.set_interrupt_request(false);
    CHECK(m.cpu.rip() == SystemMachine::kHandler);
    m.step();
    CHECK(m.cpu.rip() == SystemMachine::kCode);
  }
  m.step();  // NOP
  CHECK(m.cpu.rip() == SystemMachine::kCode + 3);
  CHECK(s.dr6 == 0);
}
