// What network cards are plugged into: the words that say so, framing, sockets, captures.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "host/network/backend.h"
#include "host/network/capture_file.h"
#include "host/network/frame_stream.h"
#include "host/network/network_options.h"
#include "host/network/sockets.h"
#include "host/network/switch_server.h"
#include "tests/host/network_test_support.h"

namespace chronovisor {
namespace {

ErrorCode code_of(const std::string& text) {
  try {
    (void)parse_network(text);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::host;
}

TEST_CASE("the words of a network say what it is") {
  using Kind = NetworkOptions::Kind;
  CHECK(parse_network("none").kind == Kind::none);
  const NetworkOptions user =
      parse_network("user,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.2:53-10.0.2.16:5353,restrict");
  CHECK(user.kind == Kind::user);
  CHECK(user.restricted);
  CHECK_FALSE(user.loopback);
  REQUIRE(user.forwards.size() == 2);
  CHECK(user.forwards[0].host_port == 2222);
  CHECK(user.forwards[0].guest_port == 22);
  CHECK(user.forwards[0].host_address.empty());
  CHECK(user.forwards[1].udp);
  CHECK(user.forwards[1].guest_address == "10.0.2.16");
  const NetworkOptions boot =
      parse_network("user,tftp=/srv/boot,bootfile=http://10.0.2.2/boot.ipxe");
  CHECK(boot.tftp_folder == "/srv/boot");
  CHECK(boot.boot_file == "http://10.0.2.2/boot.ipxe");
  const NetworkOptions tcp = parse_network("stream:tcp:localhost:4000,listen");
  CHECK(tcp.kind == Kind::stream_tcp);
  CHECK(tcp.place == "localhost");
  CHECK(tcp.port == 4000);
  CHECK(tcp.listen);
  CHECK(parse_network("stream:unix:/tmp/a").place == "/tmp/a");
  CHECK(parse_network("dgram:unix:/a:/b").remote == "/b");
  CHECK(parse_network("dgram:udp:127.0.0.1:1:127.0.0.1:2").remote_port == 2);
  CHECK(parse_network("tap:tap0").place == "tap0");
  CHECK(parse_network("pcap:some:file.pcap").place == "some:file.pcap");
}

TEST_CASE("words that mean no network are refused as usage") {
  for (const char* text : {"",
                           "users",
                           "user,listen",
                           "stream:unix:",
                           "stream:unix",
                           "stream:tcp:host",
                           "tap:",
                           "stream:tcp:host:0",
                           "stream:tcp:host:70000",
                           "stream:tcp:host:x",
                           "user,hostfwd=tcp",
                           "user,hostfwd=sctp::1-:2",
                           "user,hostfwd=tcp::1",
                           "user,hostfwd=tcp:1-2",
                           "none,restrict",
                           "user,tftp=",
                           "user,bootfile=",
                           "none,tftp=/srv",
                           "dgram:udp:1:2:3",
                           "pcap:"}) {
    CAPTURE(text);
    CHECK(code_of(text) == ErrorCode::usage);
  }
}

TEST_CASE("frames on a stream are found wherever it is cut, and nonsense is refused") {
  Bytes stream;
  const std::vector<Bytes> frames{frame_of(60, 1), {}, frame_of(1514, 2), frame_of(65536, 3)};
  for (const Bytes& frame : frames) append_frame(stream, frame);
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{3}, std::size_t{1000}, stream.size()}) {
    FrameStreamReader reader;
    std::vector<Bytes> found;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.add(ByteView(stream).subspan(at, std::min(piece, stream.size() - at)));
      while (auto frame = reader.next()) found.push_back(*frame);
    }
    CHECK(found == frames);
    CHECK(reader.pending() == 0);
  }
  FrameStreamReader reader;
  reader.add(as_bytes("GET / HTTP/1.1"));
  CHECK_THROWS_AS((void)reader.next(), Error);
}

TEST_CASE("two ends of a stream exchange frames, and one that leaves is noticed") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("segment");
  Guest first;
  Guest second;
  const auto listening =
      make_backend(parse_network("stream:unix:" + path + ",listen"), first.sink());
  {
    const auto connected = make_backend(parse_network("stream:unix:" + path), second.sink());
    connected->send(frame_of(1514, 7));
    REQUIRE(becomes_true([&] { return first.frames().size() == 1; }));
    for (int n = 0; n < 200; ++n) listening->send(frame_of(60 + static_cast<std::size_t>(n), 9));
    REQUIRE(becomes_true([&] { return second.frames().size() == 200; }));
    CHECK(first.frames()[0] == frame_of(1514, 7));
    CHECK(second.frames()[199] == frame_of(259, 9));
    CHECK(listening->counts().sent == 200);
    CHECK(connected->counts().received == 200);
  }
  CHECK_FALSE(first.closed());  // another may come
  const auto again = make_backend(parse_network("stream:unix:" + path), second.sink());
  again->send(frame_of(80, 1));
  CHECK(becomes_true([&] { return first.frames().size() == 2; }));
}

TEST_CASE("a stream waits for a guest without room, and loses nothing") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("segment");
  Guest first;
  Guest second;
  first.set_full(true);
  const auto listening =
      make_backend(parse_network("stream:unix:" + path + ",listen"), first.sink());
  const auto connected = make_backend(parse_network("stream:unix:" + path), second.sink());
  for (int n = 0; n < 500; ++n) connected->send(frame_of(1000, static_cast<std::uint8_t>(n)));
  REQUIRE(becomes_true([&] { return first.was_refused(); }));
  first.set_full(false);
  REQUIRE(becomes_true([&] { return first.frames().size() == 500; }));
  for (int n = 0; n < 500; ++n) {
    CHECK(first.frames()[static_cast<std::size_t>(n)] ==
          frame_of(1000, static_cast<std::uint8_t>(n)));
  }
}

TEST_CASE("a peer that speaks something else is left") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("segment");
  const Descriptor listener = listen_unix(path);
  Guest guest;
  const auto backend = make_backend(parse_network("stream:unix:" + path), guest.sink());
  Descriptor peer;
  REQUIRE(becomes_true([&] {
    peer = accept_peer(listener);
    return peer.open();
  }));
  REQUIRE(write(peer.get(), "SSH-2.0-OpenSSH\r\n", 17) == 17);
  CHECK(becomes_true([&] { return guest.closed(); }));
  CHECK(backend->counts().received_dropped == 1);
  backend->send(frame_of(60, 0));
  CHECK(becomes_true([&] { return backend->counts().sent_dropped == 1; }));
}

TEST_CASE("datagrams carry a frame each, and either end may come first, and come again") {
  const testing::TemporaryFolder folder;
  const std::string a = folder.file("a");
  const std::string b = folder.file("b");
  Guest first;
  Guest second;
  const auto one = make_backend(parse_network("dgram:unix:" + a + ":" + b), first.sink());
  one->send(frame_of(100, 1));
  REQUIRE(becomes_true([&] { return one->counts().sent_dropped == 1; }));
  {
    const auto two = make_backend(parse_network("dgram:unix:" + b + ":" + a), second.sink());
    one->send(frame_of(1514, 3));
    two->send(frame_of(61, 4));
    REQUIRE(
        becomes_true([&] { return second.frames().size() == 1 && first.frames().size() == 1; }));
    CHECK(second.frames().at(0) == frame_of(1514, 3));
  }
  const auto again = make_backend(parse_network("dgram:unix:" + b + ":" + a), second.sink());
  one->send(frame_of(200, 5));
  CHECK(becomes_true([&] { return second.frames().size() == 2; }));
}

TEST_CASE("a file that is no socket is not replaced by one") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("precious");
  std::filesystem::create_directory(path);
  CHECK_THROWS_AS((void)listen_unix(path), Error);
  const Descriptor listener = listen_unix(folder.file("live"));
  CHECK_THROWS_AS((void)listen_unix(folder.file("live")), Error);
}

Bytes capture(bool swapped, bool nanoseconds, std::uint32_t link_type = 1) {
  ByteWriter out;
  const auto word = [&](std::uint32_t value) {
    for (int n = 0; n < 4; ++n) {
      out.integer(static_cast<std::uint8_t>(value >> (8 * (swapped ? 3 - n : n))));
    }
  };
  word(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4);
  for (const std::uint32_t value : {0x00040002U, 0U, 0U, 65535U, link_type}) word(value);
  for (const std::uint32_t n : {0U, 5U, 2U}) {  // the third is earlier than the second
    word(1000 + n);
    word(7);
    word(60 + n);
    word(2000);
    out.bytes(frame_of(60 + n, static_cast<std::uint8_t>(n)));
  }
  return out.take();
}

TEST_CASE("a capture is read in either byte order and in either unit") {
  for (const bool swapped : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      const Bytes file = capture(swapped, nanoseconds);
      CaptureReader reader(file, "some.pcap");
      CHECK(reader.next()->time_ns == 0);
      const auto second = reader.next();
      CHECK(second->time_ns == 5'000'000'000);
      CHECK(second->frame == frame_of(65, 5));
      CHECK(reader.next()->time_ns == 5'000'000'000);  // time does not go back
      CHECK_FALSE(reader.next());
    }
  }
}

TEST_CASE("a capture that is damaged or is none is an error, wherever it is cut") {
  const Bytes whole = capture(false, false);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const ByteView cut = ByteView(whole).first(size);
    std::size_t frames = 0;
    bool failed = false;
    try {
      CaptureReader reader(cut, "cut.pcap");
      while (reader.next()) ++frames;
    } catch (const Error& error) {
      failed = error.code() == ErrorCode::bad_input;
    }
    CHECK(failed == (size != 24 && size != 24 + 76 && size != 24 + 76 + 81));
    CHECK(frames <= 2);
  }
  const Bytes wireless = capture(false, false, 105);
  CHECK_THROWS_AS(CaptureReader(wireless, "wifi.pcap"), Error);
  Bytes long_frame = whole;
  long_frame[32 + 3] = 0x7f;
  CaptureReader reader(long_frame, "long.pcap");
  CHECK_THROWS_AS((void)reader.next(), Error);
}

TEST_CASE("a switch serves several machines, and one that misbehaves harms no other") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("segment");
  SwitchServer server(listen_unix(path), {});
  std::atomic<bool> stop{false};
  std::thread thread([&] { server.run(stop, kNever); });
  Guest first;
  Guest second;
  {
    const auto a = make_backend(parse_network("stream:unix:" + path), first.sink());
    const auto b = make_backend(parse_network("stream:unix:" + path), second.sink());
    const Descriptor stranger = connect_unix(path);
    REQUIRE(write(stranger.get(), "\xff\xff\xff\xff nonsense", 13) == 13);
    Bytes frame = frame_of(100, 0);
    frame[0] = 0xff;
    // The peers are known to the switch once it has accepted them.
    CHECK(becomes_true([&] {
      a->send(frame);
      return !second.frames().empty();
    }));
    CHECK(second.frames().at(0) == frame);
    CHECK(first.frames().empty());
  }
  stop = true;
  thread.join();
  CHECK(server.peers_seen() == 3);
}

}  // namespace
}  // namespace chronovisor
