// Owns the filters over groups of intervals while a recording is written: takes the
// intervals as they end, and says which groups are full. Knows no file; its memory does not
// grow. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "recorder/format/access_filter.h"

namespace chronovisor {

class IntervalGroups {
 public:
  struct Full {
    unsigned level = 0;
    Position from;
    Position to;
    Bytes filter;
  };
  /// An interval whose index is `data`. One that does not begin where the last one ended
  /// begins anew; data that do not read stand for everything.
  /// @return the groups that are full now, the lowest level first
  [[nodiscard]] std::vector<Full> add(Position from, Position to, ByteView data);

 private:
  /// A group that is not full.
  struct Open {
    AccessFilter filter;
    Position from;
    std::uint64_t count = 0;
  };
  std::array<Open, kFilterLevels> open_;
  Position to_;  ///< where the last interval ended
};

}  // namespace chronovisor
