// Owns the table of all methods: what clients of every protocol may call. Adding a
// method is adding a row to one of the groups. Made once; any thread.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "api/method.h"

namespace chronovisor::api {

/// Of the published interface. The first number changes when what worked before does
/// not any more, the second when something is added.
inline constexpr const char* kApiVersion = "1.3";

[[nodiscard]] std::span<const Method> methods();
/// Null when there is none of this name.
[[nodiscard]] const Method* find_method(std::string_view name);

// The groups.
[[nodiscard]] std::vector<Method> recording_methods();  ///< methods_recording.cpp
[[nodiscard]] std::vector<Method> strip_methods();      ///< methods_strip.cpp
[[nodiscard]] std::vector<Method> travel_methods();     ///< methods_travel.cpp
[[nodiscard]] std::vector<Method> state_methods();      ///< methods_state.cpp
[[nodiscard]] std::vector<Method> search_methods();     ///< methods_search.cpp
[[nodiscard]] std::vector<Method> guest_methods();      ///< methods_guest.cpp
[[nodiscard]] std::vector<Method> change_methods();     ///< methods_change.cpp

}  // namespace chronovisor::api
