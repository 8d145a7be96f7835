#include "session/monitor.h"

#include "base/error.h"
#include "session/words.h"

namespace chronovisor::session {
namespace {

/// Takes the word `json` off the beginning.
bool take_json(std::string_view& line) {
  constexpr std::string_view kWord = "json";
  constexpr std::string_view kSpace = " \t";
  const std::size_t first = line.find_first_not_of(kSpace);
  if (first == std::string_view::npos || !line.substr(first).starts_with(kWord)) return false;
  const std::string_view rest = line.substr(first + kWord.size());
  if (!rest.empty() && kSpace.find(rest.front()) == std::string_view::npos) return false;
  line = rest;
  return true;
}

}  // namespace

std::string answer_line(DebugSession& session, std::string_view line, CancelToken cancel) {
  if (!take_json(line)) return text_of(session.ask(parse_request(line), cancel));
  try {
    return json_of(session.ask(parse_request(line), cancel)) + "\n";
  } catch (const Error& error) {
    return json_of_error(error) + "\n";
  }
}

}  // namespace chronovisor::session
