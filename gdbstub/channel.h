// Owns a client's two directions of bytes, whatever they are made of, and the
// name by which the log speaks of who is at the other end. Knows no packet. The
// thread that runs the io_context.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <string>

namespace chronovisor::gdb {

class Channel {
 public:
  using Handler = std::function<void(std::error_code, std::size_t)>;

  virtual ~Channel() = default;
  virtual void read(asio::mutable_buffer buffer, Handler handler) = 0;
  virtual void write(asio::const_buffer buffer, Handler handler) = 0;
  /// What is pending ends with an error.
  virtual void close() = 0;
  /// "127.0.0.1:51234", "gdb (process 4711)", "the debugger on stdio".
  [[nodiscard]] virtual std::string peer_name() const = 0;
};

[[nodiscard]] std::unique_ptr<Channel> make_channel(asio::ip::tcp::socket socket);
[[nodiscard]] std::unique_ptr<Channel> make_channel(asio::local::stream_protocol::socket socket);
/// Standard input and output. Throws std::system_error when they cannot be
/// waited for, as a plain file cannot.
[[nodiscard]] std::unique_ptr<Channel> make_stdio_channel(asio::io_context& io);

}  // namespace chronovisor::gdb
