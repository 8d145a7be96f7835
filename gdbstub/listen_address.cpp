#include "gdbstub/listen_address.h"

#include <sys/un.h>

#include <charconv>

#include "base/error.h"

namespace chronovisor::gdb {

ListenAddress ListenAddress::parse(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    throw Error(ErrorCode::usage, "listen address '" + std::string(text) +
                                      "': " + std::string(why) +
                                      "; use unix:PATH, tcp:ADDRESS:PORT or stdio");
  };
  ListenAddress out;
  if (text == "stdio") return out;
  if (text.starts_with("unix:")) {
    out.kind = Kind::unix_socket;
    out.path = text.substr(5);
    if (out.path.empty()) refuse("the path is empty");
    if (out.path.size() >= sizeof(sockaddr_un::sun_path))
      refuse("the path is too long for a socket");
    if (out.path.find('\0') != std::string::npos) refuse("the path holds a zero byte");
    return out;
  }
  if (!text.starts_with("tcp:")) refuse("unknown kind");
  out.kind = Kind::tcp;
  const std::string_view rest = text.substr(4);
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) refuse("the port is missing");
  std::string_view address = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  } else if (address.find(':') != std::string_view::npos) {
    refuse("an IPv6 address stands in brackets");
  }
  out.address = address.empty() ? "127.0.0.1" : std::string(address);
  const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (problem != std::errc{} || end != port.data() + port.size()) {
    refuse("the port is not a number up to 65535");
  }
  return out;
}

std::string ListenAddress::text() const {
  switch (kind) {
    case Kind::unix_socket:
      return "unix:" + path;
    case Kind::stdio:
      return "stdio";
    case Kind::tcp:
      break;
  }
  const bool brackets = address.find(':') != std::string::npos;
  return "tcp:" + (brackets ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

}  // namespace chronovisor::gdb
