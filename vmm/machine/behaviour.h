// Owns the list of what has changed in how the machine behaves, so that a recording
// can be told from which behaviour it comes, and one that this program cannot follow
// is refused by name. Values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace chronovisor {

struct BehaviourVersion {
  std::uint32_t number = 0;
  std::string_view changed;  ///< against the version before
  std::string_view release;  ///< the last one that replays it
  /// This program replays it: it behaves so when asked to, or differs only in what
  /// hardly any guest touches (the digests tell).
  bool replayable = true;
};

/// Every version there has been, ascending. A correction that changes what a guest can
/// see adds a line; docs/FORMATS.md has the policy.
inline constexpr std::array kBehaviourVersions{
    BehaviourVersion{1, "the first", "0.1.0", true},
    BehaviourVersion{2,
                     "RF inside REP instructions, I/O breakpoints, null selectors after a return "
                     "to an outer level, INT1 with pending breakpoints, power-off by SLP_TYP 0",
                     "0.1.0", true},
};

/// What machines made today do.
inline constexpr std::uint32_t kMachineBehaviourVersion = kBehaviourVersions.back().number;

/// Throws Error{bad_input}, beginning with `what`, when this program does not replay
/// behaviour `version`: the release that does is named.
void require_replayable(std::uint32_t version, const std::string& what,
                        std::span<const BehaviourVersion> known = kBehaviourVersions);

}  // namespace chronovisor
