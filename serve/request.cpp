#include "serve/request.h"

#include <boost/beast/http.hpp>
#include <utility>

#include "api/limits.h"

namespace chronovisor::serve {
namespace {

namespace http = boost::beast::http;
using Header = http::request<http::string_body>;

/// More than any client sends; each header is small memory of its own.
constexpr std::size_t kMostHeaders = 64;
constexpr std::size_t kMostProtocols = 8;

std::string text(boost::beast::string_view view) { return {view.data(), view.size()}; }

std::string value_of(const Header& header, boost::beast::string_view name) {
  const auto found = header.find(name);
  return found == header.end() ? std::string() : text(found->value());
}

/// Headers by which is decided who comes in: of two, another program may believe the other.
bool are_single(const Header& header) {
  for (const char* name : {"Host", "Origin", "Authorization", "Sec-WebSocket-Protocol",
                           "Sec-WebSocket-Key", "Mcp-Session-Id", "Content-Length"}) {
    if (header.count(name) > 1) return false;
  }
  return true;
}

std::size_t headers_of(const Header& header) {
  return static_cast<std::size_t>(std::distance(header.begin(), header.end()));
}

}  // namespace

struct RequestReader::Parser {
  Parser() {
    one.header_limit(api::kMostHeaderBytes);
    one.body_limit(api::kMostMessageBytes);
    one.eager(true);
  }
  http::request_parser<http::string_body> one;
};

RequestReader::RequestReader() { begin(); }
RequestReader::~RequestReader() = default;

void RequestReader::begin() {
  parser_ = std::make_unique<Parser>();
  begun_ = false;
  state_ = State::more;
}

RequestReader::State RequestReader::feed(std::string_view bytes) {
  unread_ += bytes;
  parse();
  return state_;
}

void RequestReader::parse() {
  auto& parser = parser_->one;
  while (state_ == State::more && !unread_.empty()) {
    boost::beast::error_code trouble;
    const std::size_t used =
        parser.put(boost::asio::buffer(unread_.data(), unread_.size()), trouble);
    if (used > 0) begun_ = true;
    unread_.erase(0, used);
    if (trouble == http::error::need_more) {
      // A header is taken when it is whole.
      if (!parser.is_header_done() && unread_.size() > api::kMostHeaderBytes)
        state_ = State::too_large;
      return;
    }
    if (trouble == http::error::header_limit || trouble == http::error::body_limit) {
      state_ = State::too_large;
    } else if (trouble) {
      state_ = State::wrong;
    } else if (parser.is_done()) {
      const bool sound = are_single(parser.get()) && headers_of(parser.get()) <= kMostHeaders;
      state_ = sound ? State::whole : State::wrong;
    } else if (used == 0) {
      return;
    }
  }
}

Request RequestReader::take() {
  Header header = parser_->one.release();
  Request request;
  request.method = text(header.method_string());
  request.target = text(header.target());
  request.host = value_of(header, "Host");
  request.has_origin = header.count("Origin") > 0;
  request.origin = value_of(header, "Origin");
  request.authorization = value_of(header, "Authorization");
  request.accept = value_of(header, "Accept");
  request.content_type = value_of(header, "Content-Type");
  request.fetch_site = value_of(header, "Sec-Fetch-Site");
  request.fetch_mode = value_of(header, "Sec-Fetch-Mode");
  request.agent_session = value_of(header, "Mcp-Session-Id");
  request.socket_key = value_of(header, "Sec-WebSocket-Key");
  request.socket_version = value_of(header, "Sec-WebSocket-Version");
  const std::string protocols = value_of(header, "Sec-WebSocket-Protocol");
  for (const auto& protocol : http::token_list(protocols)) {
    if (request.socket_protocols.size() == kMostProtocols) break;
    request.socket_protocols.push_back(text(protocol));
  }
  const std::string connection = value_of(header, "Connection");
  const std::string upgrade = value_of(header, "Upgrade");
  request.wants_socket = http::token_list(connection).exists("upgrade") &&
                         http::token_list(upgrade).exists("websocket");
  request.keep_alive = header.keep_alive();
  request.body = std::move(header.body());
  begin();
  parse();
  return request;
}

}  // namespace chronovisor::serve
