// The interval index: what it rules out did not happen.
#include <doctest/doctest.h>

#include <random>
#include <set>

#include "base/error.h"
#include "recorder/format/interval_index.h"
#include "tests/vmm/tiny_guest.h"

namespace chronovisor {
namespace {

using test::boot_tiny;
using test::random_guest;
using test::ScriptedInput;
using test::TinyGuest;

/// Long mode with 2 MiB pages: linear 1 GiB + x and 2 GiB + x are both x.
struct AliasedMachine {
  static constexpr std::uint64_t kFirst = 1ULL << 30, kSecond = 2ULL << 30, kCode = 0x10000;

  AliasedMachine() : machine(MachineConfig{4 << 20, 0, 0, 1}) {
    put(0x1000, 0x2003);
    for (unsigned gib = 0; gib < 3; ++gib) put(0x2000 + 8 * gib, 0x3003);
    put(0x3000, 0x83);
    put(0x3008, 0x200083);
    machine.change_cpu([](Cpu& cpu) {
      cpu.state.cr3 = 0x1000;
      cpu.state.cr4 = kCr4Pae;
      cpu.state.msr.efer = kEferLme | kEferLma;
      cpu.state.cr0 = kCr0Pe | kCr0Et | kCr0Pg | kCr0Wp;
      for (SegmentRegister& s : cpu.state.segment) s = {0x10, 0xc093, 0xffffffff, 0};
      cpu.state.segment[kCs] = {0x08, 0xa09b, 0xffffffff, 0};
      cpu.rip() = kFirst + kCode;
      cpu.gpr(kRsp) = 0x20000;
    });
  }
  void put(std::uint64_t at, std::uint64_t value) {
    std::array<std::uint8_t, 8> bytes{};
    std::memcpy(bytes.data(), &value, 8);
    machine.ram().write({at}, bytes);
  }
  void code(std::uint64_t at, std::initializer_list<std::uint8_t> values) {
    const Bytes bytes(values);
    machine.ram().write({at}, bytes);
  }
  IntervalAccesses run(std::uint64_t steps) {
    AccessGatherer gatherer;
    machine.set_access_observer(&gatherer);
    (void)machine.run({{machine.position().steps + steps}, 0});
    machine.set_access_observer(nullptr);
    return gatherer.take();
  }
  Machine machine;
};

}  // namespace

TEST_CASE("an interval index survives packing, and damage is refused") {
  std::mt19937_64 random(4);
  for (int round = 0; round < 50; ++round) {
    IntervalAccesses accesses;
    accesses.all_code = random() % 8 == 0;
    accesses.all_data = random() % 8 == 0;
    std::set<std::uint64_t> bounds;
    while (bounds.size() < 200) bounds.insert((random() >> random() % 50) | 1);
    for (auto bound = bounds.begin(); bound != bounds.end(); std::advance(bound, 2)) {
      accesses.code.push_back({*bound, *std::next(bound) - 1});
    }
    std::set<std::uint64_t> pages;
    for (int n = 0; n < 100; ++n) pages.insert(random() >> (12 + random() % 40));
    for (const std::uint64_t page : pages) {
      TouchedPage touched{page, random() % 2 != 0, random() % 2 != 0, 0};
      if (!touched.written) touched.lines = random();
      accesses.pages.push_back(touched);
    }
    for (const char* device : {"disk", "net"}) {
      if (random() % 2 == 0) continue;
      DeviceWrites writes{device, {}};
      for (const std::uint64_t page : pages) writes.pages.push_back({page, random() | 1});
      accesses.devices.push_back(writes);
    }
    const Bytes packed = accesses.encode();
    const IntervalAccesses back = IntervalAccesses::decode(packed, "test");
    CHECK(back.all_code == accesses.all_code);
    CHECK(back.all_data == accesses.all_data);
    CHECK(back.code == accesses.code);
    for (const CodeRun& run : accesses.code) {
      CHECK(accesses.may_execute(run.first));
      CHECK(accesses.may_execute(run.last));
      if (!accesses.all_code) CHECK_FALSE(accesses.may_execute(run.last + 1));
    }
    CHECK(back.pages == accesses.pages);
    CHECK(back.devices == accesses.devices);
    for (int n = 0; n < 40; ++n) {
      Bytes cut(packed.begin(),
                packed.begin() + static_cast<std::ptrdiff_t>(random() % packed.size()));
      CHECK_THROWS_AS((void)IntervalAccesses::decode(cut, "test"), Error);
      Bytes flipped = packed;
      flipped[random() % flipped.size()] ^= static_cast<std::uint8_t>(1 + random() % 255);
      try {
        (void)IntervalAccesses::decode(flipped, "test");
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::bad_input);
      }
    }
  }
}

TEST_CASE("what a device wrote is in the index, by device, address and line") {
  const auto machine = boot_tiny({0xeb, 0xfe});
  AccessGatherer gatherer;
  machine->set_access_observer(&gatherer);
  DmaPort disk(machine->dma(), "disk");
  DmaPort net(machine->dma(), "net");
  CHECK(net.write({0x5000}, std::uint8_t{1}) == DmaStatus::done);
  CHECK(disk.write({0x2fc0}, Bytes(0x80, 1)) == DmaStatus::done);
  CHECK(disk.write({0x2f00}, std::uint8_t{1}) == DmaStatus::done);
  machine->set_access_observer(&gatherer);
  const IntervalAccesses found =
      IntervalAccesses::decode(gatherer.take().encode(), "what was gathered");
  CHECK(found.devices ==
        std::vector<DeviceWrites>{
            {"disk", {{2, std::uint64_t{1} << 63 | std::uint64_t{1} << 60}, {3, 1}}},
            {"net", {{5, 1}}}});
  CHECK(found.device_may_write({0x3030}, 1));
  CHECK(found.device_may_write({0x4ff0}, 0x11));
  CHECK_FALSE(found.device_may_write({0x4ff0}, 0x10));
  CHECK_FALSE(found.device_may_write({0x2f40}, 0x80));
  // Where the page was mapped is not known: a write of any linear address may be this one.
  CHECK(found.may_access(0xffff'8000'0000'0000, 1, false, true));
  CHECK_FALSE(found.may_access(0xffff'8000'0000'0000, 1, true, false));
  // The next interval begins with nothing, and is packed as it was before devices wrote.
  const IntervalAccesses next = gatherer.take();
  CHECK(next.devices.empty());
  CHECK(next.encode()[0] == 1);
  CHECK_FALSE(next.may_access(0x5000, 1, false, true));
  machine->set_access_observer(nullptr);
}

TEST_CASE("every instruction and access of an interval is in its index") {
  for (std::uint64_t seed = 300; seed < 312; ++seed) {
    CAPTURE(seed);
    const TinyGuest guest = random_guest(seed, 40);
    ScriptedInput input({700, 1500, 4000}, seed);
    const auto machine = boot_tiny(guest.image);
    machine->set_input(&input);
    ScriptedInput shadow_input({700, 1500, 4000}, seed);
    const auto shadow = boot_tiny(guest.image);
    shadow->set_input(&shadow_input);
    // The shadow has all of memory watched, so every access is seen.
    DebugHooks hooks;
    hooks.watchpoints.push_back({0, 1 << 20, true, true});
    shadow->set_debug_hooks(&hooks);
    AccessGatherer gatherer;
    std::mt19937_64 random(seed);
    MachineStop stop = MachineStop::reached;
    while (stop == MachineStop::reached) {
      const Position to{machine->position().steps + 1 + random() % 900};
      machine->set_access_observer(&gatherer);
      stop = machine->run({to, 0});
      const IntervalAccesses index = gatherer.take();
      while (shadow->position() < machine->position()) {
        const Moment here = shadow->moment();
        hooks.hits.clear();
        const std::uint64_t rip = shadow->cpu().rip();
        const bool halted = shadow->cpu().state.halted;
        (void)shadow->run({here.position, here.deliveries + 1});
        if (shadow->position() > here.position && !halted) REQUIRE(index.may_execute(rip));
        for (const WatchHit& hit : hooks.hits) {
          REQUIRE(index.may_access(hit.address, 1, !hit.write, hit.write));
        }
      }
    }
    CHECK(machine->digest() == shadow->digest());
  }
}

TEST_CASE("the index goes by linear address: another mapping of a page is another place") {
  AliasedMachine m;
  // mov rbx, 1 GiB + 0x30000; mov [rbx], eax ; mov rcx, 2 GiB + 0x31000; add [rcx+64], eax; jmp $
  m.code(AliasedMachine::kCode,
         {0x48, 0xbb, 0, 0,    3, 0x40, 0, 0, 0,    0,    0x89, 0x03, 0x48, 0xb9,
          0,    0x10, 3, 0x80, 0, 0,    0, 0, 0x01, 0x41, 0x40, 0xeb, 0xfe});
  const IntervalAccesses index = m.run(20);
  const std::uint64_t first = AliasedMachine::kFirst, second = AliasedMachine::kSecond;
  CHECK(index.may_execute(first + AliasedMachine::kCode));
  CHECK_FALSE(index.may_execute(second + AliasedMachine::kCode));
  CHECK(index.may_access(first + 0x30000, 4, false, true));
  CHECK_FALSE(index.may_access(second + 0x30000, 4, false, true));
  CHECK(index.may_access(second + 0x31040, 4, false, true));
  CHECK(index.may_access(second + 0x31000, 4096, false, true));
  CHECK_FALSE(index.may_access(second + 0x31000, 64, false, true));  // few writes: by line
  CHECK_FALSE(index.may_access(first + 0x31040, 4, false, true));
  CHECK(index.may_access(second + 0x31040, 4, true, false));
}

TEST_CASE("writes across pages, repeated writes and code changed through an alias are all seen") {
  AliasedMachine m;
  // mov rbx, 1 GiB + 0x30ffe; mov ecx, 40; 1: mov [rbx], eax; dec ecx; jnz 1b
  // mov byte [2 GiB alias of the immediate below], 7; mov al, imm; jmp $
  m.code(AliasedMachine::kCode,
         {0x48, 0xbb, 0xfe, 0x0f, 3,    0x40, 0,    0,    0,    0,    0xb9, 40,  0,
          0,    0,    0x89, 0x03, 0xff, 0xc9, 0x75, 0xfa, 0x48, 0xba, 0x23, 0,   1,
          0x80, 0,    0,    0,    0,    0xc6, 0x02, 7,    0xb0, 0x00, 0xeb, 0xfe});
  const IntervalAccesses index = m.run(150);
  CHECK(index.may_access(AliasedMachine::kFirst + 0x30ffe, 2, false, true));
  CHECK(index.may_access(AliasedMachine::kFirst + 0x31000, 1, false, true));
  CHECK(index.may_access(AliasedMachine::kSecond + AliasedMachine::kCode + 0x23, 1, false, true));
  CHECK((m.machine.cpu().gpr(kRax) & 0xff) == 7);
}

}  // namespace chronovisor
