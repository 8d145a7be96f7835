#include "serve/door.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/encoding.h"
#include "base/error.h"

namespace chronovisor::serve {
namespace {

constexpr std::size_t kTokenBytes = 32;

}  // namespace

std::string new_token() {
  std::array<std::uint8_t, kTokenBytes> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error(ErrorCode::host, std::string("getrandom: ") + std::strerror(errno));
  }
  return hex_text(bytes);
}

bool same_secret(std::string_view given, std::string_view kept) {
  unsigned difference = given.size() == kept.size() ? 0 : 1;
  for (std::size_t n = 0; n < kept.size(); ++n) {
    const char other = n < given.size() ? given[n] : '\0';
    difference |= static_cast<unsigned char>(other ^ kept[n]);
  }
  return difference == 0;
}

bool is_own_host(std::string_view host) {
  std::string_view port;
  for (const std::string_view name : {"127.0.0.1", "localhost", "[::1]"}) {
    if (!host.starts_with(name)) continue;
    port = host.substr(name.size());
    if (port.empty()) return true;
    return port.size() >= 2 && port.size() <= 6 && port.front() == ':' &&
           std::all_of(port.begin() + 1, port.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  return false;
}

bool is_own_origin(std::string_view origin, std::string_view host) {
  constexpr std::string_view kScheme = "http://";
  return origin.starts_with(kScheme) && origin.substr(kScheme.size()) == host;
}

}  // namespace chronovisor::serve
