// Ports of other machines by which small guests end a run.
#include <doctest/doctest.h>

#include "tests/vmm/tiny_guest.h"

namespace chronovisor {
namespace {

using test::Assembler;

/// MOV DX, port; MOV (E)AX, value; OUT DX, AL/AX/EAX
void out(Assembler& a, unsigned port, unsigned width, unsigned value) {
  a.bytes({0xba});
  a.word(port);
  a.bytes({0x66, 0xb8});
  a.word(value & 0xffff);
  a.word(value >> 16);
  if (width == 1) {
    a.bytes({0xee});
  } else if (width == 2) {
    a.bytes({0xef});
  } else {
    a.bytes({0x66, 0xef});
  }
}

void stop_here(Assembler& a) {
  a.bytes({0xfa, 0xf4});  // CLI, HLT
}

Ending ending_of(Assembler& a) {
  stop_here(a);
  const auto machine = test::boot_tiny(a.finish());
  REQUIRE(machine->run({{100'000}}) == MachineStop::ended);
  return machine->ending();
}

struct Write {
  unsigned port, width, value;
};

}  // namespace

TEST_CASE("what powers other machines off ends the run, and the port is named") {
  for (const Write& w : {Write{0xb004, 2, 0x2000}, Write{0x4004, 2, 0x3400}, Write{0x600, 2, 0x34},
                         Write{0x600, 1, 0x34}, Write{0xb004, 4, 0x2001}, Write{0xb005, 1, 0x20}}) {
    CAPTURE(w.port);
    CAPTURE(w.value);
    Assembler a;
    out(a, w.port, w.width, w.value);
    const Ending ending = ending_of(a);
    CHECK(ending.reason == EndReason::poweroff);
    CHECK(ending.port == (w.port & ~1U));
  }
  CHECK(describe({EndReason::poweroff, 0, 0xb004}) == "poweroff by port 0xb004");
}

TEST_CASE("QEMU's debug-exit port at 0x501 ends the run with its code") {
  for (const unsigned width : {1U, 2U, 4U}) {
    CAPTURE(width);
    Assembler a;
    out(a, 0x501, width, 0x21);
    const Ending ending = ending_of(a);
    CHECK(ending.reason == EndReason::debug_exit);
    CHECK(ending.code == 0x21);
    CHECK(ending.port == 0x501);
  }
  CHECK(describe({EndReason::debug_exit, 33, 0x501}) == "debug-exit with code 33 by port 0x501");
}

TEST_CASE("the word Shutdown at port 0x8900 ends the run, whatever comes before it") {
  for (const char* text : {"Shutdown", "ShutShutdown", "SShutdown", "xShutdown"}) {
    CAPTURE(text);
    Assembler a;
    for (const char* c = text; *c != '\0'; ++c) out(a, 0x8900, 1, static_cast<unsigned>(*c));
    const Ending ending = ending_of(a);
    CHECK(ending.reason == EndReason::poweroff);
    CHECK(ending.port == 0x8900);
  }
  for (const char* text : {"shutdown", "Shutdow", "Shut down", "ShutdowN"}) {
    CAPTURE(text);
    Assembler a;
    for (const char* c = text; *c != '\0'; ++c) out(a, 0x8900, 1, static_cast<unsigned>(*c));
    CHECK(ending_of(a).reason == EndReason::halted);
  }
}

TEST_CASE("half of the word Shutdown survives a checkpoint, and needs no room without it") {
  Assembler a;
  for (const char c : std::string("Shutdo")) out(a, 0x8900, 1, static_cast<unsigned>(c));
  a.label("half");
  for (const char c : std::string("wn")) out(a, 0x8900, 1, static_cast<unsigned>(c));
  stop_here(a);
  const Bytes image = a.finish();
  const auto machine = test::boot_tiny(image);
  const auto has_section = [&] {
    for (const Section& section : machine->save_sections()) {
      if (section.name == "shutdown_word") return true;
    }
    return false;
  };
  CHECK_FALSE(has_section());
  machine->run({{18}});
  CHECK(has_section());
  const auto other = test::boot_tiny(image);
  other->load_sections(machine->save_sections());
  REQUIRE(other->run({{100'000}}) == MachineStop::ended);
  CHECK(other->ending().port == 0x8900);
}

TEST_CASE("what an ACPI system writes to PM1 status does not end the run") {
  for (const unsigned value : {0x8731U, 0x0001U, 0x0030U, 0x0020U, 0xffffU, 0x0134U}) {
    CAPTURE(value);
    Assembler a;
    out(a, 0x600, 2, value);
    CHECK(ending_of(a).reason == EndReason::halted);
  }
  Assembler a;
  out(a, 0xb004, 2, 0x1c00);  // a type, but no SLP_EN
  out(a, 0xb004, 1, 0x20);
  CHECK(ending_of(a).reason == EndReason::halted);
}

}  // namespace chronovisor
