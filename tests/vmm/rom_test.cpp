// ROM that is fetched and read as RAM is, what a reset leaves of a machine, and a screen's
// memory as it is seen from outside.
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/vmm/tiny_rom.h"
#include "vmm/cpu/debug_hooks.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

/// A ROM that stays where it is below 4 GiB: JMP short of CS:0100.
TinyRom high_rom(std::initializer_list<unsigned> program) {
  TinyRom rom;
  rom.put(0xfff0, {0xe9, 0x0d, 0x01});
  rom.program(program);
  return rom;
}

void restore(Machine& from, Machine& to) {
  (void)from.close_epoch();
  (void)to.close_epoch();
  const auto take = [&](std::uint64_t page) {
    if (to.page_hash(page) == from.page_hash(page)) return;
    to.replace_page(page, from.pages().bytes(page), from.page_hash(page));
  };
  std::vector<std::uint64_t> pages;
  to.pages().for_each_page([&](std::uint64_t page) { pages.push_back(page); });
  from.pages().for_each_page([&](std::uint64_t page) { pages.push_back(page); });
  for (const std::uint64_t page : pages) take(page);
  to.load_sections(from.save_sections());
}

TEST_CASE("code in the ROM below 4 GiB is decoded once") {
  // MOV CX, 5000; LOOP to itself; HLT
  const TinyRom rom = high_rom({0xb9, 0x88, 0x13, 0xe2, 0xfe, 0xf4});
  Machine machine(pc2_config());
  start(machine, rom.bytes());
  CHECK(machine.run({Position{100'000}, 0}) == MachineStop::ended);
  CHECK(machine.position().steps == 1 + 1 + 5000 + 1);
  CHECK(machine.cpu().linear_rip() == 0xffff0106);
  CHECK(machine.cpu().counters().blocks_decoded > 0);
  CHECK(machine.cpu().counters().blocks_decoded < 10);
}

TEST_CASE("the ROM is read like memory, and takes no writes of anybody") {
  const TinyRom rom = high_rom({
      0x2e,
      0xc7,
      0x06,
      0x00,
      0xe0,
      0x34,
      0x12,  // MOV WORD [CS:E000], 1234H
      0x2e,
      0xa1,
      0x00,
      0xe0,  // MOV AX, [CS:E000]
      0x2e,
      0x8b,
      0x1e,
      0xff,
      0xef,  // MOV BX, [CS:EFFF], of two pages
      0xf4,
  });
  Machine machine(pc2_config());
  start(machine, rom.bytes());
  CHECK(machine.run({Position{100}, 0}) == MachineStop::ended);
  CHECK(machine.cpu().state.gpr[0] == 0x2211);
  CHECK(machine.cpu().state.gpr[3] == 0x9090);
  CHECK(word_at(machine, 0xffffe000) == 0x2211);
  const std::array<std::uint8_t, 2> other{0xaa, 0xbb};
  (void)machine.ram().write({0xffffe000}, other);
  CHECK(word_at(machine, 0xffffe000) == 0x2211);
  std::array<std::uint8_t, 4> seen{};
  CHECK(machine.look({0xffffe000}, seen) == seen.size());
  CHECK(seen == std::array<std::uint8_t, 4>{0x11, 0x22, 0x33, 0x44});
  // A device's transfers reach RAM alone.
  DmaPort port(machine.dma(), "test");
  std::uint16_t word = 0;
  (void)port.read({0xffffe000}, word);
  CHECK(word == 0xffff);
  (void)port.write({0xffffe000}, std::uint16_t{0x5555});
  CHECK(word_at(machine, 0xffffe000) == 0x2211);
}

TEST_CASE("a machine that had run another ROM runs the one that it is given") {
  const TinyRom first = high_rom({0xb8, 0x11, 0x11, 0xf4});   // MOV AX, 1111H; HLT
  const TinyRom second = high_rom({0xb8, 0x22, 0x22, 0xf4});  // MOV AX, 2222H; HLT
  Machine left(pc2_config());
  start(left, first.bytes());
  Machine right(pc2_config());
  start(right, second.bytes());
  CHECK(right.run({Position{100}, 0}) == MachineStop::ended);
  CHECK(right.cpu().state.gpr[0] == 0x2222);
  restore(left, right);
  CHECK(right.run({Position{100}, 0}) == MachineStop::ended);
  CHECK(right.cpu().state.gpr[0] == 0x1111);
}

TEST_CASE("slow code lets whoever would end the run look") {
  // Executes in the unwritten window of the screen, whose bytes are not cached: FAR JMP to
  // A000:0000, where zeros are ADD [BX+SI], AL.
  TinyRom rom;
  rom.program({0xea, 0x00, 0x00, 0x00, 0xa0});
  Machine machine(pc2_config());
  start(machine, rom.bytes());
  machine.change_cpu([](Cpu& cpu) { cpu.gpr(3) = 0x500; });
  std::uint64_t looks = 0;
  struct Counting final : InputSource {
    std::uint64_t& looks;
    explicit Counting(std::uint64_t& count) : looks(count) {}
    Position next_look(Position) override {
      ++looks;
      return {kNever};
    }
    std::optional<Input> take(InputStamp, const InputRoom&) override { return std::nullopt; }
    IdleOutcome idle(InputStamp, std::uint64_t) override { return {IdleOutcome::Kind::forever, 0}; }
  } source(looks);
  machine.set_input(&source);
  CHECK(machine.run({Position{32'000}, 0}) == MachineStop::reached);
  CHECK(looks >= 2);
}

// ---- reset ------------------------------------------------------------------------------

struct Reset {
  std::string name;
  Bytes code;
  EndReason end;
};

const std::vector<Reset>& resets() {
  static const std::vector<Reset> all{
      {"the 8042", {0xb0, 0xfe, 0xe6, 0x64}, EndReason::reset},
      {"port 92H", {0xb0, 0x01, 0xe6, 0x92}, EndReason::reset},
      {"port CF9H", {0xb0, 0x06, 0xba, 0xf9, 0x0c, 0xee}, EndReason::reset},
      // LIDT [0700H], of zeros; INT3
      {"a triple fault", {0x0f, 0x01, 0x1e, 0x00, 0x07, 0xcc}, EndReason::triple_fault},
  };
  return all;
}

/// Counts its starts at 500H, keeps a word of the ROM and the CMOS, shadows the ROM and
/// overwrites it, and resets; the third time it halts.
TinyRom resetting_rom(const Reset& reset) {
  Bytes program;
  const auto add = [&](const Bytes& code) {
    program.insert(program.end(), code.begin(), code.end());
  };
  add({ES_IS_F000, KEEP_WORD(0x504), CONFIG_BYTE(0x59, 0x30), POKE(0xbbbb)});
  add({0xb0, 0x40, 0xe6, 0x70, 0xe4, 0x71, 0xfe, 0xc0, 0xe6, 0x71, 0xa2, 0x02, 0x05});  // CMOS 40H
  add({0xff, 0x06, 0x00, 0x05});                    // INC WORD [0500H]
  add({0x83, 0x3e, 0x00, 0x05, 0x03, 0x75, 0x01});  // CMP to 3, JNE over
  add({0xf4});
  add(reset.code);
  add({0xf4});
  TinyRom rom = high_rom({});
  std::size_t at = 0x100;
  for (const std::uint8_t byte : program) rom.put(at++, {byte});
  return rom;
}

TEST_CASE("a reset starts the firmware again: RAM and CMOS stay, the ROM is shown anew") {
  for (const Reset& reset : resets()) {
    CAPTURE(reset.name);
    const TinyRom rom = resetting_rom(reset);
    MachineConfig config = pc2_config();
    config.restarts = true;
    Machine machine(config);
    start(machine, rom.bytes());
    CHECK(machine.run({Position{10'000}, 0}) == MachineStop::ended);
    CHECK(machine.ending().reason == EndReason::halted);
    CHECK(word_at(machine, 0x500) == 3);
    CHECK((word_at(machine, 0x502) & 0xff) == 3);
    CHECK(word_at(machine, 0x504) == 0x2211);
  }
}

TEST_CASE("without a restart a reset ends the guest, and says how") {
  for (const Reset& reset : resets()) {
    CAPTURE(reset.name);
    const TinyRom rom = resetting_rom(reset);
    Machine machine(pc2_config());
    start(machine, rom.bytes());
    CHECK(machine.run({Position{10'000}, 0}) == MachineStop::ended);
    CHECK(machine.ending().reason == reset.end);
    CHECK(word_at(machine, 0x500) == 1);
  }
}

TEST_CASE("a run with resets is the same however it is cut, and from every restored state") {
  for (const Reset& reset : resets()) {
    CAPTURE(reset.name);
    const TinyRom rom = resetting_rom(reset);
    MachineConfig config = pc2_config();
    config.restarts = true;
    Machine whole(config);
    start(whole, rom.bytes());
    CHECK(whole.run({Position{10'000}, 0}) == MachineStop::ended);
    const std::uint64_t end = whole.position().steps;
    const Hash128 digest = whole.digest();
    Machine cut(config);
    start(cut, rom.bytes());
    Machine restored(config);
    for (std::uint64_t at = 1; at < end; ++at) {
      CAPTURE(at);
      REQUIRE(cut.run({Position{at}, 0}) == MachineStop::reached);
      restore(cut, restored);
      REQUIRE(restored.digest() == cut.digest());
      REQUIRE(restored.run({Position{10'000}, 0}) == MachineStop::ended);
      REQUIRE(restored.digest() == digest);
    }
  }
}

TEST_CASE("the reset button starts the firmware again") {
  TinyRom rom;
  rom.program({0x31, 0xc0, 0x8e, 0xd8, 0xff, 0x06, 0x00, 0x05, 0xeb, 0xfe});  // counts, and spins
  MachineConfig config = pc2_config();
  config.restarts = true;
  Machine machine(config);
  start(machine, rom.bytes());
  struct Button final : InputSource {
    Position next_look(Position now) override { return now < at ? at : Position{kNever}; }
    std::optional<Input> take(InputStamp stamp, const InputRoom&) override {
      if (stamp.position != at || pressed) return std::nullopt;
      pressed = true;
      return Input{InputKind::reset_button, 0, {}};
    }
    IdleOutcome idle(InputStamp, std::uint64_t) override { return {IdleOutcome::Kind::forever, 0}; }
    Position at{500};
    bool pressed = false;
  } button;
  machine.set_input(&button);
  CHECK(machine.run({Position{1000}, 0}) == MachineStop::reached);
  CHECK(word_at(machine, 0x500) == 2);
}

// ---- flash ------------------------------------------------------------------------------

TEST_CASE("the firmware's flash is programmed, erased, and read like memory again") {
  constexpr std::uint64_t kFlashBytes = 8192;
  const TinyRom rom = high_rom({
      0xc6, 0x06, 0x01, 0xe0, 0x10,  // MOV BYTE [E001], 10H: program
      0xc6, 0x06, 0x01, 0xe0, 0x5a,  // ... 5AH
      0xa0, 0x00, 0xe0,              // MOV AL, [E000]: the status
      0xc6, 0x06, 0x00, 0xe0, 0xff,  // the array
      0x8a, 0x1e, 0x01, 0xe0,        // MOV BL, [E001]
      0x8a, 0x3e, 0x00, 0xe0,        // MOV BH, [E000]
      0xc6, 0x06, 0x07, 0xe0, 0x20,  // erase
      0xc6, 0x06, 0x07, 0xe0, 0xd0,  // ... confirmed
      0xc6, 0x06, 0x00, 0xe0, 0x50,  // clears the status: the array again
      0x8a, 0x0e, 0x01, 0xe0,        // MOV CL, [E001]
      0x8a, 0x2e, 0x00, 0xf0,        // MOV CH, [F000]: of another block
      0xf4,
  });
  const Bytes variables(kFlashBytes, 0x77);
  MachineConfig config = pc2_config();
  config.flash = {kFlashBytes, kRomBytes};
  BootRequest request;
  request.kind = BootKind::firmware;
  request.kernel_name = "rom";
  request.kernel = rom.bytes();
  request.variables = variables;
  const auto made = [&] {
    auto machine = std::make_unique<Machine>(config);
    machine->boot(request);
    machine->change_cpu([](Cpu& cpu) { cpu.set_segment_base(kDs, 0xfffe0000); });
    return machine;
  };
  const auto whole = made();
  CHECK(whole->run({Position{1000}, 0}) == MachineStop::ended);
  const auto& gpr = whole->cpu().state.gpr;
  CHECK((gpr[0] & 0xff) == 0x80);
  CHECK((gpr[3] & 0xffff) == 0x775a);
  CHECK((gpr[1] & 0xffff) == 0x77ff);
  CHECK(word_at(*whole, 0xfffee000) == 0xffff);
  for (std::uint64_t at = 1; at < whole->position().steps; ++at) {
    CAPTURE(at);
    const auto first = made();
    REQUIRE(first->run({Position{at}, 0}) == MachineStop::reached);
    const auto second = made();
    restore(*first, *second);
    CHECK(second->digest() == first->digest());
    CHECK(second->run({Position{1000}, 0}) == MachineStop::ended);
    CHECK(second->digest() == whole->digest());
  }
  for (const FlashConfig flash :
       {FlashConfig{9, kRomBytes}, FlashConfig{kFlashBytes, 100},
        FlashConfig{kFlashBytes, 16U << 20}, FlashConfig{16U << 20, 4096}}) {
    config.flash = flash;
    CHECK_THROWS_AS(Machine{config}, Error);
  }
  Machine without(pc2_config());
  CHECK_THROWS_WITH_AS(without.boot(request),
                       "rom: the machine was not made for these sizes of firmware and variables",
                       Error);
}

// ---- a screen's memory ------------------------------------------------------------------

TEST_CASE("writes to a screen's memory are seen by where they lie") {
  TinyRom rom;
  rom.program({
      0xb8, 0x00, 0xb8, 0x8e, 0xd8,              // DS = B800H
      0xc7, 0x06, 0x00, 0x00, 0x41, 0x07,        // MOV WORD [0], 0741H
      0xc7, 0x06, 0x02, 0x00, 0x42, 0x07, 0xf4,  // MOV WORD [2], 0742H
  });
  Machine machine(pc2_config());
  start(machine, rom.bytes());
  DebugHooks hooks;
  hooks.physical_watchpoints.push_back({{0xb8002}, 2});
  machine.set_debug_hooks(&hooks);
  CHECK(machine.run({Position{100}, 0}) == MachineStop::watchpoint);
  CHECK(machine.position().steps == 5);
  REQUIRE(hooks.physical_hits.size() == 1);
  CHECK(hooks.physical_hits[0].address.value == 0xb8002);
  CHECK(hooks.physical_hits[0].device.empty());
  machine.set_debug_hooks(nullptr);
  std::array<std::uint8_t, 2> seen{};
  CHECK(machine.look({0xb8000}, seen) == 2);
  CHECK(machine.look({0xfed00000}, seen) == 0);  // nobody there
}

}  // namespace
}  // namespace chronovisor
