// Owns what user networking says besides libslirp when it names a file to start from: that
// nobody else does. iPXE would wait some 3 s for a ProxyDHCP server, and 16 s for a router
// of IPv6, by executing, which is billions of steps. Plain functions; any thread. Frames
// of the guest are nothing but bytes.
// Source: RFC 2131, 2132 and 4861; iPXE's option 176 ("no-pxedhcp") inside of option 175.
#pragma once

#include <optional>

#include "base/bytes.h"

namespace chronovisor {

/// Puts the option into a frame that is a DHCP answer with room for it; leaves any other
/// as it is.
void say_no_proxy(Bytes& frame);

/// @return for a frame in which the guest asks for routers of IPv6: an advertisement of one
/// that routes nothing and knows no prefix
[[nodiscard]] std::optional<Bytes> say_no_router(ByteView frame);

}  // namespace chronovisor
