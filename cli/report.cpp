// report: what a recording shows, in one page to attach to a report of a bug.
#include "cli/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/exit_status.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "host/host.h"
#include "inspect/export/png.h"
#include "inspect/export/screen.h"
#include "session/debug_session.h"
#include "session/place.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kMostConsoleBytes = 1U << 20;
constexpr std::size_t kShownLogLines = 100;
constexpr std::size_t kMostScreens = 8;
constexpr std::size_t kShownFrames = 32;

/// Nothing is fetched and nothing runs: the page is as safe as a picture.
constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
pre { border: 1px solid; padding: .7rem; overflow: auto; max-height: 40rem; font-size: 13px }
img { max-width: 100%; border: 1px solid }
table { border-collapse: collapse } td, th { border: 1px solid; padding: .2rem .6rem; text-align: left }
</style>
)";

struct ReportOptions {
  std::string file;
  std::string output;
  std::string at = "end";
  std::vector<std::string> symbols;
  bool force = false;
};

/// Text out of a guest, as a page can show it: escaped, ASCII, without control characters.
std::string escaped(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    if (c == '\r') continue;
    plain += c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f) ? c : '?';
  }
  return markup_text(plain);
}

std::string section(const char* title, const std::string& text) {
  if (text.empty()) return {};
  return fmt::format("<h2>{}</h2>\n<pre>{}</pre>\n", title, escaped(text));
}

std::string console_text(const RecordingReader& reader, Position to) {
  std::string text;
  reader.for_each_console([&](const ConsoleView& view) {
    if (view.position > to) return;
    text.append(view.bytes.begin(), view.bytes.end());
    if (text.size() > 2 * kMostConsoleBytes) text.erase(0, text.size() - kMostConsoleBytes);
  });
  if (text.size() > kMostConsoleBytes) text.erase(0, text.size() - kMostConsoleBytes);
  return text;
}

/// What a page is made from.
class Reporter {
 public:
  Reporter(Timeline& timeline, const std::vector<std::string>& symbols)
      : timeline_(timeline), session_(timeline, AllowedFiles::all(), symbols) {}

  std::string page(const std::string& file, Position at) {
    travel(at);
    std::string out = kHead;
    out += "<title>" + escaped(file) + "</title></head><body>\n";
    out += "<h1>" + escaped(file) + "</h1>\n";
    out += section("Recording", text(session::InfoRequest{}));
    out += section("Where this was looked at", text(session::WhenRequest{}));
    out += section("Call stack", stack());
    out += section("Registers", text(session::DumpRequest{session::DumpRequest::What::registers}));
    out += section("Instructions", text(session::DisassembleRequest{}));
    out += section("Kernel log, its last lines", kernel_log());
    out += section("Processes", optional_text(session::LinuxTasksRequest{}));
    out += section("Console", console_text(timeline_.reader(), at));
    out += screens(at);
    out += marks();
    out += section("To go there",
                   fmt::format("chronovisor verify {0}\nchronovisor debug {0} --at {1} --gdb\n",
                               std::filesystem::path(file).filename().string(), at.steps));
    return out + "</body></html>\n";
  }

 private:
  void travel(Position position) {
    if (timeline_.seek({position, 0}, stop_signal()) == TravelStop::interrupted) {
      throw Error(ErrorCode::host, "interrupted");
    }
  }
  std::string text(const session::Request& request) {
    return session::text_of(session_.ask(request, stop_signal()));
  }
  /// Empty where the guest has no such thing.
  std::string optional_text(const session::Request& request) {
    try {
      return text(request);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      return {};
    }
  }
  std::string kernel_log() {
    std::string all = optional_text(session::LinuxLogRequest{});
    std::size_t lines = 0;
    for (std::size_t at = all.size(); at-- > 0;) {
      if (all[at] == '\n' && lines++ == kShownLogLines) return all.substr(at + 1);
    }
    return all;
  }
  std::string stack() {
    std::string out;
    std::size_t number = 0;
    const linux_guest::CallStack stack =
        session_.names().unwinder(stop_signal()).stack(timeline_.machine(), kShownFrames);
    for (const linux_guest::StackFrame& frame : stack.frames) {
      out += fmt::format("#{:<3} {:#018x}  {}\n", number++, frame.pc,
                         session_.names().symbols(stop_signal()).text_at(frame.pc));
    }
    const std::string why = linux_guest::stack_end_text(stack.end);
    if (!why.empty()) out += "No more: " + why + ".\n";
    return out;
  }
  /// At the place, and at the last bookmarks before it.
  std::string screens(Position at) {
    std::vector<Bookmark> places{{at, "here"}};
    for (const Bookmark& mark : timeline_.reader().bookmarks()) {
      if (mark.position < at) places.push_back(mark);
    }
    std::sort(places.begin() + 1, places.end(),
              [](const Bookmark& a, const Bookmark& b) { return a.position > b.position; });
    if (places.size() > kMostScreens) places.resize(kMostScreens);
    std::string out;
    for (const Bookmark& place : places) {
      travel(place.position);
      const auto image = screen_of(timeline_.machine());
      if (!image) return {};
      if (screen_is_unset(timeline_.machine())) continue;
      const std::string name =
          escaped(fmt::format("{}, position {}", place.name, grouped(place.position.steps)));
      out += fmt::format(
          "<figure><img alt=\"The screen: {0}\" width=\"{1}\" height=\"{2}\" "
          "src=\"data:image/png;base64,{3}\"><figcaption>{0}</figcaption></figure>\n",
          name, image->width, image->height,
          base64_text(png_of(image->width, image->height, image->rgb)));
    }
    return out.empty() ? out : "<h2>Screen</h2>\n" + out;
  }
  std::string marks() {
    std::string rows;
    for (const Bookmark& mark : timeline_.reader().bookmarks()) {
      rows += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escaped(mark.name),
                          grouped(mark.position.steps));
    }
    if (rows.empty()) return {};
    return "<h2>Bookmarks</h2>\n<table><tr><th>name</th><th>position</th></tr>\n" + rows +
           "</table>\n";
  }

  Timeline& timeline_;
  session::DebugSession session_;
};

int report(const ReportOptions& options) {
  const bool folder = options.output != "-" && std::filesystem::is_directory(options.output);
  const std::string path =
      folder ? (std::filesystem::path(options.output) / "report.html").string() : options.output;
  std::vector<std::string> inputs{options.file};
  inputs.insert(inputs.end(), options.symbols.begin(), options.symbols.end());
  NewFile output({path, inputs, options.force}, stop_signal());
  watch_stop_signals();
  const auto opened = open_with_positions(options.file);
  Timeline timeline(*opened, {});
  const Position at = recorded_place(options.at, *opened, "--at", options.symbols);
  const std::string page = Reporter(timeline, options.symbols).page(options.file, at);
  output.open()->append(as_bytes(page));
  output.commit();
  return kDone;
}

}  // namespace

void add_report(Command& app, Action& action) {
  auto options = std::make_shared<ReportOptions>();
  Command command = app.add_subcommand(
      "report", "Write what a recording shows into one HTML page, for a report of a bug");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  add_output_option(command, options->output, "The page, or a folder for it (-: standard output)")
      .required();
  add_force_flag(command, options->force, Replaceable::nothing);
  command.add_option("--at", options->at, "The place that is looked at (end)")
      .type_name(kPlaceValues);
  command
      .add_option("--symbols", options->symbols,
                  "ELF file of a program of the guest's, for names; may be given again")
      .type_name("FILE")
      .allow_extra_args(false);
  command.callback([options, &action] { action = [options] { return report(*options); }; });
}

}  // namespace chronovisor::cli
