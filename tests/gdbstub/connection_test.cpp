#include "gdbstub/connection.h"

#include <doctest/doctest.h>

#include <thread>

#include "tests/gdbstub/fake_target.h"

using namespace chronovisor;
using namespace chronovisor::gdb;

namespace {

struct ConnectionFixture {
  FakeTarget target;
  Connection connection{target};

  /// What comes back for `bytes`, with all work run. Nobody else is there.
  std::string exchange(std::string_view bytes) {
    receive(bytes);
    std::string out = connection.take_output();
    while (auto work = connection.take_work()) {
      connection.finish_work(connection.run(*work));
      out += connection.take_output();
    }
    return out;
  }
  void receive(std::string_view bytes) {
    connection.receive(as_bytes(bytes));
    if (connection.opened() && !connection.served()) connection.serve();
  }
};

}  // namespace

TEST_CASE("packets are acknowledged and answered") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("+$qC#b4") == "+$QC1#c5");
  CHECK(fixture.exchange("+") == "");
  CHECK(fixture.exchange("$vMustReplyEmpty#3a") == "+$#00");
}

TEST_CASE("what is no packet ends a connection that begins with it, unanswered") {
  std::vector<std::string> beginnings = {
      "GET / HTTP/1.1\r\nHost: 127.0.0.1:1234\r\n\r\n$qC#b4",
      "POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n$qRcmd,7768656e#f5",
      "OPTIONS * HTTP/1.1\r\n$qC#b4",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n$qC#b4",
      std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + "$qC#b4",
      "SSH-2.0-OpenSSH_9.2\r\n$qC#b4",
      "\r\n$qC#b4",
      " $qC#b4",
      "#$qC#b4",
      "}$qC#b4",
      "%Stop:T05#00$qC#b4",
      "\xef\xbb\xbf$qC#b4",
      "++-\x03GET /$qC#b4",
      "$qC#b5$qC#b4",   // a wrong checksum
      "$qC#zz$qC#b4",   // none at all
      "$qC}#00$qC#b4",  // an escape of nothing
      "$s#00",
      std::string(1, '\0') + "$qC#b4",
  };
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (std::string_view("$+-\x03").find(c) == std::string_view::npos) {
      beginnings.push_back(std::string(1, c) + "$qC#b4");
    }
  }
  for (const std::string& bytes : beginnings) {
    CAPTURE(bytes);
    ConnectionFixture fixture;
    CHECK(fixture.exchange(bytes) == "");
    CHECK(fixture.connection.ended());
    CHECK(fixture.connection.foreign());
    CHECK_FALSE(fixture.connection.opened());
    CHECK(fixture.exchange("$s#73") == "");
    CHECK(fixture.target.requests.empty());
    CHECK(fixture.target.clients_seen == 0);
  }
}

TEST_CASE("what debuggers send ahead of their first packet is no reason to end") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("\x03+-+") == "");
  CHECK_FALSE(fixture.connection.opened());
  CHECK(fixture.exchange("$qC#b4") == "+$QC1#c5");
  // Once it is known that a debugger is there, the line may be noisy.
  CHECK(fixture.exchange("\r\n$qC#b4") == "+$QC1#c5");
}

TEST_CASE("one that waits its turn is told so, kept waiting, and then answered") {
  ConnectionFixture fixture;
  Connection& connection = fixture.connection;
  connection.receive(as_bytes(join({"+", frame_packet("qSupported:swbreak+")})));
  CHECK(connection.opened());
  connection.wait_for("127.0.0.1:4711;x=y");
  const std::string told = connection.take_output();
  CHECK(told.starts_with("+$PacketSize="));
  CHECK(told.find(";swbreak+;") != std::string::npos);
  CHECK(told.find(";another debugger, 127.0.0.1:4711 x y, is connected") != std::string::npos);
  CHECK(fixture.target.clients_seen == 0);
  connection.receive(as_bytes(frame_packet("vMustReplyEmpty") + "--"));
  CHECK(connection.take_output() == "+");
  connection.give_sign_of_life();
  CHECK(connection.take_output() == "+");
  connection.serve();
  CHECK(connection.take_output() == "$#00");
  connection.give_sign_of_life();
  CHECK(connection.take_output() == "");
  CHECK(fixture.target.clients == 1);
  // What it offered has not been forgotten.
  fixture.exchange(frame_packet("Z0,1001,1"));
  CHECK(fixture.exchange("$c#63").find("swbreak:;") != std::string::npos);
}

TEST_CASE("whoever waits for a long answer hears that somebody is there") {
  ConnectionFixture fixture;
  Connection& connection = fixture.connection;
  const auto signs_during = [&](const std::string& packet) {
    fixture.receive(frame_packet(packet));
    (void)connection.take_output();
    auto work = connection.take_work();
    REQUIRE(work);
    connection.give_sign_of_life();
    std::string signs = connection.take_output();
    connection.finish_work(connection.run(*work));
    (void)connection.take_output();
    CHECK_FALSE(connection.needs_signs_of_life());
    return signs;
  };
  // Console output of no bytes: both gdb and lldb take it before a command's result.
  CHECK(signs_during("qRcmd," + hex_text("when")) == frame_packet("O"));
  CHECK(signs_during("qSearch:memory:1000;10;a") == "+");
  CHECK(signs_during("qCRC:1000,10") == "+");
  CHECK(signs_during("vRun;") == "+");
  // A resume is waited for as long as it takes, and some take a `+` for its end.
  CHECK(signs_during("s") == "");
  CHECK(signs_during("bc") == "");
}

TEST_CASE("a bad checksum is refused and the packet not carried out") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("$qC#b4") == "+$QC1#c5");
  CHECK(fixture.exchange("$s#00") == "-");
  CHECK(fixture.target.requests.empty());
  CHECK(fixture.exchange("$qC#b4") == "+$QC1#c5");
}

TEST_CASE("an unacknowledged packet is sent again, but not for ever") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("-") == "");  // nothing was sent yet
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

TEST_CASE("an interrupt reaches running work, and is ignored before anything ran") {
  ConnectionFixture fixture;
  CHECK(fixture.exchange("\x03") == "");
  fixture.target.position = 50;
  fixture.receive("$qC#b4");
  CHECK(fixture.connection.take_output() == "+$QC1#c5");
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

TEST_CASE("an interrupt between two runs ends the second before it begins") {
  for (const char* resume : {"$s#73", "$vCont;s#b8", "$bs#d5", "$c#63", "$bc#c5"}) {
    CAPTURE(std::string(resume));
    ConnectionFixture fixture;
    fixture.target.position = 50;
    CHECK(fixture.exchange("$s#73").starts_with("+$T05"));
    CHECK(fixture.exchange("\x03") == "");
    CHECK(fixture.exchange(frame_packet("m2000,4"))
              .starts_with("+$"));  // as gdb looks about between steps
    CHECK(fixture.exchange(resume).starts_with("+$T02"));
    CHECK(fixture.target.position == 51);
    // Once is enough.
    CHECK(fixture.exchange("$s#73").starts_with("+$T05"));
    CHECK(fixture.target.position == 52);
  }
}

TEST_CASE("an interrupt that a run was too quick for holds for the next one") {
  ConnectionFixture fixture;
  fixture.receive("$s#73");
  auto work = fixture.connection.take_work();
  REQUIRE(work);
  Answer answer = fixture.connection.run(*work);
  fixture.connection.receive(as_bytes("\x03"));
  fixture.connection.finish_work(std::move(answer));
  CHECK(fixture.connection.take_output().starts_with("+$T05"));
  CHECK(fixture.exchange("$s#73").starts_with("+$T02"));
  CHECK(fixture.target.position == 1);
}

TEST_CASE("an interrupt that came late spoils no later run") {
  ConnectionFixture fixture;
  fixture.exchange("$s#73");
  SUBCASE("when the client has shown the stop to its user") {
    for (const char* list : {"$qXfer:threads:read::0,1000#92", "$qfThreadInfo#bb"}) {
      fixture.exchange("\x03");
      CHECK(fixture.exchange(list).starts_with("+$"));
      CHECK(fixture.exchange("$s#73").starts_with("+$T05"));
    }
  }
  SUBCASE("when time has passed") {
    fixture.exchange("\x03");
    std::this_thread::sleep_for(Session::kInterruptHolds);
    CHECK(fixture.exchange("$s#73").starts_with("+$T05"));
  }
}

TEST_CASE("packets that come while work runs are answered after it, in order") {
  ConnectionFixture fixture;
  fixture.receive("$s#73");
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
  fixture.receive("$s#73");
  for (std::size_t i = 0; i <= Connection::kMaxQueuedPackets; ++i) {
    CHECK_FALSE(fixture.connection.ended());
    fixture.connection.receive(as_bytes("$qC#b4"));
  }
  CHECK(fixture.connection.ended());
}

TEST_CASE("small packets with large answers are answered piece by piece, in order") {
  constexpr int kRequests = 100;
  ConnectionFixture fixture;
  std::string requests;
  for (int i = 0; i < kRequests; ++i) requests += frame_packet("m0,10000");
  fixture.receive(requests);
  fixture.connection.receive(as_bytes(frame_packet("qC")));
  std::size_t answered = 0;
  std::size_t pieces = 0;
  std::string piece;
  for (;; ++pieces) {
    piece = fixture.connection.take_output();
    REQUIRE(piece.size() < 2 * Connection::kMaxOutputBytes);
    answered += piece.size();
    if (!fixture.connection.holds_back()) break;
    fixture.connection.go_on();
  }
  CHECK(pieces > 5);
  CHECK(answered > kRequests * std::size_t{0x20000});
  CHECK(piece.ends_with("$QC1#c5"));
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
