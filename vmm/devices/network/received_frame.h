// Owns which received frame a card is storing, for people who ask who wrote: counted
// from power-on, as the recording's packets are. Knows no card. One thread a machine.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/devices/core/device.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

inline constexpr std::string_view kReceivedFrame = "received frame ";

/// A card derives from this, counts what comes, and says how far into the frame it is.
class ReceivedFrame : public DmaCause {
 public:
  explicit ReceivedFrame(const Clock& clock) : time_(clock) {}
  [[nodiscard]] std::string request() const override {
    return std::string(kReceivedFrame) + std::to_string(received_);
  }
  [[nodiscard]] std::string request_at(std::uint64_t byte) const override {
    return request() + ", byte " + std::to_string(stored_ + byte);
  }
  [[nodiscard]] Position started() const override { return time_.position(); }

 protected:
  std::uint64_t received_ = 0;  ///< frames that came, taken or not; the card's state
  std::uint64_t stored_ = 0;    ///< of the present frame, before the transfer under way

 private:
  const Clock& time_;
};

/// The frame's number in what request() or request_at() say; nothing in other texts.
[[nodiscard]] inline std::optional<std::uint64_t> received_frame_of(std::string_view request) {
  if (!request.starts_with(kReceivedFrame)) return std::nullopt;
  std::uint64_t number = 0;
  const char* const from = request.data() + kReceivedFrame.size();
  const auto parsed = std::from_chars(from, request.data() + request.size(), number);
  return parsed.ec == std::errc{} ? std::optional(number) : std::nullopt;
}

}  // namespace chronovisor
