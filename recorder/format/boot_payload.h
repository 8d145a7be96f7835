// Owns finding and unpacking what a Linux kernel image (bzImage) carries packed: the
// kernel as it will lie in the guest's memory. Recordings refer to its bytes, so what it
// makes of an image never changes. Pure functions over hostile bytes; any thread.
#pragma once

#include <optional>

#include "base/bytes.h"

namespace chronovisor {

/// The most that is unpacked.
inline constexpr std::size_t kMostUnpackedBytes = std::size_t{256} << 20;

/// What the payload of `image` unpacks to, for payloads packed as LZ4's legacy format or
/// as zstd. Nothing for anything else, for what is damaged, and where it would be larger
/// than the limit or than 64 times the payload.
/// Source: Linux, Documentation/arch/x86/boot.rst, payload_offset; LZ4, lz4_Block_format.md
/// and lz4_Frame_format.md, "Legacy frame"
[[nodiscard]] std::optional<Bytes> unpack_boot_payload(ByteView image);

}  // namespace chronovisor
