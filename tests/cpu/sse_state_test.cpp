// Availability, alignment, estimates and saved images of the SSE and MMX part.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <string_view>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/code/instruction_table.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kArea = 0x10000;
constexpr int kNoFault = -1;

class Sse {
 public:
  Sse() {
    machine.protected_mode(0);
    cpu.state.cr4 |= kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Osxsave;
    cpu.state.xcr0 = 3;
  }
  /// Executes the row `name` on registers 1 (reg) and 2 (rm), or on memory at
  /// `address`; returns the vector raised, or kNoFault.
  int execute(std::string_view name, std::uint64_t address = 0, std::uint8_t operand_size = 4) {
    for (const Row& row : sse_rows()) {
      if (row.name != name) continue;
      Instruction i;
      i.operand_size = operand_size;
      i.address_size = 4;
      i.memory = address != 0;
      i.reg = 1;
      i.rm = 2;
      i.base = kRbx;
      cpu.state.gpr[kRbx] = address;
      const auto& handlers = i.memory ? row.handlers.memory : row.handlers.registers;
      i.handler = handlers[operand_size == 8 ? 3 : 2];
      try {
        i.handler(cpu, i);
      } catch (const GuestFault& fault) {
        return fault.vector;
      }
      return kNoFault;
    }
    FAIL("no row " << std::string(name));
    return kNoFault;
  }
  test::SystemMachine machine;
  Cpu& cpu = machine.cpu;
};

TEST_CASE("SSE needs CR4.OSFXSR and no CR0.EM; CR0.TS postpones it; MMX minds pending x87 errors") {
  Sse t;
  CHECK(t.execute("PXOR xmm, xmm/m128") == kNoFault);
  t.cpu.state.cr0 |= kCr0Ts;
  CHECK(t.execute("PXOR xmm, xmm/m128") == kDeviceNotAvailable);
  CHECK(t.execute("PXOR mm, mm/m64") == kDeviceNotAvailable);
  t.cpu.state.cr0 |= kCr0Em;
  CHECK(t.execute("PXOR xmm, xmm/m128") == kInvalidOpcode);
  CHECK(t.execute("PXOR mm, mm/m64") == kInvalidOpcode);
  t.cpu.state.cr0 &= ~(kCr0Em | kCr0Ts);
  t.cpu.state.cr4 &= ~std::uint64_t{kCr4Osfxsr};
  CHECK(t.execute("ADDPS xmm, xmm/m128") == kInvalidOpcode);
  CHECK(t.execute("PXOR mm, mm/m64") == kNoFault);
  t.cpu.state.x87.status |= 0x80;
  CHECK(t.execute("PXOR mm, mm/m64") == kX87FloatingPoint);
}

TEST_CASE("16-byte operands must be aligned, except for the unaligned moves and string compares") {
  Sse t;
  CHECK(t.execute("ADDPS xmm, xmm/m128", kArea + 8) == kGeneralProtection);
  CHECK(t.execute("MOVAPS xmm/m128, xmm", kArea + 4) == kGeneralProtection);
  CHECK(t.execute("MOVNTDQA xmm, m128", kArea + 1) == kGeneralProtection);
  CHECK(t.execute("MOVUPS xmm/m128, xmm", kArea + 1) == kNoFault);
  CHECK(t.execute("LDDQU xmm, m128", kArea + 1) == kNoFault);
  CHECK(t.execute("PCMPISTRI xmm, xmm/m128, imm8", kArea + 3) == kNoFault);
  CHECK(t.execute("CVTPS2PD xmm, xmm/m64", kArea + 4) == kNoFault);
}

TEST_CASE("an unmasked SIMD exception without CR4.OSXMMEXCPT is an invalid opcode") {
  Sse t;
  t.cpu.state.mxcsr = 0x1f80 & ~0x200U;
  t.cpu.state.xmm[1] = {0x3f800000, 0};
  t.cpu.state.xmm[2] = {0, 0};
  CHECK(t.execute("DIVSS xmm, xmm/m32") == kSimdFloatingPoint);
  t.cpu.state.cr4 &= ~std::uint64_t{kCr4Osxmmexcpt};
  CHECK(t.execute("DIVSS xmm, xmm/m32") == kInvalidOpcode);
  CHECK(t.cpu.state.xmm[1].low == 0x3f800000);
  CHECK((t.cpu.state.mxcsr & 0x3f) == 4);
}

TEST_CASE("the reciprocal estimates stay within the manual's error for every significand") {
  Sse t;
  constexpr double kBound = 1.5 / 4096;
  for (std::uint32_t fraction = 0; fraction < (1U << 24); fraction += 61) {
    const std::uint32_t bits = 0x3f800000 + fraction;
    const double x = std::bit_cast<float>(bits);
    t.cpu.state.xmm[2] = {bits, 0};
    t.execute("RCPSS xmm, xmm/m32");
    const double reciprocal =
        std::bit_cast<float>(static_cast<std::uint32_t>(t.cpu.state.xmm[1].low));
    t.execute("RSQRTSS xmm, xmm/m32");
    const double root = std::bit_cast<float>(static_cast<std::uint32_t>(t.cpu.state.xmm[1].low));
    if (std::fabs(reciprocal * x - 1) > kBound || std::fabs(root * std::sqrt(x) - 1) > kBound) {
      FAIL_CHECK("operand " << x << ": " << reciprocal << ", " << root);
    }
  }
  const auto estimate = [&](std::string_view name, std::uint32_t operand) {
    t.cpu.state.xmm[2] = {operand, 0};
    t.execute(name);
    return static_cast<std::uint32_t>(t.cpu.state.xmm[1].low);
  };
  CHECK(estimate("RCPSS xmm, xmm/m32", 0x80000000) == 0xff800000);
  CHECK(estimate("RCPSS xmm, xmm/m32", 0x00000001) == 0x7f800000);
  CHECK(estimate("RCPSS xmm, xmm/m32", 0xff800000) == 0x80000000);
  CHECK(estimate("RCPSS xmm, xmm/m32", 0x7f000000) == 0);
  CHECK(estimate("RCPSS xmm, xmm/m32", 0x7f800001) == 0x7fc00001);
  CHECK(estimate("RSQRTSS xmm, xmm/m32", 0xbf800000) == 0xffc00000);
  CHECK(estimate("RSQRTSS xmm, xmm/m32", 0x80000000) == 0xff800000);
  CHECK(estimate("RSQRTSS xmm, xmm/m32", 0x7f800000) == 0);
  CHECK(t.cpu.state.mxcsr == 0x1f80);
}

TEST_CASE("FXSAVE and FXRSTOR round-trip the state and keep to its rules") {
  Sse t;
  X87State& x87 = t.cpu.state.x87;
  x87.status = 5U << 11;
  x87.tag = 0x3fff;  // only physical register 7 is in use
  x87.st[7] = {0x8000000000000000, 0x3fff};
  x87.last_ip = 0x1122334455667788;
  t.cpu.state.xmm[7] = {1, 2};
  t.cpu.state.mxcsr = 0x9fc0;
  t.machine.put<std::uint64_t>(kArea + 416, 0xabcd);
  CHECK(t.execute("FXSAVE m512", kArea + 8) == kGeneralProtection);
  CHECK(t.execute("FXSAVE m512", kArea, 8) == kNoFault);
  CHECK(t.machine.get<std::uint8_t>(kArea + 4) == 0x80);
  CHECK(t.machine.get<std::uint16_t>(kArea + 32 + 2 * 16 + 8) == 0x3fff);  // ST(2) is R7
  CHECK(t.machine.get<std::uint32_t>(kArea + 28) == 0xffff);
  CHECK(t.machine.get<std::uint64_t>(kArea + 416) == 0xabcd);

  x87 = X87State{};
  t.cpu.state.xmm[7] = {};
  t.cpu.state.mxcsr = 0x1f80;
  CHECK(t.execute("FXRSTOR m512", kArea, 8) == kNoFault);
  CHECK(x87.tag == 0x3fff);
  CHECK(x87.status == 5U << 11);
  CHECK(x87.last_ip == 0x1122334455667788);
  CHECK(t.cpu.state.xmm[7].high == 2);
  CHECK(t.cpu.state.mxcsr == 0x9fc0);

  t.machine.put<std::uint16_t>(kArea + 2, 0x8080);  // summary bits follow from the flags
  t.machine.put<std::uint16_t>(kArea, 0xffff);
  CHECK(t.execute("FXRSTOR m512", kArea) == kNoFault);
  CHECK(x87.status == 0);
  CHECK(x87.control == 0x1f7f);
  t.machine.put<std::uint32_t>(kArea + 24, 0x10000);
  CHECK(t.execute("FXRSTOR m512", kArea) == kGeneralProtection);
  CHECK(t.cpu.state.mxcsr == 0x9fc0);
}

TEST_CASE(
    "XSAVE marks what differs from the initial state; XRSTOR initialises what is not marked") {
  Sse t;
  t.cpu.state.gpr[kRax] = 7;
  t.cpu.state.gpr[kRdx] = 0;
  t.cpu.state.mxcsr = 0x3f80;
  CHECK(t.execute("XSAVE mem", kArea + 16) == kGeneralProtection);
  CHECK(t.execute("XSAVE mem", kArea) == kNoFault);
  CHECK(t.machine.get<std::uint64_t>(kArea + 512) == 0);
  t.cpu.state.xmm[3].low = 9;
  CHECK(t.execute("XSAVE mem", kArea) == kNoFault);
  CHECK(t.machine.get<std::uint64_t>(kArea + 512) == 2);
  t.cpu.state.x87.control = 0x27f;
  t.cpu.state.gpr[kRax] = 1;
  CHECK(t.execute("XSAVE mem", kArea) == kNoFault);
  CHECK(t.machine.get<std::uint64_t>(kArea + 512) == 3);

  t.machine.put<std::uint64_t>(kArea + 512, 1);
  t.cpu.state.gpr[kRax] = 3;
  t.cpu.state.mxcsr = 0x1f80;
  t.cpu.state.x87.control = 0x37f;
  CHECK(t.execute("XRSTOR mem", kArea) == kNoFault);
  CHECK(t.cpu.state.x87.control == 0x27f);
  CHECK(t.cpu.state.xmm[3].low == 0);
  CHECK(t.cpu.state.mxcsr == 0x3f80);

  t.machine.put<std::uint64_t>(kArea + 512, 4);
  CHECK(t.execute("XRSTOR mem", kArea) == kGeneralProtection);
  t.machine.put<std::uint64_t>(kArea + 512, 3);
  t.machine.put<std::uint64_t>(kArea + 520, 1ULL << 63);
  CHECK(t.execute("XRSTOR mem", kArea) == kGeneralProtection);
  t.cpu.state.cr4 &= ~std::uint64_t{kCr4Osxsave};
  CHECK(t.execute("XSAVE mem", kArea) == kInvalidOpcode);
}

TEST_CASE("LDMXCSR refuses reserved bits") {
  Sse t;
  t.machine.put<std::uint32_t>(kArea, 0x1ffff);
  CHECK(t.execute("LDMXCSR m32", kArea) == kGeneralProtection);
  t.machine.put<std::uint32_t>(kArea, 0xffff);
  CHECK(t.execute("LDMXCSR m32", kArea) == kNoFault);
  CHECK(t.cpu.state.mxcsr == 0xffff);
}

}  // namespace
}  // namespace chronovisor
