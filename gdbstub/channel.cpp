#include "gdbstub/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <utility>

namespace chronovisor::gdb {

namespace {

std::string name_of(const asio::ip::tcp::socket& socket) {
  std::error_code code;
  const asio::ip::tcp::endpoint peer = socket.remote_endpoint(code);
  if (code) return "a client that has gone";
  const std::string address = peer.address().to_string();
  return (peer.address().is_v6() ? "[" + address + "]" : address) + ":" +
         std::to_string(peer.port());
}

/// A Unix socket knows the process at its other end.
std::string name_of(asio::local::stream_protocol::socket& socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return "a local process";
  }
  const std::string number = std::to_string(peer.pid);
  std::ifstream names("/proc/" + number + "/comm");
  std::string name;
  std::getline(names, name);
  for (char& c : name) {
    if (c < 0x20 || c >= 0x7f) c = '?';
  }
  return (name.empty() ? "process " + number : name + " (process " + number + ")");
}

template <class Socket>
class SocketChannel final : public Channel {
 public:
  explicit SocketChannel(Socket socket) : socket_(std::move(socket)), name_(name_of(socket_)) {}
  void read(asio::mutable_buffer buffer, Handler handler) override {
    socket_.async_read_some(buffer, std::move(handler));
  }
  void write(asio::const_buffer buffer, Handler handler) override {
    asio::async_write(socket_, buffer, std::move(handler));
  }
  void close() override {
    std::error_code ignored;
    socket_.shutdown(Socket::shutdown_both, ignored);
    socket_.close(ignored);
  }
  [[nodiscard]] std::string peer_name() const override { return name_; }

 private:
  Socket socket_;
  std::string name_;
};

/// O_NONBLOCK, which Asio sets, belongs to the open file and not to our copy of
/// it, so it is put back as it was.
class StdioChannel final : public Channel {
 public:
  explicit StdioChannel(asio::io_context& io)
      : in_flags_(::fcntl(STDIN_FILENO, F_GETFL)),
        out_flags_(::fcntl(STDOUT_FILENO, F_GETFL)),
        in_(io, duplicate(STDIN_FILENO)),
        out_(io, duplicate(STDOUT_FILENO)) {}
  ~StdioChannel() override {
    ::fcntl(STDIN_FILENO, F_SETFL, in_flags_);
    ::fcntl(STDOUT_FILENO, F_SETFL, out_flags_);
  }
  StdioChannel(const StdioChannel&) = delete;
  StdioChannel& operator=(const StdioChannel&) = delete;

  void read(asio::mutable_buffer buffer, Handler handler) override {
    in_.async_read_some(buffer, std::move(handler));
  }
  void write(asio::const_buffer buffer, Handler handler) override {
    asio::async_write(out_, buffer, std::move(handler));
  }
  void close() override {
    std::error_code ignored;
    in_.close(ignored);
    out_.close(ignored);
  }
  [[nodiscard]] std::string peer_name() const override { return "the debugger on stdio"; }

 private:
  static int duplicate(int descriptor) {
    const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) throw std::system_error(errno, std::system_category(), "stdio");
    return copy;
  }
  int in_flags_;
  int out_flags_;
  asio::posix::stream_descriptor in_;
  asio::posix::stream_descriptor out_;
};

}  // namespace

std::unique_ptr<Channel> make_channel(asio::ip::tcp::socket socket) {
  std::error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  return std::make_unique<SocketChannel<asio::ip::tcp::socket>>(std::move(socket));
}

std::unique_ptr<Channel> make_channel(asio::local::stream_protocol::socket socket) {
  return std::make_unique<SocketChannel<asio::local::stream_protocol::socket>>(std::move(socket));
}

std::unique_ptr<Channel> make_stdio_channel(asio::io_context& io) {
  return std::make_unique<StdioChannel>(io);
}

}  // namespace chronovisor::gdb
