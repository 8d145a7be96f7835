// Owns how the 82540EM makes frames from what transmit descriptors bring: gathering,
// cutting a large TCP or UDP payload into segments, and the checksums that a driver
// asks for. Knows no ring, no memory and no link. One thread a machine.
//
// Nothing a driver says is believed: offsets beyond a frame change nothing, and what
// is longer than a frame may be is dropped.
// Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual, 3.3 "Transmit descriptors" to 3.5 "TCP segmentation".
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/state.h"

namespace chronovisor {

/// Takes finished frames, with whatever tag and padding there is to be missing yet.
class E1000FrameSink {
 public:
  virtual ~E1000FrameSink() = default;
  virtual void assembled(Bytes& frame) = 0;
};

class E1000Assembler {
 public:
  explicit E1000Assembler(E1000FrameSink& sink) : sink_(sink) {}

  void reset();
  void visit_state(StateVisitor& visitor);

  /// What a frame's first descriptor decides for all of it.
  struct Plan {
    bool segmented = false;         ///< cut by the segmentation context
    bool insert_ip = false;         ///< by the context's IP part
    bool insert_transport = false;  ///< by its TCP or UDP part
  };

  /// A context descriptor, as it is in memory.
  void set_context(std::uint64_t low, std::uint64_t high);
  /// A frame is being gathered.
  [[nodiscard]] bool open() const { return open_; }
  void begin(const Plan& plan);
  /// How many bytes the next add() may bring: 0 when no more are of use.
  [[nodiscard]] std::size_t wanted() const;
  /// May put out a segment that is full.
  void add(ByteView bytes);
  /// A checksum over what is from `from` on, to be put at `at` (legacy descriptors).
  void insert_at_end(std::uint8_t from, std::uint8_t at);
  /// The descriptor was the frame's last: what is gathered goes out.
  void finish();
  /// Segmented payloads that were begun, for the statistics.
  [[nodiscard]] bool segmented() const { return open_ && segmented_; }

 private:
  struct Context {
    std::uint8_t ip_start, ip_store;
    std::uint16_t ip_end;
    std::uint8_t transport_start, transport_store;
    std::uint16_t transport_end;
    bool ipv4, tcp;
    std::size_t header_bytes, segment_bytes;
  };
  enum class Last : std::uint8_t { no, yes };

  [[nodiscard]] Context context() const;
  void put_out(Last last);
  void adjust_segment(const Context& context, Last last);
  void insert(std::size_t from, std::size_t end, std::size_t at, bool zero_means_none);

  E1000FrameSink& sink_;
  /// The latest for whole frames and the latest for segments, two quadwords each.
  std::array<std::uint64_t, 4> contexts_{};
  Bytes gathered_;
  Bytes header_;  ///< of a segmented payload, as the driver made it
  bool open_ = false;
  bool segmented_ = false;
  bool insert_ip_ = false;
  bool insert_transport_ = false;
  bool too_long_ = false;
  std::uint32_t segments_ = 0;  ///< put out already
};

}  // namespace chronovisor
