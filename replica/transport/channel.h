// Owns a stream of bytes between two ends that does not block: plain on a Unix socket, whose
// file is the user's alone, and TLS 1.3 with a pre-shared key on TCP, where nobody without
// the key gets as far as the first frame. Knows no frame. One thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "host/descriptor.h"
#include "replica/transport/address.h"

namespace chronovisor::replica {

class Channel {
 public:
  virtual ~Channel() = default;
  /// Reads what there is; 0: nothing now. Throws Error{host} once the other end is gone, or
  /// is none that may speak.
  [[nodiscard]] virtual std::size_t read_some(std::span<std::uint8_t> out) = 0;
  /// @return how much of it was taken
  [[nodiscard]] virtual std::size_t write_some(ByteView data) = 0;
  [[nodiscard]] virtual int descriptor() const = 0;
  /// The stream itself has something to write before it can go on.
  [[nodiscard]] virtual bool wants_to_write() const { return false; }
};

/// What both ends know and nobody else.
struct PresharedKey {
  Bytes key;
  [[nodiscard]] bool empty() const { return key.empty(); }
};
/// The bytes of a file, less a line's end. Throws Error{bad_input}, Error{usage} when there
/// are fewer than 16 or more than 64.
[[nodiscard]] PresharedKey read_preshared_key(const std::string& path);

/// Throws Error{usage} for TCP without a key, or in a program that was built without TLS.
void require_secure(const Address& address, const PresharedKey& key, const std::string& option);

enum class ChannelEnd { connects, accepts };
[[nodiscard]] std::unique_ptr<Channel> make_channel(const Address& address, Descriptor socket,
                                                    ChannelEnd end, const PresharedKey& key);

}  // namespace chronovisor::replica
