// Which #DB comes where: TF over SYSCALL and SYSRET, loads of SS, steps onto
// breakpoints, BTF, and what DR6 says of it.
#include <doctest/doctest.h>

#include <vector>

#include "tests/cpu/system_machine.h"

namespace chronovisor {
namespace {

using M = test::SystemMachine;

constexpr std::uint64_t kKernel = 0xa000;
constexpr std::uint64_t kFreshDr6 = 0xffff0ff0;
constexpr std::uint64_t kBs = 0x4000;

struct Trap {
  std::uint64_t rip = 0;
  std::uint64_t dr6 = 0;
  unsigned cpl = 0;
  bool operator==(const Trap&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Trap& trap) {
  return out << std::hex << trap.rip << " dr6 " << trap.dr6 << " cpl " << trap.cpl;
}

/// 64-bit code at `cpl` whose #DB handler returns at once.
void prepare(M& m, unsigned cpl) {
  m.long_mode(cpl);
  m.gate64(1, M::kHandler, 0xe, 0, 0);
  m.code(M::kHandler, {0x48, 0xcf});
  m.cpu.state.dr6 = kFreshDr6;
}

enum class HandlerKind : std::uint8_t { clears_dr6, leaves_dr6 };

/// Runs until RIP is `end` (`most` steps and deliveries at the most). The handler
/// sets RF in its frame where an instruction breakpoint was reported, as kernels do.
std::vector<Trap> traps_until(M& m, std::uint64_t end,
                              HandlerKind handler = HandlerKind::clears_dr6) {
  std::vector<Trap> traps;
  for (int most = 60; most > 0 && m.cpu.rip() != end; --most) {
    const Position before = m.cpu.position();
    m.cpu.run(before, m.cpu.deliveries() + 1);
    if (m.cpu.rip() != M::kHandler) continue;
    const std::uint64_t frame = m.cpu.gpr(kRsp);
    const std::uint64_t dr6 = m.cpu.state.dr6;
    traps.push_back({m.get<std::uint64_t>(frame), dr6,
                     static_cast<unsigned>(m.get<std::uint16_t>(frame + 8) & 3)});
    if ((dr6 & 0xf) != 0) {
      m.put<std::uint64_t>(frame + 16, m.get<std::uint64_t>(frame + 16) | kRf);
    }
    if (handler == HandlerKind::clears_dr6) m.cpu.state.dr6 = kFreshDr6;
  }
  return traps;
}

std::vector<std::uint64_t> rips(const std::vector<Trap>& traps) {
  std::vector<std::uint64_t> out;
  for (const Trap& trap : traps) out.push_back(trap.rip - M::kCode);
  return out;
}

void set_trap_flag(M& m) { m.cpu.set_flags(kFlagsAlwaysOne | kTf); }

void break_at(M& m, unsigned n, std::uint64_t address) {
  m.cpu.state.dr[n] = address;
  m.cpu.state.dr7 = 0x400 | (2U << (2 * n));
  m.cpu.state_replaced();
}

/// NOP; SYSCALL; NOP; NOP; NOP in ring 3, and a kernel at kKernel.
void prepare_system_call(M& m, std::uint64_t fmask, std::initializer_list<std::uint8_t> kernel) {
  prepare(m, 3);
  // What IRETQ finds for the SS of both: TR is loaded already.
  m.put<std::uint64_t>(M::kGdt + 0x30, 0x00cf93000000ffff);
  m.put<std::uint64_t>(M::kGdt + 0x50, 0x00cff3000000ffff);
  m.cpu.state.msr.star = (0x48ULL << 48) | (std::uint64_t{M::kLong0} << 32);
  m.cpu.state.msr.lstar = kKernel;
  m.cpu.state.msr.fmask = fmask;
  m.code(M::kCode, {0x90, 0x0f, 0x05, 0x90, 0x90, 0x90, 0x90});
  m.code(kKernel, kernel);
}

}  // namespace

TEST_CASE("TF over SYSCALL and SYSRET: it is looked at as they leave it") {
  SUBCASE("a kernel that masks TF sees no trap, and the user one behind the call") {
    M m;
    prepare_system_call(m, kTf, {0x90, 0x90, 0x48, 0x0f, 0x07});
    set_trap_flag(m);
    const auto traps = traps_until(m, M::kCode + 6);
    CHECK(rips(traps) == std::vector<std::uint64_t>{1, 3, 4, 5});
    for (const Trap& trap : traps) {
      CHECK(trap.cpl == 3);
      CHECK(trap.dr6 == (kFreshDr6 | kBs));
    }
  }
  SUBCASE("SYSRET that loads TF traps at once") {
    M m;
    prepare_system_call(m, kTf, {0x41, 0x81, 0xcb, 0, 1, 0, 0, 0x48, 0x0f, 0x07});
    const auto traps = traps_until(m, M::kCode + 6);
    CHECK(rips(traps) == std::vector<std::uint64_t>{3, 4, 5});
  }
  SUBCASE("a kernel that does not mask it is stepped from its first instruction on") {
    M m;
    prepare_system_call(m, 0, {0x90, 0x90, 0x48, 0x0f, 0x07});
    set_trap_flag(m);
    const auto traps = traps_until(m, M::kCode + 6);
    REQUIRE(traps.size() == 7);
    CHECK(traps[1] == Trap{kKernel, kFreshDr6 | kBs, 0});
    CHECK(traps[2] == Trap{kKernel + 1, kFreshDr6 | kBs, 0});
    CHECK(traps[4] == Trap{M::kCode + 3, kFreshDr6 | kBs, 3});
  }
}

// Measured on hosts with ptrace.
TEST_CASE("a load of SS takes its own single-step trap away, and INT1 reports none") {
  M m;
  prepare(m, 0);
  m.cpu.gpr(kRax) = M::kData0;
  m.code(M::kCode, {0x8e, 0xd0, 0xf1, 0x90, 0x90});
  set_trap_flag(m);
  const auto traps = traps_until(m, M::kCode + 4);
  REQUIRE(!traps.empty());
  CHECK(traps[0] == Trap{M::kCode + 3, kFreshDr6, 0});
}

TEST_CASE("of loads of SS in a row every second one holds the trap back") {
  for (const bool pop : {false, true}) {
    CAPTURE(pop);
    M m;
    prepare(m, 0);
    m.cpu.gpr(kRax) = M::kData0;
    if (pop) {  // POP SS does not exist in 64-bit mode: compatibility mode
      m.put<std::uint64_t>(M::kGdt + 0x08, 0x00cf9b000000ffff);
      m.cpu.state.segment[kCs] = {M::kCode0, 0xc09b, 0xffffffff, 0};
      m.cpu.gpr(kRsp) = M::kStack0 - 64;
      for (unsigned n = 0; n < 8; ++n) m.put<std::uint32_t>(M::kStack0 - 64 + 4 * n, M::kData0);
      m.cpu.state_replaced();
      m.code(M::kCode, {0x17, 0x17, 0x17, 0x17, 0x90, 0x90, 0x90, 0x90});
    } else {
      m.code(M::kCode, {0x8e, 0xd0, 0x8e, 0xd0, 0x8e, 0xd0, 0x8e, 0xd0, 0x90, 0x90, 0x90, 0x90});
    }
    set_trap_flag(m);
    const auto traps = traps_until(m, M::kCode + (pop ? 7 : 11));
    CHECK(rips(traps) ==
          (pop ? std::vector<std::uint64_t>{2, 4, 5, 6} : std::vector<std::uint64_t>{4, 8, 9, 10}));
  }
}

TEST_CASE("an interrupt is held back by the first of several loads of SS only") {
  M m;
  prepare(m, 0);
  m.gate64(0x20, M::kHandler, 0xe, 0, 0);
  m.cpu.gpr(kRax) = M::kData0;
  m.code(M::kCode, {0x8e, 0xd0, 0x8e, 0xd0, 0x90});
  m.step();
  m.cpu.set_flags(kFlagsAlwaysOne | kIf);
  m.cpu.set_interrupt_request(true);
  m.cpu.run(m.cpu.position(), 1);
  CHECK(m.cpu.rip() == M::kCode + 4);  // the second load was executed
  m.cpu.run(m.cpu.position(), 1);
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.get<std::uint64_t>(m.cpu.gpr(kRsp)) == M::kCode + 4);
}

TEST_CASE("an instruction breakpoint behind a load of SS is not met") {
  for (const bool load : {true, false}) {
    CAPTURE(load);
    M m;
    prepare(m, 0);
    m.cpu.gpr(kRax) = M::kData0;
    m.code(M::kCode, {static_cast<std::uint8_t>(load ? 0x8e : 0x89), 0xd0, 0x90, 0x90});
    break_at(m, 0, M::kCode + 2);
    const auto traps = traps_until(m, M::kCode + 3);
    CHECK(traps.size() == (load ? 0 : 1));
  }
  // Behind the second of two loads it is.
  M m;
  prepare(m, 0);
  m.cpu.gpr(kRax) = M::kData0;
  m.code(M::kCode, {0x8e, 0xd0, 0x8e, 0xd0, 0x90, 0x90});
  break_at(m, 3, M::kCode + 4);
  const auto traps = traps_until(m, M::kCode + 5);
  REQUIRE(traps.size() == 1);
  CHECK(traps[0] == Trap{M::kCode + 4, kFreshDr6 | 8, 0});
}

TEST_CASE("a step onto an instruction breakpoint is one #DB that reports both") {
  M m;
  prepare(m, 0);
  m.code(M::kCode, {0x90, 0x90, 0x90, 0x90});
  break_at(m, 2, M::kCode + 1);
  set_trap_flag(m);
  const auto traps = traps_until(m, M::kCode + 3);
  CHECK(traps == std::vector<Trap>{{M::kCode + 1, kFreshDr6 | kBs | 4, 0},
                                   {M::kCode + 2, kFreshDr6 | kBs, 0}});
}

TEST_CASE("a #DB clears the breakpoint bits of DR6 that did not match, and no others") {
  SUBCASE("a single step") {
    M m;
    prepare(m, 0);
    m.cpu.state.dr6 = kFreshDr6 | 0xb;
    m.code(M::kCode, {0x90, 0x90});
    set_trap_flag(m);
    const auto traps = traps_until(m, M::kCode + 2, HandlerKind::leaves_dr6);
    REQUIRE(!traps.empty());
    CHECK(traps[0].dr6 == (kFreshDr6 | kBs));
  }
  SUBCASE("a breakpoint") {
    M m;
    prepare(m, 0);
    m.cpu.state.dr6 = kFreshDr6 | kBs | 0x2000 | 3;
    m.code(M::kCode, {0x90, 0x90, 0x90});
    break_at(m, 2, M::kCode + 1);
    const auto traps = traps_until(m, M::kCode + 2, HandlerKind::leaves_dr6);
    REQUIRE(traps.size() == 1);
    CHECK(traps[0].dr6 == (kFreshDr6 | kBs | 0x2000 | 4));
  }
}

TEST_CASE("with DEBUGCTL.BTF a step ends at a taken branch, once") {
  struct Case {
    std::initializer_list<std::uint8_t> code;
    std::uint64_t first;  ///< offset of the first trap
    std::uint64_t end;
  };
  const Case cases[] = {
      {{0x90, 0x90, 0xeb, 0x01, 0x90, 0x90, 0x90}, 5, 6},        // JMP over a NOP
      {{0x90, 0xeb, 0x00, 0x90, 0x90}, 3, 4},                    // JMP to the next instruction
      {{0x90, 0x75, 0x01, 0x90, 0xeb, 0x00, 0x90, 0x90}, 4, 7},  // JNZ, taken
      {{0x90, 0x74, 0x01, 0x90, 0xeb, 0x00, 0x90, 0x90}, 6, 7},  // JZ, not taken
      {{0xe8, 0x01, 0x00, 0x00, 0x00, 0x90, 0x90, 0x90}, 6, 7},  // CALL
      {{0xf3, 0xa4, 0xeb, 0x00, 0x90, 0x90}, 4, 5},              // REP MOVSB is no branch
      {{0xff, 0xe3, 0x90, 0x90, 0x90, 0x90}, 4, 5},              // JMP RBX
  };
  for (const Case& c : cases) {
    CAPTURE(c.first);
    M m;
    prepare(m, 0);
    m.cpu.gpr(kRcx) = 3;
    m.cpu.gpr(kRsi) = 0x10000;
    m.cpu.gpr(kRdi) = 0x11000;
    m.cpu.gpr(kRbx) = M::kCode + 4;
    m.code(M::kCode, c.code);
    m.cpu.state.msr.debug_control = 2;
    set_trap_flag(m);
    const auto traps = traps_until(m, M::kCode + c.end);
    REQUIRE(!traps.empty());
    CHECK(traps[0] == Trap{M::kCode + c.first, kFreshDr6 | kBs, 0});
    CHECK(m.cpu.state.msr.debug_control == 0);
  }
}

TEST_CASE("any #DB ends the recording and stepping of branches") {
  M m;
  prepare(m, 0);
  m.code(M::kCode, {0x90, 0xf1, 0x90});
  m.cpu.state.msr.debug_control = 3;
  static_cast<void>(traps_until(m, M::kCode + 2));
  CHECK(m.cpu.state.msr.debug_control == 0);
}

}  // namespace chronovisor
