#include "session/near_names.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace chronovisor::session {
namespace {

constexpr std::size_t kMostSuggestions = 4;

/// How many letters must be added, dropped or changed.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> near_names(std::string_view word, const std::vector<std::string>& names) {
  constexpr std::size_t kLongestCompared = 64;
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (found.size() == kMostSuggestions) break;
    const bool begins = word.size() >= 2 && name.starts_with(word);
    const bool holds = word.size() >= 4 && name.find(word) != std::string::npos;
    const bool near = word.size() < kLongestCompared && name.size() < kLongestCompared &&
                      distance(word, name) <= (word.size() < 4 ? 1U : 2U);
    if (begins || holds || near) found.push_back(name);
  }
  return found;
}

std::string near_hint(std::string_view word, const std::vector<std::string>& names) {
  std::string hint;
  for (const std::string& name : near_names(word, names)) hint += (hint.empty() ? "" : ", ") + name;
  return hint.empty() ? hint : "; is it " + hint + "?";
}

}  // namespace chronovisor::session
