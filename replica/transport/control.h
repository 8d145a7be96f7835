// Owns the socket by which a run is asked how it stands: a word a line in, an answer a line
// out. The socket's file is the user's alone. Handlers are called on a thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "host/descriptor.h"

namespace chronovisor::replica {

class ControlServer {
 public:
  using Handler = std::function<std::string(const std::string& word)>;
  /// @param path of the socket. Throws Error{host}, Error{usage}.
  ControlServer(const std::string& path, Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  void loop();
  void answer(const Descriptor& peer) const;

  std::string path_;
  Handler handler_;
  Descriptor listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// How a run stands: a JSON object, written anew, so that nothing else can be in it. Throws
/// Error{host} when nobody is there or answers within 2 s, Error{bad_input} for another answer.
[[nodiscard]] std::string status_of(const std::string& path);

/// A hand-over takes its time.
inline constexpr std::uint64_t kControlAnswerNs = 20'000'000'000;

/// Asks the run at a socket. Throws Error{host} when nobody is there, or says nothing for
/// `limit_ns`.
[[nodiscard]] std::string ask_control(const std::string& path, const std::string& word,
                                      std::uint64_t limit_ns = kControlAnswerNs);

}  // namespace chronovisor::replica
