#include <doctest/doctest.h>

#include "gdbstub/wire.h"
#include "tests/gdbstub/session_fixture.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

TEST_CASE("g sends every register in order and marks what has no value") {
  SessionFixture fixture;
  fixture.target.position = 47;
  std::size_t bytes = 0;
  std::size_t pat_at = 0;
  const auto& registers = fixture.target.description().registers;
  for (const auto& row : registers) {
    if (row.name == "pat") pat_at = bytes;
    bytes += register_bytes(row);
  }
  const std::string all = fixture.one("g");
  CHECK(all.size() == 2 * bytes);
  CHECK(all.substr(0, 16) == "0400000000000000");
  CHECK(all.substr(2 * 128, 16) == "0710000000000000");
  CHECK(all.substr(2 * pat_at, 16) == "xxxxxxxxxxxxxxxx");
}

TEST_CASE("G with what g sent changes nothing, and with one change writes one register") {
  SessionFixture fixture;
  std::string all = fixture.one("g");
  CHECK(fixture.one(join({"G", all})) == "OK");
  CHECK(fixture.target.register_writes == 0);
  all.replace(16, 16, "8877665544332211");
  CHECK(fixture.one(join({"G", all})) == "OK");
  CHECK(fixture.target.register_writes == 1);
  CHECK(fixture.one("p1") == "8877665544332211");
  CHECK(fixture.one(join({"G", all, ";thread:1;"})) == "OK");
  CHECK(fixture.one(join({"G", all, "00"})) == "E01");
  CHECK(fixture.one(join({"G", all.substr(2)})) == "E01");
  CHECK(fixture.one("G") == "E01");
  all[0] = 'q';
  CHECK(fixture.one(join({"G", all})) == "E01");
}

TEST_CASE("p and P move one register") {
  SessionFixture fixture;
  CHECK(fixture.one("p10") == "0010000000000000");
  CHECK(fixture.one("p12") == "10000000");
  CHECK(fixture.one("P3=0102030405060708") == "OK");
  CHECK(fixture.one("p3") == "0102030405060708");
  for (const char* packet : {"p", "pfff", "pffffffffffffffff", "p10x", "P3", "P3=", "P3=01",
                             "P3=010203040506070809", "Pfff=00", "P3=010203040506070z"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "E01");
  }
}

TEST_CASE("a register that cannot be written is an error, but writing its own value is not") {
  SessionFixture fixture;
  const std::string number = hex_number(static_cast<std::size_t>(X86Register::position));
  CHECK(fixture.one(join({"P", number, "=0000000000000000"})) == "OK");
  // gdb shows the reply to a register write as a whole, and always took "E." for an error there.
  CHECK(fixture.one(join({"P", number, "=0100000000000000"})) ==
        "E.register position is read-only");
}

TEST_CASE("m reads what is readable from the start") {
  SessionFixture fixture;
  CHECK(fixture.one("m2010,4") == "10111213");
  CHECK(fixture.one("mfffe,10") == "feff");
  CHECK(fixture.one("m10000,1") == "E0e");
  CHECK(fixture.one("mffffffffffffffff,8") == "E0e");
  CHECK(fixture.one("m2010,0").empty());
  CHECK(fixture.one("m0,ffffffffffffffff").size() == 2 * 0x10000);
  for (const char* packet : {"m", "m1", "m1,", "m,1", "mx,1", "m1,2,3", "m11111111111111111,1"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "E01");
  }
}

TEST_CASE("M and X write hexadecimal and binary data") {
  SessionFixture fixture;
  CHECK(fixture.one("M2100,3:0a0b0c") == "OK");
  CHECK(fixture.one("m2100,4") == "0a0b0c03");
  CHECK(fixture.one(std::string_view("X2100,3:\0#}", 11)) == "OK");
  CHECK(fixture.one("m2100,3") == "00237d");
  CHECK(fixture.one("X2100,0:") == "OK");
  CHECK(fixture.one("M10000,1:00") == "E0e");
  CHECK(fixture.one("Xffff,2:ab") == "E0e");
  for (const char* packet : {"M2100,3:0a0b", "M2100,3", "M2100,1:0g", "X2100,2:a", "X2100,1:ab"}) {
    CAPTURE(packet);
    CHECK(fixture.one(packet) == "E01");
  }
}

TEST_CASE("x speaks gdb's dialect, and lldb's after lldb's question") {
  SessionFixture gdb;
  CHECK(gdb.one("x2010,4") == "b\x10\x11\x12\x13");
  CHECK(gdb.one("x10000,4") == "E0e");
  CHECK(gdb.one("x2010,0") == "b");
  SessionFixture lldb;
  CHECK(lldb.one("x0,0") == "OK");
  CHECK(lldb.one("x2010,4") == "\x10\x11\x12\x13");
}

TEST_CASE("no reply is longer than a packet once escaped") {
  SessionFixture fixture;
  const std::string reply = fixture.one("x0,ffffffff");
  CHECK(reply.size() == 0x10001);
  CHECK(escaped_size(reply) <= kMaxPacketBytes);
}

TEST_CASE("qSearch:memory finds a pattern, also across the blocks it reads") {
  SessionFixture fixture;
  CHECK(fixture.one("qSearch:memory:2000;1000;\x77\x78") == "1,2077");
  CHECK(fixture.one("qSearch:memory:2078;1000;\x77\x78") == "1,2177");
  CHECK(fixture.one("qSearch:memory:2078;80;\x77\x78") == "0");
  CHECK(fixture.one("qSearch:memory:2077;1;\x77\x78") == "0");
  CHECK(fixture.one("qSearch:memory:2077;2;\x77\x78") == "1,2077");
  CHECK(fixture.one("qSearch:memory:0;ffffffffffffffff;nowhere") == "E0e");
  CHECK(fixture.one("qSearch:memory:0;10;") == "E01");
  CHECK(fixture.one("qSearch:memory:0;10") == "E01");
  CHECK(fixture.one("qSearch:memory") == "E01");
}

TEST_CASE("qCRC is gdb's CRC-32") {
  SessionFixture fixture;
  // "123456789" gives 0x0376e6e7 for this polynomial, start and order (CRC-32/MPEG-2).
  fixture.one("X2100,9:123456789");
  CHECK(fixture.one("qCRC:2100,9") == "C376e6e7");
  CHECK(fixture.one("qCRC:2100,0") == "Cffffffff");
  CHECK(fixture.one("qCRC:fff0,20") == "E0e");
  CHECK(fixture.one("qCRC:0,ffffffffffffffff") == "E0e");
  CHECK(fixture.one("qCRC:") == "E01");
}

TEST_CASE("a search can be cancelled") {
  SessionFixture fixture;
  fixture.cancel = true;
  CHECK(fixture.one("qSearch:memory:0;1000;zz") == "E0e");
  CHECK(fixture.one("qCRC:0,1000") == "E0e");
}
