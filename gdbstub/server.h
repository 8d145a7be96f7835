// Owns the listening end of the GDB server: a Unix socket, a TCP port or
// stdin/stdout, whose turn it is among those that are connected, and the worker
// thread on which the machine runs. One debugger is served at a time; the others
// wait, and are told so. Must know no packet. run() blocks the thread that calls
// it; stop() may be called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "gdbstub/listen_address.h"
#include "gdbstub/target.h"

namespace chronovisor::gdb {

struct ServerOptions {
  ListenAddress listen;
  /// Without it, only loopback addresses are accepted: whoever connects can
  /// read and change everything in the guest.
  bool allow_remote = false;
  /// End when the last of the debuggers that came has left. Whoever connects
  /// and does not speak the protocol is no debugger.
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
  /// end of the last one. Throws Error{host} when listening fails for good.
  void run();
  /// Whether a debugger has come and spoken. After run().
  [[nodiscard]] bool served_somebody() const;
  /// Ends run(): running jobs are cancelled and the client is cut off.
  void stop();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace chronovisor::gdb
