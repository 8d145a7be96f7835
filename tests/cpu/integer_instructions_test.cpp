// Integer and near-control instructions, run from bytes in RAM on the real CPU
// in three modes. There is no IDT: a fault ends in shutdown, with the registers
// as the faulting instruction left them.
#include <doctest/doctest.h>

#include <cstring>
#include <initializer_list>
#include <vector>

#include "vmm/cpu/cpu.h"

namespace chronovisor {
namespace {

class NoEnvironment final : public CpuEnvironment {
 public:
  std::uint32_t port_read(std::uint16_t /*port*/, unsigned /*width*/) override { return 0; }
  void port_write(std::uint16_t /*port*/, unsigned /*width*/, std::uint32_t /*value*/) override {}
  std::uint64_t mmio_read(GuestPhysical /*address*/, unsigned /*width*/) override { return 0; }
  void mmio_write(GuestPhysical /*address*/, unsigned /*width*/, std::uint64_t /*value*/) override {
  }
  [[nodiscard]] VirtualTime now() const override { return {}; }
  std::uint8_t acknowledge_interrupt() override { return 0; }
  [[nodiscard]] std::uint8_t task_priority() const override { return 0; }
  void set_task_priority(std::uint8_t /*cr8*/) override {}
  bool read_apic_msr(std::uint32_t /*index*/, std::uint64_t& /*value*/) override { return false; }
  bool write_apic_msr(std::uint32_t /*index*/, std::uint64_t /*value*/) override { return false; }
  [[nodiscard]] bool apic_enabled() const override { return true; }
  [[nodiscard]] std::uint32_t apic_id() const override { return 0; }
  void tsc_offset_changed(std::uint64_t /*offset*/) override {}
  [[nodiscard]] std::uint64_t entropy(std::uint64_t /*index*/) const override { return 0; }
};

constexpr std::uint64_t kCode = 0x1000;
constexpr std::uint64_t kData = 0x200000;
constexpr std::uint64_t kUnmapped = 0x800000;  // the tables map 8 MiB in 64-bit mode

/// A CPU with code at kCode, stopped before it.
class Guest {
 public:
  Guest() : ram_(16ULL << 20), cpu(ram_, environment_) {}

  void enter_long64(unsigned cpl = 0) {
    write(0x8000, std::uint64_t{0x9007});
    write(0x9000, std::uint64_t{0xa007});
    for (std::uint64_t n = 0; n < 4; ++n) write(0xa000 + 8 * n, (n << 21) | 0x87);
    cpu.state.cr0 = kCr0Pe | kCr0Pg | kCr0Et | kCr0Wp;
    cpu.state.cr4 = kCr4Pae;
    cpu.state.cr3 = 0x8000;
    cpu.state.msr.efer = kEferLme | kEferLma;
    flat_segments(0xa09b, cpl);
  }
  void enter_protected32() {
    cpu.state.cr0 = kCr0Pe | kCr0Et;
    flat_segments(0xc09b, 0);
  }
  void enter_real16() {
    for (SegmentRegister& s : cpu.state.segment) s = {0, 0x93, 0xffff, 0};
    cpu.state.segment[kCs].attributes = 0x9b;
    start();
  }

  /// Executes `code` for `steps` steps.
  void run(std::initializer_list<int> code, std::uint64_t steps = 1) {
    std::vector<std::uint8_t> bytes(code.begin(), code.end());
    std::memcpy(ram_.host(kCode), bytes.data(), bytes.size());
    cpu.page_replaced(kCode / kPageSize);
    cpu.rip() = kCode;
    length_ = bytes.size();
    cpu.run({cpu.position().steps + steps});
  }
  [[nodiscard]] bool faulted() const { return cpu.state.shutdown; }
  [[nodiscard]] bool done() { return cpu.rip() == kCode + length_; }

  template <class T>
  void write(std::uint64_t address, T value) {
    std::memcpy(ram_.host(address), &value, sizeof(T));
  }
  template <class T>
  [[nodiscard]] T read(std::uint64_t address) {
    T value;
    std::memcpy(&value, ram_.host(address), sizeof(T));
    return value;
  }

 private:
  void flat_segments(std::uint16_t code_attributes, unsigned cpl) {
    const auto dpl = static_cast<std::uint16_t>(cpl << 5);
    for (SegmentRegister& s : cpu.state.segment) {
      s = {static_cast<std::uint16_t>(0x10 | cpl), static_cast<std::uint16_t>(0xc093 | dpl),
           0xffffffff, 0};
    }
    cpu.state.segment[kCs].attributes = static_cast<std::uint16_t>(code_attributes | dpl);
    cpu.state.idtr.limit = 0;
    cpu.state_replaced();
    cpu.set_cpl(cpl);
    start();
  }
  void start() {
    cpu.state_replaced();
    cpu.state.gpr[kRsp] = kData + 0x1000;
  }

  NoEnvironment environment_;
  Ram ram_;
  std::uint64_t length_ = 0;

 public:
  Cpu cpu;
};

TEST_CASE("an address based on RSP sees POP's increment") {
  Guest g;
  g.enter_long64();
  g.write<std::uint64_t>(kData + 0x1000, 0x1122334455667788);
  g.run({0x8f, 0x44, 0x24, 0x08});  // pop [rsp+8]
  CHECK(g.cpu.gpr(kRsp) == kData + 0x1008);
  CHECK(g.read<std::uint64_t>(kData + 0x1010) == 0x1122334455667788);
}

TEST_CASE("a faulting stack or call instruction leaves registers and position alone") {
  Guest g;
  g.enter_long64();
  std::uint64_t below_stack = 0;
  SUBCASE("pop to an unmapped page") {
    g.cpu.gpr(kRbx) = kUnmapped;
    g.run({0x8f, 0x03});
  }
  SUBCASE("push from an unmapped page") {
    g.cpu.gpr(kRbx) = kUnmapped;
    g.run({0xff, 0x33});
  }
  SUBCASE("call to a target that is not canonical") {
    g.cpu.gpr(kRbx) = 0x8000000000000000;
    g.run({0xff, 0xd3});
    below_stack = kCode + 2;  // processors write the return address before they look at the target
  }
  SUBCASE("return to one") {
    g.write<std::uint64_t>(kData + 0x1000, 0x8000000000000000);
    g.run({0xc3});
  }
  CHECK(g.faulted());
  CHECK(g.cpu.gpr(kRsp) == kData + 0x1000);
  CHECK(g.cpu.rip() == kCode);
  CHECK(g.read<std::uint64_t>(kData + 0xff8) == below_stack);
  CHECK(g.cpu.position().steps == 0);
}

TEST_CASE("CALL with an unmapped stack leaves RIP at the call") {
  Guest g;
  g.enter_long64();
  g.cpu.gpr(kRsp) = kUnmapped + 8;
  g.run({0xe8, 0, 0, 0, 0});
  CHECK(g.faulted());
  CHECK(g.cpu.rip() == kCode);
  CHECK(g.cpu.gpr(kRsp) == kUnmapped + 8);
}

TEST_CASE("REP MOVSB onto itself repeats the pattern, however it is cut into runs") {
  for (const std::uint64_t cut : {1, 2, 3, 7, 1000}) {
    Guest g;
    g.enter_long64();
    std::memcpy(g.cpu.ram().host(kData + 0xffe), "ab", 2);
    g.cpu.gpr(kRsi) = kData + 0xffe;
    g.cpu.gpr(kRdi) = kData + 0x1000;
    g.cpu.gpr(kRcx) = 100;
    g.run({0xf3, 0xa4}, std::min<std::uint64_t>(cut, 100));
    while (g.cpu.gpr(kRcx) != 0) {
      CHECK(g.cpu.rip() == kCode);
      CHECK(g.cpu.position().steps == 100 - g.cpu.gpr(kRcx));
      g.cpu.run({std::min<std::uint64_t>(g.cpu.position().steps + cut, 100)});
    }
    CHECK(g.done());
    CHECK(g.cpu.position().steps == 100);
    CHECK(g.cpu.gpr(kRdi) == kData + 0x1000 + 100);
    for (std::uint64_t n = 0; n < 100; ++n) {
      REQUIRE(g.read<char>(kData + 0x1000 + n) == (n % 2 == 0 ? 'a' : 'b'));
    }
    CHECK(g.read<char>(kData + 0x1000 + 100) == 0);
  }
}

TEST_CASE("a fault in the middle of REP STOSQ keeps the iterations done before it") {
  Guest g;
  g.enter_long64();
  g.cpu.gpr(kRdi) = kUnmapped - 40;
  g.cpu.gpr(kRcx) = 9;
  g.cpu.gpr(kRax) = 0x0102030405060708;
  g.run({0xf3, 0x48, 0xab}, 9);
  CHECK(g.faulted());
  CHECK(g.cpu.gpr(kRdi) == kUnmapped);
  CHECK(g.cpu.gpr(kRcx) == 4);
  CHECK(g.cpu.position().steps == 5);
  CHECK(g.cpu.rip() == kCode);
  CHECK(g.read<std::uint64_t>(kUnmapped - 8) == 0x0102030405060708);
}

TEST_CASE("a REP with nothing to do is one step") {
  Guest g;
  g.enter_long64();
  g.cpu.gpr(kRcx) = 0;
  g.run({0xf3, 0xa4});
  CHECK(g.done());
  CHECK(g.cpu.position().steps == 1);
}

TEST_CASE("REPNE SCASB stops behind the match and leaves the flags of the last comparison") {
  Guest g;
  g.enter_long64();
  std::memcpy(g.cpu.ram().host(kData), "hello", 6);
  g.cpu.gpr(kRdi) = kData;
  g.cpu.gpr(kRcx) = ~0ULL;
  g.cpu.gpr(kRax) = 0;
  g.run({0xf2, 0xae}, 6);
  CHECK(g.done());
  CHECK(g.cpu.gpr(kRdi) == kData + 6);
  CHECK(g.cpu.gpr(kRcx) == ~0ULL - 6);
  CHECK(g.cpu.flags.zf());
}

TEST_CASE("string instructions in 16-bit code wrap at 64 KiB and go down with DF") {
  Guest g;
  g.enter_real16();
  g.cpu.gpr(kRdi) = 0x12340001;
  g.cpu.gpr(kRcx) = 0xffff0003;
  g.cpu.gpr(kRax) = 0x5a;
  g.cpu.flags.assign<kDf>(true);
  g.run({0xf3, 0xaa}, 3);  // rep stosb
  CHECK(g.done());
  CHECK(g.cpu.gpr(kRdi) == 0x1234fffe);
  CHECK(g.cpu.gpr(kRcx) == 0xffff0000);
  CHECK(g.read<std::uint8_t>(0) == 0x5a);
  CHECK(g.read<std::uint8_t>(0xffff) == 0x5a);
}

TEST_CASE("near branches cut their target to the operand size") {
  Guest g;
  g.enter_real16();
  SUBCASE("backward over 0") {
    g.run({0xe9, 0x00, 0xe0});  // jmp 0x1003 - 0x2000
    CHECK(g.cpu.rip() == 0xf003);
  }
  SUBCASE("a call pushes two bytes") {
    g.cpu.gpr(kRsp) = 0x5678;
    g.run({0xe8, 0x10, 0x00});
    CHECK(g.cpu.rip() == kCode + 0x13);
    CHECK(g.cpu.gpr(kRsp) == 0x5676);
    CHECK(g.read<std::uint16_t>(0x5676) == kCode + 3);
  }
}

TEST_CASE("each condition code jumps exactly when Flags::condition says so") {
  Guest g;
  g.enter_long64();
  for (unsigned code = 0; code < 16; ++code) {
    for (unsigned bits = 0; bits < 64; ++bits) {
      const std::uint32_t flags = ((bits & 1) != 0 ? kCf : 0U) | ((bits & 2) != 0 ? kPf : 0U) |
                                  ((bits & 4) != 0 ? kAf : 0U) | ((bits & 8) != 0 ? kZf : 0U) |
                                  ((bits & 16) != 0 ? kSf : 0U) | ((bits & 32) != 0 ? kOf : 0U);
      g.cpu.set_flags(flags);
      const bool expected = g.cpu.flags.condition(code);
      g.run({static_cast<int>(0x70 + code), 0x10});
      REQUIRE(g.cpu.rip() == kCode + (expected ? 0x12 : 2));
      g.run({0x0f, static_cast<int>(0x90 + code), 0xc0});  // setcc al
      REQUIRE((g.cpu.gpr(kRax) & 0xff) == (expected ? 1 : 0));
    }
  }
}

TEST_CASE("LOOP counts in the register of the address size") {
  Guest g;
  g.enter_long64();
  g.cpu.gpr(kRcx) = 0xffffffff00000001;
  SUBCASE("64 bits") {
    g.run({0xe2, 0x10});
    CHECK(g.cpu.rip() == kCode + 0x12);
    CHECK(g.cpu.gpr(kRcx) == 0xffffffff00000000);
  }
  SUBCASE("32 bits") {
    g.run({0x67, 0xe2, 0x10});
    CHECK(g.cpu.rip() == kCode + 3);
    CHECK(g.cpu.gpr(kRcx) == 0);
  }
}

TEST_CASE("RET imm16 drops the arguments as well") {
  Guest g;
  g.enter_long64();
  g.write<std::uint64_t>(kData + 0x1000, 0x4444);
  g.run({0xc2, 0x20, 0x00});
  CHECK(g.cpu.rip() == 0x4444);
  CHECK(g.cpu.gpr(kRsp) == kData + 0x1028);
}

TEST_CASE("POPF changes IF and IOPL only as far as CPL allows") {
  Guest g;
  g.enter_long64(3);
  g.write<std::uint64_t>(kData + 0x1000, 0x3fffffU & ~(kTf | kAc));
  g.run({0x9d});
  CHECK_FALSE(g.cpu.flags.test(kIf));
  CHECK(g.cpu.flags.iopl() == 0);
  CHECK_FALSE(g.cpu.flags.test(kRf));
  CHECK_FALSE(g.cpu.flags.test(kVm));
  CHECK(g.cpu.flags.test(kId));
  CHECK(g.cpu.flags.cf());
  CHECK(g.cpu.flags.of());
}

TEST_CASE("PUSHA and POPA keep all registers but the popped stack pointer") {
  Guest g;
  g.enter_protected32();
  for (unsigned r = 0; r < 8; ++r) {
    if (r != kRsp) g.cpu.gpr(r) = 0x1000U + r;
  }
  g.run({0x60});
  CHECK(g.read<std::uint32_t>(kData + 0x1000 - 4) == 0x1000);
  CHECK(g.read<std::uint32_t>(kData + 0x1000 - 20) == kData + 0x1000);  // the old ESP
  CHECK(g.read<std::uint32_t>(kData + 0x1000 - 32) == 0x1007);
  g.cpu.gpr(kRax) = g.cpu.gpr(kRdi) = 0;
  g.run({0x61});
  CHECK(g.cpu.gpr(kRsp) == kData + 0x1000);
  CHECK(g.cpu.gpr(kRax) == 0x1000);
  CHECK(g.cpu.gpr(kRdi) == 0x1007);
}

TEST_CASE("BOUND is signed and includes both ends") {
  Guest g;
  g.enter_protected32();
  g.write<std::int32_t>(kData, -2);
  g.write<std::int32_t>(kData + 4, 5);
  g.cpu.gpr(kRbx) = kData;
  for (const auto& [index, in_bounds] :
       std::vector<std::pair<std::uint32_t, bool>>{{0xfffffffe, true}, {5, true}, {6, false}}) {
    g.cpu.gpr(kRax) = index;
    g.run({0x62, 0x03});
    CHECK(g.faulted() == !in_bounds);
  }
}

TEST_CASE("NOP and XCHG share an opcode") {
  Guest g;
  g.enter_long64();
  g.cpu.gpr(kRax) = 0xaaaaaaaa00000001;
  g.cpu.gpr(kR8) = 0xbbbbbbbb00000002;
  g.run({0x90});
  CHECK(g.cpu.gpr(kRax) == 0xaaaaaaaa00000001);
  g.run({0xf3, 0x41, 0x90});  // pause
  CHECK(g.cpu.gpr(kRax) == 0xaaaaaaaa00000001);
  g.run({0x41, 0x90});  // xchg eax, r8d
  CHECK(g.cpu.gpr(kRax) == 2);
  CHECK(g.cpu.gpr(kR8) == 1);
}

TEST_CASE("CMPXCHG16B wants alignment") {
  Guest g;
  g.enter_long64();
  g.cpu.gpr(kRbx) = kData + 8;
  g.run({0x48, 0x0f, 0xc7, 0x0b});
  CHECK(g.faulted());
}

TEST_CASE("a quotient that does not fit is a divide error") {
  Guest g;
  g.enter_long64();
  SUBCASE("by zero") { g.run({0x48, 0xf7, 0xf1}); }
  SUBCASE("unsigned overflow") {
    g.cpu.gpr(kRdx) = g.cpu.gpr(kRcx) = 7;
    g.run({0x48, 0xf7, 0xf1});
  }
  SUBCASE("the least number by -1") {
    g.cpu.gpr(kRax) = 0x8000000000000000;
    g.cpu.gpr(kRdx) = g.cpu.gpr(kRcx) = ~0ULL;
    g.run({0x48, 0xf7, 0xf9});
  }
  CHECK(g.faulted());
}

TEST_CASE("decimal adjustments outside 64-bit mode") {
  Guest g;
  g.enter_protected32();
  g.cpu.gpr(kRax) = 0xae;
  g.run({0x27});  // daa
  CHECK(g.cpu.reg<std::uint8_t>(kRax) == 0x14);
  CHECK(g.cpu.flags.cf());
  CHECK(g.cpu.flags.af());
  g.cpu.gpr(kRax) = 57;
  g.run({0xd4, 10});  // aam
  CHECK(g.cpu.reg<std::uint16_t>(kRax) == 0x507);
  g.run({0xd5, 10});  // aad
  CHECK(g.cpu.reg<std::uint16_t>(kRax) == 57);
  g.run({0xd4, 0});
  CHECK(g.faulted());
}

}  // namespace
}  // namespace chronovisor
