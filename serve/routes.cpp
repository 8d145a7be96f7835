#include "serve/routes.h"

#include <algorithm>

#include "serve/door.h"

namespace chronovisor::serve {
namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kTokenProtocol = "token.";
constexpr std::string_view kBearer = "Bearer ";  // of any case (RFC 9110, 11.1)

Route answer(Response response) { return {Route::Kind::answer, std::move(response)}; }

/// The token that a WebSocket's protocols or an authorization carry; a browser cannot
/// give a WebSocket headers, and in an address it would be kept in histories and logs.
std::string_view given_token(const Request& request) {
  for (const std::string& protocol : request.socket_protocols) {
    if (protocol.starts_with(kTokenProtocol)) {
      return std::string_view(protocol).substr(kTokenProtocol.size());
    }
  }
  const std::string_view authorization = request.authorization;
  if (!same_word(authorization.substr(0, kBearer.size()), kBearer)) return {};
  const std::size_t begin = authorization.find_first_not_of(' ', kBearer.size());
  return begin == std::string_view::npos ? std::string_view() : authorization.substr(begin);
}

Response without_token() {
  Response response = refused(401,
                              "the token is missing, or another one; use the address that "
                              "the program printed");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

Response wrong_method(const char* allowed) {
  Response response = refused(405, std::string("only ") + allowed + " here");
  response.headers.emplace_back("Allow", allowed);
  return response;
}

Route socket_route(const Request& request, std::string_view token) {
  if (request.method != "GET") return answer(wrong_method("GET"));
  if (!request.wants_socket || request.socket_version != "13" || request.socket_key.empty()) {
    return answer(refused(400, "this is for WebSockets"));
  }
  if (!same_secret(given_token(request), token)) return answer(without_token());
  const auto& protocols = request.socket_protocols;
  if (std::find(protocols.begin(), protocols.end(), kSocketProtocol) == protocols.end()) {
    return answer(refused(400, "the protocol chronovisor.v1 is spoken here"));
  }
  return {Route::Kind::socket, {}};
}

Route agent_route(const Request& request, std::string_view token) {
  if (!same_secret(given_token(request), token)) return answer(without_token());
  // A stream of messages that answer nothing is not offered.
  if (request.method != "POST" && request.method != "DELETE") {
    return answer(wrong_method("POST, DELETE"));
  }
  const std::string_view type(request.content_type);
  if (request.method == "POST" && !same_word(type.substr(0, type.find_first_of("; \t")), kJson)) {
    return answer(refused(415, "a message is application/json"));
  }
  return {Route::Kind::agent, {}};
}

}  // namespace

Route route_of(const Request& request, std::string_view token, const Pages& pages) {
  if (!is_own_host(request.host)) {
    return answer(refused(403, "this host is not known by that name"));
  }
  if (request.has_origin && !is_own_origin(request.origin, request.host)) {
    return answer(refused(403, "another page asks"));
  }
  // A link leads here; nothing of another page's may load what is here.
  const std::string& site = request.fetch_site;
  const bool is_own = site.empty() || site == "same-origin" || site == "none";
  if (!is_own && request.fetch_mode != "navigate") {
    return answer(refused(403, "another page asks"));
  }
  if (request.target == "/api") return socket_route(request, token);
  if (request.target == "/mcp") return agent_route(request, token);
  if (request.method != "GET" && request.method != "HEAD") {
    return answer(wrong_method("GET, HEAD"));
  }
  Response response;
  if (request.target == "/build.json") {
    response.type = "application/json";
    response.body = Pages::build_document(CHRONOVISOR_VERSION);
    return answer(std::move(response));
  }
  auto page = pages.find(request.target == "/" ? "/index.html" : request.target);
  if (!page) return answer(refused(404, "nothing is served there"));
  response.type = std::move(page->type);
  response.body = std::move(page->content);
  return answer(std::move(response));
}

}  // namespace chronovisor::serve
