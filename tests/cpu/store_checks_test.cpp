// Instructions that may leave a store out: when memory that cannot be written is a
// fault all the same.
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <csetjmp>
#include <csignal>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/interpret/x87/stack.h"

namespace chronovisor {
namespace {

using M = test::SystemMachine;

constexpr std::uint64_t kData = 0x10000;
/// The first 2 MiB once more, where nobody may write.
constexpr std::uint64_t kReadOnly64 = 0x200000 + kData;
constexpr std::uint64_t kReadOnly32 = 0x400000 + kData;

void long_mode_with_read_only_page(M& m) {
  m.long_mode(0);
  m.put<std::uint64_t>(M::kTables + 0x2008, 0x85);
  m.cpu.state.cr4 |= kCr4Osfxsr;
  m.cpu.state.cr0 |= kCr0Ne;
  for (const unsigned vector : {13U, 14U, 16U}) m.gate64(vector, M::kHandler, 0xe, 0, 0);
  m.cpu.state_replaced();
}

/// Natively: whether `instruction` on a page that may only be read is a fault.
sigjmp_buf g_back;
void on_fault(int /*signal*/) { siglongjmp(g_back, 1); }

template <class Instruction>
bool faults_natively(Instruction&& instruction) {
  auto* page = static_cast<std::uint8_t*>(
      mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct sigaction action {
  }, before{};
  action.sa_handler = on_fault;
  sigaction(SIGSEGV, &action, &before);
  volatile bool faulted = true;
  if (sigsetjmp(g_back, 1) == 0) {
    instruction(page);
    faulted = false;
  }
  sigaction(SIGSEGV, &before, nullptr);
  munmap(page, 4096);
  return faulted;
}

}  // namespace

TEST_CASE("ARPL that changes nothing needs no permission to write") {
  for (const bool by_page : {true, false}) {
    for (const unsigned privilege : {3U, 2U, 1U, 0U}) {
      CAPTURE(by_page);
      CAPTURE(privilege);
      M m;
      m.protected_mode(0);
      for (const unsigned vector : {13U, 14U})
        m.gate32(vector, M::kCode0, M::kHandler, kInterruptGate32, 0);
      std::uint64_t address = kData;
      if (by_page) {
        m.put<std::uint32_t>(M::kTables, 0x87);
        m.put<std::uint32_t>(M::kTables + 4, 0x85);
        m.cpu.state.cr3 = M::kTables;
        m.cpu.state.cr4 = kCr4Pse;
        m.cpu.state.cr0 |= kCr0Pg | kCr0Wp;
        address = kReadOnly32;
      } else {
        m.cpu.state.segment[kDs].attributes &= static_cast<std::uint16_t>(~2U);  // not writable
      }
      m.cpu.state_replaced();
      m.put<std::uint16_t>(kData, static_cast<std::uint16_t>(0xfff0 | privilege));
      m.cpu.gpr(kRbx) = address;
      m.cpu.gpr(kRcx) = 2;
      m.code(M::kCode, {0x63, 0x0b});  // ARPL [EBX], CX
      m.cpu.set_flags(kZf);
      const bool changes = privilege < 2;
      if (changes) {
        m.fault();
        CHECK(m.cpu.rip() == M::kHandler);
      } else {
        m.step();
        CHECK(m.cpu.rip() == M::kCode + 2);
        CHECK_FALSE(m.cpu.flags.zf());
      }
      CHECK(m.get<std::uint16_t>(kData) == (0xfff0 | privilege));
    }
  }
}

TEST_CASE("MASKMOVDQU and MASKMOVQ need all of their operand, even with an empty mask") {
  const bool wide = faults_natively([](std::uint8_t* page) {
    asm volatile("pxor %%xmm0, %%xmm0\n\tmaskmovdqu %%xmm0, %%xmm0" : : "D"(page) : "memory");
  });
  const bool narrow = faults_natively([](std::uint8_t* page) {
    asm volatile("pxor %%mm0, %%mm0\n\tmaskmovq %%mm0, %%mm0" : : "D"(page) : "memory");
  });
  asm volatile("emms");
  // The manual leaves it to the processor; ours is like the one it was measured on.
  MESSAGE("this host: MASKMOVDQU " << (wide ? "faults" : "does not fault") << ", MASKMOVQ "
                                   << (narrow ? "faults" : "does not fault"));
  for (const bool sse : {true, false}) {
    // Alone on the page; and only the last byte there, which no mask bit selects.
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{sse ? 15U : 7U}}) {
      CAPTURE(sse);
      CAPTURE(offset);
      M m;
      long_mode_with_read_only_page(m);
      m.cpu.gpr(kRdi) = offset == 0 ? kReadOnly64 : 0x200000 - offset;
      m.cpu.state.xmm[1] = {offset == 0 ? 0U : 0x80U, 0};
      m.code(M::kCode, sse ? std::initializer_list<std::uint8_t>{0x66, 0x0f, 0xf7, 0xc1}
                           : std::initializer_list<std::uint8_t>{0x0f, 0xf7, 0xc1});
      m.fault();
      CHECK(m.cpu.rip() == M::kHandler);
      CHECK(m.cpu.state.cr2 == (offset == 0 ? kReadOnly64 : 0x200000));
      CHECK(m.get<std::uint8_t>(0x200000 - 15) == 0);
    }
  }
}

TEST_CASE("an x87 store that an unmasked exception keeps away needs writable memory") {
  // #IA of an empty register: no store. FSTP m32, FSTP m64, FSTP m80, FISTP m32, FBSTP.
  struct Store {
    std::uint8_t opcode, modrm;
  };
  for (const Store& store : {Store{0xd9, 0x1b}, Store{0xdd, 0x1b}, Store{0xdb, 0x3b},
                             Store{0xdb, 0x1b}, Store{0xdf, 0x33}, Store{0xdf, 0x3b}}) {
    CAPTURE(store.opcode);
    CAPTURE(store.modrm);
    for (const bool writable : {false, true}) {
      M m;
      long_mode_with_read_only_page(m);
      x87::initialize(m.cpu.state.x87);
      m.cpu.state.x87.control = 0x37e;  // invalid operation unmasked
      m.cpu.gpr(kRbx) = writable ? kData : kReadOnly64;
      m.put<std::uint64_t>(kData, 0x1122334455667788);
      m.code(M::kCode, {store.opcode, store.modrm});
      if (writable) {
        m.step();
        CHECK(m.cpu.rip() == M::kCode + 2);
        CHECK((m.cpu.state.x87.status & 0x80) != 0);
      } else {
        m.fault();
        CHECK(m.cpu.rip() == M::kHandler);
        CHECK(m.cpu.state.cr2 == kReadOnly64);
        CHECK(m.cpu.state.x87.status == 0);
      }
      CHECK(m.get<std::uint64_t>(kData) == 0x1122334455667788);
    }
  }
}

TEST_CASE("PUSHA at the very start of a real-mode stack segment is #GP, or shutdown") {
  for (const unsigned sp : {1U, 3U, 5U, 7U, 9U, 11U, 13U, 15U, 6U, 8U, 16U, 17U}) {
    for (const bool wide : {false, true}) {
      CAPTURE(sp);
      CAPTURE(wide);
      M m;
      m.real_mode();
      m.put<std::uint32_t>(12 * 4, 0x0a00'0000);
      m.put<std::uint32_t>(13 * 4, 0x0900'0000);
      m.put<std::uint32_t>(8 * 4, 0x0b00'0000);
      m.cpu.gpr(kRsp) = sp;
      m.cpu.state.segment[kSs].base = 0x30000;
      m.cpu.state_replaced();
      m.code(M::kCode, wide ? std::initializer_list<std::uint8_t>{0x66, 0x60}
                            : std::initializer_list<std::uint8_t>{0x60});
      const bool odd_and_small = (sp & 1) != 0 && sp < 16;
      if (odd_and_small) {
        m.fault();
        if (sp < 7) {
          CHECK(m.cpu.state.shutdown);
        } else {
          CHECK(m.cpu.state.segment[kCs].selector == 0x900);
        }
      } else if (!wide && sp != 17) {
        m.step();
        CHECK(m.cpu.rip() == M::kCode + 1);  // it wraps around at even addresses
      }
    }
  }
}

TEST_CASE("the bases of FS and GS survive a return that takes their segments away") {
  M m;
  m.long_mode(0);
  CpuState& s = m.cpu.state;
  s.segment[kGs] = flat_stack(M::kData0, 0);
  s.segment[kFs] = flat_stack(M::kData0, 0);
  s.segment[kGs].base = 0x123456789000;
  s.segment[kFs].base = 0x23456789a000;
  const std::uint64_t stack = M::kStack0 - 40;
  s.gpr[kRsp] = stack;
  m.put<std::uint64_t>(stack, M::kHandler);
  m.put<std::uint64_t>(stack + 8, M::kLong3);
  m.put<std::uint64_t>(stack + 16, 2);
  m.put<std::uint64_t>(stack + 24, M::kStack3);
  m.put<std::uint64_t>(stack + 32, M::kData3);
  m.cpu.state_replaced();
  m.code(M::kCode, {0x48, 0xcf});
  m.step();
  REQUIRE(m.cpu.cpl() == 3);
  for (const unsigned index : {kFs, kGs}) {
    CHECK(s.segment[index].selector == 0);
    CHECK_FALSE(s.segment[index].present());
  }
  CHECK(s.segment[kGs].base == 0x123456789000);
  CHECK(s.segment[kFs].base == 0x23456789a000);
}

}  // namespace chronovisor
