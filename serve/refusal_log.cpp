#include "serve/refusal_log.h"

namespace chronovisor::serve {
namespace {

/// So many of a kind are told in so long.
constexpr std::uint64_t kWindowNs = 5'000'000'000;
constexpr std::uint64_t kMostInWindow = 5;
constexpr std::size_t kMostShown = 100;

std::string harmless(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMostShown)) out += c >= ' ' && c <= '~' ? c : '?';
  if (text.size() > kMostShown) out += "...";
  return out;
}

}  // namespace

void RefusalLog::tell(std::uint64_t now_ns, std::string_view peer, const std::string& why,
                      std::string_view about) {
  if (!out_) return;
  Kind& kind = kinds_[why];
  if (kind.told == 0 || now_ns - kind.since_ns > kWindowNs) {
    close(why, kind);
    kind.since_ns = now_ns;
  }
  if (kind.told >= kMostInWindow) {
    ++kind.left_out;
    return;
  }
  ++kind.told;
  std::string line = "refused " + std::string(peer) + ": " + why;
  if (!about.empty()) line += ": \"" + harmless(about) + "\"";
  out_(line);
}

void RefusalLog::close(const std::string& why, Kind& kind) const {
  if (kind.left_out > 0) out_(std::to_string(kind.left_out) + " more were refused: " + why);
  kind = {};
}

void RefusalLog::tell_left_out(std::uint64_t now_ns) {
  for (auto& [why, kind] : kinds_) {
    if (kind.left_out > 0 && now_ns - kind.since_ns > kWindowNs) close(why, kind);
  }
}

void RefusalLog::finish() {
  for (auto& [why, kind] : kinds_) close(why, kind);
}

}  // namespace chronovisor::serve
