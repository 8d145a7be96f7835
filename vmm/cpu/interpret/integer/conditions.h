// Owns the sixteen condition codes as one inline test each. Stateless.
#pragma once

#include <array>
#include <string_view>

#include "vmm/cpu/state/flags.h"

namespace chronovisor::execute {

/// Condition code `Code` of Jcc, SETcc and CMOVcc, worked out with as few flags
/// as it needs. Source: SDM vol. 2, appendix B, "tttn".
template <unsigned Code>
[[nodiscard]] inline bool condition(const Flags& flags) {
  static_assert(Code < 16);
  constexpr bool kNegated = (Code & 1) != 0;
  if constexpr (Code >> 1 == 0) {
    return flags.of() != kNegated;
  } else if constexpr (Code >> 1 == 1) {
    return flags.cf() != kNegated;
  } else if constexpr (Code >> 1 == 2) {
    return flags.zf() != kNegated;
  } else if constexpr (Code >> 1 == 3) {
    return (flags.cf() || flags.zf()) != kNegated;
  } else if constexpr (Code >> 1 == 4) {
    return flags.sf() != kNegated;
  } else if constexpr (Code >> 1 == 5) {
    return flags.pf() != kNegated;
  } else if constexpr (Code >> 1 == 6) {
    return (flags.sf() != flags.of()) != kNegated;
  } else {
    return (flags.zf() || flags.sf() != flags.of()) != kNegated;
  }
}

inline constexpr std::array<std::string_view, 16> kJccNames{
    "jo", "jno", "jb", "jnb", "jz", "jnz", "jbe", "jnbe",
    "js", "jns", "jp", "jnp", "jl", "jnl", "jle", "jnle"};
inline constexpr std::array<std::string_view, 16> kSetccNames{
    "seto", "setno", "setb", "setnb", "setz", "setnz", "setbe", "setnbe",
    "sets", "setns", "setp", "setnp", "setl", "setnl", "setle", "setnle"};
inline constexpr std::array<std::string_view, 16> kCmovccNames{
    "cmovo", "cmovno", "cmovb", "cmovnb", "cmovz", "cmovnz", "cmovbe", "cmovnbe",
    "cmovs", "cmovns", "cmovp", "cmovnp", "cmovl", "cmovnl", "cmovle", "cmovnle"};

}  // namespace chronovisor::execute
