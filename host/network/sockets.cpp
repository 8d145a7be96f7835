#include "host/network/sockets.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::host, what + ": " + std::strerror(errno));
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw Error(ErrorCode::usage, path + ": too long for a socket's path");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

const sockaddr* plain(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Descriptor make_socket(int family, int kind) {
  Descriptor socket_fd(socket(family, kind | kFlags, 0));
  if (!socket_fd.open()) fail("the host gives no socket");
  return socket_fd;
}

/// A bound socket's file, private to the user.
void bind_unix(const Descriptor& socket_fd, const std::string& path) {
  const sockaddr_un address = unix_address(path);
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      throw Error(ErrorCode::usage, path + ": is there, and is no socket");
    }
    const Descriptor probe = make_socket(AF_UNIX, SOCK_STREAM);
    if (connect(probe.get(), plain(address), sizeof(address)) == 0 || errno == EPROTOTYPE) {
      throw Error(ErrorCode::host, path + ": somebody else listens there");
    }
    unlink(path.c_str());
  }
  const mode_t before = umask(0177);
  const int bound = bind(socket_fd.get(), plain(address), sizeof(address));
  umask(before);
  if (bound != 0) fail(path);
}

struct Resolved {
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list;
};

Resolved resolve(const std::string& host, std::uint16_t port, int kind) {
  addrinfo hints{};
  hints.ai_socktype = kind;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) throw Error(ErrorCode::host, host + ": " + gai_strerror(error));
  return {{found, &freeaddrinfo}};
}

std::string place(const std::string& host, std::uint16_t port) {
  return host + ":" + std::to_string(port);
}

}  // namespace

Descriptor connect_unix(const std::string& path) {
  Descriptor socket_fd = make_socket(AF_UNIX, SOCK_STREAM);
  const sockaddr_un address = unix_address(path);
  if (connect(socket_fd.get(), plain(address), sizeof(address)) != 0) fail(path);
  return socket_fd;
}

Descriptor listen_unix(const std::string& path) {
  Descriptor socket_fd = make_socket(AF_UNIX, SOCK_STREAM);
  bind_unix(socket_fd, path);
  if (listen(socket_fd.get(), 16) != 0) fail(path);
  return socket_fd;
}

Descriptor connect_tcp(const std::string& host, std::uint16_t port) {
  const Resolved resolved = resolve(host, port, SOCK_STREAM);
  // Blocking while it connects; not afterwards.
  Descriptor socket_fd(
      socket(resolved.list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, resolved.list->ai_protocol));
  if (!socket_fd.open() ||
      connect(socket_fd.get(), resolved.list->ai_addr, resolved.list->ai_addrlen) != 0) {
    fail(place(host, port));
  }
  const int on = 1;
  setsockopt(socket_fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(socket_fd.get(), F_SETFL, fcntl(socket_fd.get(), F_GETFL) | O_NONBLOCK);
  return socket_fd;
}

Descriptor listen_tcp(const std::string& host, std::uint16_t port) {
  const Resolved resolved = resolve(host, port, SOCK_STREAM);
  Descriptor socket_fd = make_socket(resolved.list->ai_family, SOCK_STREAM);
  const int on = 1;
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket_fd.get(), resolved.list->ai_addr, resolved.list->ai_addrlen) != 0 ||
      listen(socket_fd.get(), 16) != 0) {
    fail(place(host, port));
  }
  return socket_fd;
}

Descriptor accept_peer(const Descriptor& listener) {
  return Descriptor(accept4(listener.get(), nullptr, nullptr, kFlags));
}

Descriptor datagrams_unix(const std::string& local) {
  Descriptor socket_fd = make_socket(AF_UNIX, SOCK_DGRAM);
  bind_unix(socket_fd, local);
  return socket_fd;
}

bool direct_datagrams(const Descriptor& socket, const std::string& remote) {
  const sockaddr_un address = unix_address(remote);
  if (connect(socket.get(), plain(address), sizeof(address)) == 0) return true;
  if (errno != ENOENT && errno != ECONNREFUSED) fail(remote);
  return false;
}

Descriptor datagrams_udp(const std::string& local, std::uint16_t local_port,
                         const std::string& remote, std::uint16_t remote_port) {
  const Resolved from = resolve(local, local_port, SOCK_DGRAM);
  const Resolved to = resolve(remote, remote_port, SOCK_DGRAM);
  Descriptor socket_fd = make_socket(from.list->ai_family, SOCK_DGRAM);
  if (bind(socket_fd.get(), from.list->ai_addr, from.list->ai_addrlen) != 0) {
    fail(place(local, local_port));
  }
  if (connect(socket_fd.get(), to.list->ai_addr, to.list->ai_addrlen) != 0) {
    fail(place(remote, remote_port));
  }
  return socket_fd;
}

Descriptor open_tap(const std::string& name) {
  if (name.size() >= IFNAMSIZ) throw Error(ErrorCode::usage, name + ": no interface's name");
  Descriptor tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.open()) fail("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::memcpy(request.ifr_name, name.c_str(), name.size());
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0) fail("tap:" + name);
  return tap;
}

}  // namespace chronovisor
