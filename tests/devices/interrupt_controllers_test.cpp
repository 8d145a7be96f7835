#include <optional>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/interrupt/io_apic.h"
#include "vmm/devices/interrupt/local_apic.h"
#include "vmm/devices/interrupt/pic.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

void out(PortDevice& device, std::uint16_t offset, std::uint8_t value) {
  device.write_port(offset, 1, value);
}

/// As Linux does: vectors 0x30 and 0x38, cascade on 2.
void initialise(Pic& pic, std::uint8_t master_icw4 = 0x01, std::uint8_t slave_icw4 = 0x01) {
  out(pic, 0, 0x11);
  out(pic, 1, 0x30);
  out(pic, 1, 0x04);
  out(pic, 1, master_icw4);
  out(pic, 2, 0x11);
  out(pic, 3, 0x38);
  out(pic, 3, 0x02);
  out(pic, 3, slave_icw4);
  out(pic, 1, 0x00);
  out(pic, 3, 0x00);
}

TEST_CASE("the 8259A serves the highest priority first and nests") {
  Pic pic;
  initialise(pic);
  pic.set_line(5, true);
  CHECK(pic.output());
  CHECK(pic.acknowledge() == 0x35);
  CHECK_FALSE(pic.output());
  pic.set_line(6, true);
  CHECK_FALSE(pic.output());  // lower priority waits
  pic.set_line(1, true);
  CHECK(pic.output());
  CHECK(pic.acknowledge() == 0x31);
  out(pic, 0, 0x20);
  CHECK_FALSE(pic.output());
  out(pic, 0, 0x20);
  CHECK(pic.output());
  CHECK(pic.acknowledge() == 0x36);
}

TEST_CASE("the 8259A says which interrupt in service has a vector") {
  Pic pic;
  initialise(pic);
  pic.set_line(5, true);
  CHECK_FALSE(pic.serviced_as(0x35));
  CHECK(pic.acknowledge() == 0x35);
  CHECK(pic.serviced_as(0x35) == 5U);
  CHECK_FALSE(pic.serviced_as(0x34));
  CHECK_FALSE(pic.serviced_as(0x3d));
  CHECK_FALSE(pic.serviced_as(0x05));
  out(pic, 0, 0x20);
  CHECK_FALSE(pic.serviced_as(0x35));
  pic.set_line(14, true);
  CHECK(pic.acknowledge() == 0x3e);
  CHECK(pic.serviced_as(0x3e) == 14U);
}

TEST_CASE("the 8259A passes slave interrupts through the cascade, each with its own edge") {
  Pic pic;
  initialise(pic);
  pic.set_line(8, true);
  pic.set_line(14, true);
  CHECK(pic.acknowledge() == 0x38);
  CHECK_FALSE(pic.output());
  out(pic, 2, 0x20);
  CHECK_FALSE(pic.output());  // the master still serves IRQ2
  out(pic, 0, 0x20);
  CHECK(pic.output());
  CHECK(pic.acknowledge() == 0x3e);
}

TEST_CASE("the 8259A gives the spurious vector when the request is gone") {
  Pic pic;
  initialise(pic);
  pic.set_line(3, true);
  pic.set_line(3, false);
  CHECK_FALSE(pic.output());
  CHECK(pic.acknowledge() == 0x37);
  out(pic, 0, 0x0b);
  CHECK(pic.read_port(0, 1) == 0);  // nothing in service
}

TEST_CASE("an edge line requests once, an ELCR level line for as long as it is high") {
  Pic pic;
  initialise(pic);
  out(pic, 4, 0xff);
  out(pic, 5, 0xff);
  CHECK(pic.read_port(4, 1) == 0xf8);
  CHECK(pic.read_port(5, 1) == 0xde);
  pic.set_line(1, true);
  CHECK(pic.acknowledge() == 0x31);
  out(pic, 0, 0x61);
  CHECK_FALSE(pic.output());
  pic.set_line(5, true);
  CHECK(pic.acknowledge() == 0x35);
  out(pic, 0, 0x65);
  CHECK(pic.output());
  pic.set_line(5, false);
  CHECK_FALSE(pic.output());
}

TEST_CASE("8259A automatic EOI, rotation, special mask and poll") {
  Pic pic;
  SUBCASE("automatic EOI leaves nothing in service, and rotates when told to") {
    initialise(pic, 0x03);
    out(pic, 0, 0x80);
    pic.set_line(0, true);
    pic.set_line(1, true);
    CHECK(pic.acknowledge() == 0x30);
    pic.set_line(0, false);
    pic.set_line(0, true);
    CHECK(pic.acknowledge() == 0x31);  // IRQ0 is now the lowest
    CHECK(pic.acknowledge() == 0x30);
  }
  SUBCASE("rotate on specific EOI makes that level the lowest") {
    initialise(pic);
    pic.set_line(4, true);
    CHECK(pic.acknowledge() == 0x34);
    out(pic, 0, 0xe4);
    pic.set_line(4, false);
    pic.set_line(4, true);
    pic.set_line(7, true);
    CHECK(pic.acknowledge() == 0x37);
  }
  SUBCASE("set priority") {
    initialise(pic);
    out(pic, 0, 0xc3);
    pic.set_line(0, true);
    pic.set_line(4, true);
    CHECK(pic.acknowledge() == 0x34);
  }
  SUBCASE("special mask mode lets lower levels in, and keeps masked ones in service") {
    initialise(pic);
    pic.set_line(1, true);
    CHECK(pic.acknowledge() == 0x31);
    pic.set_line(6, true);
    CHECK_FALSE(pic.output());
    out(pic, 1, 0x02);
    out(pic, 0, 0x68);
    CHECK(pic.output());
    CHECK(pic.acknowledge() == 0x36);
    out(pic, 0, 0x20);
    out(pic, 0, 0x20);
    out(pic, 0, 0x0b);
    CHECK(pic.read_port(0, 1) == 0x02);
  }
  SUBCASE("poll acknowledges") {
    initialise(pic);
    pic.set_line(3, true);
    out(pic, 0, 0x0c);
    CHECK(pic.read_port(0, 1) == 0x83);
    CHECK_FALSE(pic.output());
    out(pic, 0, 0x0c);
    CHECK(pic.read_port(0, 1) == 0x00);
    out(pic, 0, 0x0b);
    CHECK(pic.read_port(0, 1) == 0x08);
  }
  SUBCASE("special fully nested mode lets a better slave request in") {
    initialise(pic, 0x11);
    pic.set_line(12, true);
    CHECK(pic.acknowledge() == 0x3c);
    pic.set_line(9, true);
    CHECK(pic.output());
    CHECK(pic.acknowledge() == 0x39);
  }
}

/// Both APICs on one bus, as in the machine.
struct Apics final : ApicBus {
  void deliver(const ApicMessage& message) override {
    messages.push_back(message);
    local.deliver(message);
  }
  void broadcast_eoi(std::uint8_t vector) override { io.end_of_interrupt(vector); }
  std::uint64_t get(unsigned offset) { return local.read_mmio(offset, 4); }
  void put(unsigned offset, std::uint32_t value) { local.write_mmio(offset, 4, value); }
  void redirect(unsigned pin, std::uint64_t entry) {
    io.write_mmio(0, 4, 0x10 + 2 * pin + 1);
    io.write_mmio(0x10, 4, entry >> 32);
    io.write_mmio(0, 4, 0x10 + 2 * pin);
    io.write_mmio(0x10, 4, entry & 0xffffffff);
  }
  std::uint64_t entry(unsigned pin) {
    io.write_mmio(0, 1, 0x10 + 2 * pin);
    return io.read_mmio(0x10, 4);
  }
  void eoi() { put(0xb0, 0); }

  ManualClock clock;
  LocalApic local{clock, *this, 40};
  IoApic io{*this};
  std::vector<ApicMessage> messages;
};

TEST_CASE("the I/O APIC identifies itself and starts masked") {
  Apics apics;
  apics.io.write_mmio(0, 4, 1);
  CHECK(apics.io.read_mmio(0x10, 4) == 0x00170020);
  CHECK(apics.entry(23) == 0x10000);
  apics.io.set_line(4, true);
  CHECK(apics.messages.empty());
  apics.redirect(4, 0x41);
  CHECK(apics.messages.empty());  // the masked edge is lost
}

TEST_CASE("a level interrupt comes back after EOI while its line is asserted") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.redirect(9, 0x8051);
  apics.io.set_line(9, true);
  CHECK(apics.messages.size() == 1);
  CHECK((apics.entry(9) & 0x4000) != 0);
  CHECK(apics.local.acknowledge() == 0x51);
  CHECK((apics.get(0x180 + 0x20) & 0x20000) != 0);  // TMR says level
  CHECK_FALSE(apics.local.pending());
  apics.eoi();
  CHECK(apics.messages.size() == 2);
  CHECK(apics.local.acknowledge() == 0x51);
  apics.io.set_line(9, false);
  apics.eoi();
  CHECK(apics.messages.size() == 2);
  CHECK((apics.entry(9) & 0x4000) == 0);
  SUBCASE("the EOI register does the same") {
    apics.io.set_line(9, true);
    apics.io.write_mmio(0x40, 4, 0x51);
    CHECK(apics.messages.size() == 4);
  }
  SUBCASE("unmasking sends what is asserted") {
    apics.redirect(9, 0x18051);
    apics.io.set_line(9, true);
    CHECK(apics.messages.size() == 2);
    apics.redirect(9, 0x8051);
    CHECK(apics.messages.size() == 3);
  }
}

TEST_CASE("edges are sent once, to whom they are addressed") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.redirect(4, 0x41);
  apics.io.set_line(4, true);
  apics.io.set_line(4, true);
  CHECK(apics.messages.size() == 1);
  CHECK(apics.local.acknowledge() == 0x41);
  apics.eoi();
  apics.redirect(4, 0x0300000000000041);  // physical, APIC 3
  apics.io.set_line(4, false);
  apics.io.set_line(4, true);
  CHECK(apics.messages.size() == 2);
  CHECK_FALSE(apics.local.pending());
  apics.put(0xd0, 0x02000000);
  apics.redirect(4, 0x0300000000000841);  // logical, flat, bits 0 and 1
  apics.io.set_line(4, false);
  apics.io.set_line(4, true);
  CHECK(apics.local.pending());
}

TEST_CASE("the local APIC orders by priority class and the task priority") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.local.deliver({.vector = 0x45});
  apics.local.deliver({.vector = 0x81});
  CHECK(apics.local.acknowledge() == 0x81);
  CHECK_FALSE(apics.local.pending());
  CHECK(apics.get(0xa0) == 0x80);
  apics.eoi();
  CHECK(apics.local.pending());
  apics.local.set_cr8(4);
  CHECK(apics.get(0x80) == 0x40);
  CHECK_FALSE(apics.local.pending());
  CHECK(apics.local.acknowledge() == 0xff);  // spurious
  apics.local.set_cr8(3);
  CHECK(apics.local.acknowledge() == 0x45);
}

TEST_CASE("a disabled local APIC takes nothing and lets the 8259A through as wired") {
  Apics apics;
  CHECK(apics.get(0x350) == 0x10000);
  CHECK_FALSE(apics.local.accepts_external());
  apics.local.deliver({.vector = 0x45});
  CHECK_FALSE(apics.local.pending());
  apics.local.set_virtual_wire();
  CHECK(apics.local.accepts_external());
  CHECK(apics.get(0x350) == 0x700);
  CHECK(apics.get(0x360) == 0x400);
  apics.put(0xf0, 0xff);  // software disable masks every entry
  CHECK(apics.get(0x350) == 0x10700);
  CHECK_FALSE(apics.local.accepts_external());
  CHECK(apics.local.write_msr(0x1b, 0xfee00100));
  CHECK(apics.local.accepts_external());
  CHECK(apics.get(0x350) == 0xffffffff);
}

TEST_CASE("LINT1 raises NMI on its rising edge") {
  Apics apics;
  unsigned nmis = 0;
  apics.local.on_nmi([&] { ++nmis; });
  apics.local.set_virtual_wire();
  apics.local.set_lint1(true);
  apics.local.set_lint1(true);
  CHECK(nmis == 1);
  apics.put(0x310, 0);
  apics.put(0x300, 0x400);  // NMI IPI to physical 0
  CHECK(nmis == 2);
}

TEST_CASE("LINT0 as a fixed level interrupt is sent again after EOI") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.put(0x350, 0x8061);
  apics.local.set_lint0(true);
  CHECK(apics.local.acknowledge() == 0x61);
  CHECK((apics.get(0x350) & 0x4000) != 0);
  apics.eoi();
  CHECK(apics.local.acknowledge() == 0x61);
  apics.local.set_lint0(false);
  apics.eoi();
  CHECK_FALSE(apics.local.pending());
}

TEST_CASE("IPIs to oneself arrive, bad vectors are errors, INIT is ignored") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.put(0x370, 0xfe);
  apics.put(0x300, 0x00040077);  // self
  CHECK(apics.local.acknowledge() == 0x77);
  apics.eoi();
  apics.put(0x300, 0x00080078);  // all including self
  CHECK(apics.local.acknowledge() == 0x78);
  apics.eoi();
  apics.put(0x300, 0x000c0079);  // all but self
  apics.put(0x300, 0x00044500);  // INIT, self
  apics.put(0x300, 0x000c4500);
  apics.put(0x300, 0x000c4608);
  CHECK_FALSE(apics.local.pending());
  apics.put(0x300, 0x0004000f);
  CHECK(apics.local.acknowledge() == 0xfe);  // the error entry
  CHECK(apics.get(0x280) == 0);
  apics.put(0x280, 0);
  CHECK(apics.get(0x280) == 0x20);
  apics.put(0x280, 0);
  CHECK(apics.get(0x280) == 0);
}

TEST_CASE("the one-shot timer ends exactly, once") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.put(0x320, 0x40);
  apics.put(0x3e0, 0xb);  // divide by 1
  apics.clock.ns = 1000;
  apics.put(0x380, 500);
  CHECK(apics.local.next_deadline_ns() == 1500);
  apics.clock.ns = 1499;
  CHECK(apics.get(0x390) == 1);
  apics.local.advance({1499});
  CHECK_FALSE(apics.local.pending());
  apics.clock.ns = 1500;
  apics.local.advance({1500});
  CHECK(apics.local.acknowledge() == 0x40);
  CHECK(apics.get(0x390) == 0);
  CHECK(apics.local.next_deadline_ns() == kNever);
  apics.put(0x3e0, 0x3);  // divide by 16
  apics.put(0x380, 10);
  CHECK(apics.local.next_deadline_ns() == 1660);
  apics.clock.ns = 1516;
  CHECK(apics.get(0x390) == 9);
  apics.put(0x380, 0);
  CHECK(apics.local.next_deadline_ns() == kNever);
}

TEST_CASE("the periodic timer keeps its grid however late it is advanced") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  apics.put(0x320, 0x20040);
  apics.put(0x3e0, 0xb);
  apics.put(0x380, 1'000'003);
  const std::uint64_t year = 31'556'952'000'000'000;
  apics.clock.ns = 3 * year;
  CHECK(apics.get(0x390) == 1'000'003 - 3 * year % 1'000'003);
  apics.local.advance(apics.clock.now());
  CHECK(apics.local.acknowledge() == 0x40);
  apics.eoi();
  CHECK_FALSE(apics.local.pending());
  CHECK(apics.local.next_deadline_ns() == (3 * year / 1'000'003 + 1) * 1'000'003);
  SUBCASE("a masked timer has no deadline, and what ended while masked is lost") {
    apics.put(0x320, 0x30040);
    CHECK(apics.local.next_deadline_ns() == kNever);
    apics.clock.ns += 10'000'000;
    apics.put(0x320, 0x20040);
    CHECK_FALSE(apics.local.pending());
    CHECK(apics.local.next_deadline_ns() == (apics.clock.ns / 1'000'003 + 1) * 1'000'003);
  }
}

TEST_CASE("the TSC deadline follows the guest's TSC") {
  Apics apics;
  apics.put(0xf0, 0x1ff);
  std::uint64_t value = 1;
  CHECK(apics.local.write_msr(0x6e0, 5000));
  CHECK(apics.local.read_msr(0x6e0, value));
  CHECK(value == 0);  // not in that mode: ignored
  apics.put(0x320, 0x40040);
  apics.clock.ns = 100;
  CHECK(apics.local.write_msr(0x6e0, 5000));
  CHECK(apics.local.next_deadline_ns() == 5000);
  apics.local.set_tsc_offset(1000);
  CHECK(apics.local.next_deadline_ns() == 4000);
  apics.put(0x380, 17);
  CHECK(apics.get(0x380) == 0);
  apics.clock.ns = 4000;
  apics.local.advance({4000});
  CHECK(apics.local.acknowledge() == 0x40);
  CHECK(apics.local.read_msr(0x6e0, value));
  CHECK(value == 0);
  apics.eoi();
  CHECK(apics.local.write_msr(0x6e0, 4999));  // already past
  CHECK(apics.local.pending());
  CHECK(apics.local.write_msr(0x6e0, ~std::uint64_t{0}));
  CHECK(apics.local.write_msr(0x6e0, 0));
  CHECK(apics.local.next_deadline_ns() == kNever);
  CHECK(apics.local.write_msr(0x6e0, 9000));
  apics.put(0x320, 0x40);  // leaving the mode disarms
  CHECK(apics.local.next_deadline_ns() == kNever);
}

TEST_CASE("IA32_APIC_BASE refuses what the manual forbids") {
  Apics apics;
  std::uint64_t value = 0;
  CHECK(apics.local.read_msr(0x1b, value));
  CHECK(value == 0xfee00900);
  CHECK_FALSE(apics.local.write_msr(0x1b, 0xfee00901));
  CHECK_FALSE(apics.local.write_msr(0x1b, 0x10000fee00900));
  CHECK_FALSE(apics.local.write_msr(0x1b, 0xfee00500));  // x2APIC without enable
  CHECK(apics.local.write_msr(0x1b, 0xfee00100));
  CHECK_FALSE(apics.local.write_msr(0x1b, 0xfee00d00));  // disabled to x2APIC
  CHECK(apics.local.write_msr(0x1b, 0xfee00900));
  CHECK(apics.local.write_msr(0x1b, 0xfee00d00));
  CHECK_FALSE(apics.local.write_msr(0x1b, 0xfee00900));  // back to xAPIC
  CHECK(apics.local.write_msr(0x1b, 0xfee00100));
}

TEST_CASE("x2APIC registers are MSRs, in x2APIC mode only") {
  Apics apics;
  std::uint64_t value = 0;
  CHECK_FALSE(apics.local.read_msr(0x802, value));
  CHECK_FALSE(apics.local.write_msr(0x80b, 0));
  REQUIRE(apics.local.write_msr(0x1b, 0xfee00d00));
  CHECK(apics.get(0x20) == 0xffffffff);  // the page is gone
  CHECK(apics.local.read_msr(0x803, value));
  CHECK(value == 0x00050014);
  CHECK(apics.local.read_msr(0x80d, value));
  CHECK(value == 1);
  CHECK(apics.local.write_msr(0x80f, 0x1ff));
  CHECK(apics.local.write_msr(0x83f, 0x55));
  CHECK(apics.local.acknowledge() == 0x55);
  CHECK_FALSE(apics.local.write_msr(0x80b, 1));
  CHECK(apics.local.write_msr(0x80b, 0));
  CHECK(apics.local.write_msr(0x830, 0x40056));  // self
  CHECK(apics.local.acknowledge() == 0x56);
  for (const std::uint32_t index :
       {0x802U, 0x803U, 0x80aU, 0x80dU, 0x80eU, 0x810U, 0x831U, 0x839U, 0x82fU, 0x840U, 0x8ffU}) {
    CAPTURE(index);
    CHECK_FALSE(apics.local.write_msr(index, 0));
  }
  for (const std::uint32_t index : {0x80bU, 0x80eU, 0x831U, 0x83fU, 0x800U, 0x82fU}) {
    CAPTURE(index);
    CHECK_FALSE(apics.local.read_msr(index, value));
  }
  CHECK_FALSE(apics.local.write_msr(0x808, 0x100));
  CHECK_FALSE(apics.local.write_msr(0x808, 0x100000000));
  CHECK_FALSE(apics.local.write_msr(0x832, 0x80000));
  CHECK(apics.local.write_msr(0x832, 0x40040));
}

}  // namespace
}  // namespace chronovisor
