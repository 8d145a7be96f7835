// Owns which names somebody may have meant by one that there is not. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chronovisor::session {

/// Those of `names` that `word` resembles, at most four, in their order: it begins
/// them, is a part of them, or a letter or two are wrong.
[[nodiscard]] std::vector<std::string> near_names(std::string_view word,
                                                  const std::vector<std::string>& names);

/// "; is it a, b?", or nothing when `word` resembles none.
[[nodiscard]] std::string near_hint(std::string_view word, const std::vector<std::string>& names);

}  // namespace chronovisor::session
