// Owns where the ends of a replication meet, as the command line says it. Values; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "host/descriptor.h"

namespace chronovisor::replica {

struct Address {
  enum class Kind : std::uint8_t { unix_socket, tcp };
  Kind kind = Kind::unix_socket;
  std::string place;  ///< path or host
  std::uint16_t port = 0;
  [[nodiscard]] std::string text() const;
};

/// "unix:PATH" or "tcp:HOST:PORT". Throws Error{usage} that begins with `option`.
[[nodiscard]] Address parse_address(const std::string& text, const std::string& option);
/// Both throw Error{host}; the sockets do not block.
[[nodiscard]] Descriptor connect_to(const Address& address);
[[nodiscard]] Descriptor listen_at(const Address& address);

}  // namespace chronovisor::replica
