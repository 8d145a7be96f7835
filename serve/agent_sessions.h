// Owns the conversations of agents over HTTP: which message belongs to which, and the answer
// to each. Knows no socket. One thread; answers are given on any.
// Source: Model Context Protocol, "Streamable HTTP", specification of 2025-11-25; answers are
// JSON, and no stream is opened.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/stream_server.h"
#include "serve/request.h"
#include "serve/response.h"

namespace chronovisor::serve {

class AgentSessions {
 public:
  /// @param greet makes a conversation
  explicit AgentSessions(api::Greet greet);
  ~AgentSessions();
  AgentSessions(const AgentSessions&) = delete;
  AgentSessions& operator=(const AgentSessions&) = delete;

  /// Told of the answer, once.
  using Answer = std::function<void(Response response)>;
  void receive(const Request& request, Answer answer);
  /// Lets go of conversations that have ended and have nothing at work any more.
  void sweep();
  void cancel_all();

 private:
  struct Session;
  void post(const Request& request, const Answer& answer);
  [[nodiscard]] std::shared_ptr<Session> begin();
  void end(const std::shared_ptr<Session>& session);

  api::Greet greet_;
  std::vector<std::shared_ptr<Session>> sessions_;  ///< the one that spoke last is last
  std::vector<std::shared_ptr<Session>> leaving_;
};

}  // namespace chronovisor::serve
