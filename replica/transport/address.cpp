#include "replica/transport/address.h"

#include <charconv>
#include <string_view>

#include "base/error.h"
#include "host/network/sockets.h"

namespace chronovisor::replica {

std::string Address::text() const {
  return kind == Kind::unix_socket ? "unix:" + place : "tcp:" + place + ":" + std::to_string(port);
}

Address parse_address(const std::string& text, const std::string& option) {
  constexpr std::string_view kUnix = "unix:";
  constexpr std::string_view kTcp = "tcp:";
  if (text.starts_with(kUnix) && text.size() > kUnix.size()) {
    return {Address::Kind::unix_socket, text.substr(kUnix.size()), 0};
  }
  const std::size_t colon = text.rfind(':');
  if (text.starts_with(kTcp) && colon > kTcp.size()) {
    Address address{Address::Kind::tcp, text.substr(kTcp.size(), colon - kTcp.size()), 0};
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data() + colon + 1, end, address.port);
    if (error == std::errc{} && stopped == end && address.port != 0) return address;
  }
  throw Error(ErrorCode::usage,
              option + ": \"" + text + "\" is neither unix:PATH nor tcp:HOST:PORT");
}

Descriptor connect_to(const Address& address) {
  return address.kind == Address::Kind::unix_socket ? connect_unix(address.place)
                                                    : connect_tcp(address.place, address.port);
}

Descriptor listen_at(const Address& address) {
  return address.kind == Address::Kind::unix_socket ? listen_unix(address.place)
                                                    : listen_tcp(address.place, address.port);
}

}  // namespace chronovisor::replica
