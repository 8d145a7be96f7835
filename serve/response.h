// Owns how answers are written in HTTP, and what each of them tells a browser not to do.
// Values; any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chronovisor::serve {

struct Response {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body{};
  /// Further headers.
  std::vector<std::pair<std::string, std::string>> headers{};
  /// Why it was refused, for the log; empty: it was not.
  std::string refusal{};
};

[[nodiscard]] Response refused(unsigned status, const std::string& why);

enum class BodyPart : bool { left_out, sent };   ///< HEAD leaves it out
enum class Afterwards : bool { closes, stays };  ///< what becomes of the connection

/// The whole of it, headers first. `host`: under which name it was asked for.
[[nodiscard]] std::string text_of(const Response& response, std::string_view host, BodyPart body,
                                  Afterwards afterwards);

}  // namespace chronovisor::serve
