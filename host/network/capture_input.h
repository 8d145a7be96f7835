// Owns the playing of a capture to a card, by the capture's own times counted in the
// machine's virtual time: an input source in front of another one, whose inputs go
// through. Knows no file. The machine's thread.
#pragma once

#include <cstdint>
#include <vector>

#include "host/network/capture_file.h"
#include "vmm/machine/input.h"

namespace chronovisor {

class CaptureInput final : public InputSource {
 public:
  /// @param start_ns virtual time of the first frame
  /// @param ns_per_step of the machine's clock
  /// @param beside where other inputs come from; it must outlive this
  CaptureInput(std::vector<CapturedFrame> frames, std::uint16_t card, std::uint64_t start_ns,
               std::uint64_t ns_per_step, InputSource& beside);

  [[nodiscard]] Position next_look(Position now) override;
  std::optional<Input> take(InputStamp here, const InputRoom& room) override;
  IdleOutcome idle(InputStamp here, std::uint64_t deadline_idle_ns) override;

  [[nodiscard]] std::uint64_t played() const { return next_ - dropped_; }
  /// The guest had no room for them for too long.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  [[nodiscard]] bool done() const { return next_ == frames_.size(); }
  [[nodiscard]] std::uint64_t due_ns() const;

  std::vector<CapturedFrame> frames_;
  std::uint16_t card_;
  std::uint64_t start_ns_;
  std::uint64_t ns_per_step_;
  InputSource& beside_;
  std::size_t next_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t not_before_ns_ = 0;  ///< there was no room
  std::uint64_t seen_idle_ns_ = 0;   ///< idle time when last asked
};

}  // namespace chronovisor
