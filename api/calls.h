// Owns the calls of one client that wait or are at work: they are done on the session's
// executor, one at a time, and each can be cancelled. Knows no protocol. start() and
// cancel() from the client's thread; what they were given is called on the executor's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "api/call_error.h"
#include "api/context.h"
#include "api/method.h"
#include "session/executor.h"

namespace chronovisor::api {

class Calls {
 public:
  using Outcome = std::variant<Value, CallError>;
  using Done = std::function<void(const Outcome& outcome)>;
  /// How far a call has come, and what a search has found since that was told last.
  struct Told {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    std::vector<std::uint64_t> found{};  ///< positions, in no order
    std::uint64_t seen_ns = 0;           ///< when the first of them was seen
  };
  using Progress = std::function<void(const Told& told)>;

  /// Context and executor must outlive this.
  Calls(Context& context, session::Executor& executor, const Caller& caller);
  /// Cancels all, and waits for them.
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  /// `done` is told of its end, once; `progress` now and then, may be empty.
  /// Throws CallError{busy} when too many wait, and {no_request} when one of this `id`
  /// does.
  void start(const std::string& id, const Method& method, Value parameters, Progress progress,
             Done done);
  /// What is done beside the session is answered at once, and given up soon.
  void cancel(const std::string& id);
  void cancel_all();
  /// Until none is left.
  void wait();
  [[nodiscard]] bool idle() const;

 private:
  struct State;
  class Work;
  static void search(Context& context, session::Executor& executor, const Caller& caller,
                     const std::shared_ptr<Work>& work);

  Context& context_;
  session::Executor& executor_;
  Caller caller_;
  std::shared_ptr<State> state_;
};

}  // namespace chronovisor::api
