// Owns the use of OpenSSL: TLS 1.3 and nothing older, authenticated at both ends by one
// pre-shared key, with a fresh key exchange for each connection. One thread.
#pragma once

#include <memory>

#include "replica/transport/channel.h"

namespace chronovisor::replica {

/// Whether this program was built with OpenSSL.
[[nodiscard]] bool has_tls();
/// Throws Error{host}.
[[nodiscard]] std::unique_ptr<Channel> make_tls_channel(Descriptor socket, ChannelEnd end,
                                                        const PresharedKey& key);

}  // namespace chronovisor::replica
