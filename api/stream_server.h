// Owns the carrying of messages, one a line, between clients and their conversations:
// over standard input and output, or over a Unix socket with several clients at once.
// Bounded: lines, unsent answers and clients. Knows no protocol. One thread; send() of
// a client from any.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/rpc.h"
#include "base/cancel.h"
#include "host/descriptor.h"

namespace chronovisor::api {

/// Makes the conversation with a client; `send` carries a message to it.
using Greet = std::function<std::unique_ptr<Client>(Send send)>;

/// Until standard input ends, and what was asked is answered; or until `stop`.
/// Throws Error{host}.
void serve_stdio(const Greet& greet, CancelToken stop);

/// A Unix socket that only its owner may connect to.
class SocketServer {
 public:
  /// Listens at `path`; a socket there that nobody serves any more is replaced.
  /// Throws Error{usage} when something else is there, Error{host}, also when another server
  /// listens there.
  explicit SocketServer(const std::string& path);
  ~SocketServer();
  SocketServer(const SocketServer&) = delete;
  SocketServer& operator=(const SocketServer&) = delete;

  /// Until `stop`. Throws Error{host}.
  void serve(const Greet& greet, CancelToken stop);

 private:
  std::string path_;
  Descriptor listener_;
};

}  // namespace chronovisor::api
