#include "gdbstub/connection.h"

#include <doctest/doctest.h>

#include "tests/gdbstub/fake_target.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

namespace {

struct ConnectionFixture {
  FakeTarget target;
  Connection connection{target};

  /// What comes back for `bytes`, with all work run.
  std::string exchange(std::string_view bytes) {
    connection.receive(as_bytes(bytes));
    std::string out = connection.take_output();
    while (auto work = connection.take_work()) {
      connection.finish_work(connection.run(*work));
      out += connection.take_output();
    }
    return out;
  }
};

}  // namespace

TEST_CASE("packets are acknowledged and answered") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("+$qC#b4") == "+$QC1#c5");
  CHECK(fixture.exchange("+") == "");
  CHECK(fixture.exchange("$vMustReplyEmpty#3a") == "+$#00");
}

TEST_CASE("a bad checksum is refused and the packet not carried out") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("$s#00") == "-");
  CHECK(fixture.target.requests.empty());
  CHECK(fixture.exchange("$qC#b4") == "+$QC1#c5");
}

TEST_CASE("an unacknowledged packet is sent again, but not for ever") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("-") == "");
  CHECK(fixture.exchange("$qC#b4") == "+$QC1#c5");
  for (int i = 0; i < Connection::kMaxRetransmissions; ++i) {
    CHECK(fixture.exchange("-") == "$QC1#c5");
  }
  CHECK_FALSE(fixture.connection.ended());
  CHECK(fixture.exchange("-") == "");
  CHECK(fixture.connection.ended());
}

TEST_CASE("in no-ack mode nothing is acknowledged and checksums are not looked at") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("$QStartNoAckMode#b0+$qC#00") == "+$OK#9a$QC1#c5");
  CHECK(fixture.exchange("-$qC#zz") == "");
}

TEST_CASE("an oversized packet is answered, and the next one too") {
  ConnectionFixture fixture;
  std::string flood = frame_packet(std::string(kMaxPacketBytes + 1, 'm'));
  CHECK(fixture.exchange(flood + "$qC#b4") == "+$E01#a6+$QC1#c5");
}

TEST_CASE("an interrupt reaches running work, and is ignored when nothing runs") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("\x03") == "");
  fixture.target.position = 50;
  fixture.connection.receive(as_bytes("$bc#c5\x03"));
  CHECK(fixture.connection.take_output() == "+");
  auto work = fixture.connection.take_work();
  REQUIRE(work);
  CHECK(fixture.connection.busy());
  fixture.connection.finish_work(fixture.connection.run(*work));
  CHECK(fixture.connection.take_output().starts_with("$T02"));
  CHECK_FALSE(fixture.connection.busy());
  CHECK(fixture.target.position == 50);
  // The next run is not cancelled by the old interrupt.
  CHECK(fixture.exchange("$bs#d5").find("$T05") == 1);
  CHECK(fixture.target.position == 49);
}

TEST_CASE("packets that come while work runs are answered after it, in order") {
  ConnectionFixture fixture;
  fixture.connection.receive(as_bytes("$s#73"));
  auto work = fixture.connection.take_work();
  REQUIRE(work);
  fixture.connection.receive(as_bytes("$qC#b4$s#73$qC#b4"));
  CHECK(fixture.connection.take_output() == "++++");
  fixture.connection.finish_work(fixture.connection.run(*work));
  const std::string first = fixture.connection.take_output();
  CHECK(first.starts_with("$T05"));
  CHECK(first.ends_with("$QC1#c5"));
  work = fixture.connection.take_work();
  REQUIRE(work);
  fixture.connection.finish_work(fixture.connection.run(*work));
  CHECK(fixture.connection.take_output().ends_with("$QC1#c5"));
  CHECK(fixture.target.position == 2);
}

TEST_CASE("a client that floods a busy server is cut off") {
  ConnectionFixture fixture;
  fixture.connection.receive(as_bytes("$s#73"));
  for (std::size_t i = 0; i <= Connection::kMaxQueuedPackets; ++i) {
    CHECK_FALSE(fixture.connection.ended());
    fixture.connection.receive(as_bytes("$qC#b4"));
  }
  CHECK(fixture.connection.ended());
}

TEST_CASE("detaching and killing end the connection") {
  ConnectionFixture detaching;
  CHECK(detaching.exchange("$D#44") == "+$OK#9a");
  CHECK(detaching.connection.ended());
  ConnectionFixture killing;
  CHECK(killing.exchange("$k#6b$qC#b4") == "+");
  CHECK(killing.connection.ended());
}

TEST_CASE("a conversation cut at every byte gets the same answers") {
  const std::string talk =
      "+$qC#b4+$m2010,4#8f+$QStartNoAckMode#b0+$bs#d5$s#73$x2010,4#9a$Z2,2000,8#d1$c#63$bc#c5";
  ConnectionFixture whole;
  whole.target.position = 3;
  const std::string expected = whole.exchange(talk);
  CHECK(expected.find("watch:2000") != std::string::npos);
  for (std::size_t cut = 0; cut <= talk.size(); ++cut) {
    CAPTURE(cut);
    ConnectionFixture fixture;
    fixture.target.position = 3;
    std::string got = fixture.exchange(talk.substr(0, cut));
    got += fixture.exchange(talk.substr(cut));
    // Acknowledgements may come earlier between answers; what is said is the same.
    std::erase(got, '+');
    std::string same = expected;
    std::erase(same, '+');
    CHECK(got == same);
  }
}
