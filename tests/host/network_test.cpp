// What network cards are plugged into: the words that say so, framing, sockets, user
// networking, captures.
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

namespace chronovisor {
namespace {

Bytes frame_of(std::size_t size, std::uint8_t first) {
  Bytes frame(size);
  for (std::size_t n = 0; n < size; ++n) frame[n] = static_cast<std::uint8_t>(first + n * 3);
  return frame;
}

/// A folder that goes away.
class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "chronovisor-net-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

template <class Condition>
bool becomes_true(Condition condition) {
  for (int n = 0; n < 2000; ++n) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

/// The guest's side of a backend.
class Guest {
 public:
  NetworkSink sink() {
    return {[this](const Bytes& frame) {
              const std::lock_guard lock(mutex_);
              if (full_) {
                ++refused_;
                return false;
              }
              frames_.push_back(frame);
              return true;
            },
            [this] { closed_ = true; }};
  }
  [[nodiscard]] std::vector<Bytes> frames() {
    const std::lock_guard lock(mutex_);
    return frames_;
  }
  void set_full(bool full) {
    const std::lock_guard lock(mutex_);
    full_ = full;
  }
  [[nodiscard]] bool was_refused() {
    const std::lock_guard lock(mutex_);
    return refused_ > 0;
  }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  std::mutex mutex_;
  std::vector<Bytes> frames_;
  bool full_ = false;
  int refused_ = 0;
  std::atomic<bool> closed_{false};
};

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
  const Folder folder;
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
  const Folder folder;
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
  const Folder folder;
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
  const Folder folder;
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
  const Folder folder;
  const std::string path = folder.file("precious");
  std::filesystem::create_directory(path);
  CHECK_THROWS_AS((void)listen_unix(path), Error);
  const Descriptor listener = listen_unix(folder.file("live"));
  CHECK_THROWS_AS((void)listen_unix(folder.file("live")), Error);
}

TEST_CASE("user networking answers for its gateway") {
  Guest guest;
  const auto backend = make_backend(parse_network("user,restrict"), guest.sink());
  const std::array<std::uint8_t, 6> own{0x52, 0x54, 0, 0x12, 0x34, 0x56};
  Bytes question(42);
  std::fill_n(question.begin(), 6, std::uint8_t{0xff});
  std::copy(own.begin(), own.end(), question.begin() + 6);
  const Bytes arp{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
  std::copy(arp.begin(), arp.end(), question.begin() + 12);
  std::copy(own.begin(), own.end(), question.begin() + 22);
  const Bytes addresses{10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2};
  std::copy(addresses.begin(), addresses.end(), question.begin() + 28);
  backend->send(question);
  REQUIRE(becomes_true([&] { return !guest.frames().empty(); }));
  const Bytes answer = guest.frames().at(0);
  REQUIRE(answer.size() >= 42);
  CHECK(answer[21] == 2);  // a reply
  CHECK(Bytes(answer.begin() + 28, answer.begin() + 32) == Bytes{10, 0, 2, 2});
  CHECK(Bytes(answer.begin() + 32, answer.begin() + 38) == Bytes(own.begin(), own.end()));
}

/// A datagram of the guest's to everybody, in a frame.
Bytes datagram_to_all(const Bytes& from, const Bytes& to, std::uint16_t from_port,
                      std::uint16_t to_port, const Bytes& payload) {
  ByteWriter out;
  const auto word = [&](std::size_t value) {
    out.integer(static_cast<std::uint8_t>(value >> 8));
    out.integer(static_cast<std::uint8_t>(value));
  };
  out.bytes(Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0});
  const std::size_t header_at = out.data().size();
  out.bytes(Bytes{0x45, 0});
  word(28 + payload.size());
  out.bytes(Bytes{0, 1, 0, 0, 64, 17, 0, 0});
  out.bytes(from);
  out.bytes(to);
  word(from_port);
  word(to_port);
  word(8 + payload.size());
  word(0);
  out.bytes(payload);
  Bytes frame(out.data().begin(), out.data().end());
  std::uint32_t sum = 0;
  for (std::size_t n = header_at; n < header_at + 20; n += 2) {
    sum += static_cast<std::uint32_t>(frame[n] << 8 | frame[n + 1]);
  }
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16));
  frame[header_at + 10] = static_cast<std::uint8_t>(sum >> 8);
  frame[header_at + 11] = static_cast<std::uint8_t>(sum);
  return frame;
}

bool holds(const Bytes& bytes, std::string_view text) {
  return std::search(bytes.begin(), bytes.end(), text.begin(), text.end()) != bytes.end();
}

TEST_CASE("user networking says what to start from, and gives files of one folder alone") {
  const Folder folder;
  std::filesystem::create_directory(folder.file("given"));
  std::ofstream(folder.file("given/boot.ipxe")) << "the file to start from";
  std::ofstream(folder.file("secret")) << "not to be given";
  Guest guest;
  const auto backend = make_backend(
      parse_network("user,tftp=" + folder.file("given") + ",bootfile=boot.ipxe"), guest.sink());
  // DHCP: a discovery.
  Bytes discovery(240);
  const Bytes begin{1, 1, 6, 0, 1, 2, 3, 4};
  std::copy(begin.begin(), begin.end(), discovery.begin());
  const Bytes own{0x52, 0x54, 0, 0x12, 0x34, 0x56};
  std::copy(own.begin(), own.end(), discovery.begin() + 28);
  const Bytes cookie{99, 130, 83, 99};
  std::copy(cookie.begin(), cookie.end(), discovery.begin() + 236);
  const Bytes options{53, 1, 1, 255};
  discovery.insert(discovery.end(), options.begin(), options.end());
  backend->send(datagram_to_all({0, 0, 0, 0}, {255, 255, 255, 255}, 68, 67, discovery));
  const auto came = [&](std::string_view text) {
    const std::vector<Bytes> frames = guest.frames();
    return std::any_of(frames.begin(), frames.end(),
                       [&](const Bytes& frame) { return holds(frame, text); });
  };
  CHECK(becomes_true([&] { return came("boot.ipxe"); }));
  const auto ask_for = [&](const std::string& name, std::uint16_t from_port) {
    Bytes question{0, 1};
    for (const std::string& word : {name, std::string("octet")}) {
      question.insert(question.end(), word.begin(), word.end());
      question.push_back(0);
    }
    backend->send(datagram_to_all({10, 0, 2, 15}, {10, 0, 2, 2}, from_port, 69, question));
  };
  ask_for("boot.ipxe", 2000);
  CHECK(becomes_true([&] { return came("the file to start from"); }));
  ask_for("../secret", 2001);
  CHECK(becomes_true([&] { return came("Access violation"); }));
  CHECK_FALSE(came("not to be given"));
  CHECK_THROWS_AS(
      (void)make_backend(parse_network("user,tftp=" + folder.file("secret")), guest.sink()), Error);
}

TEST_CASE("user networking takes frames of any content") {
  Guest guest;
  const auto backend = make_backend(parse_network("user"), guest.sink());
  std::uint32_t random = 1;
  for (int n = 0; n < 2000; ++n) {
    Bytes frame = frame_of(static_cast<std::size_t>(n) % 1600, static_cast<std::uint8_t>(n));
    if (frame.size() > 40) frame[12] = 8, frame[13] = 0, frame[14] = 0x45;
    for (int change = 0; change < 8 && !frame.empty(); ++change) {
      random = random * 1664525 + 1013904223;
      frame[random / 256 % frame.size()] = static_cast<std::uint8_t>(random >> 24);
    }
    // Nothing that would leave the network of the guest.
    if (frame.size() > 34) frame[30] = 10, frame[31] = 0, frame[32] = 2, frame[33] = 2;
    backend->send(frame);
  }
  CHECK(becomes_true(
      [&] { return backend->counts().sent + backend->counts().sent_dropped == 2000; }));
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
  const Folder folder;
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
