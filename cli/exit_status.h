// Owns the exit statuses of the command line that are not an Error's.
#pragma once

namespace chronovisor::cli {

inline constexpr int kDone = 0;
inline constexpr int kGuestFailed = 1;  ///< triple fault, or debug-exit with a code other than 0

}  // namespace chronovisor::cli
