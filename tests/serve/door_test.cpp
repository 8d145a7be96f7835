// Who may come in, and what is served to whom: by requests as bytes, in whatever pieces.
#include <doctest/doctest.h>

#include "serve/door.h"
#include "serve/refusal_log.h"
#include "serve/request.h"
#include "serve/routes.h"

namespace chronovisor::serve {
namespace {

const std::string kToken(64, 'a');

Request request_of(const std::string& text) {
  RequestReader reader;
  REQUIRE(reader.feed(text) == RequestReader::State::whole);
  return reader.take();
}

Route route(const std::string& first, const std::string& host, const std::string& headers = {}) {
  return route_of(request_of(first + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n"),
                  kToken, Pages());
}

std::string socket_headers(const std::string& protocols) {
  return "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " +
         protocols + "\r\n";
}

TEST_CASE("a name is this host's own only as it is written here") {
  for (const char* own : {"127.0.0.1", "127.0.0.1:1", "localhost:65535", "[::1]:80", "[::1]",
                          "LocalHost", "LOCALHOST:80"}) {
    CHECK_MESSAGE(is_own_host(own), own);
  }
  for (const char* other : {"", "127.0.0.1:", "127.0.0.1:8o", "127.0.0.1.evil", "localhost:123456",
                            "evil", "localhostile", "::1", "127.1", "localhost:80 "}) {
    CHECK_MESSAGE(!is_own_host(other), other);
  }
}

TEST_CASE("a page is our own only under the very name that is asked") {
  CHECK(is_own_origin("http://127.0.0.1:8000", "127.0.0.1:8000"));
  CHECK(is_own_origin("HTTP://localhost:8000", "LocalHost:8000"));
  for (const char* other : {"http://127.0.0.1:8001", "https://127.0.0.1:8000", "null", "",
                            "http://localhost:8000", "http://127.0.0.1:8000/", "http:/"}) {
    CHECK_MESSAGE(!is_own_origin(other, "127.0.0.1:8000"), other);
  }
}

TEST_CASE("a secret is the same in all of it, or not at all") {
  CHECK(same_secret(kToken, kToken));
  CHECK(!same_secret("", kToken));
  CHECK(!same_secret(kToken.substr(1), kToken));
  CHECK(!same_secret(kToken + "a", kToken));
  CHECK(!same_secret(kToken.substr(1) + "b", kToken));
  CHECK(new_token().size() == 64);
  CHECK(new_token() != new_token());
}

TEST_CASE("a request is the same in whatever pieces it comes") {
  const std::string text =
      "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
      "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n";
  for (std::size_t size = 1; size < text.size(); ++size) {
    RequestReader reader;
    std::vector<Request> all;
    for (std::size_t at = 0; at < text.size(); at += size) {
      reader.feed(std::string_view(text).substr(at, size));
      while (reader.state() == RequestReader::State::whole) all.push_back(reader.take());
    }
    REQUIRE(all.size() == 2);
    CHECK(all[0].body == "hello");
    CHECK(all[1].host == "[::1]");
    CHECK(reader.empty());
  }
}

TEST_CASE("what is no request, or too much of one, is told apart") {
  const auto state_of = [](const std::string& text) {
    RequestReader reader;
    return reader.feed(text);
  };
  CHECK(state_of("GET / HTTP/1.1\r\nHost: a") == RequestReader::State::more);
  CHECK(state_of("hello\r\n\r\n") == RequestReader::State::wrong);
  CHECK(state_of("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == RequestReader::State::wrong);
  CHECK(state_of("GET / HTTP/1.1\r\nX: " + std::string(9000, 'x')) ==
        RequestReader::State::too_large);
  CHECK(state_of("POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n") ==
        RequestReader::State::too_large);
}

TEST_CASE("a WebSocket and an agent are let in by the token alone") {
  CHECK(route("GET /api", "127.0.0.1:80", socket_headers("chronovisor.v1, token." + kToken)).kind ==
        Route::Kind::socket);
  CHECK(route("GET /api", "127.0.0.1:80", socket_headers("chronovisor.v1")).response.status == 401);
  CHECK(route("GET /api", "127.0.0.1:80", socket_headers("token." + kToken)).response.status ==
        400);
  const std::string agent =
      "Authorization: Bearer " + kToken + "\r\nContent-Type: application/json\r\n";
  CHECK(route("POST /mcp", "localhost", agent).kind == Route::Kind::agent);
  for (const char* scheme : {"bearer ", "BEARER "}) {
    CHECK(route("POST /mcp", "LOCALHOST",
                "authorization: " + (scheme + kToken) + "\r\nContent-Type: Application/JSON\r\n")
              .kind == Route::Kind::agent);
  }
  for (const std::string& wrong : {"Bearer" + kToken, "Basic " + kToken, "Bearer A" + kToken}) {
    CHECK(route("POST /mcp", "localhost", "Authorization: " + wrong + "\r\n").response.status ==
          401);
  }
  CHECK(route("POST /mcp", "localhost").response.status == 401);
  CHECK(route("POST /mcp", "evil.example", agent).response.status == 403);
  CHECK(
      route("POST /mcp", "localhost", agent + "Origin: http://evil.example\r\n").response.status ==
      403);
}

TEST_CASE("a page may load nothing from elsewhere and be framed by nobody") {
  const Route build = route("GET /build.json", "localhost:81");
  CHECK(build.response.status == 200);
  const std::string text =
      text_of(build.response, "localhost:81", BodyPart::sent, Afterwards::closes);
  CHECK(text.find("default-src 'none'") != std::string::npos);
  CHECK(text.find("frame-ancestors 'none'") != std::string::npos);
  CHECK(text.find("connect-src 'self' ws://localhost:81;") != std::string::npos);
  CHECK(text.find("unsafe") == std::string::npos);
  CHECK(text_of(build.response, "localhost:81", BodyPart::left_out, Afterwards::closes)
            .ends_with("\r\n\r\n"));
  // What was refused for its name does not come back in a header.
  CHECK(text_of(refused(403, "no"), "evil;\r\nX: y", BodyPart::sent, Afterwards::closes)
            .find("evil") == std::string::npos);
}

TEST_CASE("of many refusals some are told, what strangers say is made harmless") {
  std::vector<std::string> lines;
  RefusalLog log([&](std::string_view line) { lines.emplace_back(line); });
  for (int n = 0; n < 50; ++n) log.tell(1, "peer", "why", "a\x1b[2J\nb" + std::string(500, 'x'));
  log.tell(1, "peer", "another", "");
  CHECK(lines.size() == 6);
  CHECK(lines[0].find('\x1b') == std::string::npos);
  CHECK(lines[0].size() < 200);
  log.tell_left_out(1'000'000'000);
  CHECK(lines.size() == 6);
  log.tell_left_out(20'000'000'000);
  REQUIRE(lines.size() == 7);
  CHECK(lines[6] == "45 more were refused: why");
  log.tell(20'000'000'000, "peer", "why", "");
  log.finish();
  REQUIRE(lines.size() == 8);
  CHECK(lines[7] == "refused peer: why");
}

}  // namespace
}  // namespace chronovisor::serve
