// Owns user networking: a small network of the guest's own, 10.0.2.0/24 with a gateway
// (.2), a name server (.3) and DHCP (from .15), whose traffic libslirp turns into
// ordinary sockets of this process. A thread of its own runs it, since libslirp is for
// one thread. Knows no card.
//
// The host's loopback is not reachable from the guest unless options say so; ports of
// the host lead into the guest only as options say, and are bound to 127.0.0.1 unless
// they name an address.
#pragma once

#include <memory>

#include "host/network/backend.h"

namespace chronovisor {

/// Throws Error{host} when a forwarded port cannot be had, Error{usage} on an address
/// that is none, Error{bad_input} when the folder for TFTP is none.
[[nodiscard]] std::unique_ptr<NetworkBackend> make_user_backend(const NetworkOptions& options,
                                                                NetworkSink sink);

}  // namespace chronovisor
