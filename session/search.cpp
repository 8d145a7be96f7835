// Where something happens next or happened last, and many steps at once: they look
// from where the machine stands, come back, and arm what they found.
#include <fmt/format.h>

#include "base/error.h"
#include "session/address_space.h"
#include "session/debug_session.h"
#include "timetravel/linear_memory.h"

namespace chronovisor::session {
namespace {

const char* side_of(Direction direction) {
  return direction == Direction::forward ? "after" : "before";
}

/// Both, where there are both.
Condition all_of(Condition a, Condition b) {
  if (!a) return b;
  if (!b) return a;
  return
      [a = std::move(a), b = std::move(b)](Machine& machine) { return a(machine) && b(machine); };
}

}  // namespace

StopSet DebugSession::writes_of(const WatchedMemory& memory, Condition condition) {
  StopSet stops;
  if (memory.physical) {
    stops.physical_watchpoints.push_back({{{memory.address}, memory.length}, condition});
    return stops;
  }
  // Other processes have other memory at the same address; a device writes whoever runs.
  if (const auto space = space_that_matters(timeline_.machine(), memory.address)) {
    condition = all_of(in_address_space(*space), std::move(condition));
  }
  stops.watchpoints.push_back({{memory.address, memory.length, false, true}, condition});
  return stops;
}

std::optional<TravelResult> DebugSession::travel_to_stop(const StopSet& stops, Direction direction,
                                                         const Cancel& cancel) {
  const TravelResult result = direction == Direction::forward
                                  ? timeline_.run_forward(stops, cancel)
                                  : timeline_.run_backward(stops, cancel);
  if (result.stop == TravelStop::interrupted) throw Error(ErrorCode::usage, "interrupted");
  if (result.stop != TravelStop::watchpoint && result.stop != TravelStop::breakpoint) {
    return std::nullopt;
  }
  return result;
}

/// Looks for the nearest stop of `stops` and arms its place.
std::optional<FoundAnswer> DebugSession::find_and_arm(const StopSet& stops, Direction direction,
                                                      const Cancel& cancel) {
  std::optional<FoundAnswer> found = timeline_.excursion([&]() -> std::optional<FoundAnswer> {
    const auto result = travel_to_stop(stops, direction, cancel);
    if (!result) return std::nullopt;
    return FoundAnswer{timeline_.now(), timeline_.machine().cpu().linear_rip(), result->address,
                       direction};
  });
  if (found) destination_ = found->moment;
  return found;
}

Answer DebugSession::answer(const WatchRequest& request, const Cancel& cancel) {
  need_timeline("watch");
  const WatchedRange range{request.address, request.length};
  Condition condition;
  if (!request.condition.empty()) {
    condition =
        parse_condition(request.condition, request.physical ? std::nullopt : std::optional(range));
  }
  const auto found = find_and_arm(
      writes_of({request.address, request.length, request.physical}, std::move(condition)),
      request.direction, cancel);
  if (found) return *found;
  throw NotFound(fmt::format("{:#x} is not written{} {} position {}; this is still there",
                             request.address, request.condition.empty() ? "" : " so",
                             side_of(request.direction), grouped(timeline_.now().position.steps)));
}

Answer DebugSession::answer(const ReachedRequest& request, const Cancel& cancel) {
  need_timeline(request.direction == Direction::forward ? "next-reached" : "last-reached");
  Condition condition;
  if (!request.condition.empty()) condition = parse_condition(request.condition, std::nullopt);
  if (settings_.address_space && is_user_address(request.address)) {
    condition = all_of(in_address_space(*settings_.address_space), std::move(condition));
  }
  StopSet stops;
  stops.breakpoints.push_back({request.address, condition});
  const auto found = find_and_arm(stops, request.direction, cancel);
  if (found) return *found;
  throw NotFound(fmt::format("{:#x} is not reached{} {} position {}; this is still there",
                             request.address, request.condition.empty() ? "" : " so",
                             side_of(request.direction), grouped(timeline_.now().position.steps)));
}

Answer DebugSession::answer(const QueryRequest& request, const Cancel& cancel) {
  return answer_query(timeline_.reader(), request, cancel, [](std::uint64_t, std::uint64_t) {});
}

Answer DebugSession::answer(const StepRequest& request, const Cancel& cancel) {
  need_timeline(request.direction == Direction::forward ? "step" : "reverse-step");
  StepAnswer answer;
  answer.asked = request.count;
  answer.direction = request.direction;
  timeline_.excursion([&] {
    answer.taken = request.direction == Direction::forward
                       ? stepping_.forward_many(request.count, settings_.skip_interrupts, cancel)
                       : stepping_.backward_many(request.count, settings_.skip_interrupts, cancel);
    answer.moment = timeline_.now();
  });
  if (cancel.requested()) throw Error(ErrorCode::usage, "interrupted");
  if (answer.taken == 0) {
    throw NotFound(request.direction == Direction::forward ? "the recording ends here"
                                                           : "the recording begins here");
  }
  destination_ = answer.moment;
  return answer;
}

Answer DebugSession::answer(const AddressSpaceRequest& request, const Cancel& /*cancel*/) {
  const CpuState& state = timeline_.machine().cpu().state;
  switch (request.which) {
    case AddressSpaceRequest::Which::show:
      break;
    case AddressSpaceRequest::Which::off:
      settings_.address_space.reset();
      break;
    case AddressSpaceRequest::Which::here:
      if ((state.cr0 & kCr0Pg) == 0) {
        throw Error(ErrorCode::usage, "address-space: paging is off here, there is but one");
      }
      settings_.address_space = address_space(state.cr3);
      break;
    case AddressSpaceRequest::Which::cr3:
      settings_.address_space = address_space(request.cr3);
      break;
  }
  return AddressSpaceAnswer{settings_.address_space, address_space(state.cr3)};
}

}  // namespace chronovisor::session
