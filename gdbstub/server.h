// Owns the listening end of the GDB server: a Unix socket, a TCP port or
// stdin/stdout, one client at a time, and the worker thread on which the
// machine runs. Must know no packet. run() blocks the thread that calls it;
// stop() may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gdbstub/target.h"

namespace chronovisor::gdb {

/// Where to listen: "unix:PATH", "tcp:ADDRESS:PORT", "tcp:[IPV6]:PORT" or "stdio".
struct ListenAddress {
  enum class Kind { unix_socket, tcp, stdio };
  Kind kind = Kind::stdio;
  std::string path;        ///< unix_socket
  std::string address;     ///< tcp: a numeric address, or "localhost"
  std::uint16_t port = 0;  ///< tcp: 0 lets the system choose

  /// Throws Error{usage} naming what is wrong.
  static ListenAddress parse(std::string_view text);
  /// The same text that parse() takes.
  [[nodiscard]] std::string text() const;
};

struct ServerOptions {
  ListenAddress listen;
  /// Without it, only loopback addresses are accepted: whoever connects can
  /// read and change everything in the guest.
  bool allow_remote = false;
  /// End after the first client instead of waiting for another.
  bool once = false;
  /// Signals that end run() as stop() does, such as SIGTERM.
  std::vector<int> stop_signals;
  /// Told of clients and warnings, a line without its end each; from the
  /// thread in run() or the constructor. May be empty.
  std::function<void(std::string_view)> log;
};

class Server {
 public:
  /// Binds and listens, so that clients may connect before run(). A Unix socket
  /// gets mode 0600; a stale one is replaced. Throws Error{usage} for an
  /// address that is refused, Error{host} when the host refuses.
  /// @param target must outlive the server
  Server(DebugTarget& target, ServerOptions options);
  /// Removes the Unix socket.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Where it really listens: with the port the system chose.
  [[nodiscard]] ListenAddress listening() const;
  /// Serves clients until stop(), a stop signal, or, with `once` or stdio, the
  /// end of the first one. Throws Error{host} when listening fails for good.
  void run();
  /// Ends run(): running jobs are cancelled and the client is cut off.
  void stop();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace chronovisor::gdb
