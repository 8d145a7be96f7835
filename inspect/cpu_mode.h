// Owns the words for a processor's mode. Any thread.
#pragma once

#include <string>

#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// "64-bit", "real mode" and so on.
[[nodiscard]] std::string mode_name(const Cpu& cpu);

}  // namespace chronovisor
