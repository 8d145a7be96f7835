#include "recorder/live/console_watch.h"

#include <string_view>
#include <utility>

namespace chronovisor {
namespace {

/// A longer line is looked at only so far; kernel messages say what they are
/// at their beginning.
constexpr std::size_t kLongestLine = 512;
constexpr unsigned kMostOfAKind = 16;

/// Linux's messages, as printed by panic(), __die() and the page fault and
/// list corruption reports.
constexpr std::array<std::pair<std::string_view, CrashMessage>, 3> kMessages{{
    {"Kernel panic - not syncing", CrashMessage::panic},
    {"Oops", CrashMessage::oops},
    {"BUG:", CrashMessage::bug},
}};

}  // namespace

const char* crash_message_name(CrashMessage message) {
  switch (message) {
    case CrashMessage::panic:
      return "panic";
    case CrashMessage::oops:
      return "oops";
    case CrashMessage::bug:
      return "bug";
  }
  return "crash";
}

std::optional<CrashMessage> ConsoleWatch::add(Position position, std::uint8_t byte) {
  if (byte == '\n' || byte == '\r') {
    line_.clear();
    found_ = false;
    return std::nullopt;
  }
  if (line_.empty()) line_start_ = position;
  if (found_ || line_.size() >= kLongestLine) return std::nullopt;
  line_ += static_cast<char>(byte);
  for (const auto& [text, message] : kMessages) {
    if (!line_.ends_with(text)) continue;
    found_ = true;
    return message;
  }
  return std::nullopt;
}

std::optional<Bookmark> CrashBookmarks::next(CrashMessage message, Position position) {
  unsigned& count = counts_[static_cast<std::size_t>(message)];
  if (count == kMostOfAKind) return std::nullopt;
  ++count;
  std::string name = crash_message_name(message);
  if (count > 1) name += "-" + std::to_string(count);
  return Bookmark{position, std::move(name)};
}

}  // namespace chronovisor
