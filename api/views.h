// Owns who is told when the session that all share stands elsewhere, or when what is set in
// it has changed, whoever did it: another client, or a debugger beside them. Knows no
// socket. Any thread; notice() on the session's.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "api/context.h"
#include "api/rpc.h"
#include "session/executor.h"

namespace chronovisor::api {

class Views {
 public:
  /// Both must outlive this. From here on every job of the executor's is followed.
  Views(Context& context, session::Executor& executor);
  ~Views();
  Views(const Views&) = delete;
  Views& operator=(const Views&) = delete;

  /// From here on it is sent what anybody does, itself included. On the session's thread, as
  /// `send` is called.
  void add(const Caller& caller, Send send);
  void remove(const Caller& caller);

  /// Compares, and tells. On the session's thread. Throws nothing of the project's.
  /// @param caller whose job it was; nothing: a debugger's
  void notice(const std::optional<Caller>& caller);

 private:
  /// What is compared.
  struct Seen {
    Moment moment;
    bool on_branch = false;
    bool live = false;
    std::uint64_t changes = 0;  ///< by clients, of memory and registers
    std::uint64_t breakpoints = 0;
    std::uint64_t bookmarks = 0;
    bool skip_interrupts = false;
    std::optional<std::uint64_t> address_space;
  };
  [[nodiscard]] Seen look();
  void compare(const std::optional<Caller>& caller);
  void tell(const std::optional<Caller>& by, const char* method, Value::Object parameters);

  Context& context_;
  session::Executor& executor_;
  std::optional<Seen> seen_;  ///< of the session's thread
  std::mutex mutex_;          ///< guards what follows
  std::map<std::uint64_t, Send> clients_;
};

}  // namespace chronovisor::api
