// Owns what a guest last wrote to ports, for people who look at how it ended. Outside
// the machine's state. One thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/units.h"

namespace chronovisor {

struct PortWrite {
  Position position;
  std::uint16_t port = 0;
  unsigned width = 1;  ///< bytes
  std::uint32_t value = 0;
};

class PortLog {
 public:
  void add(const PortWrite& write) {
    auto at = std::find_if(writes_.begin(), writes_.begin() + count_,
                           [&](const PortWrite& known) { return known.port == write.port; });
    // A port that is new takes the place of the one not written for longest.
    if (at == writes_.begin() + count_ && count_ < kPorts) ++count_;
    if (at == writes_.end()) --at;
    std::move_backward(writes_.begin(), at, at + 1);
    writes_[0] = write;
  }
  /// The latest first, each port once.
  [[nodiscard]] std::vector<PortWrite> latest() const {
    return {writes_.begin(), writes_.begin() + count_};
  }

 private:
  static constexpr std::ptrdiff_t kPorts = 8;
  std::array<PortWrite, kPorts> writes_{};
  std::ptrdiff_t count_ = 0;
};

}  // namespace chronovisor
