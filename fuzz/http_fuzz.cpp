// Feeds bytes to what decodes the requests of browsers, in pieces, and what it takes to what
// decides who is served. Checked beside crashes: what is taken is within its bounds, is the
// same in whatever pieces it came, and leads in with the token alone.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/limits.h"
#include "base/error.h"
#include "serve/door.h"
#include "serve/request.h"
#include "serve/routes.h"

namespace {

using namespace chronovisor;
using namespace chronovisor::serve;

constexpr std::string_view kToken = "5eadbeef";
constexpr std::size_t kMostRequests = 16;

/// All requests in `bytes`, fed in pieces of `size`, as texts that tell them apart.
std::vector<std::string> taken(std::string_view bytes, std::size_t size) {
  std::vector<std::string> all;
  RequestReader reader;
  while (!bytes.empty() && all.size() < kMostRequests) {
    auto state = reader.feed(bytes.substr(0, size));
    bytes.remove_prefix(std::min(size, bytes.size()));
    while (state == RequestReader::State::whole && all.size() < kMostRequests) {
      const Request request = reader.take();
      CHECK_THAT(request.body.size() <= api::kMostMessageBytes, "a body is bounded");
      const Route route = route_of(request, kToken, Pages());
      const std::string answer =
          text_of(route.response, request.host, BodyPart::sent, Afterwards::closes);
      CHECK_THAT(answer.find("Set-Cookie") == std::string::npos, "no cookies");
      if (route.kind != Route::Kind::answer) {
        const bool has_token =
            (same_word(request.authorization.substr(0, 7), "Bearer ") &&
             request.authorization.substr(7) == kToken) ||
            std::find(request.socket_protocols.begin(), request.socket_protocols.end(),
                      "token." + std::string(kToken)) != request.socket_protocols.end();
        CHECK_THAT(has_token, "the token leads in");
        CHECK_THAT(!request.has_origin || same_word(request.origin, "http://" + request.host),
                   "another page is not let in");
      }
      all.push_back(request.method + " " + request.target + " " + request.host + " " +
                    request.body);
      state = reader.state();
    }
    if (state == RequestReader::State::wrong || state == RequestReader::State::too_large) break;
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  CHECK_THAT(taken(bytes, 7) == taken(bytes, 4096), "pieces do not matter");
  return 0;
}
