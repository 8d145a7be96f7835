// Owns what is served, and to whom: which path is what, and the refusals. A function of
// the request, the token and the pages; knows no socket and no session. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/pages.h"
#include "serve/request.h"
#include "serve/response.h"

namespace chronovisor::serve {

/// What a WebSocket of ours speaks.
inline constexpr std::string_view kSocketProtocol = "chronovisor.v1";

struct Route {
  enum class Kind : std::uint8_t {
    answer,  ///< `response` is all there is to it
    socket,  ///< it becomes a WebSocket
    agent,   ///< a message of an agent
  };
  Kind kind = Kind::answer;
  Response response{};
};

[[nodiscard]] Route route_of(const Request& request, std::string_view token, const Pages& pages);

}  // namespace chronovisor::serve
