// Owns the reading of HTTP requests from bytes that anybody may send: bounded, and nothing
// of them is believed. Knows no socket, and not what a request is answered. One thread.
// Source: RFC 9112; parsed by Boost.Beast.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace chronovisor::serve {

/// What of a request is looked at. A header that came twice counts as wrong.
struct Request {
  std::string method;  ///< "GET"
  std::string target;  ///< "/index.html"
  std::string host;
  std::string origin;
  bool has_origin = false;
  std::string authorization;
  std::string accept;
  std::string content_type;
  std::string fetch_site;     ///< Sec-Fetch-Site
  std::string fetch_mode;     ///< Sec-Fetch-Mode
  std::string agent_session;  ///< Mcp-Session-Id
  std::string socket_key;     ///< Sec-WebSocket-Key
  std::string socket_version;
  std::vector<std::string> socket_protocols;
  bool wants_socket = false;  ///< an upgrade to a WebSocket
  bool keep_alive = false;
  std::string body;
};

class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  enum class State : std::uint8_t {
    more,       ///< to be fed further
    whole,      ///< take() gives it
    too_large,  ///< the header, or the body
    wrong,      ///< no HTTP
  };
  State feed(std::string_view bytes);
  [[nodiscard]] State state() const { return state_; }
  /// The request that is whole; begins with the next one, of which some may have come.
  Request take();
  /// Nothing of a request has come.
  [[nodiscard]] bool empty() const { return unread_.empty() && !begun_; }
  /// What came behind the request that take() gave.
  [[nodiscard]] bool has_more() const { return !unread_.empty(); }

 private:
  struct Parser;
  void parse();
  void begin();

  std::unique_ptr<Parser> parser_;
  std::string unread_;
  bool begun_ = false;
  State state_ = State::more;
};

}  // namespace chronovisor::serve
