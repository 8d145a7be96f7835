// Owns JSON-RPC 2.0: what a message asks, and how answers, errors and notifications are
// written. Bounded: whatever a client sends gets an error, never more than one. Knows no
// socket. Source: JSON-RPC 2.0 Specification.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/call_error.h"
#include "api/calls.h"
#include "api/value.h"

namespace chronovisor::api {

/// One request of a message.
struct Incoming {
  Value id;
  bool notification = false;  ///< nobody waits for an answer
  std::string method;
  Value parameters;
  std::optional<CallError> trouble;  ///< why it is no request; then only the id counts
};
struct Message {
  bool batch = false;
  std::vector<Incoming> requests;
};
/// Throws CallError for what is no message at all. Any thread.
[[nodiscard]] Message decode_message(std::string_view text);

[[nodiscard]] Value answer_message(const Value& id, Value result);
[[nodiscard]] Value error_message(const Value& id, const CallError& error);
[[nodiscard]] Value notification_message(const char* method, Value parameters);

/// Sends one message, without a newline. Called from any thread.
using Send = std::function<void(const std::string& message)>;

/// The answers to one message: sent one by one, or all together to a batch.
class Replies {
 public:
  Replies(Send send, bool batch, std::size_t requests);
  /// The answer to request `number`; null: it gets none.
  void give(std::size_t number, Value answer) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

class Views;

/// What one client asks, and is answered.
class Client {
 public:
  /// Context and executor must outlive this.
  /// @param kind what it is to others: "page", "program" or "agent"
  Client(Context& context, session::Executor& executor, Send send, const char* kind);
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// A whole message. From the client's thread.
  void receive(std::string_view message);
  /// One came that is longer than kMostMessageBytes.
  void refuse_too_large();
  [[nodiscard]] bool idle() const { return calls_.idle(); }
  void cancel_all() { calls_.cancel_all(); }
  void wait() { calls_.wait(); }

 protected:
  [[nodiscard]] const Send& send() const { return send_; }
  [[nodiscard]] Calls& calls() { return calls_; }
  [[nodiscard]] const Caller& caller() const { return caller_; }

 private:
  /// Gives `replies` the answer to its request `number`, now or later.
  virtual void ask(const Incoming& request, std::size_t number, Replies replies) = 0;

  Send send_;
  Caller caller_;
  Calls calls_;
};

/// A client that speaks JSON-RPC: every row of the table, `rpc.discover`, which gives the
/// schema, `$/cancelRequest` {"id"}, and `$/follow`, which answers {"where"}, and after which
/// it is told what anybody does. Long calls are told of by the notification `progress` {"id",
/// "done", "total"}, with what a search has "found" meanwhile.
class RpcClient final : public Client {
 public:
  enum class Kind : std::uint8_t {
    page,     ///< follows from the beginning
    program,  ///< when it asks to
  };
  /// All must outlive this.
  RpcClient(Context& context, session::Executor& executor, Send send, Views& views, Kind kind);
  ~RpcClient() override;

 private:
  void ask(const Incoming& request, std::size_t number, Replies replies) override;

  /// What is answered by no row of the table; whether it was that.
  bool answer_own(const Incoming& request, const Calls::Done& answer);

  Views& views_;
  Method follow_;  ///< the request `$/follow`
  std::uint64_t notifications_ = 0;
};

}  // namespace chronovisor::api
