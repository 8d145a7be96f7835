// What was recorded: of the file, not of the machine as it stands.
#include <algorithm>

#include "api/console_name.h"
#include "api/context.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/shape.h"
#include "host/host.h"
#include "recorder/format/input_log.h"
#include "recorder/format/start_condition.h"
#include "session/delivery_walk.h"

namespace chronovisor::api {
namespace {

using namespace shape;

constexpr std::uint64_t kMostConsoleBytes = 1U << 18;
constexpr std::uint64_t kMostStripColumns = 4096;

struct ConsoleRequest {
  std::string from = "start";
  std::string to = "end";
  std::uint64_t limit = 16'384;
  std::string cursor;
};

struct EventListRequest {
  std::string from = "start";
  std::string to = "end";
  std::uint64_t limit = 100;
  std::string cursor;
};

struct VersionRequest {};

struct ReplicationRequest {};

struct BookmarkListRequest {
  std::uint64_t limit = 100;
  std::string cursor;
};

Value replication(Context& context, const ReplicationRequest&, const Call&) {
  const std::optional<RunStatus> status = context.run_status();
  Value run, trouble;
  if (status && !status->json.empty()) run = Value::Made{status->json};
  if (status && !status->trouble.empty()) trouble = status->trouble;
  return Value::Object{{"asked", status.has_value()}, {"run", run}, {"trouble", trouble}};
}

/// Pieces as they were recorded; the cursor counts pieces.
Value console(Context& context, const ConsoleRequest& request, const Call& call) {
  const Position from = context.place(request.from, "from", call);
  const Position to = context.place(request.to, "to", call);
  const std::uint64_t first = number_of_cursor(request.cursor, ~std::uint64_t{0});
  Value::Array pieces;
  std::uint64_t number = 0, bytes = 0;
  Value next;
  context.timeline().reader().for_each_console([&](const ConsoleView& view) {
    if (view.position < from || view.position > to) return;
    if (number++ < first || !next.is_null()) return;
    if (!pieces.empty() && bytes + view.bytes.size() > request.limit) {
      next = std::to_string(number - 1);
      return;
    }
    bytes += view.bytes.size();
    pieces.emplace_back(Value::Object{{"position", view.position.steps},
                                      {"channel", console_name(view.channel)},
                                      {"text", std::string(view.bytes.begin(), view.bytes.end())}});
  });
  return Value::Object{{"pieces", std::move(pieces)}, {"next", std::move(next)}};
}

struct Event {
  Moment moment;
  Value value;
};

/// The next input, interrupt or exception, one after the other, from where it begins.
class EventWalk {
 public:
  EventWalk(Context& context, const Call& call, Position from, Position to)
      : context_(context),
        call_(call),
        to_(to),
        inputs_(context.timeline().reader(), from),
        deliveries_(context.timeline()) {
    // As the tables are here, at the end and at the beginning of the stretch.
    deliveries_.learn_gates();
    travel(to);
    deliveries_.learn_gates();
    travel(from);
    deliveries_.learn_gates();
    find_delivery();
  }

  std::optional<Event> next() {
    const InputEvent* input = inputs_.peek();
    if (input != nullptr && input->position > to_) input = nullptr;
    if (input != nullptr && (!delivery_ || input->position <= delivery_->moment.position)) {
      Event event{{input->position, 0},
                  Value::Object{{"position", input->position.steps},
                                {"deliveries", 0},
                                {"kind", "input"},
                                {"what", input_kind_name(input->kind)},
                                {"device", std::uint64_t{input->device}}}};
      inputs_.pop();
      return event;
    }
    if (!delivery_) return std::nullopt;
    Event event = *std::move(delivery_);
    find_delivery();
    return event;
  }

 private:
  void travel(Position position) {
    if (context_.timeline().seek({position, 0}, call_.cancel) == TravelStop::interrupted) {
      check_cancelled(call_);
    }
  }
  void find_delivery() {
    delivery_.reset();
    const auto handler = deliveries_.next(to_, call_.cancel);
    check_cancelled(call_);
    if (!handler) return;
    const Moment here = context_.timeline().now();
    Value::Array vectors;
    for (const std::uint8_t vector : deliveries_.vectors_of(*handler)) {
      vectors.emplace_back(std::uint64_t{vector});
    }
    delivery_ = Event{here, Value::Object{{"position", here.position.steps},
                                          {"deliveries", here.deliveries},
                                          {"kind", "delivery"},
                                          {"vectors", std::move(vectors)},
                                          {"handler", hex(*handler)},
                                          {"symbol", context_.symbol_at(*handler, call_)}}};
  }

  Context& context_;
  const Call& call_;
  Position to_;
  InputCursor inputs_;
  session::DeliveryWalk deliveries_;
  std::optional<Event> delivery_;
};

Value events(Context& context, const EventListRequest& request, const Call& call) {
  context.need_timeline("events");
  const Position from = context.place(request.from, "from", call);
  const Position to = context.place(request.to, "to", call);
  ScanCursor cursor{from.steps, 0};
  if (!request.cursor.empty()) cursor = ScanCursor::parse(request.cursor);
  if (cursor.position < from.steps || cursor.position > to.steps) {
    throw CallError(CallFault::wrong_parameters, "cursor: lies outside the stretch",
                    "/params/cursor");
  }
  // Names may have to be looked for elsewhere; before the machine is somewhere.
  static_cast<void>(context.names().symbols(call.cancel));
  Value::Array found;
  Value next;
  const Timeline::Excursion back(context.timeline());
  EventWalk walk(context, call, {cursor.position}, to);
  std::uint64_t at = cursor.position, there = 0, skip = cursor.skip;
  while (std::optional<Event> event = walk.next()) {
    if (event->moment.position.steps != at) {
      at = event->moment.position.steps;
      there = 0;
    }
    if (at == cursor.position && there < skip) {
      ++there;
      continue;
    }
    if (found.size() == request.limit) {
      next = ScanCursor{at, there}.text();
      break;
    }
    ++there;
    if (call.found) call.found(at, monotonic_ns());
    found.push_back(std::move(event->value));
    if (call.progress && to > from) call.progress(at - from.steps, to.steps - from.steps);
  }
  return Value::Object{{"events", std::move(found)}, {"next", std::move(next)}};
}

Value bookmark_list(Context& context, const BookmarkListRequest& request, const Call& call) {
  const auto answer =
      context.ask_for<session::BookmarksAnswer>(session::ListBookmarksRequest{}, call);
  return page_of("bookmarks", answer.bookmarks, request.cursor, request.limit,
                 [](const Bookmark& mark) {
                   return Value::Object{{"name", mark.name}, {"position", mark.position.steps}};
                 });
}

}  // namespace

std::vector<Method> recording_methods() {
  std::vector<Method> rows;
  rows.push_back(
      Row<VersionRequest>("version", Effect::looks,
                          "Which program answers, and by which version of this interface.")
          .not_for_agents()
          .answers(object({{"program", text()},
                           {"version", text()},
                           {"api", text(), "Of the interface: \"1.0\""},
                           {"allow_changes", flag(), "Methods that change something are allowed"}}),
                   [](Context& context, const VersionRequest&, const Call& call) {
                     const auto answer = context.ask_for<session::VersionAnswer>(
                         session::DumpRequest{session::DumpRequest::What::version}, call);
                     return Value(Value::Object{{"program", "chronovisor"},
                                                {"version", answer.version},
                                                {"api", kApiVersion},
                                                {"allow_changes", context.allow_changes()}});
                   }));
  rows.push_back(
      Row<session::InfoRequest>(
          "info", Effect::looks,
          "What was recorded: the guest, when and on what, from which position to which, and how "
          "it ended.")
          .answers(
              object({{"file", text()},
                      {"bytes", count(), "Of the file"},
                      {"created_utc", text()},
                      {"kernel", text(), "What was booted"},
                      {"command_line", text()},
                      {"memory_bytes", count()},
                      {"engine", text()},
                      {"start", count(), "The first position"},
                      {"end", count(), "The last position"},
                      {"checkpoints", count()},
                      {"inputs", count()},
                      {"ended", or_null(anything()), "How the run ended"},
                      {"damage", list_of(text()), "What is wrong with the file"}}),
              [](Context& context, const session::InfoRequest& request, const Call& call) -> Value {
                return Value::Made{session::json_of(context.ask(request, call))};
              }));
  rows.push_back(
      Row<ReplicationRequest>("replication", Effect::looks,
                              "How the replicated run stands that makes the recording, as its "
                              "control socket says; needs --control.")
          .answers(object({{"asked", flag(), "There is a control socket to ask"},
                           {"run", or_null(anything()), "As `chronovisor status --json` has it"},
                           {"trouble", or_null(text()), "Why it is not known"}}),
                   replication));
  rows.push_back(
      Row<session::StripRequest>("strip", Effect::looks,
                                 "The recording from start to end in columns of text: where "
                                 "checkpoints, console output, inputs and bookmarks are.")
          .count("columns", &session::StripRequest::columns, {1, kMostStripColumns},
                 "How many columns")
          .not_for_agents()
          .answers(object({{"strip", text(), "'+' where checkpoints are"},
                           {"marks", text(), "'i' input, 'b' bookmark, '.' console output"},
                           {"column", count(), "Where the machine stands"},
                           {"position", count()},
                           {"start", count()},
                           {"end", count()},
                           {"whereabouts", text()}}),
                   [](Context& context, const session::StripRequest& request,
                      const Call& call) -> Value {
                     return Value::Made{session::json_of(context.ask(request, call))};
                   }));
  rows.push_back(
      Row<ConsoleRequest>("console", Effect::looks,
                          "What the guest wrote to its consoles, with the positions at which it "
                          "did. To read the end of a long console, give a later `from`.")
          .place("from", &ConsoleRequest::from, "Output from this place on")
          .place("to", &ConsoleRequest::to, "Output up to this place")
          .count("limit", &ConsoleRequest::limit, {1, kMostConsoleBytes},
                 "Most bytes of text in one answer")
          .text("cursor", &ConsoleRequest::cursor, kCursorText)
          .beside(Desk::strip)
          .answers(object({{"pieces",
                            list_of(object(
                                {{"position", count()}, {"channel", text()}, {"text", text()}}))},
                           {"next", or_null(text()), "Cursor for what follows"}}),
                   console));
  rows.push_back(
      Row<EventListRequest>(
          "events", Effect::looks,
          "Inputs, and interrupts and exceptions that were delivered to the guest, in order. "
          "Interrupts are found by running through the stretch, by the interrupt tables here and "
          "at "
          "its ends: keep it to some hundred million steps.")
          .place("from", &EventListRequest::from, "Events from this place on")
          .place("to", &EventListRequest::to, "Events up to this place")
          .count("limit", &EventListRequest::limit, kPageRange, kLimitText)
          .text("cursor", &EventListRequest::cursor, kCursorText)
          .beside(Desk::search)
          .answers(object({{"events",
                            list_of(object(
                                {{"position", count()},
                                 {"deliveries", count()},
                                 {"kind", one_of({"input", "delivery"})},
                                 {"what?", text(), "Which kind of input"},
                                 {"device?", count(), "Which device of the kind"},
                                 {"vectors?", list_of(count()), "Those that lead to the handler"},
                                 {"handler?", hex(), "Where it is"},
                                 {"symbol?", or_null(text()), "What it is called"}}))},
                           {"next", or_null(text()), "Cursor for what follows"}}),
                   events));
  rows.push_back(
      Row<BookmarkListRequest>("bookmarks", Effect::looks,
                               "The bookmarks of the recording. Their names are places.")
          .count("limit", &BookmarkListRequest::limit, kPageRange, kLimitText)
          .text("cursor", &BookmarkListRequest::cursor, kCursorText)
          .answers(page_shape("bookmarks", object({{"name", text()}, {"position", count()}})),
                   bookmark_list));
  return rows;
}

}  // namespace chronovisor::api
