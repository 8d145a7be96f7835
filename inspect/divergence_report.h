// Owns how an explained divergence is shown: as text for a terminal and as
// JSON. Knows no machine and makes nothing up. Any thread.
#pragma once

#include <string>

#include "timetravel/divergence.h"

namespace chronovisor {

/// What the two sides of a state difference are called.
struct SideNames {
  std::string left = "replay";
  std::string right = "recording";
};

/// Several lines, each ended by a newline.
[[nodiscard]] std::string divergence_text(const Divergence& divergence, const SideNames& names);
/// One JSON object.
[[nodiscard]] std::string divergence_json(const Divergence& divergence, const SideNames& names);

}  // namespace chronovisor
