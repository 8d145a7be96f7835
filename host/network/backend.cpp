#include "host/network/backend.h"

#include "base/error.h"
#include "host/network/socket_backend.h"
#include "host/network/sockets.h"
#include "host/network/user_backend.h"

namespace chronovisor {

std::unique_ptr<NetworkBackend> make_backend(const NetworkOptions& options, NetworkSink sink) {
  using Kind = NetworkOptions::Kind;
  using Framing = SocketBackend::Framing;
  const auto stream = [&](Descriptor peer, Descriptor listener) {
    return std::make_unique<SocketBackend>(Framing::stream, std::move(peer), std::move(listener),
                                           std::move(sink));
  };
  const auto datagrams = [&](Descriptor socket, const std::string& remote = {}) {
    return std::make_unique<SocketBackend>(Framing::datagram, std::move(socket), Descriptor{},
                                           std::move(sink), remote);
  };
  switch (options.kind) {
    case Kind::stream_unix:
      return options.listen ? stream({}, listen_unix(options.place))
                            : stream(connect_unix(options.place), {});
    case Kind::stream_tcp:
      return options.listen ? stream({}, listen_tcp(options.place, options.port))
                            : stream(connect_tcp(options.place, options.port), {});
    case Kind::dgram_unix:
      return datagrams(datagrams_unix(options.place), options.remote);
    case Kind::dgram_udp:
      return datagrams(
          datagrams_udp(options.place, options.port, options.remote, options.remote_port));
    case Kind::tap:
      return datagrams(open_tap(options.place));
    case Kind::user:
      return make_user_backend(options, std::move(sink));
    case Kind::none:
    case Kind::pcap:
      break;
  }
  throw Error(ErrorCode::usage, "there is no live network of this kind");
}

}  // namespace chronovisor
