#include "session/function_place.h"

#include "base/error.h"
#include "session/address_space.h"
#include "session/answer.h"

namespace chronovisor::session {

std::optional<Position> entered_last(Timeline& timeline, GuestNames& names, const std::string& name,
                                     const std::optional<std::uint64_t>& address_space,
                                     CancelToken cancel) {
  const std::optional<std::uint64_t> address = names.symbols(cancel).find(name);
  if (!address && cancel.requested()) throw Error(ErrorCode::usage, "interrupted");
  if (!address) return std::nullopt;
  if (timeline.on_branch()) {
    throw Error(ErrorCode::usage, "the function " + name +
                                      " is looked for in the recording, and this is a branch; "
                                      "discard it first");
  }
  StopSet stops;
  stops.breakpoints.push_back({*address, {}});
  if (address_space && is_user_address(*address)) {
    stops.breakpoints.back().condition = in_address_space(*address_space);
  }
  const Timeline::Excursion back(timeline);
  TravelStop stop = timeline.seek({timeline.end(), 0}, cancel);
  if (stop != TravelStop::interrupted) stop = timeline.run_backward(stops, cancel).stop;
  if (stop == TravelStop::interrupted) throw Error(ErrorCode::usage, "interrupted");
  if (stop != TravelStop::breakpoint) {
    throw NotFound("the recording never enters " + name);
  }
  return timeline.now().position;
}

}  // namespace chronovisor::session
