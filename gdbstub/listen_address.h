// Owns how a place to listen at is written. Opens nothing. A value; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace chronovisor::gdb {

/// Where to listen: "unix:PATH", "tcp:ADDRESS:PORT", "tcp:[IPV6]:PORT" or "stdio".
struct ListenAddress {
  enum class Kind { unix_socket, tcp, stdio };
  Kind kind = Kind::stdio;
  std::string path;        ///< unix_socket
  std::string address;     ///< tcp: a numeric address, or "localhost"
  std::uint16_t port = 0;  ///< tcp: 0 lets the system choose

  /// Throws Error{usage} naming what is wrong.
  static ListenAddress parse(std::string_view text);
  /// The same text that parse() takes.
  [[nodiscard]] std::string text() const;
};

}  // namespace chronovisor::gdb
