#include "session/debug_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "inspect/cpu_mode.h"
#include "session/function_place.h"
#include "session/recording_facts.h"
#include "session/words.h"

namespace chronovisor::session {

DebugSession::DebugSession(Timeline& timeline, AllowedFiles files,
                           std::vector<std::string> symbol_files)
    : timeline_(timeline),
      files_(std::move(files)),
      symbol_files_(std::move(symbol_files)),
      stepping_(timeline),
      bookmarks_(timeline.reader(), UnwrittenBookmarks::kept),
      recorded_end_(recorded_end(timeline.reader())) {}

/// The live branch tells this how it ended.
DebugSession::~DebugSession() { timeline_.end_live(); }

Answer DebugSession::ask(const Request& request, CancelToken cancel) {
  return std::visit([&](const auto& one) { return answer(one, cancel); }, request);
}

TravelStop DebugSession::travel_to_destination(CancelToken cancel) {
  CHECK_THAT(destination_.has_value(), "a destination to travel to");
  return go_to(*std::exchange(destination_, std::nullopt), cancel);
}

TravelStop DebugSession::go_to(Moment target, CancelToken cancel) {
  if (timeline_.on_branch()) timeline_.discard_branch();
  Timeline::Excursion excursion(timeline_);
  const TravelStop stop = timeline_.seek(target, cancel);
  if (stop == TravelStop::interrupted) return stop;
  excursion.stay();
  return stop;
}

std::optional<RecordedEnd> DebugSession::guest_ended_here() {
  const Ending& ending = timeline_.machine().ending();
  if (ending.reason != EndReason::none) {
    return RecordedEnd{std::string(end_reason_name(ending.reason)), ending.code, ending.port, true};
  }
  // What ended the guest without retiring, as a triple fault does, is only in the
  // recording's own account.
  const bool at_end = !timeline_.on_branch() && timeline_.now().position == timeline_.end();
  if (at_end && recorded_end_ && recorded_end_->by_guest) return recorded_end_;
  return std::nullopt;
}

Whereabouts DebugSession::whereabouts() {
  if (timeline_.live() != nullptr) return Whereabouts::live;
  return timeline_.on_branch() ? Whereabouts::branch : Whereabouts::timeline;
}

void DebugSession::need_timeline(const char* what) const {
  if (!timeline_.on_branch()) return;
  throw Error(ErrorCode::usage,
              fmt::format("{}: this is a branch, which has no history; discard it first", what));
}

Answer DebugSession::answer(const HelpRequest& /*request*/, const Cancel& /*cancel*/) {
  HelpAnswer help;
  for (const WordCommand& row : word_commands()) {
    help.rows.push_back({fmt::format("{} {}", row.name, row.arguments), std::string(row.help)});
  }
  return help;
}

Answer DebugSession::answer(const WhenRequest& /*request*/, const Cancel& /*cancel*/) {
  Machine& machine = timeline_.machine();
  WhenAnswer when;
  when.moment = timeline_.now();
  when.start = timeline_.start();
  when.end = timeline_.end();
  when.virtual_ns = machine.now().ns;
  when.mode = mode_name(machine.cpu());
  when.cpl = machine.cpu().cpl();
  when.halted = machine.cpu().state.halted;
  when.whereabouts = whereabouts();
  if (when.whereabouts == Whereabouts::live) when.live_file = live_file_;
  when.ended = guest_ended_here();
  return when;
}

Answer DebugSession::answer(const InfoRequest& /*request*/, const Cancel& /*cancel*/) {
  const RecordingFacts facts = outline_of(timeline_.reader());
  const StartCondition& start = facts.start;
  InfoAnswer info;
  info.file = facts.file;
  info.file_bytes = facts.file_bytes;
  info.created_utc = start.created_utc;
  info.host = start.host;
  info.kernel = start.kernel_name;
  info.command_line = start.command_line;
  info.memory_bytes = start.machine.memory_bytes;
  info.engine = start.engine;
  if (start.parent) {
    info.parent = {start.parent->name, start.parent->position, start.parent->changed_by_hand};
  }
  info.start = facts.from;
  info.end = facts.to;
  info.checkpoints = facts.checkpoints;
  info.cache_bytes = timeline_.cache_bytes_used();
  for (const auto& [kind, count] : facts.inputs) info.inputs += count;
  info.ended = recorded_end_;
  info.damage = facts.damage;
  return info;
}

Answer DebugSession::answer(const StripRequest& request, const Cancel& /*cancel*/) {
  CHECK_THAT(request.columns > 0, "a strip of some width");
  StripAnswer answer;
  answer.start = timeline_.start();
  answer.end = timeline_.end();
  answer.here = timeline_.now().position;
  answer.whereabouts = whereabouts();
  const std::uint64_t first = answer.start.steps;
  const std::uint64_t length = std::max<std::uint64_t>(answer.end.steps - first, 1);
  const auto column = [&](Position position) {
    const std::uint64_t steps = std::max(position.steps, first) - first;
    const auto share =
        static_cast<long double>(std::min(steps, length)) / static_cast<long double>(length);
    return static_cast<std::size_t>(share * static_cast<long double>(request.columns - 1));
  };
  answer.strip.assign(request.columns, '-');
  answer.marks.assign(request.columns, ' ');
  answer.column = column(answer.here);
  const RecordingReader& reader = timeline_.reader();
  for (const CheckpointInfo& checkpoint : reader.checkpoints()) {
    answer.strip[column(checkpoint.position)] = '+';
  }
  reader.for_each_console([&](const ConsoleView& view) {
    char& place = answer.marks[column(view.position)];
    if (place == ' ') place = '.';
  });
  for (std::size_t n = 0; n < reader.input_ranges().size(); ++n) {
    for (const InputEvent& event : reader.read_inputs(n).events) {
      answer.marks[column(event.position)] = 'i';
    }
  }
  for (const Bookmark& mark : bookmarks_.all()) answer.marks[column(mark.position)] = 'b';
  return answer;
}

GuestNames& DebugSession::names() {
  if (!names_) names_.emplace(timeline_, symbol_files_);
  return *names_;
}

std::optional<Position> DebugSession::entered_last(const std::string& function,
                                                   CancelToken cancel) {
  return session::entered_last(timeline_, names(), function, settings_.address_space, cancel);
}

Answer DebugSession::answer(const SeekRequest& request, const Cancel& cancel) {
  const auto functions = [&](const std::string& name) { return entered_last(name, cancel); };
  const PlaceContext context{timeline_.start(), timeline_.end(),     timeline_.now().position,
                             bookmarks_.all(),  &timeline_.reader(), functions};
  destination_ = Moment{parse_place(request.place, context, "seek"), 0};
  return ArmedAnswer{destination_->position};
}

Answer DebugSession::answer(const SettingRequest& request, const Cancel& /*cancel*/) {
  const auto set = [&](bool& setting, const char* name, const char* on, const char* off) {
    setting = request.on;
    return SettingAnswer{name, request.on, request.on ? on : off};
  };
  switch (request.setting) {
    case Setting::skip_interrupts:
      return set(settings_.skip_interrupts, "skip-interrupts",
                 "steps pass over handlers that were merely delivered",
                 "steps enter the handlers of delivered interrupts");
    case Setting::linear_pc:
      return set(settings_.linear_pc, "linear-pc", "the program counter includes the base of CS",
                 "the program counter is an offset in CS");
    case Setting::physical_memory:
      return set(settings_.physical_memory, "phys", "memory addresses are physical",
                 "memory addresses are linear");
  }
  throw Error(ErrorCode::usage, "there is no such setting");
}

}  // namespace chronovisor::session
