// What viewers send is cut into whole messages, and what is none is refused.
#include "host/display/vnc_messages.h"

#include <doctest/doctest.h>

#include <string>

using namespace chronovisor;

namespace {

Bytes text(const std::string& from) { return {from.begin(), from.end()}; }

/// Takes everything, byte by byte as it comes; the lengths, and a last 0 where it was refused.
std::vector<std::size_t> taken(VncMessages& messages, const Bytes& bytes) {
  std::vector<std::size_t> lengths;
  Bytes waiting;
  for (const std::uint8_t byte : bytes) {
    waiting.push_back(byte);
    const auto length = messages.take(waiting);
    if (!length) return lengths.push_back(0), lengths;
    if (*length == 0) continue;
    CHECK(*length == waiting.size());
    lengths.push_back(*length);
    waiting.clear();
  }
  CHECK(waiting.empty());
  return lengths;
}

VncMessages logged_in() {
  VncMessages messages(false);
  CHECK(taken(messages, text("RFB 003.008\n\x01\x01")) == std::vector<std::size_t>{12, 1, 1});
  CHECK(messages.logged_in());
  return messages;
}

}  // namespace

TEST_CASE("viewers log in by the protocol that they say") {
  struct Login {
    bool password;
    std::string said;
    std::vector<std::size_t> lengths;
  };
  const std::string response(16, 'r');
  for (const Login& login : {Login{false, "RFB 003.008\n\x01\x01", {12, 1, 1}},
                             Login{false, "RFB 003.889\n\x01\x01", {12, 1, 1}},
                             Login{false, "RFB 003.003\n\x01", {12, 1}},
                             Login{true, "RFB 003.007\n\x02" + response + "\x01", {12, 1, 16, 1}},
                             Login{true, "RFB 003.003\n" + response + "\x01", {12, 16, 1}}}) {
    CAPTURE(login.said);
    VncMessages messages(login.password);
    CHECK(taken(messages, text(login.said)) == login.lengths);
    CHECK(messages.logged_in());
  }
}

TEST_CASE("who speaks another protocol is refused at the first byte that says so") {
  const std::string tls("\x16\x03\x01", 3);
  for (const std::string& said : {std::string("GET / HTTP/1.1\r\n"), std::string("POST /"), tls,
                                  std::string("$qSupported#37"), std::string("RFB 004.000\n"),
                                  std::string("RFB 003.00x\n"), std::string("RFB 003.008\r")}) {
    CAPTURE(said);
    VncMessages messages(false);
    CHECK(taken(messages, text(said)).back() == 0);
    CHECK_FALSE(messages.greeted());
  }
  // Without a password nobody asks for one, and with one it is not left out.
  VncMessages open(false);
  CHECK(taken(open, text("RFB 003.008\n\x02")) == std::vector<std::size_t>{12, 0});
  VncMessages locked(true);
  CHECK(taken(locked, text("RFB 003.008\n\x01")) == std::vector<std::size_t>{12, 0});
}

TEST_CASE("each message is as long as its kind and its counts say") {
  const auto message = [](std::initializer_list<std::uint8_t> head, std::size_t size) {
    Bytes bytes(head);
    bytes.resize(size);
    return bytes;
  };
  const std::vector<Bytes> all = {message({0}, 20),
                                  message({2, 0, 0, 3}, 16),
                                  message({2, 0, 0, 0}, 4),
                                  message({3, 1}, 10),
                                  message({4, 1}, 8),
                                  message({5, 1}, 6),
                                  message({6}, 8),
                                  message({6, 0, 0, 0, 0, 0, 1}, 264),
                                  message({8}, 4),
                                  message({250, 0, 1, 2}, 4),
                                  message({150, 1}, 10),
                                  message({251, 0, 0, 0, 0, 0, 2}, 40),
                                  message({6, 0, 0, 0, 0xff, 0xff, 0xff, 0xf0}, 24)};
  VncMessages messages = logged_in();
  for (const Bytes& one : all) {
    CAPTURE(static_cast<int>(one[0]));
    CHECK(taken(messages, one) == std::vector<std::size_t>{one.size()});
  }
  for (const Bytes& bad : {message({1}, 4), message({7}, 4), message({255}, 12),
                           message({6, 0, 0, 0, 0, 0x20}, 8), message({6, 0, 0, 0, 0x80}, 8)}) {
    CAPTURE(static_cast<int>(bad[0]));
    VncMessages fresh = logged_in();
    CHECK(taken(fresh, bad).back() == 0);
  }
}
