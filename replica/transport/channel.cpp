#include "replica/transport/channel.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "recorder/format/file.h"
#include "replica/transport/tls_channel.h"

namespace chronovisor::replica {
namespace {

constexpr std::size_t kLeastKeyBytes = 16;
constexpr std::size_t kMostKeyBytes = 64;

class PlainChannel final : public Channel {
 public:
  explicit PlainChannel(Descriptor socket) : socket_(std::move(socket)) {}

  std::size_t read_some(std::span<std::uint8_t> out) override {
    const ssize_t got = recv(socket_.get(), out.data(), out.size(), 0);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    throw Error(ErrorCode::host,
                got == 0 ? "the connection was closed"
                         : std::string("the connection was lost: ") + std::strerror(errno));
  }
  std::size_t write_some(ByteView data) override {
    const ssize_t done = send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (done >= 0) return static_cast<std::size_t>(done);
    if (errno == EAGAIN || errno == EINTR) return 0;
    throw Error(ErrorCode::host, std::string("the connection was lost: ") + std::strerror(errno));
  }
  [[nodiscard]] int descriptor() const override { return socket_.get(); }

 private:
  Descriptor socket_;
};

}  // namespace

PresharedKey read_preshared_key(const std::string& path) {
  const PosixInputFile file(path);
  PresharedKey key{Bytes(kMostKeyBytes + 3)};
  key.key.resize(file.read(0, key.key));
  while (!key.empty() && (key.key.back() == '\n' || key.key.back() == '\r')) key.key.pop_back();
  if (key.key.size() < kLeastKeyBytes || key.key.size() > kMostKeyBytes) {
    throw Error(ErrorCode::usage, "--psk-file " + path + ": a key has 16 to 64 bytes");
  }
  return key;
}

void require_secure(const Address& address, const PresharedKey& key, const std::string& option) {
  if (address.kind == Address::Kind::unix_socket) return;
  if (!has_tls()) {
    throw Error(ErrorCode::usage, option + " " + address.text() +
                                      ": this program was built without OpenSSL, so it speaks on "
                                      "Unix sockets alone");
  }
  if (key.empty()) {
    throw Error(ErrorCode::usage, option + " " + address.text() +
                                      ": TCP takes a key that both ends have (--psk-file)");
  }
}

std::unique_ptr<Channel> make_channel(const Address& address, Descriptor socket, ChannelEnd end,
                                      const PresharedKey& key) {
  if (address.kind == Address::Kind::tcp) return make_tls_channel(std::move(socket), end, key);
  return std::make_unique<PlainChannel>(std::move(socket));
}

}  // namespace chronovisor::replica
