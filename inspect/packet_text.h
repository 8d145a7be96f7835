// Owns what is said of a packet in one line: who to whom, by which protocol. Packets are
// anybody's: lengths in them are looked at before they are believed. Plain functions.
#pragma once

#include <string>

#include "base/bytes.h"

namespace chronovisor {

/// "10.0.2.15.40000 > 10.0.2.2.80 tcp [SYN], 0 bytes", "arp who has 10.0.2.2",
/// "52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff type 0x88b5".
[[nodiscard]] std::string packet_text(ByteView frame);

}  // namespace chronovisor
