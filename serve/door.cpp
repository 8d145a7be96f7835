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

bool same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_own_host(std::string_view host) {
  std::string_view port;
  for (const std::string_view name : {"127.0.0.1", "localhost", "[::1]"}) {
    if (!same_word(host.substr(0, name.size()), name)) continue;
    port = host.substr(name.size());
    if (port.empty()) return true;
    return port.size() >= 2 && port.size() <= 6 && port.front() == ':' &&
           std::all_of(port.begin() + 1, port.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  return false;
}

bool is_own_origin(std::string_view origin, std::string_view host) {
  constexpr std::string_view kScheme = "http://";
  return same_word(origin.substr(0, kScheme.size()), kScheme) &&
         same_word(origin.substr(kScheme.size()), host);
}

}  // namespace chronovisor::serve
