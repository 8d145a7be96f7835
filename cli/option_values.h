// Owns how the values of options are written in the help, where several commands have
// the option: words as they are typed, and placeholders in capitals, with | between.
// Completions, manual pages and tests/e2e/options.py read them there. Values.
#pragma once

namespace chronovisor::cli {

inline constexpr const char* kPlaceValues = "start|end|POSITION|BOOKMARK|FUNCTION";
inline constexpr const char* kEngineValues = "soft|kvm";
inline constexpr const char* kSerialValues = "stdio|none|file:PATH";

}  // namespace chronovisor::cli
