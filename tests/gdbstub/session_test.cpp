#include "gdbstub/session.h"

#include <doctest/doctest.h>

#include <set>

#include "gdbstub/wire.h"
#include "tests/gdbstub/session_fixture.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

namespace {
using Packets = std::vector<std::string>;
const std::string kAt = "T05";
}  // namespace

TEST_CASE("qSupported offers swbreak, hwbreak and multiprocess only to who offered them") {
  SessionFixture plain;
  CHECK(plain.one("qSupported") ==
        "PacketSize=100000;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;"
        "qXfer:memory-map:read+;vContSupported+;ConditionalBreakpoints+;BreakpointCommands+;"
        "binary-upload+;ReverseStep+;ReverseContinue+");
  SessionFixture gdb;
  CHECK(gdb.one("qSupported:multiprocess+;swbreak+;hwbreak+;error-message+;xmlRegisters=i386") ==
        "PacketSize=100000;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;"
        "qXfer:memory-map:read+;vContSupported+;ConditionalBreakpoints+;BreakpointCommands+;"
        "binary-upload+;multiprocess+;swbreak+;hwbreak+;error-message+;ReverseStep+;"
        "ReverseContinue+");
}

TEST_CASE("a target without history offers no reverse execution") {
  SessionFixture fixture;
  fixture.target.reverse = false;
  CHECK(fixture.one("qSupported").find("Reverse") == std::string::npos);
  CHECK(fixture.one("bs").empty());
  CHECK(fixture.one("bc").empty());
  CHECK(fixture.target.requests.empty());
}

TEST_CASE("unknown packets get an empty reply") {
  SessionFixture fixture;
  for (const char* packet :
       {"", "vMustReplyEmpty", "vFile:open:2f,0,0", "QNonStop:1", "qTStatus", "qSupportedX",
        "vContX", "vCtrlC", "bx", "_M10,rw", "QPassSignals:e", "qGetTLSAddr:1,2,3", "y", "\xff"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet).empty());
  }
}

TEST_CASE("QStartNoAckMode answers and then switches") {
  SessionFixture fixture;
  const Answer answer = fixture.session.handle("QStartNoAckMode");
  CHECK(answer.packets == Packets{"OK"});
  CHECK(answer.enter_no_ack);
}

TEST_CASE("threads: one, under both spellings") {
  SessionFixture fixture;
  CHECK(fixture.one("qC") == "QC1");
  CHECK(fixture.one("qfThreadInfo") == "m1");
  CHECK(fixture.one("qsThreadInfo") == "l");
  for (const char* packet : {"Hg0", "Hg1", "Hc-1", "Hgp1.1", "Hcp1.-1", "Hgp0.0", "T1", "Tp1.1"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "OK");
  }
  for (const char* packet : {"Hg2", "Hgp2.1", "Hgp1.2", "Hx1", "Hg", "H", "T2", "T", "Hg1x"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "E01");
  }
  fixture.gdb_offers();
  CHECK(fixture.one("qC") == "QCp1.1");
  CHECK(fixture.one("qfThreadInfo") == "mp1.1");
  CHECK(fixture.one("qThreadExtraInfo,p1.1") == "4350552030");
}

TEST_CASE("small fixed answers") {
  SessionFixture fixture;
  CHECK(fixture.one("!") == "OK");
  CHECK(fixture.one("qAttached") == "1");
  CHECK(fixture.one("qAttached:1") == "1");
  CHECK(fixture.one("qSymbol::") == "OK");
  CHECK(fixture.one("qOffsets").empty());  // a whole machine has none; scripts go by it
  CHECK(fixture.one("vCont?") == "vCont;c;C;s;S;t;r");
}

TEST_CASE("documents are read in pieces and end with l") {
  SessionFixture fixture;
  const std::string whole = fixture.one("qXfer:features:read:target.xml:0,fffff");
  REQUIRE(whole[0] == 'l');
  for (const char* part :
       {"<architecture>i386:x86-64</architecture>", "org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse",
        "org.gnu.gdb.i386.segments", "org.chronovisor.system", "name=\"k_gs_base\"", "name=\"dr7\"",
        "name=\"rip\" bitsize=\"64\" type=\"code_ptr\" regnum=\"16\""}) {
    CAPTURE(part);
    CHECK(whole.find(part) != std::string::npos);
  }
  CHECK(whole.find("orig_rax") == std::string::npos);
  // gdb leaves alone what cannot be put back after a call in the guest.
  for (const char* name : {"tsc", "position", "virtual_time_ns"}) {
    const std::size_t at = whole.find(join({"<reg name=\"", name, "\""}));
    REQUIRE(at != std::string::npos);
    const std::string row = whole.substr(at, whole.find("/>", at) - at);
    CHECK(row.find("save-restore=\"no\"") != std::string::npos);
  }
  std::string pieces;
  for (std::size_t offset = 0;;) {
    const std::string piece =
        fixture.one("qXfer:features:read:target.xml:" + hex_number(offset) + ",100");
    pieces += piece.substr(1);
    offset += piece.size() - 1;
    if (piece[0] == 'l') break;
    REQUIRE(piece[0] == 'm');
    REQUIRE(piece.size() == 0x101);
  }
  CHECK(pieces == whole.substr(1));
  CHECK(fixture.one("qXfer:features:read:target.xml:fffff,10") == "l");
  CHECK(fixture.one("qXfer:features:read:other.xml:0,10") == "E00");
  CHECK(fixture.one("qXfer:auxv:read::0,10").empty());
  CHECK(fixture.one("qXfer:features:write:target.xml:0,10").empty());
  CHECK(fixture.one("qXfer:features:read:target.xml:0") == "E01");
}

TEST_CASE("the thread list and a memory map over all addresses") {
  SessionFixture fixture;
  fixture.gdb_offers();
  CHECK(fixture.one("qXfer:threads:read::0,1000") ==
        "l<?xml version=\"1.0\"?>\n<threads>\n<thread id=\"p1.1\" core=\"0\" name=\"CPU 0\">CPU 0"
        "</thread>\n</threads>\n");
  CHECK(
      fixture.one("qXfer:memory-map:read::0,1000") ==
      "l<?xml version=\"1.0\"?>\n<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map "
      "V1.0//EN\" \"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n<memory-map>\n"
      "<memory type=\"ram\" start=\"0x0\" length=\"0x8000000000000000\"/>\n"
      "<memory type=\"ram\" start=\"0x8000000000000000\" length=\"0x8000000000000000\"/>\n"
      "</memory-map>\n");
}

TEST_CASE("a monitor command's output arrives as O packets before the result") {
  SessionFixture fixture;
  fixture.target.position = 7;
  CHECK(fixture.all("qRcmd," + hex_text("when")) ==
        Packets{SessionFixture::console("position 7\n"), "OK"});
  CHECK(fixture.all("qRcmd," + hex_text("seek 5")) == Packets{"OK"});
  CHECK(fixture.all("qRcmd," + hex_text("nonsense")) ==
        Packets{SessionFixture::console("unknown command; try help\n"), "E01"});
  CHECK(fixture.one("qRcmd,xyz") == "E01");
  const Packets flood = fixture.all("qRcmd," + hex_text("flood"));
  CHECK(flood.size() == 26);
  for (const std::string& packet : flood) CHECK(packet.size() <= 8193);
}

TEST_CASE("detaching ends the conversation and removes the breakpoints") {
  SessionFixture fixture;
  CHECK(fixture.one("Z0,1003,1") == "OK");
  const Answer answer = fixture.session.handle("D;1");
  CHECK(answer.packets == Packets{"OK"});
  CHECK(answer.end);
  CHECK(fixture.target.breakpoints.empty());
  CHECK(fixture.one("D;2") == "E01");
}

TEST_CASE("killing ends a plain conversation, and an extended one goes on without a process") {
  SessionFixture plain;
  const Answer killed = plain.session.handle("k");
  CHECK(killed.packets.empty());
  CHECK(killed.end);

  SessionFixture extended;
  extended.gdb_offers();
  extended.one("!");
  CHECK_FALSE(extended.session.handle("k").end);
  CHECK(extended.one("?") == "W00;process:1");
  CHECK(extended.one("qfThreadInfo") == "l");
  CHECK(extended.one("qC") == "E01");
  CHECK(extended.one("c") == "E01");
  CHECK(extended.one("bs") == "E01");
  CHECK(extended.one("qXfer:threads:read::0,1000").find("thread id") == std::string::npos);
  CHECK(extended.one("vAttach;2") == "E01");
  CHECK(extended.one("vAttach;1") == "T05" + SessionFixture::registers(0, "p1.1"));
  CHECK(extended.one("vKill;1") == "OK");
  CHECK(extended.one("vKill;7") == "E01");
  CHECK_FALSE(extended.session.handle("D").end);
}

TEST_CASE("vRun and R begin again") {
  SessionFixture fixture;
  fixture.target.position = 55;
  CHECK(fixture.one("vRun;2f78;61") == kAt + SessionFixture::registers(0));
  CHECK(fixture.target.requests.back().kind == ResumeKind::restart);
  fixture.target.position = 55;
  CHECK(fixture.all("R00").empty());
  CHECK(fixture.one("?") == kAt + SessionFixture::registers(0));
  fixture.one("vKill;1");
  CHECK(fixture.one("vRun;") == kAt + SessionFixture::registers(0));
  CHECK(fixture.one("qC") == "QC1");
}

TEST_CASE("errors carry text for clients that asked for it") {
  SessionFixture lldb;
  CHECK(lldb.one("QEnableErrorStrings") == "OK");
  CHECK(lldb.one("Hg2") == "E01;" + hex_text("no such thread"));
  SessionFixture gdb;
  gdb.one("qSupported:error-message+");
  CHECK(gdb.one("Hg2") == "E.no such thread");
  CHECK(gdb.one("Z0,bad,1") == "E.no breakpoint at 0xbad");
  // Characters that the framing would escape do not reach the user as escapes.
  CHECK(gdb.one("m$}*").find_first_of("$}*#") == std::string::npos);
}

TEST_CASE("an oversized packet is an error") {
  SessionFixture fixture;
  CHECK(fixture.session.handle_oversized().packets == Packets{"E01"});
}

TEST_CASE("every row of the command table is reached by its own prefix") {
  // A row hidden behind a shorter prefix above it would never be used.
  const auto commands = Session::commands();
  for (std::size_t i = 0; i < commands.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (commands[j].match != Session::Match::prefix) continue;
      CAPTURE(commands[i].prefix);
      CHECK_FALSE(commands[i].prefix.starts_with(commands[j].prefix));
    }
  }
}

TEST_CASE("the session tells the target when a client comes and goes") {
  FakeTarget target;
  {
    Session session(target);
    CHECK(target.clients == 1);
    session.handle("Z0,1003,1");
    session.handle("Z2,2000,8");
    CHECK(target.breakpoints.size() == 2);
  }
  CHECK(target.clients == 0);
  CHECK(target.breakpoints.empty());
}

TEST_CASE("lldb: suffixes, thread lists in stops and host facts") {
  SessionFixture fixture;
  CHECK(fixture.one("QThreadSuffixSupported") == "OK");
  CHECK(fixture.one("QListThreadsInStopReply") == "OK");
  CHECK(fixture.one("p10;thread:0001;") == "0010000000000000");
  CHECK(fixture.one("p10;thread:0002;") == "E01");
  CHECK(fixture.one("P0=0700000000000000;thread:0001;") == "OK");
  CHECK(fixture.one("g;thread:1;").substr(0, 16) == "0700000000000000");
  CHECK(fixture.one("vCont;s:0001") ==
        kAt + SessionFixture::registers(1) + "threads:1;thread-pcs:1001;reason:trace;");
  CHECK(fixture.one("qThreadStopInfo1") ==
        kAt + SessionFixture::registers(1) + "threads:1;thread-pcs:1001;reason:trace;");
  CHECK(fixture.one("qHostInfo") == "triple:" + hex_text("x86_64-unknown-none") +
                                        ";ptrsize:8;endian:little;"
                                        "watchpoint_exceptions_received:after;");
  CHECK(fixture.one("qProcessInfo") ==
        "pid:1;parent-pid:1;triple:" + hex_text("x86_64-unknown-none") +
            ";ptrsize:8;endian:little;");
  CHECK(fixture.one("qMemoryRegionInfo:2345") == "start:2000;size:1000;permissions:rwx;");
  CHECK(fixture.one("qMemoryRegionInfo:ffff0000") == "start:ffff0000;size:1000;");
  CHECK(fixture.one("qMemoryRegionInfo:x") == "E01");
  CHECK(fixture.one("jThreadsInfo") ==
        R"([{"tid":1,"name":"CPU 0","reason":"trace","registers":{"6":"003f000000000000",)"
        R"("7":"f03e000000000000","16":"0110000000000000","17":"02020000","18":"10000000"}}])");
}

TEST_CASE("lldb: register descriptions one by one") {
  SessionFixture fixture;
  CHECK(fixture.one("qRegisterInfo10") ==
        "name:rip;bitsize:64;offset:128;encoding:uint;format:hex;set:General Purpose Registers;"
        "ehframe:16;dwarf:16;generic:pc;");
  CHECK(fixture.one("qRegisterInfo28") ==
        "name:xmm0;bitsize:128;offset:276;encoding:vector;format:vector-uint8;"
        "set:Floating Point Registers;ehframe:17;dwarf:17;");
  CHECK(fixture.one("qRegisterInfo" + hex_number(fixture.target.description().registers.size())) ==
        "E45");
}

TEST_CASE("register names are unique and sizes are whole bytes") {
  std::set<std::string_view> names;
  for (const RegisterDescription& row : x86_target_description().registers) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    CHECK(row.bit_size % 8 == 0);
    CHECK(row.bit_size > 0);
  }
}
