// Owns where a guest's function was entered, as a place of the recording. The thread that
// owns the timeline, which comes back to where it stood.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/cancel.h"
#include "base/units.h"
#include "session/guest_names.h"
#include "timetravel/timeline.h"

namespace chronovisor::session {

/// Where the code that the guest calls `name` was entered last in the whole recording.
/// Nothing: nothing is called so.
/// @param address_space where code of programs counts alone; nothing: in any
/// Throws NotFound when it is never entered, Error{usage} on a branch and when cancelled.
[[nodiscard]] std::optional<Position> entered_last(
    Timeline& timeline, GuestNames& names, const std::string& name,
    const std::optional<std::uint64_t>& address_space, CancelToken cancel);

}  // namespace chronovisor::session
