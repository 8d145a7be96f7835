// User networking: what answers the guest, what it reaches, and what it does not.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/internet.h"
#include "base/units.h"
#include "host/network/backend.h"
#include "host/network/boot_answer.h"
#include "host/network/network_options.h"
#include "tests/host/network_test_support.h"

namespace chronovisor {
namespace {

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
  const auto same = [](std::uint8_t byte, char letter) {
    return byte == static_cast<std::uint8_t>(letter);
  };
  return std::search(bytes.begin(), bytes.end(), text.begin(), text.end(), same) != bytes.end();
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

TEST_CASE("user networking says what to start from, and gives files of one folder alone") {
  const testing::TemporaryFolder folder;
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
  CHECK(came("\xaf\x03\xb0\x01\x01\xff"));  // and nobody else will say another one
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

/// What iPXE asks first, so that it need not wait for anybody else.
TEST_CASE("who names a file to start from says that no other server and no router will") {
  Bytes answer = datagram_to_all({10, 0, 2, 2}, {255, 255, 255, 255}, 67, 68, Bytes(548));
  constexpr std::size_t kBootpAt = 42;
  const Bytes cookie{99, 130, 83, 99, 53, 1, 2, 0, 255};
  std::copy(cookie.begin(), cookie.end(), answer.begin() + kBootpAt + 236);
  const auto checksum_is_right = [](const Bytes& frame, std::size_t addresses, std::size_t size,
                                    std::size_t payload, std::uint8_t protocol) {
    const ByteView bytes = frame;
    const std::uint32_t start = internet_sum(bytes.subspan(addresses, size)) + protocol +
                                static_cast<std::uint32_t>(bytes.size() - payload);
    return internet_sum(bytes.subspan(payload), start) == 0xffff;
  };
  const Bytes plain = answer;
  say_no_proxy(answer);
  const Bytes option{175, 3, 176, 1, 1, 255};
  CHECK(std::equal(option.begin(), option.end(), answer.begin() + kBootpAt + 244));
  CHECK(network_word(answer, 40) == 0);  // there was no checksum
  answer = plain;
  answer[40] = 1;
  say_no_proxy(answer);
  CHECK(checksum_is_right(answer, 26, 8, 34, 17));
  // No answer by DHCP, no end of the options, no room behind it: nothing changes.
  for (std::size_t size = 0; size < plain.size(); ++size) {
    Bytes cut(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(size));
    const Bytes before = cut;
    say_no_proxy(cut);
    CHECK(cut == before);
  }
  Bytes full = plain;
  std::fill(full.begin() + kBootpAt + 243, full.end(), std::uint8_t{0});
  full.back() = 255;
  const Bytes before = full;
  say_no_proxy(full);
  CHECK(full == before);

  Bytes question(70);
  const Bytes ethernet{0x33, 0x33, 0, 0, 0, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x86, 0xdd, 0x60};
  std::copy(ethernet.begin(), ethernet.end(), question.begin());
  question[20] = 58;
  question[22] = 0xfe;
  question[54] = 133;
  const std::optional<Bytes> said = say_no_router(question);
  REQUIRE(said);
  REQUIRE(said->size() == 70);
  CHECK((*said)[54] == 134);
  CHECK(network_word(*said, 60) == 0);  // of no lifetime
  CHECK(std::equal(said->begin(), said->begin() + 6, question.begin() + 6));
  CHECK(std::equal(said->begin() + 38, said->begin() + 54, question.begin() + 22));
  CHECK(checksum_is_right(*said, 22, 32, 54, 58));
  question[22] = 0;  // who has no address yet
  CHECK((*say_no_router(question))[38] == 0xff);
  CHECK_FALSE(say_no_router(ByteView(question).first(54)));
  CHECK_FALSE(say_no_router(plain));
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

/// A socket of the host's loopback that takes datagrams.
class LoopbackSocket {
 public:
  LoopbackSocket() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* place = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(bind(fd_, place, size) == 0);
    REQUIRE(getsockname(fd_, place, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~LoopbackSocket() { close(fd_); }
  LoopbackSocket(const LoopbackSocket&) = delete;
  LoopbackSocket& operator=(const LoopbackSocket&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// @return the next datagram that has come, or nothing
  [[nodiscard]] std::string take() const {
    std::array<char, 64> buffer{};
    const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
    return got < 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(got));
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

TEST_CASE("user networking reaches the host's loopback by no address unless it is asked to") {
  const LoopbackSocket secret;
  const auto send_to = [&](NetworkBackend& backend, const Bytes& address) {
    const Bytes payload{'h', 'i', address[0], address[3]};
    backend.send(datagram_to_all({10, 0, 2, 15}, address, 4000, secret.port(), payload));
  };
  Guest guest;
  const auto closed = make_backend(parse_network("user"), guest.sink());
  for (const Bytes& address :
       {Bytes{10, 0, 2, 2}, Bytes{10, 0, 2, 3}, Bytes{127, 0, 0, 1}, Bytes{127, 0, 0, 2},
        Bytes{0, 0, 0, 0}, Bytes{255, 255, 255, 255}, Bytes{10, 0, 2, 255}}) {
    send_to(*closed, address);
  }
  REQUIRE(becomes_true([&] { return closed->counts().sent == 4; }));
  CHECK(closed->counts().sent_dropped == 3);  // those that are of no network
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(secret.take().empty());
  const auto open = make_backend(parse_network("user,loopback"), guest.sink());
  send_to(*open, {10, 0, 2, 2});
  std::string came;
  CHECK(becomes_true([&] { return !(came = secret.take()).empty(); }));
  CHECK(came == "hi\n\2");
}

}  // namespace
}  // namespace chronovisor
