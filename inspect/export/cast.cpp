#include "inspect/export/cast.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <vector>

#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

/// Output closer together than this is one event; a serial line at full speed
/// makes a byte every 87 us.
constexpr std::uint64_t kTogetherNs = 2'000'000;
constexpr std::size_t kLongestEvent = 4096;

std::string json_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

/// How many bytes at the end of `text` begin a UTF-8 sequence that is not whole.
std::size_t unfinished_tail(const std::string& text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<std::uint8_t>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const std::size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

class CastWriter {
 public:
  CastWriter(const RecordingReader& reader, const TextSink& out)
      : out_(out), ns_per_step_(start_of(reader).machine.ns_per_step), marks_(reader.bookmarks()) {
    std::stable_sort(marks_.begin(), marks_.end(),
                     [](const Bookmark& a, const Bookmark& b) { return a.position < b.position; });
  }

  void add(const ConsoleView& view) {
    const std::uint64_t now_ns = view.position.steps * ns_per_step_ + view.idle_ns;
    if (!text_.empty() && (now_ns - last_ns_ > kTogetherNs || text_.size() >= kLongestEvent)) {
      flush(false);
    }
    marks_up_to(view.position, now_ns);
    if (text_.empty() || pending_from_earlier_) began_ns_ = now_ns;
    pending_from_earlier_ = false;
    last_ns_ = now_ns;
    last_idle_ns_ = view.idle_ns;
    for (const std::uint8_t byte : view.bytes) {
      // What is meant for a serial terminal says \r\n; a bare newline would
      // make a staircase of the lines.
      if (byte == '\n' && previous_ != '\r') text_ += '\r';
      text_ += static_cast<char>(byte);
      previous_ = byte;
    }
  }

  void finish() {
    flush(true);
    marks_up_to({kNever}, kNever);
  }

 private:
  void event(std::uint64_t ns, const char* code, const std::string& data) {
    // JSON numbers with six digits after the point, as recorders write them.
    char seconds[40];
    std::snprintf(seconds, sizeof(seconds), "[%.6f, \"%s\", ", static_cast<double>(ns) / 1e9, code);
    std::string line = json_line(nlohmann::ordered_json(data));
    line.pop_back();
    out_(seconds + line + "]\n");
  }

  void flush(bool all) {
    const std::size_t tail = all ? 0 : unfinished_tail(text_);
    const std::string rest = text_.substr(text_.size() - tail);
    text_.resize(text_.size() - tail);
    if (!text_.empty()) event(began_ns_, "o", text_);
    text_ = rest;
    pending_from_earlier_ = !rest.empty();
  }

  /// Of idle time between the outputs around a mark nothing is known; it counts as after it.
  void marks_up_to(Position position, std::uint64_t most_ns) {
    while (next_mark_ < marks_.size() && marks_[next_mark_].position <= position) {
      flush(false);
      const std::uint64_t steps = marks_[next_mark_].position.steps;
      event(std::min(steps * ns_per_step_ + last_idle_ns_, most_ns), "m", marks_[next_mark_].name);
      ++next_mark_;
    }
  }

  const TextSink& out_;
  std::uint64_t ns_per_step_;
  std::vector<Bookmark> marks_;
  std::size_t next_mark_ = 0;
  std::string text_;
  std::uint64_t began_ns_ = 0;
  std::uint64_t last_ns_ = 0;
  std::uint64_t last_idle_ns_ = 0;
  std::uint8_t previous_ = 0;
  bool pending_from_earlier_ = false;  ///< text_ is only the head of a character
};

}  // namespace

void export_cast(const RecordingReader& reader, const CastOptions& options, const TextSink& out) {
  const StartCondition start = start_of(reader);
  nlohmann::ordered_json header;
  header["version"] = 2;
  header["width"] = options.width;
  header["height"] = options.height;
  std::tm when{};
  if (strptime(start.created_utc.c_str(), "%Y-%m-%dT%H:%M:%SZ", &when) != nullptr) {
    header["timestamp"] = static_cast<std::int64_t>(timegm(&when));
  }
  header["title"] =
      start.kernel_name + (start.command_line.empty() ? "" : " " + start.command_line);
  header["env"] = {{"TERM", "vt100"}};
  out(json_line(header));
  CastWriter writer(reader, out);
  reader.for_each_console([&](const ConsoleView& view) { writer.add(view); });
  writer.finish();
}

}  // namespace chronovisor
