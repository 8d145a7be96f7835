// Owns a page's way to a session: HTTP on this host's own address, the embedded files, the
// WebSockets of pages and the messages of agents. Bounded: connections, what each may send,
// how long it may take to, and what may wait to be sent to it. Knows no method. Constructed
// and run by one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/stream_server.h"
#include "base/cancel.h"

namespace chronovisor::serve {

struct ServerOptions {
  std::string listen = "127.0.0.1:0";  ///< ADDRESS:PORT, a loopback address
  std::string token;
  std::string pages_folder;  ///< see Pages; empty: only what is embedded
  api::Greet greet_page;
  api::Greet greet_agent;
  /// Told of refusals and clients, a line without its end each. May be empty.
  std::function<void(std::string_view line)> log;
};

class Server {
 public:
  /// Listens. Throws Error{usage} for an address that is refused, Error{host}.
  explicit Server(ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// "http://127.0.0.1:8123/#token=..."
  [[nodiscard]] std::string url() const;
  /// Until `stop`.
  void run(CancelToken stop);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace chronovisor::serve
