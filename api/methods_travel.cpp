// Going elsewhere in the recording, and what stops on the way.
#include <algorithm>
#include <optional>

#include "api/context.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/shape.h"

namespace chronovisor::api {
namespace {

using namespace shape;
using session::Direction;

constexpr std::uint64_t kMostSteps = 100'000'000;
constexpr std::uint64_t kMostWatched = 1U << 20;
constexpr std::size_t kMostStops = 1000;

struct WhereRequest {};

struct RunRequest {
  Direction direction = Direction::forward;
  std::optional<std::uint64_t> until;
  std::string to;
};

struct SetStopRequest {
  StopKind kind = StopKind::execute;
  std::uint64_t address = 0;
  std::uint64_t length = 1;
  std::string condition;
};

struct ListStopsRequest {};

struct DeleteStopRequest {
  std::uint64_t id = 0;
};

Value seek(Context& context, const session::SeekRequest& request, const Call& call) {
  const Position there = context.place(request.place, "place", call);
  static_cast<void>(context.ask(session::SeekRequest{std::to_string(there.steps)}, call, true));
  return context.where(call);
}

Value step(Context& context, const session::StepRequest& request, const Call& call) {
  const auto answer = context.ask_for<session::StepAnswer>(request, call, true);
  return Value::Object{{"taken", answer.taken}, {"where", context.where(call)}};
}

const char* stop_word(TravelStop stop) {
  switch (stop) {
    case TravelStop::arrived:
      return "arrived";
    case TravelStop::breakpoint:
      return "breakpoint";
    case TravelStop::watchpoint:
      return "watchpoint";
    case TravelStop::history_begin:
      return "start";
    case TravelStop::history_end:
      return "end";
    case TravelStop::interrupted:
      return "cancelled";
    case TravelStop::branch_ended:
      return "guest-ended";
  }
  return "arrived";
}

/// The stop points that a result is of.
Value::Array ids_of(Context& context, const TravelResult& result) {
  Value::Array ids;
  for (const StopPoint& stop : context.stop_points()) {
    const bool executes = stop.kind == StopKind::execute;
    const bool this_one = result.stop == TravelStop::breakpoint
                              ? executes && stop.address == result.address
                              : !executes && stop.address == result.watchpoint.address &&
                                    stop.length == result.watchpoint.length;
    if (this_one) ids.emplace_back(stop.id);
  }
  return ids;
}

Value run(Context& context, const RunRequest& request, const Call& call) {
  StopSet stops = context.stops();
  if (request.until) stops.breakpoints.push_back({*request.until, {}});
  Position limit{kNever};
  if (!request.to.empty()) {
    limit = context.place(request.to, "to", call);
    if (request.direction == Direction::backward || limit < context.timeline().now().position) {
      throw CallError(CallFault::wrong_parameters, "to: is for a run forward, and lies ahead",
                      "/params/to");
    }
  }
  Timeline& timeline = context.timeline();
  std::optional<Timeline::Excursion> back;
  if (!timeline.on_branch()) back.emplace(timeline);
  TravelResult result;
  {
    const session::DebugSession::Running running(context.session(), call.cancel);
    result = request.direction == Direction::forward
                 ? timeline.run_forward(stops, call.cancel, limit)
                 : timeline.run_backward(stops, call.cancel);
  }
  if (result.stop == TravelStop::interrupted) {
    throw CallError(CallFault::cancelled, "cancelled");
  }
  if (back) back->stay();
  Value address, device;
  const bool found = result.stop == TravelStop::breakpoint || result.stop == TravelStop::watchpoint;
  if (found) address = hex(result.address);
  if (!result.device.empty()) device = result.device;
  return Value::Object{{"stop", stop_word(result.stop)},
                       {"ids", found ? ids_of(context, result) : Value::Array{}},
                       {"address", std::move(address)},
                       {"wrote", result.stop == TravelStop::watchpoint && result.write},
                       {"device", std::move(device)},
                       {"where", context.where(call)}};
}

Value stop_value(const StopPoint& stop) {
  return Value::Object{{"id", stop.id},
                       {"kind", kStopKinds[static_cast<std::size_t>(stop.kind)]},
                       {"address", hex(stop.address)},
                       {"length", stop.length},
                       {"condition", stop.text}};
}

Value stop_shape() {
  return object({{"id", count()},
                 {"kind", one_of({"execute", "write", "read", "access"})},
                 {"address", hex()},
                 {"length", count()},
                 {"condition", text()}});
}

Value set_stop(Context& context, const SetStopRequest& request, const Call& /*call*/) {
  if (context.stop_points().size() >= kMostStops) {
    throw CallError(CallFault::refused, "there are 1000 breakpoints already");
  }
  try {
    return stop_value(context.add_stop_point(
        {0, request.kind, request.address, request.length, request.condition, {}}));
  } catch (const Error& error) {
    throw CallError(CallFault::wrong_parameters, error.what(), "/params/condition");
  }
}

Value list_stops(Context& context, const ListStopsRequest& /*request*/, const Call& /*call*/) {
  Value::Array all;
  for (const StopPoint& stop : context.stop_points()) all.push_back(stop_value(stop));
  return Value::Object{{"breakpoints", std::move(all)}};
}

Value delete_stop(Context& context, const DeleteStopRequest& request, const Call& /*call*/) {
  if (!context.remove_stop_point(request.id)) {
    throw CallError(CallFault::not_found, "there is no breakpoint " + std::to_string(request.id),
                    "/params/id");
  }
  return Value::Object{{"deleted", request.id}};
}

}  // namespace

std::vector<Method> travel_methods() {
  std::vector<Method> rows;
  rows.push_back(Row<WhereRequest>("where", Effect::looks,
                                   "Where in the recording the machine stands, and what its "
                                   "processor is about to execute.")
                     .answers(where_shape(), [](Context& context, const WhereRequest&,
                                                const Call& call) { return context.where(call); }));
  rows.push_back(Row<session::SeekRequest>(
                     "seek", Effect::travels,
                     "Goes to a place of the recording: a position (steps since "
                     "power-on), \"start\", \"end\", "
                     "\"+N\" or \"-N\" steps from here, \"packet:N\", the name of a bookmark, or "
                     "of a function: where it was entered last (\"function:NAME\" where a "
                     "bookmark has its name).")
                     .place("place", &session::SeekRequest::place, "Where to", Presence::required)
                     .answers(where_shape(), seek));
  rows.push_back(
      Row<session::StepRequest>(
          "step", Effect::travels,
          "Goes so many instructions forward or backward. Handlers of interrupts that were merely "
          "delivered are passed over; breakpoints are not looked at.")
          .count("count", &session::StepRequest::count, {1, kMostSteps}, "How many instructions")
          .choice("direction", &session::StepRequest::direction, {"forward", "backward"},
                  "Which way in time")
          .answers(object({{"taken", count(), "Fewer where the recording ends"},
                           {"where", where_shape()}}),
                   step));
  rows.push_back(
      Row<RunRequest>(
          "run", Effect::travels,
          "Runs forward or backward to the nearest breakpoint or watchpoint, or to the end or "
          "start of the recording. A watchpoint stops behind the access when running forward, on "
          "the instruction that made it when running backward.")
          .choice("direction", &RunRequest::direction, {"forward", "backward"}, "Which way in time")
          .address("until", &RunRequest::until, "Stop also at this instruction, this time",
                   Presence::optional)
          .place("to", &RunRequest::to, "Forward: no further than here")
          .answers(
              object({{"stop", one_of({"arrived", "breakpoint", "watchpoint", "start", "end",
                                       "guest-ended"})},
                      {"ids", list_of(count()), "The breakpoints that it stopped for"},
                      {"address", or_null(hex()),
                       "The breakpoint's, or the first byte that was accessed"},
                      {"wrote", flag(), "The access was a write"},
                      {"device", or_null(text()), "That wrote, if it was none of the processor's"},
                      {"where", where_shape()}}),
              run));
  rows.push_back(
      Row<SetStopRequest>(
          "set_breakpoint", Effect::sets,
          "Sets a breakpoint (execute) or a watchpoint (write, read, access) for `run`. A "
          "condition is an expression like \"$rax == 5 && u32[0x1000] > 3\"; for a watchpoint "
          "`value` is what was written.")
          .choice("kind", &SetStopRequest::kind, {"execute", "write", "read", "access"},
                  "What stops")
          .address("address", &SetStopRequest::address, "Linear address")
          .count("length", &SetStopRequest::length, {1, kMostWatched}, "Bytes that are watched")
          .text("condition", &SetStopRequest::condition, "Stop only where this holds")
          .answers(stop_shape(), set_stop));
  rows.push_back(Row<ListStopsRequest>("breakpoints", Effect::looks,
                                       "The breakpoints and watchpoints that are set.")
                     .answers(object({{"breakpoints", list_of(stop_shape())}}), list_stops));
  rows.push_back(Row<DeleteStopRequest>("delete_breakpoint", Effect::sets,
                                        "Takes a breakpoint or watchpoint off.")
                     .count("id", &DeleteStopRequest::id, {}, "Which one", Presence::required)
                     .answers(object({{"deleted", count()}}), delete_stop));
  return rows;
}

}  // namespace chronovisor::api
