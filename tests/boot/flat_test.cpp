#include <doctest/doctest.h>

#include "tests/boot/boot_images.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

BootRequest flat_at(std::uint64_t address, const Bytes& image) {
  BootRequest request = request_of(BootKind::flat, image);
  request.flat_address = address;
  return request;
}

}  // namespace

TEST_CASE("a flat binary is entered as a BIOS enters a boot sector") {
  const Bytes image = pattern(512, 6);
  Ram ram(kMiB);
  const BootCpuState state = load_guest(ram, request_of(BootKind::flat, image));
  CHECK(state.mode == BootMode::real16);
  CHECK(state.cs.selector == 0);
  CHECK(state.rip == 0x7c00);
  CHECK(state.gpr[kBootRdx] == 0x80);
  CHECK(state.ss.base == 0);
  CHECK(state.rsp() == 0x7c00);
  CHECK(state.cr0 == 0x10);
  CHECK((state.rflags & 0x200) == 0);
  CHECK(state.idt == BootTable{0, 0x3ff});
  CHECK(state.cs.limit_bytes == 0xffff);
  CHECK(peek_bytes(ram, 0x7c00, 512) == image);
}

TEST_CASE("CS:IP names the address a flat binary is loaded at") {
  const Bytes image = pattern(64, 6);
  Ram low(kMiB);
  const BootCpuState below = load_guest(low, flat_at(0xfff1, image));
  CHECK(below.cs.selector == 0);
  CHECK(below.rip == 0xfff1);
  Ram high(kMiB);
  const BootCpuState above = load_guest(high, flat_at(0x12345, image));
  CHECK(above.cs.selector == 0x1234);
  CHECK(above.cs.base == 0x12340);
  CHECK(above.rip == 5);
}

TEST_CASE("every interrupt vector of a flat binary leads to an IRET") {
  const Bytes image = pattern(64, 6);
  Ram ram(kMiB);
  load_guest(ram, flat_at(0x7c00, image));
  for (std::uint64_t vector = 0; vector < 256; ++vector) {
    const auto offset = peek<std::uint16_t>(ram, vector * 4);
    const auto segment = peek<std::uint16_t>(ram, vector * 4 + 2);
    REQUIRE(peek<std::uint8_t>(ram, segment * 16ULL + offset) == 0xcf);
  }
}

TEST_CASE("the stack of a flat binary never starts inside it") {
  const Bytes image = pattern(0x8000, 6);
  Ram ram(kMiB);
  const BootCpuState state = load_guest(ram, flat_at(0x1000, image));
  CHECK(state.ss.base + state.rsp() == 0x9fc00);
}

TEST_CASE("a flat binary that cannot lie where it is asked to is refused") {
  const Bytes image = pattern(512, 6);
  CHECK(contains(failure(flat_at(kMiB, image)), "past 1 MiB"));
  CHECK(contains(failure(flat_at(~std::uint64_t{0}, image)), "past 1 MiB"));
  CHECK(contains(failure(flat_at(0x4ff, image)), "BIN@ADDR"));
  CHECK(contains(failure(flat_at(0x9fa01, image)), "BIN@ADDR"));
  CHECK(contains(failure(flat_at(0xa0000, image)), "BIN@ADDR"));
  CHECK(contains(failure(flat_at(0xf0000, image)), "BIN@ADDR"));
  CHECK(failure(flat_at(0x9fa00, image)) == "");
  CHECK(failure(flat_at(0x500, image)) == "");
  CHECK(contains(failure(flat_at(0x7c00, {})), "empty"));
  CHECK(contains(failure(flat_at(0x7c00, Bytes(kMiB, 1))), "smaller file"));
}
