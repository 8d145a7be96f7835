#include "replica/transport/control.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "host/network/sockets.h"

namespace chronovisor::replica {
namespace {

constexpr int kStopWaitMs = 100;
constexpr std::uint64_t kWordNs = 1'000'000'000;
constexpr std::uint64_t kStatusNs = 2'000'000'000;
constexpr int kDeepest = 8;
constexpr std::size_t kLongestWord = 64;
constexpr std::size_t kLongestAnswer = 64U << 10;

/// Reads up to the end of a line; what came when the time or the room is over.
std::string read_line(const Descriptor& peer, std::size_t most, std::uint64_t until_ns) {
  std::string line;
  while (line.size() < most && monotonic_ns() < until_ns) {
    pollfd wait{peer.get(), POLLIN, 0};
    if (poll(&wait, 1, kStopWaitMs) <= 0) continue;
    std::array<char, 4096> buffer{};
    const ssize_t got =
        recv(peer.get(), buffer.data(), std::min(buffer.size(), most - line.size()), 0);
    if (got <= 0) break;
    line.append(buffer.data(), static_cast<std::size_t>(got));
    if (const std::size_t end = line.find('\n'); end != std::string::npos) {
      line.resize(end);
      return line;
    }
  }
  return line;
}

void write_line(const Descriptor& peer, const std::string& line) {
  const std::string text = line + "\n";
  (void)send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

}  // namespace

ControlServer::ControlServer(const std::string& path, Handler handler)
    : path_(path),
      handler_(std::move(handler)),
      listener_(listen_unix(path)),
      thread_([this] { loop(); }) {}

ControlServer::~ControlServer() {
  stop_ = true;
  thread_.join();
  std::remove(path_.c_str());
}

void ControlServer::loop() {
  while (!stop_) {
    pollfd wait{listener_.get(), POLLIN, 0};
    if (poll(&wait, 1, kStopWaitMs) <= 0) continue;
    const Descriptor peer = accept_peer(listener_);
    if (peer.open()) answer(peer);
  }
}

void ControlServer::answer(const Descriptor& peer) const {
  write_line(peer, handler_(read_line(peer, kLongestWord, monotonic_ns() + kWordNs)));
}

std::string ask_control(const std::string& path, const std::string& word, std::uint64_t limit_ns) {
  const Descriptor peer = connect_unix(path);
  write_line(peer, word);
  std::string answer = read_line(peer, kLongestAnswer, monotonic_ns() + limit_ns);
  if (answer.empty()) throw Error(ErrorCode::host, path + ": no answer");
  return answer;
}

std::string status_of(const std::string& path) {
  const std::string answer = ask_control(path, "status", kStatusNs);
  // What lies deeper than any status is left out.
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::ordered_json&) {
    return depth <= kDeepest;
  };
  const auto json = nlohmann::ordered_json::parse(answer, shallow, false);
  if (!json.is_object()) throw Error(ErrorCode::bad_input, path + ": what answers is no run");
  return json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace chronovisor::replica
