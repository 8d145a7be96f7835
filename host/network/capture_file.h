// Owns the reading of captures: pcap files of Ethernet frames, in either byte order,
// with microseconds or nanoseconds. A capture is a stranger's: lengths are bounded
// before they are believed, and what is damaged is an error that names the place.
// Knows no guest. One thread.
// Source: draft-ietf-opsawg-pcap, "PCAP Capture File Format".
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace chronovisor {

struct CapturedFrame {
  std::uint64_t time_ns = 0;  ///< since the first frame; never less than the one before
  Bytes frame;
};

class CaptureReader {
 public:
  /// @param file the whole of it, which must outlive this; `name` for messages
  /// Throws Error{bad_input} when it is no capture of Ethernet frames.
  CaptureReader(ByteView file, std::string_view name);
  /// The next frame; nothing at the end. A frame that the capture cut short comes as far
  /// as it is there. Throws Error{bad_input} where the file is damaged.
  [[nodiscard]] std::optional<CapturedFrame> next();

 private:
  [[nodiscard]] std::uint32_t word();

  ByteReader reader_;
  bool swapped_ = false;
  bool nanoseconds_ = false;
  std::optional<std::uint64_t> first_ns_;
  std::uint64_t last_ns_ = 0;
};

}  // namespace chronovisor
