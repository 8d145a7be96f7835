#include <doctest/doctest.h>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/interpret/system/events.h"

namespace chronovisor {
namespace {

using M = test::SystemMachine;

TEST_CASE("a real-mode INT goes through the vector table, and IRET comes back") {
  M m;
  m.real_mode();
  m.put<std::uint32_t>(0x21 * 4, 0x0900'0010);
  m.code(M::kCode, {0xcd, 0x21});
  m.code(0x9010, {0xcf});
  m.cpu.set_flags(kIf | kCf);
  m.step();
  CHECK(m.cpu.state.segment[kCs].selector == 0x900);
  CHECK(m.cpu.rip() == 0x10);
  CHECK(m.cpu.gpr(kRsp) == 0x6ffa);
  CHECK(m.get<std::uint16_t>(0x6ffa) == M::kCode + 2);
  CHECK((m.get<std::uint16_t>(0x6ffe) & (kIf | kCf)) == (kIf | kCf));
  CHECK_FALSE(m.cpu.flags.test(kIf));
  m.step();
  CHECK(m.cpu.rip() == M::kCode + 2);
  CHECK(m.cpu.flags.test(kIf));
  CHECK(m.cpu.gpr(kRsp) == 0x7000);
}

TEST_CASE("an interrupt gate changes to the inner stack and IRET returns to user mode") {
  M m;
  m.protected_mode(3);
  m.gate32(0x80, M::kCode0, M::kHandler, kInterruptGate32, 3);
  m.code(M::kCode, {0xcd, 0x80});
  m.code(M::kHandler, {0xcf});
  m.cpu.set_flags(kIf);
  m.step();
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 - 20);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 4) == M::kData3);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 8) == M::kStack3);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 16) == M::kCode3);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 20) == M::kCode + 2);
  CHECK_FALSE(m.cpu.flags.test(kIf));
  m.cpu.state.segment[kDs] = flat_stack(M::kData0, 0);
  m.step();
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.rip() == M::kCode + 2);
  CHECK(m.cpu.gpr(kRsp) == M::kStack3);
  CHECK(m.cpu.flags.test(kIf));
  CHECK_FALSE(m.cpu.state.segment[kDs].present());
  CHECK(m.cpu.state.segment[kEs].present());
}

TEST_CASE("INT through a privileged gate is #GP with the vector in the error code") {
  M m;
  m.protected_mode(3);
  m.gate32(0x80, M::kCode0, M::kHandler, kInterruptGate32, 0);
  m.gate32(kGeneralProtection, M::kCode0, M::kHandler + 16, kInterruptGate32, 0);
  m.code(M::kCode, {0xcd, 0x80});
  m.fault();
  CHECK(m.cpu.rip() == M::kHandler + 16);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp)) == 0x80 * 8 + 2);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp) + 4) == M::kCode);
  CHECK((m.get<std::uint32_t>(m.cpu.gpr(kRsp) + 12) & kRf) != 0);
}

TEST_CASE("an exception without a usable handler becomes #DF, and then shutdown") {
  M m;
  m.protected_mode(0);
  m.gate32(kDoubleFault, M::kCode0, M::kHandler, kInterruptGate32, 0);
  deliver_exception(m.cpu, GuestFault{kGeneralProtection, true, 0, 0});
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp)) == 0);
  CHECK_FALSE(m.cpu.state.shutdown);
  m.cpu.state.idtr.limit = 0;
  deliver_exception(m.cpu, GuestFault{kInvalidOpcode, false, 0, 0});
  CHECK(m.cpu.state.shutdown);
}

TEST_CASE("an external interrupt whose gate is bad gives #GP with EXT set") {
  M m;
  m.protected_mode(0);
  m.gate32(kGeneralProtection, M::kCode0, M::kHandler, kTrapGate32, 0);
  m.cpu.state.halted = true;
  deliver_external(m.cpu, 0x30);
  CHECK_FALSE(m.cpu.state.halted);
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp)) == 0x30 * 8 + 3);
}

TEST_CASE("an NMI blocks further ones until IRET") {
  M m;
  m.protected_mode(0);
  m.gate32(kNmi, M::kCode0, M::kHandler, kInterruptGate32, 0);
  m.code(M::kHandler, {0xcf});
  deliver_external(m.cpu, kNmi);
  CHECK(m.cpu.state.nmi_blocked);
  m.step();
  CHECK_FALSE(m.cpu.state.nmi_blocked);
  CHECK(m.cpu.rip() == M::kCode);
}

TEST_CASE("IRET enters virtual-8086 mode; INT there without IOPL 3 saves all segments") {
  M m;
  m.protected_mode(0);
  m.gate32(kGeneralProtection, M::kCode0, M::kHandler, kInterruptGate32, 0);
  const std::uint64_t frame = M::kStack0 - 36;
  const std::array<std::uint32_t, 9> values{0x10, 0x800, kVm | kIf, 0x500, 0x700, 1, 2, 3, 4};
  for (std::size_t n = 0; n < values.size(); ++n) m.put<std::uint32_t>(frame + 4 * n, values[n]);
  m.cpu.gpr(kRsp) = frame;
  m.code(M::kCode, {0xcf});
  m.code(0x8010, {0xcd, 0x21});
  m.step();
  CHECK(m.cpu.virtual8086());
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.state.segment[kGs].base == 0x40);
  CHECK(m.cpu.gpr(kRsp) == 0x500);
  m.fault();
  CHECK_FALSE(m.cpu.virtual8086());
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 - 40);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 4) == 4);   // GS
  CHECK(m.get<std::uint32_t>(M::kStack0 - 16) == 1);  // ES
  CHECK(m.get<std::uint32_t>(M::kStack0 - 20) == 0x700);
  CHECK((m.get<std::uint32_t>(M::kStack0 - 28) & kVm) != 0);
  CHECK_FALSE(m.cpu.state.segment[kDs].present());
}

TEST_CASE("a 64-bit gate aligns the stack, and uses the IST it names") {
  M m;
  m.long_mode(0);
  m.gate64(0x40, M::kHandler, kInterruptGate32, 0, 0);
  m.gate64(0x41, M::kHandler, kInterruptGate32, 0, 1);
  m.code(M::kHandler, {0x48, 0xcf});
  m.cpu.gpr(kRsp) = M::kStack0 - 4;
  deliver_external(m.cpu, 0x40);
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 - 16 - 40);
  CHECK(m.get<std::uint64_t>(M::kStack0 - 16 - 16) == M::kStack0 - 4);
  m.step();
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 - 4);
  CHECK(m.cpu.rip() == M::kCode);
  deliver_external(m.cpu, 0x41);
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 + 0x1000 - 40);
  CHECK(m.cpu.state.segment[kSs].selector == M::kData0);
}

TEST_CASE("a frame that cannot be pushed faults at its first push, the highest") {
  M m;
  m.long_mode(0);
  m.gate64(kPageFault, M::kHandler, kInterruptGate32, 0, 0);
  m.gate64(0x41, M::kHandler, kInterruptGate32, 0, 1);
  constexpr std::uint64_t kNotMapped = 0x200000;  // all above the 2 MiB
  for (const std::uint64_t stack : {kNotMapped + 0x1000, kNotMapped + 0x10}) {
    m.cpu.gpr(kRsp) = M::kStack0;
    m.put<std::uint64_t>(M::kTss + 0x24, stack);
    deliver_external(m.cpu, 0x41);
    CHECK(m.cpu.rip() == M::kHandler);
    CHECK(m.cpu.state.cr2 == stack - 8);
    CHECK(m.get<std::uint64_t>(m.cpu.gpr(kRsp)) == 2);  // a write where no page is
    CHECK(m.get<std::uint64_t>(kNotMapped - 24) == 0);
  }
}

TEST_CASE("a 64-bit gate from user mode loads a null SS") {
  M m;
  m.long_mode(3);
  m.gate64(kPageFault, M::kHandler, kInterruptGate32, 0, 0);
  deliver_exception(m.cpu, GuestFault{kPageFault, true, 6, 0xdead000});
  CHECK(m.cpu.state.cr2 == 0xdead000);
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.state.segment[kSs].selector == 0);
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 - 48);
  CHECK(m.get<std::uint64_t>(M::kStack0 - 48) == 6);
  CHECK(m.get<std::uint64_t>(M::kStack0 - 8) == M::kData3);
}

TEST_CASE("a call gate copies parameters inwards and RETF releases them on both stacks") {
  M m;
  m.protected_mode(3);
  m.code(M::kCode, {0x9a, 0, 0, 0, 0, M::kCallGateSelector, 0});
  m.code(M::kHandler, {0xca, 8, 0});
  m.cpu.gpr(kRsp) = M::kStack3 - 8;
  m.put<std::uint32_t>(M::kStack3 - 8, 0x11);
  m.put<std::uint32_t>(M::kStack3 - 4, 0x22);
  m.step();
  CHECK(m.cpu.cpl() == 0);
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.cpu.gpr(kRsp) == M::kStack0 - 24);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 16) == 0x11);
  CHECK(m.get<std::uint32_t>(M::kStack0 - 12) == 0x22);
  m.step();
  CHECK(m.cpu.cpl() == 3);
  CHECK(m.cpu.rip() == M::kCode + 7);
  CHECK(m.cpu.gpr(kRsp) == M::kStack3);
}

TEST_CASE("a far CALL to a TSS switches tasks and IRET switches back") {
  M m;
  m.protected_mode(0);
  m.put<std::uint32_t>(M::kTss2 + 0x20, M::kHandler);
  m.put<std::uint32_t>(M::kTss2 + 0x24, 2);
  m.put<std::uint32_t>(M::kTss2 + 0x28, 0x1234);
  m.put<std::uint32_t>(M::kTss2 + 0x38, M::kStack0 + 0x800);
  for (unsigned n = 0; n < 6; ++n) {
    m.put<std::uint16_t>(M::kTss2 + 0x48 + 4 * n, n == kCs ? M::kCode0 : M::kData0);
  }
  m.code(M::kCode, {0x9a, 0, 0, 0, 0, M::kTss2Selector, 0});
  m.code(M::kHandler, {0xcf});
  m.cpu.gpr(kRax) = 0x77;
  m.step();
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.cpu.gpr(kRax) == 0x1234);
  CHECK(m.cpu.flags.test(kNt));
  CHECK((m.cpu.state.cr0 & kCr0Ts) != 0);
  CHECK(m.get<std::uint16_t>(M::kTss2) == M::kTssSelector);
  CHECK((m.get<std::uint8_t>(M::kGdt + M::kTss2Selector + 5) & 2) != 0);
  m.step();
  CHECK(m.cpu.rip() == M::kCode + 7);
  CHECK(m.cpu.gpr(kRax) == 0x77);
  CHECK_FALSE(m.cpu.flags.test(kNt));
  CHECK((m.get<std::uint8_t>(M::kGdt + M::kTss2Selector + 5) & 2) == 0);
  CHECK(m.cpu.state.tr.selector == M::kTssSelector);
}

TEST_CASE("a bad segment in a new task faults there, not in the old one") {
  M m;
  m.protected_mode(0);
  m.gate32(kInvalidTss, M::kCode0, M::kHandler + 32, kInterruptGate32, 0);
  m.put<std::uint32_t>(M::kTss2 + 0x20, M::kHandler);
  m.put<std::uint32_t>(M::kTss2 + 0x38, M::kStack0 + 0x800);
  for (unsigned n = 0; n < 6; ++n) {
    m.put<std::uint16_t>(M::kTss2 + 0x48 + 4 * n, n == kCs ? M::kCode0 : M::kData0);
  }
  m.put<std::uint16_t>(M::kTss2 + 0x48, 0x78);  // ES: an empty descriptor
  m.code(M::kCode, {0xea, 0, 0, 0, 0, M::kTss2Selector, 0});
  m.step();
  CHECK(m.cpu.rip() == M::kHandler + 32);
  CHECK(m.cpu.state.tr.selector == M::kTss2Selector);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp)) == 0x78);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp) + 4) == M::kHandler);
}

TEST_CASE("POP of a segment register reads the selector's two bytes only") {
  M m;
  m.real_mode();
  m.put<std::uint16_t>(0xfffe, 0x1234);
  m.cpu.gpr(kRsp) = 0xfffe;
  m.code(M::kCode, {0x66, 0x07});  // the other two bytes of the operand lie past the limit
  m.step();
  CHECK(m.cpu.rip() == M::kCode + 2);
  CHECK(m.cpu.state.segment[kEs].selector == 0x1234);
  CHECK(m.cpu.gpr(kRsp) == 2);
}

}  // namespace
}  // namespace chronovisor
