#include <doctest/doctest.h>

#include "tests/gdbstub/session_fixture.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

namespace {

using Packets = std::vector<std::string>;

std::string at(std::uint64_t position, std::string_view reason = {}) {
  return "T05" + std::string(reason) + SessionFixture::registers(position, "p1.1");
}

struct GdbFixture : SessionFixture {
  explicit GdbFixture(std::uint64_t start = 0) {
    gdb_offers();
    target.position = start;
  }
};

}  // namespace

TEST_CASE("? tells where it stands, with the expedited registers and the thread") {
  GdbFixture fixture(47);
  CHECK(fixture.one("?") == at(47));
}

TEST_CASE("steps forward, under every name") {
  GdbFixture fixture;
  CHECK(fixture.one("s") == at(1));
  CHECK(fixture.one("S05") == at(2));
  CHECK(fixture.one("vCont;s:p1.1;c") == at(3));
  CHECK(fixture.one("vCont;S05:p1.-1") == at(4));
  CHECK(fixture.one("vCont;c:p2.1;s") == at(5));
  for (const ResumeRequest& request : fixture.target.requests) {
    CHECK(request.kind == ResumeKind::step);
  }
}

TEST_CASE("a step or continue may name another address, which writes the program counter") {
  GdbFixture fixture;
  CHECK(fixture.one("s1008") == at(1));
  CHECK(fixture.one("c1008") == at(100, "replaylog:end;"));
  CHECK(fixture.one("C05;1008") == at(100, "replaylog:end;"));
  CHECK(fixture.one("S05;1001") == at(100, "replaylog:end;"));
  CHECK(fixture.target.register_writes == 4);
}

TEST_CASE("range stepping stops outside the range, and steps at least once") {
  GdbFixture fixture;
  CHECK(fixture.one("vCont;r1000,1004:p1.1;c:p1.-1") == at(4));
  CHECK(fixture.target.requests.back().kind == ResumeKind::range_step);
  CHECK(fixture.target.requests.back().range_start == 0x1000);
  CHECK(fixture.target.requests.back().range_end == 0x1004);
  CHECK(fixture.one("vCont;r0,0") == at(5));
  fixture.one("Z0,1007,1");
  CHECK(fixture.one("vCont;r1000,1010") == at(7, "swbreak:;"));
}

TEST_CASE("vCont that cannot be understood is an error and moves nothing") {
  GdbFixture fixture;
  for (const char* packet :
       {"vCont", "vCont;", "vCont;q", "vCont;c:", "vCont;s:p2.1", "vCont;r1000", "vCont;r1000,",
        "vCont;sx", "vCont;C", "vCont;c:p1.1x"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "E01");
  }
  CHECK(fixture.target.requests.empty());
  CHECK(fixture.one("vCont;t") == at(0));
}

TEST_CASE("running forward ends at the end of history, again and again") {
  GdbFixture fixture;
  CHECK(fixture.one("vCont;c:p1.-1") == at(100, "replaylog:end;"));
  CHECK(fixture.one("c") == at(100, "replaylog:end;"));
  CHECK(fixture.one("C05") == at(100, "replaylog:end;"));
  CHECK(fixture.one("s") == at(100, "replaylog:end;"));
}

TEST_CASE("running backward ends at the beginning of history, again and again") {
  GdbFixture fixture(3);
  CHECK(fixture.one("bc") == at(0, "replaylog:begin;"));
  CHECK(fixture.one("bc") == at(0, "replaylog:begin;"));
  CHECK(fixture.one("bs") == at(0, "replaylog:begin;"));
}

TEST_CASE("reverse steps undo one step each") {
  GdbFixture fixture(20);
  CHECK(fixture.one("bs") == at(19));
  CHECK(fixture.one("bs") == at(18));
  CHECK(fixture.one("bs") == at(17));
}

TEST_CASE("the thread chosen by Hc steps back, and another cannot be chosen") {
  GdbFixture fixture(20);
  CHECK(fixture.one("Hcp1.1") == "OK");
  CHECK(fixture.one("bs") == at(19));
  CHECK(fixture.one("Hcp1.2") == "E01");
  CHECK(fixture.one("Hcp1.-1") == "OK");
  CHECK(fixture.one("bs") == at(18));
  CHECK(fixture.one("vCont;s:p1.2") == "E01");
  CHECK(fixture.target.position == 18);
}

TEST_CASE("swbreak and hwbreak are reported only to who offered them") {
  GdbFixture gdb;
  gdb.one("Z0,1004,1");
  gdb.one("Z1,1008,1");
  CHECK(gdb.one("c") == at(4, "swbreak:;"));
  CHECK(gdb.one("c") == at(8, "hwbreak:;"));
  SessionFixture plain;
  plain.one("Z0,1004,1");
  plain.one("Z1,1008,1");
  CHECK(plain.one("c") == "T05" + SessionFixture::registers(4));
  CHECK(plain.one("c") == "T05" + SessionFixture::registers(8));
}

TEST_CASE("a breakpoint where bc starts is not reported, an earlier hit of it is") {
  GdbFixture fixture(54);
  fixture.one("Z0,1004,1");
  CHECK(fixture.one("bc") == at(44, "swbreak:;"));
  CHECK(fixture.one("bc") == at(34, "swbreak:;"));
  CHECK(fixture.target.requests.back().origin == OriginBreakpoint::ignore);
}

TEST_CASE("going on from a reported breakpoint leaves it, after a jump it is hit at once") {
  GdbFixture fixture;
  fixture.one("Z0,1004,1");
  CHECK(fixture.one("c") == at(4, "swbreak:;"));
  CHECK(fixture.one("c") == at(14, "swbreak:;"));
  CHECK(fixture.target.requests.back().origin == OriginBreakpoint::ignore);
  // Any other way of coming here lets the breakpoint speak.
  CHECK(fixture.one("bs") == at(13));
  CHECK(fixture.one("s") == at(14));
  CHECK(fixture.one("c") == at(14, "swbreak:;"));
  CHECK(fixture.target.requests.back().origin == OriginBreakpoint::report);
  fixture.one("P10=0110000000000000");
  fixture.one("c");
  CHECK(fixture.target.requests.back().origin == OriginBreakpoint::report);
}

TEST_CASE("watchpoints name their kind and data address in both directions") {
  GdbFixture fixture;
  fixture.one("Z2,2000,8");
  CHECK(fixture.one("c") == at(6, "watch:2000;"));
  CHECK(fixture.one("c") == at(16, "watch:2000;"));
  // Backward it undoes the store and stands on the storing instruction,
  // nearest store first.
  CHECK(fixture.one("bc") == at(15, "watch:2000;"));
  CHECK(fixture.one("m2000,1") == "01");
  CHECK(fixture.one("bc") == at(5, "watch:2000;"));
  CHECK(fixture.one("m2000,1") == "00");
  CHECK(fixture.one("bc") == at(0, "replaylog:begin;"));
  CHECK(fixture.one("z2,2000,8") == "OK");
  fixture.one("Z3,2012,1");
  CHECK(fixture.one("c") == at(4, "rwatch:2012;"));
  fixture.one("z3,2012,1");
  fixture.one("Z4,2000,100");
  CHECK(fixture.one("c") == at(6, "awatch:2000;"));
  CHECK(fixture.one("c") == at(14, "awatch:2010;"));
  CHECK(fixture.one("bc") == at(13, "awatch:2010;"));
}

TEST_CASE("a step that a watchpoint ends says so") {
  GdbFixture fixture(5);
  fixture.one("Z2,2000,8");
  CHECK(fixture.one("s") == at(6, "watch:2000;"));
  CHECK(fixture.one("bs") == at(5, "watch:2000;"));
}

TEST_CASE("a condition that cannot be evaluated stops") {
  GdbFixture fixture;
  // $rax == 3, without `end`: the bytecode runs off its end.
  REQUIRE(fixture.one("Z0,1004,1;X6,260000220313") == "OK");
  CHECK(fixture.one("c") == at(4, "swbreak:;"));
}

TEST_CASE("conditions of another length than they say are refused") {
  GdbFixture fixture;
  CHECK(fixture.one("Z0,1004,1;X8,26000022031327") == "E01");
  CHECK(fixture.one("Z0,1004,1;X6,26000022031327") == "E01");
  CHECK(fixture.one("Z0,1004,1;X7,2600002203132g") == "E01");
  CHECK(fixture.target.breakpoints.empty());
}

TEST_CASE("a true condition stops, a false one does not") {
  GdbFixture fixture;
  const std::string rax_is_3 = "X7,26000022031327";
  const std::string rax_is_7 = "X7,26000022071327";
  REQUIRE(fixture.one("Z1,1004,1;" + rax_is_3 + rax_is_7) == "OK");
  CHECK(fixture.one("c") == at(34, "hwbreak:;"));
  CHECK(fixture.one("c") == at(74, "hwbreak:;"));
  CHECK(fixture.one("c") == at(100, "replaylog:end;"));
  CHECK(fixture.one("bc") == at(74, "hwbreak:;"));
  CHECK(fixture.one("bc") == at(34, "hwbreak:;"));
  CHECK(fixture.one("bc") == at(0, "replaylog:begin;"));
  // Setting it again replaces the conditions.
  CHECK(fixture.one("Z1,1004,1") == "OK");
  CHECK(fixture.target.breakpoints.size() == 1);
  CHECK(fixture.one("c") == at(4, "hwbreak:;"));
}

TEST_CASE("breakpoint commands print and the machine goes on") {
  GdbFixture fixture;
  // printf "%d\n", $rax
  const std::string command = "X11,260000220022003401000525645c6e0027";
  REQUIRE(fixture.one("Z0,1004,1;cmds:0," + command) == "OK");
  fixture.one("Z0,1007,1;X7,26000022021327");
  CHECK(fixture.all("c") == Packets{SessionFixture::console("0\n"), SessionFixture::console("1\n"),
                                    SessionFixture::console("2\n"), at(27, "swbreak:;")});
  CHECK(fixture.all("bc") == Packets{SessionFixture::console("2\n"), SessionFixture::console("1\n"),
                                     SessionFixture::console("0\n"), at(0, "replaylog:begin;")});
  // A hardware breakpoint at the same place without commands wants to be seen.
  fixture.one("Z1,1004,1");
  CHECK(fixture.all("c") == Packets{SessionFixture::console("0\n"), at(4, "swbreak:;")});
  // Unless its condition is false ($rax == 7).
  fixture.one("Z1,1004,1;X7,26000022071327");
  CHECK(fixture.all("c") == Packets{SessionFixture::console("1\n"), SessionFixture::console("2\n"),
                                    at(27, "swbreak:;")});
}

TEST_CASE("a failing breakpoint command says why") {
  GdbFixture fixture(94);
  REQUIRE(fixture.one("Z0,1005,1;cmds:0,X2,0227") == "OK");
  CHECK(fixture.all("c") ==
        Packets{SessionFixture::console("breakpoint command at 0x1005: stack underflow\n"),
                at(100, "replaylog:end;")});
}

TEST_CASE("breakpoint packets that cannot be honoured") {
  GdbFixture fixture;
  for (const char* packet :
       {"Z", "Z0", "Z0,1000", "Z0,1000,", "Z5,1000,1", "Zx,1000,1", "Z2,2000,0",
        "Z2,ffffffffffffffff,2", "Z0,1000,1;Y", "Z0,1000,1;X", "Z0,1000,1;X1", "Z0,1000,1;X1,",
        "Z0,1000,1;X0,", "Z0,1000,1;Xffffffffffffffff,00", "Z0,1000,1;cmds:0", "Z0,bad,1", "z0",
        "z0,1000,1;x", "z9,1000,1"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "E01");
  }
  CHECK(fixture.target.breakpoints.empty());
  CHECK(fixture.one("z0,1000,1") == "OK");
  CHECK(fixture.one("Z0,ffffffffffffffff,1") == "OK");
  CHECK(fixture.one("Z4,0,ffffffffffffffff") == "OK");
}

TEST_CASE("an interrupt during a search answers from where it began") {
  GdbFixture fixture(50);
  fixture.cancel = true;
  CHECK(fixture.one("bc") == "T02" + SessionFixture::registers(50, "p1.1"));
  CHECK(fixture.one("c") == "T02" + SessionFixture::registers(50, "p1.1"));
}

TEST_CASE("a seek armed by monitor is where the next resume goes") {
  GdbFixture fixture;
  fixture.one("qRcmd," + hex_text("seek 42"));
  CHECK(fixture.target.position == 0);
  CHECK(fixture.one("bc") == at(42));
  fixture.one("qRcmd," + hex_text("seek 17"));
  CHECK(fixture.one("vCont;c") == at(17));
  // gdb steps off a breakpoint first; a plain trap would not stop it there.
  fixture.one("qRcmd," + hex_text("seek 90"));
  CHECK(fixture.one("vCont;s:p1.1") == "T02" + SessionFixture::registers(90, "p1.1"));
}

TEST_CASE("a guest that ended is said to have, and is the end of history") {
  GdbFixture fixture;
  fixture.target.ends_with = "the guest powered off";
  CHECK(fixture.all("c") ==
        Packets{SessionFixture::console("the guest powered off\n"), at(100, "replaylog:end;")});
  CHECK(fixture.one("?") == at(100, "replaylog:end;"));
  // Once is enough for one who steps there on and on.
  CHECK(fixture.all("s") == Packets{at(100, "replaylog:end;")});
  CHECK(fixture.all("vCont;s:p1.1") == Packets{at(100, "replaylog:end;")});
  // Who comes again is told again.
  fixture.target.ends_with.reset();
  fixture.one("bs");
  fixture.target.ends_with = "the guest powered off";
  CHECK(fixture.all("c").size() == 2);
}

TEST_CASE("a run that fails still ends in a stop") {
  GdbFixture fixture(5);
  fixture.target.run_failure = "disk full";
  CHECK(fixture.all("c") == Packets{SessionFixture::console("disk full\n"),
                                    "T02" + SessionFixture::registers(5, "p1.1")});
}
