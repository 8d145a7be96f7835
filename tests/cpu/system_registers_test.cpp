#include <doctest/doctest.h>

#include <string>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/interpret/system/control_registers.h"
#include "vmm/cpu/interpret/system/cpuid.h"
#include "vmm/cpu/interpret/system/msr.h"

namespace chronovisor {
namespace {

using M = test::SystemMachine;

TEST_CASE("CR0 refuses combinations that make no sense") {
  M m;
  m.protected_mode(0);
  CHECK_THROWS_AS(write_cr0(m.cpu, kCr0Pg), GuestFault);
  CHECK_THROWS_AS(write_cr0(m.cpu, kCr0Pe | kCr0Nw), GuestFault);
  CHECK_THROWS_AS(write_cr0(m.cpu, kCr0Pe | (1ULL << 32)), GuestFault);
  m.cpu.state.msr.efer = kEferLme;
  CHECK_THROWS_AS(write_cr0(m.cpu, kCr0Pe | kCr0Pg), GuestFault);
  m.cpu.state.cr4 = kCr4Pae;
  write_cr0(m.cpu, kCr0Pe | kCr0Pg);
  CHECK(m.cpu.long_mode_active());
  CHECK(m.cpu.mode() == CpuMode::compatibility);
  write_cr0(m.cpu, kCr0Pe);
  CHECK_FALSE(m.cpu.long_mode_active());
}

TEST_CASE("CR4 and CR3 check reserved bits and long mode") {
  M m;
  m.long_mode(0);
  CHECK_THROWS_AS(write_cr4(m.cpu, 0), GuestFault);
  CHECK_THROWS_AS(write_cr4(m.cpu, kCr4Pae | kCr4Vme), GuestFault);
  CHECK_THROWS_AS(write_cr3(m.cpu, M::kTables | (1ULL << 40)), GuestFault);
  CHECK_THROWS_AS(write_cr3(m.cpu, M::kTables | (1ULL << 63)), GuestFault);
  m.cpu.state.cr3 = M::kTables | 5;
  CHECK_THROWS_AS(write_cr4(m.cpu, kCr4Pae | kCr4Pcide), GuestFault);
  m.cpu.state.cr3 = M::kTables;
  write_cr4(m.cpu, kCr4Pae | kCr4Pcide);
  write_cr3(m.cpu, M::kTables | 7 | (1ULL << 63));
  CHECK(m.cpu.state.cr3 == (M::kTables | 7));
  CHECK_THROWS_AS(write_cr0(m.cpu, kCr0Pe), GuestFault);
}

TEST_CASE("MSRs check what they are given") {
  M m;
  m.long_mode(0);
  CHECK_THROWS_AS(write_msr(m.cpu, 0xc0000080, kEferSce), GuestFault);  // LME while paging
  CHECK_THROWS_AS(write_msr(m.cpu, 0xc0000082, 1ULL << 47), GuestFault);
  CHECK_THROWS_AS(write_msr(m.cpu, 0x277, 2), GuestFault);
  CHECK_THROWS_AS(write_msr(m.cpu, 0x201, 1ULL << 40), GuestFault);
  CHECK_THROWS_AS((void)read_msr(m.cpu, 0x3a), GuestFault);
  CHECK_THROWS_AS(write_msr(m.cpu, 0xfe, 0), GuestFault);
  write_msr(m.cpu, 0xc0000100, 0x12345);
  CHECK(m.cpu.state.segment[kFs].base == 0x12345);
  CHECK(read_msr(m.cpu, 0x1b) == 0xfee00900);
}

TEST_CASE("writing the TSC and TSC_ADJUST move each other") {
  M m;
  m.protected_mode(0);
  write_msr(m.cpu, 0x10, 5000);
  CHECK(time_stamp_counter(m.cpu) == 5000);
  CHECK(read_msr(m.cpu, 0x3b) == 4000);
  CHECK(m.environment.told_offset == 4000);
  write_msr(m.cpu, 0x3b, 0);
  CHECK(read_msr(m.cpu, 0x10) == 1000);
}

TEST_CASE("CPUID is one fixed model") {
  const CpuidState state{};
  const CpuidResult vendor = cpuid(0, 0, state);
  CHECK(vendor.eax == 0x16);
  CHECK(vendor.ebx == 0x756e6547);
  CHECK(cpuid(1, 0, state).eax == 0x000106ca);
  CHECK((cpuid(1, 0, state).ecx & (1U << 27)) == 0);
  CHECK((cpuid(1, 0, {kCr4Osxsave, 1, true, 0}).ecx & (1U << 27)) != 0);
  CHECK(cpuid(0x15, 0, state).ecx == 1'000'000'000);
  CHECK(cpuid(0x40000000, 0, state).eax == cpuid(0x16, 0, state).eax);
  CHECK(cpuid(0x80000008, 0, state).eax == 0x3028);
  std::string brand;
  for (std::uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidResult part = cpuid(leaf, 0, state);
    brand.append(reinterpret_cast<const char*>(&part), 16);
  }
  CHECK(std::string(brand.c_str()) == "Chronovisor virtual CPU @ 1.00GHz");
}

TEST_CASE("SYSCALL and SYSRET change between user and kernel") {
  M m;
  m.long_mode(3);
  m.cpu.state.msr.star = (0x0048ULL << 48) | (std::uint64_t{M::kLong0} << 32);
  m.cpu.state.msr.lstar = M::kHandler;
  m.cpu.state.msr.fmask = kIf;
  m.cpu.set_flags(kIf | kCf);
  m.code(M::kCode, {0x0f, 0x05});
  m.code(M::kHandler, {0x48, 0x0f, 0x07});
  m.step();
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.cpu.gpr(kRcx) == M::kCode + 2);
  CHECK(m.cpu.gpr(kR11) == (kIf | kCf | 2));
  CHECK_FALSE(m.cpu.flags.test(kIf));
  m.step();
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.rip() == M::kCode + 2);
  CHECK(m.cpu.flags.test(kIf));
  CHECK(m.cpu.state.segment[kCs].selector == 0x5b);
  CHECK(m.cpu.long64());
}

TEST_CASE("SYSRET to an address that is not canonical faults in the kernel") {
  M m;
  m.long_mode(0);
  m.gate64(kGeneralProtection, M::kHandler, kInterruptGate32, 0, 0);
  m.cpu.gpr(kRcx) = 1ULL << 47;
  m.code(M::kCode, {0x48, 0x0f, 0x07});
  m.fault();
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.get<std::uint64_t>(m.cpu.gpr(kRsp) + 16) == M::kLong0);
}

TEST_CASE("the I/O permission bitmap decides about ports above IOPL") {
  M m;
  m.protected_mode(3);
  m.gate32(kGeneralProtection, M::kCode0, M::kHandler, kInterruptGate32, 0);
  m.put<std::uint8_t>(M::kTss + 0x68 + 0x60 / 8, 0x02);  // port 0x61 is denied
  m.environment.ports[0x60] = 0xab;
  m.code(M::kCode, {0xe4, 0x60, 0xe4, 0x61});
  m.step();
  CHECK(m.cpu.reg<std::uint8_t>(kRax) == 0xab);
  m.fault();
  CHECK(m.cpu.rip() == M::kHandler);
}

TEST_CASE("each iteration of REP OUTSB is a step") {
  M m;
  m.protected_mode(0);
  m.code(M::kCode, {0xf3, 0x6e});
  m.put<std::uint32_t>(0xa000, 0x00332211);
  m.cpu.gpr(kRsi) = 0xa000;
  m.cpu.gpr(kRcx) = 3;
  m.cpu.gpr(kRdx) = 0x3f8;
  const std::uint64_t start = m.cpu.position().steps;
  m.step();
  CHECK(m.cpu.gpr(kRcx) == 2);
  CHECK(m.cpu.rip() == M::kCode);
  m.step();
  m.step();
  CHECK(m.cpu.position().steps == start + 3);
  CHECK(m.cpu.rip() == M::kCode + 2);
  CHECK(m.environment.ports[0x3f8] == 0x33);
}

TEST_CASE("STI holds interrupts off for one instruction only when IF was clear") {
  M m;
  m.protected_mode(0);
  m.code(M::kCode, {0xfb, 0xfb});
  m.step();
  CHECK(m.cpu.state.shadow == kStiShadow);
  m.step();
  CHECK(m.cpu.state.shadow == kNoShadow);
}

TEST_CASE("loading SS checks privilege; a null selector is refused outside 64-bit mode") {
  M m;
  m.protected_mode(0);
  CHECK_THROWS_AS(load_segment(m.cpu, kSs, M::kData3), GuestFault);
  CHECK_THROWS_AS(load_segment(m.cpu, kSs, 0), GuestFault);
  CHECK_THROWS_AS(load_segment(m.cpu, kDs, 0x78), GuestFault);
  CHECK_THROWS_AS(load_segment(m.cpu, kDs, 0x80), GuestFault);
  load_segment(m.cpu, kFs, 0);
  CHECK_FALSE(m.cpu.state.segment[kFs].present());
  load_segment(m.cpu, kDs, M::kData3);
  CHECK(m.cpu.state.segment[kDs].selector == M::kData3);
}

TEST_CASE("general detect turns a debug register access into #DB with BD") {
  M m;
  m.protected_mode(0);
  m.gate32(kDebug, M::kCode0, M::kHandler, kInterruptGate32, 0);
  m.cpu.state.dr7 = 0x400 | (1U << 13);
  m.code(M::kCode, {0x0f, 0x21, 0xf0});
  m.fault();
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK((m.cpu.state.dr6 & (1U << 13)) != 0);
  CHECK((m.cpu.state.dr7 & (1U << 13)) == 0);
}

// Linux relies on it: its #DB handler has one stack (tools/testing/selftests/x86/mov_ss_trap.c).
TEST_CASE("INT1 behind a MOV SS that met a breakpoint is one #DB, INT3 is followed by another") {
  const auto run = [](std::uint8_t opcode) {
    M m;
    m.protected_mode(0);
    m.gate32(kDebug, M::kCode0, M::kHandler, kInterruptGate32, 0);
    m.gate32(kBreakpoint, M::kCode0, M::kHandler + 0x100, kInterruptGate32, 0);
    m.code(M::kHandler, {0x90});
    m.code(M::kHandler + 0x100, {0x90});
    m.put<std::uint16_t>(0xa000, M::kData0);
    m.cpu.state.dr[0] = 0xa000;
    m.cpu.state.dr7 = 0x400 | 2 | (3ULL << 16) | (1ULL << 18);  // read or write, two bytes
    m.cpu.state.dr6 = 0xffff0ff0;
    m.cpu.state_replaced();
    m.code(M::kCode, {0x8e, 0x15, 0, 0xa0, 0, 0, opcode});  // MOV SS, [A000H]; opcode
    m.step();
    CHECK(m.cpu.rip() == M::kCode + 6);
    m.step();
    CHECK((m.cpu.state.dr6 & 1) == (opcode == 0xf1 ? 1 : 0));
    m.cpu.run(m.cpu.position(), 1);
    return m.cpu.rip();
  };
  CHECK(run(0xf1) == M::kHandler + 1);  // nothing was left to deliver: the NOP ran
  CHECK(run(0xcc) == M::kHandler);      // before the first instruction of #BP's handler
}

TEST_CASE("an I/O breakpoint is a trap after the access, with CR4.DE only") {
  constexpr std::uint64_t kPort = 0x3f9;
  const auto run = [](std::initializer_list<std::uint8_t> instruction, std::uint64_t port,
                      std::uint64_t cr4) {
    M m;
    m.protected_mode(0);
    m.gate32(kDebug, M::kCode0, M::kHandler, kInterruptGate32, 0);
    m.cpu.state.cr4 = cr4;
    m.cpu.state.dr[3] = kPort;
    m.cpu.state.dr7 = 0x400 | 0xc0 | (2ULL << 28);
    m.cpu.state_replaced();
    m.code(M::kCode, instruction);
    m.cpu.gpr(kRdx) = port;
    m.cpu.gpr(kRsi) = m.cpu.gpr(kRdi) = 0xa000;
    m.cpu.gpr(kRcx) = 2;
    m.step();
    CHECK(m.cpu.rip() != M::kHandler);  // a trap is delivered behind the step
    m.fault();
    if (m.cpu.rip() != M::kHandler) return std::uint64_t{0};
    CHECK((m.cpu.state.dr6 & 0xf) == 8);
    return std::uint64_t{m.get<std::uint32_t>(m.cpu.gpr(kRsp))};
  };
  CHECK(run({0xee, 0x90}, kPort, kCr4De) == M::kCode + 1);       // OUT DX, AL
  CHECK(run({0xec, 0x90}, kPort, kCr4De) == M::kCode + 1);       // IN AL, DX
  CHECK(run({0xef, 0x90}, kPort - 3, kCr4De) == M::kCode + 1);   // OUT DX, EAX
  CHECK(run({0x66, 0xef, 0x90, 0x90}, kPort - 2, kCr4De) == 0);  // OUT DX, AX
  CHECK(run({0xee, 0x90}, kPort - 1, kCr4De) == 0);
  CHECK(run({0xee, 0x90}, kPort, 0) == 0);
  CHECK(run({0xf3, 0x6c, 0x90}, kPort, kCr4De) == M::kCode);       // REP INSB
  CHECK(run({0xf3, 0x6e, 0x90}, kPort, kCr4De) == M::kCode);       // REP OUTSB
  CHECK(run({0xa0, 0xf9, 0x03, 0, 0, 0x90}, kPort, kCr4De) == 0);  // MOV AL, [3F9H]
}

TEST_CASE("RDRAND draws from the seeded stream and RDPID is not offered") {
  M m;
  m.protected_mode(0);
  m.gate32(kInvalidOpcode, M::kCode0, M::kHandler, kInterruptGate32, 0);
  m.code(M::kCode, {0x0f, 0xc7, 0xf0, 0xf3, 0x0f, 0xc7, 0xf8});
  m.step();
  CHECK(m.cpu.gpr(kRax) == 0x1111);
  CHECK(m.cpu.flags.cf());
  CHECK(m.cpu.state.random_counter == 1);
  m.fault();
  CHECK(m.cpu.rip() == M::kHandler);
}

TEST_CASE("UMIP keeps table addresses from user code") {
  M m;
  m.protected_mode(3);
  m.gate32(kGeneralProtection, M::kCode0, M::kHandler, kInterruptGate32, 0);
  m.cpu.state.cr4 = kCr4Umip;
  m.cpu.state_replaced();
  m.code(M::kCode, {0x0f, 0x01, 0x05, 0x00, 0xa0, 0x00, 0x00});
  m.fault();
  CHECK(m.cpu.rip() == M::kHandler);
}

}  // namespace
}  // namespace chronovisor
