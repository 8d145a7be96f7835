// Owns how the sockets and interfaces are opened that frames go through. Knows no
// frame. What fails throws Error{host} with the place and the reason. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "host/descriptor.h"

namespace chronovisor {

/// All are non-blocking and closed in children.
[[nodiscard]] Descriptor connect_unix(const std::string& path);
/// A socket file that nobody listens on is replaced; the new one is the user's alone.
[[nodiscard]] Descriptor listen_unix(const std::string& path);
[[nodiscard]] Descriptor connect_tcp(const std::string& host, std::uint16_t port);
[[nodiscard]] Descriptor listen_tcp(const std::string& host, std::uint16_t port);
[[nodiscard]] Descriptor accept_peer(const Descriptor& listener);
[[nodiscard]] Descriptor datagrams_unix(const std::string& local);
/// Where a datagram socket sends to. @return false when nobody is there yet
[[nodiscard]] bool direct_datagrams(const Descriptor& socket, const std::string& remote);
[[nodiscard]] Descriptor datagrams_udp(const std::string& local, std::uint16_t local_port,
                                       const std::string& remote, std::uint16_t remote_port);
/// A TAP interface that is there, or, with the right to, a new one.
[[nodiscard]] Descriptor open_tap(const std::string& name);

}  // namespace chronovisor
