// Owns a filter for packets in the language of tcpdump, by libpcap, which is loaded when
// one is asked for. Knows no recording. One thread.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"

namespace chronovisor {

class PacketFilter {
 public:
  /// Throws Error{usage} for an expression that libpcap refuses, Error{host} when the host
  /// has no libpcap.
  explicit PacketFilter(const std::string& expression);
  ~PacketFilter();
  PacketFilter(const PacketFilter&) = delete;
  PacketFilter& operator=(const PacketFilter&) = delete;

  /// @param length_bytes of the whole packet, of which `bytes` may be a part
  [[nodiscard]] bool matches(ByteView bytes, std::size_t length_bytes) const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace chronovisor
