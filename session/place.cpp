#include "session/place.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "host/host.h"
#include "recorder/format/frame_cursor.h"
#include "session/answer.h"
#include "session/function_place.h"

namespace chronovisor {
namespace {

constexpr std::string_view kPacketPrefix = "packet:";
constexpr std::string_view kFunctionPrefix = "function:";

/// The number that `text` is, or nothing.
std::optional<std::uint64_t> number_of(const std::string& text) {
  try {
    return parse_number(text, "");
  } catch (const Error&) {
    return std::nullopt;
  }
}

[[noreturn]] void refuse_outside(const std::string& text, const PlaceContext& context,
                                 const std::string& what) {
  throw Error(ErrorCode::usage, what + ": " + text + " is outside the recording, which covers " +
                                    grouped(context.start.steps) + " to " +
                                    grouped(context.end.steps));
}

Position place_of_packet(const std::string& text, const PlaceContext& context,
                         const std::string& what) {
  const std::optional<std::uint64_t> number = number_of(text.substr(kPacketPrefix.size()));
  if (!number || *number == 0) {
    throw Error(ErrorCode::usage, what + ": \"" + text + "\" is not packet:N with N from 1 on");
  }
  const auto packet =
      context.packets != nullptr ? find_packet(*context.packets, *number) : std::nullopt;
  if (!packet) {
    throw Error(ErrorCode::usage,
                what + ": " + text + ": the recording does not have so many packets");
  }
  return packet->position;
}

Position place_of_function(const std::string& name, const PlaceContext& context,
                           const std::string& what) {
  if (!context.functions) {
    throw Error(ErrorCode::usage, what + ": functions are no places here");
  }
  if (const auto place = context.functions(name)) return *place;
  throw Error(ErrorCode::usage,
              what + ": the guest has no function \"" + name + "\" that is known");
}

}  // namespace

Position parse_place(const std::string& text, const PlaceContext& context,
                     const std::string& what) {
  if (text == "start") return context.start;
  if (text == "end") return context.end;
  for (const Bookmark& bookmark : context.bookmarks) {
    if (bookmark.name == text) return bookmark.position;
  }
  if (text.starts_with(kPacketPrefix)) return place_of_packet(text, context, what);
  if (text.starts_with(kFunctionPrefix)) {
    return place_of_function(text.substr(kFunctionPrefix.size()), context, what);
  }
  const char sign = text.empty() ? '\0' : text[0];
  const bool relative = sign == '+' || sign == '-';
  const std::optional<std::uint64_t> number = number_of(relative ? text.substr(1) : text);
  if (!number) {
    if (!relative && !text.empty() && context.functions) {
      if (const auto place = context.functions(text)) return *place;
    }
    throw Error(ErrorCode::usage,
                what + ": \"" + text + "\" is not " + std::string(kPlaceWords) +
                    (context.bookmarks.empty() ? " (there are no bookmarks)" : ""));
  }
  Position place{*number};
  if (sign == '+') {
    const std::uint64_t from = context.here.value_or(context.start).steps;
    place.steps += from;
    if (place.steps < from) refuse_outside(text, context, what);
  } else if (sign == '-') {
    const std::uint64_t from = context.here.value_or(context.end).steps;
    if (*number > from) refuse_outside(text, context, what);
    place.steps = from - *number;
  }
  if (place < context.start || place > context.end) {
    const std::string shown = grouped(place.steps);
    refuse_outside(relative ? text + " (position " + shown + ")" : "position " + shown, context,
                   what);
  }
  return place;
}

Position recorded_place(const std::string& text, const RecordingReader& reader,
                        const std::string& option, const std::vector<std::string>& symbol_files) {
  const auto functions = [&](const std::string& name) {
    Timeline timeline(reader, {});
    session::GuestNames names(timeline, symbol_files);
    try {
      return session::entered_last(timeline, names, name, std::nullopt, stop_signal());
    } catch (const session::NotFound& error) {
      throw session::NotFound(option + ": " + error.what());
    }
  };
  return parse_place(
      text, {reader.start(), reader.usable_to(), {}, reader.bookmarks(), &reader, functions},
      option);
}

void require_bookmark_name(const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::usage, "a bookmark cannot be called \"" + name + "\": " + why);
  };
  if (name.empty()) refuse("the name is empty");
  if (name.size() > kMaxTextBytes) refuse("the name is too long");
  if (!is_utf8(name)) refuse("it is not UTF-8");
  if (std::any_of(name.begin(), name.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    refuse("a name has no control characters");
  }
  if (name.find(' ') != std::string::npos) refuse("a name is one word");
  if (name == "start" || name == "end") refuse("that is a place of every recording already");
  if (name[0] == '+' || name[0] == '-') refuse("what begins with + or - is a distance");
  if (number_of(name)) refuse("that is read as a position");
  if (name.starts_with(kPacketPrefix)) refuse("what begins with packet: is kept for packets");
  if (name.starts_with(kFunctionPrefix)) {
    refuse("what begins with function: is kept for functions");
  }
}

}  // namespace chronovisor
