// The seams between the processor's parts: what is derived follows what it is
// derived from, the mode key is packed and unpacked alike, and a fault can travel
// as a value.
#include <doctest/doctest.h>

#include <array>
#include <memory>

#include "base/error.h"
#include "tests/cpu/system_machine.h"
#include "vmm/cpu/code/code_cache.h"

namespace chronovisor {
namespace {

using M = test::SystemMachine;

}  // namespace

TEST_CASE("a mode key gives back the mode that code was decoded for") {
  for (const CpuMode mode : {CpuMode::real, CpuMode::virtual8086, CpuMode::protected_mode,
                             CpuMode::compatibility, CpuMode::long64}) {
    for (const unsigned width : {2U, 4U}) {
      for (const unsigned cpl : {0U, 3U}) {
        const ModeKey key(mode, width, cpl);
        const DecodeMode decoded = key.decode_mode();
        CHECK(decoded.long64 == (mode == CpuMode::long64));
        CHECK(decoded.protected_mode == (mode >= CpuMode::protected_mode));
        CHECK(decoded.code_width == width);
        CHECK(key.bits() < 1U << ModeKey::kBits);
        CHECK(key.decoding() == ModeKey(mode, width, 0).bits());
        CHECK((key.bits() == key.decoding()) == (cpl == 0));
      }
    }
  }
}

TEST_CASE("what follows from CR0, CS, SS, RFLAGS and CPL follows by itself") {
  M m;
  m.protected_mode(0);
  m.cpu.set_segment(kSs, {M::kData0, 0x93, 0xffff, 0x500});  // 16-bit, based
  CHECK(m.cpu.stack_width() == 2);
  CHECK(m.cpu.linear<Access::read>(kSs, 4, 4) == 0x504);
  m.cpu.set_segment_base(kFs, 0x700);
  CHECK(m.cpu.linear<Access::read>(kFs, 4, 4) == 0x704);
  m.cpu.set_cpl(3);
  CHECK(m.cpu.mode_key() == ModeKey(CpuMode::protected_mode, 4, 3));
  m.cpu.set_flags(kVm);
  CHECK(m.cpu.mode() == CpuMode::virtual8086);
  m.cpu.change_flags(kVm, 0);
  CHECK(m.cpu.mode() == CpuMode::protected_mode);
  m.cpu.set_cr0(m.cpu.state.cr0 & ~std::uint64_t{kCr0Pe}, 0);
  CHECK(m.cpu.mode() == CpuMode::real);
  CHECK(m.cpu.cpl() == 0);
}

TEST_CASE("several changes are derived together, at the end of the outermost") {
  M m;
  m.protected_mode(0);
  {
    const Cpu::ModeChange outer(m.cpu);
    {
      const Cpu::ModeChange inner(m.cpu);
      m.cpu.set_flags(kVm);
    }
    CHECK(m.cpu.mode() == CpuMode::protected_mode);
  }
  CHECK(m.cpu.mode() == CpuMode::virtual8086);
  CHECK(m.cpu.cpl() == 3);
}

TEST_CASE("the flag that switches SMAP off acts on the next access") {
  M m;
  m.long_mode(0);
  m.cpu.set_cr4(kCr4Pae | kCr4Smap);
  m.code(M::kCode, {0x0f, 0x01, 0xcb});  // STAC
  std::uint32_t value = 0;
  // Every page of this machine is a user page; data is reached only with AC.
  CHECK(!m.cpu.try_load<std::uint32_t>(0x6000, kDs, Access::read, value));
  m.step();
  CHECK(m.cpu.try_load<std::uint32_t>(0x6000, kDs, Access::read, value));
}

TEST_CASE("an instruction's fault stays a value, and is delivered when it is taken") {
  M m;
  m.protected_mode(0);
  m.gate32(kDivideError, M::kCode0, M::kHandler, 0xe, 0);
  // inc %eax; div %ecx (by 0); inc %eax
  const std::array<std::uint8_t, 4> code{0x40, 0xf7, 0xf1, 0x40};
  const auto block = CodeCache::decode_block(m.cpu.mode_key(), M::kCode, code);
  REQUIRE(block->instructions.size() == 3);
  m.cpu.gpr(kRax) = 6;
  m.cpu.gpr(kRcx) = 0;
  const Position before = m.cpu.position();
  m.cpu.enter_block(*block, 3);
  CHECK(m.cpu.execute(block->instructions[0]) == Completion::next);
  CHECK(m.cpu.execute(block->instructions[1]) == Completion::deferred);
  CHECK(m.cpu.position().steps == before.steps + 1);
  m.cpu.take_pending();
  CHECK(m.cpu.position().steps == before.steps + 1);
  CHECK(m.cpu.rip() == M::kHandler);
  CHECK(m.get<std::uint32_t>(m.cpu.gpr(kRsp)) == M::kCode + 1);
  CHECK(m.cpu.gpr(kRax) == 7);
  CHECK(m.cpu.deliveries() == 1);
}

TEST_CASE("a block that is executed piece by piece counts its steps") {
  M m;
  m.protected_mode(0);
  const std::array<std::uint8_t, 3> code{0x40, 0x40, 0x40};
  const auto block = CodeCache::decode_block(m.cpu.mode_key(), M::kCode, code);
  REQUIRE(block->instructions.size() == 3);
  const Position before = m.cpu.position();
  m.cpu.enter_block(*block, 2);
  CHECK(m.cpu.execute(block->instructions[0]) == Completion::next);
  CHECK(m.cpu.execute(block->instructions[1]) == Completion::leave);
  m.cpu.finish_block(&block->instructions[2]);
  CHECK(m.cpu.position().steps == before.steps + 2);
  CHECK(m.cpu.gpr(kRax) == 2);
}

TEST_CASE("a memory access that faults changes nothing and leaves the fault to be taken") {
  M m;
  m.long_mode(0);
  m.gate64(kPageFault, M::kHandler, 0xe, 0, 0);
  const std::array<std::uint8_t, 1> code{0x90};
  const auto block = CodeCache::decode_block(m.cpu.mode_key(), M::kCode, code);
  m.cpu.enter_block(*block, 1);
  CHECK(!m.cpu.try_store<std::uint64_t>(0x40000ffc, kDs, 1));
  std::uint64_t value = 5;
  CHECK(!m.cpu.try_load<std::uint64_t>(0x40000000, kDs, Access::read, value));
  CHECK(value == 5);
  m.cpu.take_pending();
  CHECK(m.cpu.state.cr2 == 0x40000000);
  CHECK(m.cpu.rip() == M::kHandler);
}

namespace {

class BrokenHost final : public test::SystemEnvironment {
 public:
  void port_write(std::uint16_t /*port*/, unsigned /*width*/, std::uint32_t /*value*/) override {
    throw Error(ErrorCode::host, "no room");
  }
};

}  // namespace

TEST_CASE("the host's error does not cross translated code either, and reaches its caller") {
  BrokenHost environment;
  Ram ram(1 << 21);
  Cpu cpu(ram, environment);
  const std::array<std::uint8_t, 2> code{0xe6, 0x80};  // out %al,$0x80
  const auto block = CodeCache::decode_block(cpu.mode_key(), 0, code);
  const Position before = cpu.position();
  cpu.enter_block(*block, 1);
  CHECK(cpu.execute(block->instructions[0]) == Completion::deferred);
  CHECK_THROWS_AS(cpu.take_pending(), Error);
  CHECK(cpu.position() == before);
  CHECK(cpu.rip() == 0xfff0);
}

}  // namespace chronovisor
