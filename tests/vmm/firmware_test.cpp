// A machine of pc-2 that starts from a ROM: the reset vector, what answers below 1 MiB,
// and what firmware is told.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "tests/vmm/tiny_rom.h"
#include "vmm/devices/core/firmware_items.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

TEST_CASE("the processor begins at the reset vector, in the ROM below 4 GiB") {
  TinyRom rom;
  rom.program({0xb8, 0x34, 0x12, 0xf4});  // MOV AX, 1234H; HLT
  Machine machine(pc2_config());
  start(machine, rom.bytes());
  CHECK(machine.cpu().linear_rip() == 0xfffffff0);
  CHECK(machine.run({Position{1}, 0}) == MachineStop::reached);
  CHECK(machine.cpu().linear_rip() == 0xf0100);
  CHECK(machine.run({Position{100}, 0}) == MachineStop::ended);
  CHECK(machine.cpu().state.gpr[0] == 0x1234);
}

TEST_CASE("memory attributes choose between ROM and RAM, for reads and for writes") {
  TinyRom rom;
  Machine machine(pc2_config());
  rom.program({
      ES_IS_F000,
      KEEP_WORD(0x500),  // closed: the ROM
      POKE(0xaaaa),
      KEEP_WORD(0x502),  // ... which takes no writes
      CONFIG_BYTE(0x59, 0x20),
      POKE(0xbbbb),      // writes go to RAM
      KEEP_WORD(0x504),  // reads still come from the ROM
      // Copies the ROM over itself, as firmware that shadows itself does: MOV SI, 0; MOV DI, SI;
      // MOV CX, 8000H; PUSH DS; ES: MOVSW needs DS = F000H.
      0x06,
      0x1f,
      0x31,
      0xf6,
      0x31,
      0xff,
      0xb9,
      0x00,
      0x70,
      0xf3,
      0xa5,  // up to E000H
      0x31,
      0xc0,
      0x8e,
      0xd8,
      CONFIG_BYTE(0x59, 0x30),
      KEEP_WORD(0x506),  // RAM: what was written there
      POKE(0xcccc),
      KEEP_WORD(0x508),
      CONFIG_BYTE(0x59, 0x10),
      POKE(0xdddd),
      KEEP_WORD(0x50a),  // RAM that takes no writes
      0xf4,
  });
  start(machine, rom.bytes());
  CHECK(machine.run({Position{200'000}, 0}) == MachineStop::ended);
  CHECK(word_at(machine, 0x500) == 0x2211);
  CHECK(word_at(machine, 0x502) == 0x2211);
  CHECK(word_at(machine, 0x504) == 0x2211);
  CHECK(word_at(machine, 0x506) == 0xbbbb);
  CHECK(word_at(machine, 0x508) == 0xcccc);
  CHECK(word_at(machine, 0x50a) == 0xcccc);
}

TEST_CASE("a machine in the middle of shadowing its ROM is the same after a restore") {
  TinyRom rom;
  rom.program({
      ES_IS_F000,   CONFIG_BYTE(0x59, 0x20),
      POKE(0xbbbb), KEEP_WORD(0x504),
      0x06,         0x1f,
      0x31,         0xf6,
      0x31,         0xff,
      0xb9,         0x00,
      0x70,         0xf3,
      0xa5,         0x31,
      0xc0,         0x8e,
      0xd8,         CONFIG_BYTE(0x59, 0x10),
      POKE(0xdddd), KEEP_WORD(0x506),
      0xf4,
  });
  Machine whole(pc2_config());
  start(whole, rom.bytes());
  CHECK(whole.run({Position{200'000}, 0}) == MachineStop::ended);
  for (const std::uint64_t at : {5U, 14U, 20U, 1000U, 28'000U, 28'700U}) {
    CAPTURE(at);
    Machine first(pc2_config());
    start(first, rom.bytes());
    REQUIRE(first.run({Position{at}, 0}) == MachineStop::reached);
    (void)first.close_epoch();
    Machine second(pc2_config());
    first.pages().for_each_page([&](std::uint64_t page) {
      second.replace_page(page, first.pages().bytes(page), first.page_hash(page));
    });
    second.load_sections(first.save_sections());
    CHECK(second.digest() == first.digest());
    CHECK(second.run({Position{200'000}, 0}) == MachineStop::ended);
    CHECK(second.digest() == whole.digest());
  }
}

TEST_CASE("a kernel that is loaded without firmware finds RAM below 1 MiB") {
  const Bytes code{0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xc7, 0x06, 0x00, 0x80, 0x34, 0x12, 0xf4};
  Machine machine(pc2_config());
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel_name = "flat";
  request.kernel = code;
  machine.boot(request);
  CHECK(machine.run({Position{100}, 0}) == MachineStop::ended);
  CHECK(word_at(machine, 0xf8000) == 0x1234);
}

TEST_CASE("an image that is no ROM is refused by its size, and a model without one by its name") {
  Machine machine(pc2_config());
  CHECK_THROWS_WITH_AS(start(machine, Bytes(1000)),
                       "rom: has 1000 bytes; a firmware ROM has 64 KiB to 16 MiB", Error);
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  Machine other(config);
  CHECK_THROWS_WITH_AS(start(other, Bytes(kRomBytes)),
                       "a machine of the model pc-1 does not start from firmware", Error);
}

TEST_CASE("what firmware is told can be found, and nonsense in its place harms nothing") {
  const Bytes packed = pack_firmware_items(
      {{0x00, "", {'Q', 'E', 'M', 'U'}}, {0, "b", {1, 2, 3}}, {0, "a", Bytes(10, 7)}});
  const auto directory = find_firmware_item(packed, 0x19);
  REQUIRE(directory);
  CHECK(directory->size == 4 + 2 * 64);
  CHECK(packed[directory->offset + 3] == 2);        // two files
  CHECK(packed[directory->offset + 4 + 8] == 'a');  // in the order of their names
  const auto first = find_firmware_item(packed, 0x20);
  REQUIRE(first);
  CHECK(first->size == 10);
  CHECK_FALSE(find_firmware_item(packed, 0x22));
  for (std::size_t n = 0; n < packed.size(); ++n) {
    Bytes broken = packed;
    broken[n] = 0xff;
    for (std::uint16_t key = 0; key < 0x30; ++key) {
      if (const auto place = find_firmware_item(broken, key)) {
        CHECK(std::uint64_t{place->offset} + place->size <= broken.size());
      }
    }
    CHECK_NOTHROW((void)find_firmware_item(ByteView(packed).first(n), 0x20));
  }
}

}  // namespace
}  // namespace chronovisor
