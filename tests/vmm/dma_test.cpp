// The port by which devices touch memory: what must follow a device's write.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "tests/vmm/tiny_guest.h"
#include "vmm/cpu/access_observer.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {
namespace {

using test::boot_tiny;

constexpr const char* kDevice = "toy";

/// Moves a machine step by step, so that a device can write between two of them.
void step(Machine& machine, std::uint64_t steps = 1) {
  REQUIRE(machine.run({{machine.position().steps + steps}, 0}) == MachineStop::reached);
}

/// In 64-bit mode, flat segments, at 0x8000, with page tables at 0x1000 to 0x4fff: the
/// first 2 MiB by 4 KiB pages, each where it lies.
std::unique_ptr<Machine> boot_paged(const Bytes& code) {
  auto machine = boot_tiny({0xf4});
  const auto put = [&](std::uint64_t at, std::uint64_t value) {
    std::array<std::uint8_t, 8> bytes{};
    std::memcpy(bytes.data(), &value, 8);
    REQUIRE(machine->ram().write({at}, bytes) == 8);
  };
  put(0x1000, 0x2003);
  put(0x2000, 0x3003);
  put(0x3000, 0x4003);
  for (std::uint64_t page = 0; page < 512; ++page) put(0x4000 + 8 * page, page * kPageSize | 3);
  REQUIRE(machine->ram().write({0x8000}, code) == code.size());
  machine->change_cpu([](Cpu& cpu) {
    cpu.state.cr0 = kCr0Pe | kCr0Pg | kCr0Et;
    cpu.state.cr3 = 0x1000;
    cpu.state.cr4 = kCr4Pae;
    cpu.state.msr.efer = kEferLme | kEferLma;
    for (SegmentRegister& segment : cpu.state.segment) segment = {0x10, 0xc093, 0xffffffff, 0};
    cpu.state.segment[kCs] = {0x08, 0xa09b, 0xffffffff, 0};
    cpu.rip() = 0x8000;
  });
  return machine;
}

/// Remembers what it is told of devices.
class Listener final : public AccessObserver, public DmaObserver {
 public:
  struct Write {
    std::string device;
    std::uint64_t address;
    std::uint64_t size;
    bool operator==(const Write&) const = default;
  };
  void executes(std::uint64_t /*address*/, std::uint64_t /*size*/) override {}
  void accessed(std::uint64_t /*address*/, std::uint64_t /*size*/, bool /*write*/) override {}
  void reads_page(std::uint64_t /*linear_page*/) override {}
  bool writes_page(std::uint64_t /*linear_page*/) override { return true; }
  void device_wrote(const DmaWriter& writer, GuestPhysical address, std::uint64_t size) override {
    device_wrote(writer.device, address, size);
  }
  void device_wrote(std::string_view device, GuestPhysical address, std::uint64_t size) override {
    writes.push_back({std::string(device), address.value, size});
  }
  std::vector<Write> writes;
};

}  // namespace

TEST_CASE("a transfer reads and writes RAM across pages, and nothing else") {
  Ram ram(2U << 20);
  DmaBus bus(ram);
  DmaPort port(bus, kDevice);
  Bytes data(kPageSize + 100);
  for (std::size_t n = 0; n < data.size(); ++n) data[n] = static_cast<std::uint8_t>(n * 7);
  CHECK(port.write({0x1fc0}, data) == DmaStatus::done);
  CHECK(std::equal(data.begin(), data.end(), ram.host(0x1fc0)));
  Bytes back(data.size());
  CHECK(port.read({0x1fc0}, back) == DmaStatus::done);
  CHECK(back == data);

  SUBCASE("the window of devices below 1 MiB reads as ones and takes nothing") {
    const Bytes zeros(0x40, 0);
    CHECK(port.write({0x9ffe0}, data) == DmaStatus::done);
    Bytes seen(0x40);
    CHECK(port.read({0x9ffe0}, seen) == DmaStatus::done);
    CHECK(std::equal(seen.begin(), seen.begin() + 0x20, data.begin()));
    CHECK(std::all_of(seen.begin() + 0x20, seen.end(), [](std::uint8_t b) { return b == 0xff; }));
    CHECK(std::equal(zeros.begin(), zeros.end(), ram.host(0xa0000)));
  }
  SUBCASE("a transfer over a hole goes on behind it") {
    Bytes wide(0x20010, 0x5a);
    CHECK(port.write({0x9fff8}, wide) == DmaStatus::done);
    CHECK(*ram.host(0x9ffff) == 0x5a);
    CHECK(*ram.host(0xa0000) == 0);
    CHECK(*ram.host(0xc0007) == 0x5a);
    CHECK(*ram.host(0xc0008) == 0);
  }
  SUBCASE("past the end of memory, and of all addresses") {
    for (const std::uint64_t at : {std::uint64_t{(2U << 20) - 4}, kNever - 3, kNever}) {
      CHECK(port.write({at}, Bytes(8, 0x77)) == DmaStatus::done);
      Bytes seen(8);
      CHECK(port.read({at}, seen) == DmaStatus::done);
      CHECK(seen[7] == 0xff);
    }
    CHECK(*ram.host(0) == 0);
  }
  SUBCASE("integers are little-endian") {
    CHECK(port.write({0x3000}, std::uint32_t{0x11223344}) == DmaStatus::done);
    CHECK(*ram.host(0x3000) == 0x44);
    std::uint16_t low = 0;
    CHECK(port.read({0x3000}, low) == DmaStatus::done);
    CHECK(low == 0x3344);
  }
}

TEST_CASE("a transfer that is made to fail changes nothing and says so") {
  struct Third final : DmaFaults {
    unsigned count = 0;
    std::vector<std::uint64_t> asked;
    bool fails(const DmaTransfer& transfer) override {
      CHECK(transfer.device == kDevice);
      asked.push_back(transfer.address.value + transfer.size_bytes);
      return ++count == 3;
    }
  } faults;
  Ram ram(2U << 20);
  DmaBus bus(ram);
  Listener listener;
  bus.set_faults(&faults);
  bus.set_observer(&listener);
  DmaPort port(bus, kDevice);
  std::uint8_t value = 0;
  CHECK(port.write({0x1000}, std::uint8_t{1}) == DmaStatus::done);
  CHECK(port.read({0x1000}, value) == DmaStatus::done);
  CHECK(port.write({0x1000}, std::uint8_t{2}) == DmaStatus::failed);
  CHECK(*ram.host(0x1000) == 1);
  CHECK(listener.writes == std::vector<Listener::Write>{{kDevice, 0x1000, 1}});
  faults.count = 2;
  CHECK(port.read({0x1000}, value) == DmaStatus::failed);
  CHECK(value == 0xff);
  CHECK(faults.asked == std::vector<std::uint64_t>{0x1001, 0x1001, 0x1001, 0x1001});
}

TEST_CASE("code that a device overwrites is executed as it is then") {
  // loop: inc ax; jmp loop
  const auto machine = boot_tiny({0x40, 0xeb, 0xfd});
  step(*machine, 10);
  CHECK(machine->cpu().gpr(kRax) == 5);
  DmaPort port(machine->dma(), kDevice);
  CHECK(port.write({0x7c00}, std::uint8_t{0x48}) == DmaStatus::done);  // dec ax
  step(*machine, 10);
  CHECK(machine->cpu().gpr(kRax) == 0);
}

TEST_CASE("a page table that a device overwrites takes effect at once") {
  // loop: mov al, [0x100000]; mov [0x100001], al; jmp loop
  const auto machine = boot_paged({0x8a, 0x04, 0x25, 0x00, 0x00, 0x10, 0x00, 0x88, 0x04, 0x25, 0x01,
                                   0x00, 0x10, 0x00, 0xeb, 0xf0});
  *machine->ram().host(0x100000) = 0x11;
  *machine->ram().host(0x120000) = 0x22;
  step(*machine, 9);
  REQUIRE((machine->cpu().gpr(kRax) & 0xff) == 0x11);
  DmaPort port(machine->dma(), kDevice);
  const std::uint64_t entry = 0x4000 + 8 * 0x100;
  CHECK(port.write({entry}, std::uint64_t{0x120003}) == DmaStatus::done);
  step(*machine, 3);
  CHECK((machine->cpu().gpr(kRax) & 0xff) == 0x22);
  CHECK(*machine->ram().host(0x120001) == 0x22);
  CHECK((*machine->ram().host(entry) & 0x60) == 0x60);  // A and D in the new entry
}

TEST_CASE("memory that a device wrote is in the next checkpoint and in the digest") {
  const auto machine = boot_tiny({0xeb, 0xfe});
  (void)machine->close_epoch();
  const Hash128 before = machine->digest();
  DmaPort port(machine->dma(), kDevice);
  CHECK(port.write({0x12ffc}, std::uint64_t{1} << 40 | 1) == DmaStatus::done);
  CHECK(machine->digest() != before);
  CHECK(machine->close_epoch() == std::vector<std::uint32_t>{0x12, 0x13});
  CHECK(port.write({0x12ffc}, std::uint64_t{0}) == DmaStatus::done);
  CHECK(machine->digest() == before);
}

TEST_CASE("an access observer is told which device wrote where") {
  const auto machine = boot_tiny({0xeb, 0xfe});
  Listener listener;
  machine->set_access_observer(&listener);
  DmaPort port(machine->dma(), kDevice);
  CHECK(port.write({0x2ffe}, std::uint32_t{7}) == DmaStatus::done);
  CHECK(port.write({0xa0000}, std::uint32_t{7}) == DmaStatus::done);
  CHECK(listener.writes ==
        std::vector<Listener::Write>{{kDevice, 0x2ffe, 2}, {kDevice, 0x3000, 2}});
  machine->set_access_observer(nullptr);
}

TEST_CASE("a watchpoint stops where a device writes, and names it") {
  const auto machine = boot_paged({0xeb, 0xfe});
  DebugHooks hooks;
  hooks.watchpoints = {{0x100800, 16, true, true}, {0x9000, 4, true, false}};
  machine->set_debug_hooks(&hooks);
  DmaPort port(machine->dma(), kDevice);
  step(*machine, 3);
  // The watched page lies elsewhere.
  CHECK(port.write({0x4000 + 8 * 0x100}, std::uint64_t{0x120003}) == DmaStatus::done);
  CHECK(port.write({0x100800}, std::uint32_t{1}) == DmaStatus::done);
  CHECK(port.write({0x9000}, std::uint32_t{1}) == DmaStatus::done);  // watched for reads alone
  std::uint32_t value = 0;
  CHECK(port.read({0x120800}, value) == DmaStatus::done);
  step(*machine, 1);
  CHECK(hooks.hits.empty());

  CHECK(port.write({0x1207fc}, std::uint64_t{1} << 32) == DmaStatus::done);
  CHECK(machine->run({{100}, 0}) == MachineStop::watchpoint);
  CHECK(machine->moment() == Moment{{4}, 0});
  CHECK(machine->moment_before() == Moment{{4}, 0});
  REQUIRE(hooks.hits.size() == 1);
  CHECK(hooks.hits[0].watchpoint == hooks.watchpoints[0]);
  CHECK(hooks.hits[0].address == 0x100800);
  CHECK(hooks.hits[0].write);
  CHECK(hooks.hits[0].device == kDevice);
  hooks.hits.clear();
  step(*machine, 1);
  CHECK(hooks.hits.empty());
}

TEST_CASE("a physical watchpoint stops at writes by any mapping and by devices") {
  // mov byte [0x100010], 1; mov byte [0x120020], 2; nop; jmp self
  const auto machine = boot_paged({0xc6, 0x04, 0x25, 0x10, 0x00, 0x10, 0x00, 0x01, 0xc6, 0x04, 0x25,
                                   0x20, 0x00, 0x12, 0x00, 0x02, 0x90, 0xeb, 0xfe});
  const std::uint64_t alias = 0x120003;
  std::memcpy(machine->ram().host(0x4000 + 8 * 0x100), &alias, 8);
  DebugHooks hooks;
  hooks.physical_watchpoints = {{{0x120000}, 0x30}};
  machine->set_debug_hooks(&hooks);
  CHECK(machine->run({{100}, 0}) == MachineStop::watchpoint);
  CHECK(machine->position() == Position{1});
  CHECK(machine->run({{100}, 0}) == MachineStop::watchpoint);
  CHECK(machine->position() == Position{2});
  DmaPort port(machine->dma(), kDevice);
  CHECK(port.write({0x11fff0}, Bytes(0x11, 9)) == DmaStatus::done);
  CHECK(machine->run({{100}, 0}) == MachineStop::watchpoint);
  REQUIRE(hooks.physical_hits.size() == 3);
  CHECK(hooks.physical_hits[0].address == GuestPhysical{0x120010});
  CHECK(hooks.physical_hits[1].address == GuestPhysical{0x120020});
  CHECK(hooks.physical_hits[1].device.empty());
  CHECK(hooks.physical_hits[2].address == GuestPhysical{0x120000});
  CHECK(hooks.physical_hits[2].device == kDevice);
  CHECK(machine->run({{100}, 0}) == MachineStop::reached);
}

}  // namespace chronovisor
