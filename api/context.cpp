#include "api/context.h"

#include <fmt/format.h>

#include "api/desks.h"
#include "api/shape.h"
#include "session/address_space.h"
#include "session/place.h"

namespace chronovisor::api {
namespace {

const char* whereabouts_word(session::Whereabouts whereabouts) {
  switch (whereabouts) {
    case session::Whereabouts::branch:
      return "branch";
    case session::Whereabouts::live:
      return "live";
    case session::Whereabouts::timeline:
      break;
  }
  return "timeline";
}

}  // namespace

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

void check_cancelled(const Call& call) {
  if (call.cancel.requested()) throw CallError(CallFault::cancelled, "cancelled");
}

AddressNames names_of(Context& context, const Call& call) {
  return [&context, call](const std::string& name) {
    const auto found = context.names().symbols(call.cancel).find(name);
    check_cancelled(call);
    if (found) return *found;
    throw CallError(CallFault::wrong_parameters,
                    "\"" + name.substr(0, 128) + "\" is no number, and no symbol of the guest's");
  };
}

Context::Context(session::DebugSession& session, const ContextOptions& options)
    : session_(session),
      allow_changes_(options.allow_changes),
      run_status_(options.run_status),
      sources_(options.source_folders) {
  static_cast<void>(session_.names());  // files that are none are told of now
}

session::Answer Context::ask(const session::Request& request, const Call& call, bool go) {
  try {
    session::Answer answer = session_.ask(request, call.cancel);
    check_cancelled(call);
    if (go && session_.destination()) {
      if (session_.travel_to_destination(call.cancel) == TravelStop::interrupted) {
        throw CallError(CallFault::cancelled, "cancelled");
      }
    }
    session_.forget_destination();
    return answer;
  } catch (const Error&) {
    session_.forget_destination();
    check_cancelled(call);
    throw;
  }
}

std::optional<RunStatus> Context::run_status() const {
  if (!run_status_) return std::nullopt;
  return run_status_();
}

Standing Context::standing() { return {timeline().now(), session_.settings(), bookmarks()}; }

void Context::stand_in(const Standing& standing) {
  session_.take_settings(standing.settings);
  standing_ = standing;
}

void Context::go_to(Moment there, const Call& call) {
  if (session_.go_to(there, call.cancel) == TravelStop::interrupted) {
    throw CallError(CallFault::cancelled, "cancelled");
  }
}

void Context::call_done(const Caller& caller) {
  if (desks_ != nullptr) desks_->note();
  if (follower_) follower_(caller);
}

std::vector<Bookmark> Context::bookmarks() {
  if (standing_) return standing_->bookmarks;
  return std::get<session::BookmarksAnswer>(
             session_.ask(session::ListBookmarksRequest{}, CancelToken{}))
      .bookmarks;
}

Position Context::here() {
  return standing_ ? standing_->moment.position : timeline().now().position;
}

const std::vector<Lane>& Context::lanes(const Call& call) {
  if (!lanes_) {
    try {
      lanes_ = lanes_of(timeline().reader(), call.cancel);
    } catch (const Error&) {
      check_cancelled(call);
      throw;
    }
  }
  return *lanes_;
}

Position Context::place(const std::string& text, const char* parameter, const Call& call) {
  const auto functions = [&](const std::string& name) {
    return session_.entered_last(name, call.cancel);
  };
  const PlaceContext context{timeline().start(), timeline().end(),     here(),
                             bookmarks(),        &timeline().reader(), functions};
  const std::string where = "/params/" + std::string(parameter);
  try {
    return parse_place(text, context, parameter);
  } catch (const session::NotFound& error) {
    throw CallError(CallFault::not_found, std::string(parameter) + ": " + error.what(), where);
  } catch (const Error& error) {
    check_cancelled(call);
    if (error.code() != ErrorCode::usage) throw;
    throw CallError(CallFault::wrong_parameters, error.what(), where);
  }
}

void Context::need_timeline(const char* what) {
  if (!timeline().on_branch()) return;
  throw CallError(CallFault::refused,
                  std::string(what) + ": this is a branch, which has no history; discard it first");
}

const StopPoint& Context::add_stop_point(StopPoint stop) {
  const bool executes = stop.kind == StopKind::execute;
  if (executes) stop.length = 1;
  if (!stop.text.empty()) {
    const session::WatchedRange range{stop.address, stop.length};
    stop.condition =
        session::parse_condition(stop.text, executes ? std::nullopt : std::optional(range));
  }
  stop.id = ++last_stop_id_;
  ++breakpoint_changes_;
  stop_points_.push_back(std::move(stop));
  return stop_points_.back();
}

bool Context::remove_stop_point(std::uint64_t id) {
  const bool there =
      std::erase_if(stop_points_, [&](const StopPoint& s) { return s.id == id; }) > 0;
  if (there) ++breakpoint_changes_;
  return there;
}

StopSet Context::stops() {
  StopSet set;
  for (const StopPoint& stop : stop_points_) {
    session::Condition condition = stop.condition;
    const auto& space = session_.settings().address_space;
    if (space && session::is_user_address(stop.address)) {
      condition = [in_space = session::in_address_space(*space), condition](Machine& machine) {
        return in_space(machine) && (!condition || condition(machine));
      };
    }
    if (stop.kind == StopKind::execute) {
      set.breakpoints.push_back({stop.address, condition});
    } else {
      set.watchpoints.push_back(
          {{stop.address, stop.length, stop.kind != StopKind::write, stop.kind != StopKind::read},
           condition});
    }
  }
  return set;
}

Value Context::symbol_at(std::uint64_t address, const Call& call) {
  const std::string text = names().symbols(call.cancel).text_at(address);
  return text.empty() ? Value() : Value(text);
}

Value Context::where(const Call& call) {
  const auto when =
      std::get<session::WhenAnswer>(session_.ask(session::WhenRequest{}, CancelToken{}));
  const std::uint64_t pc = machine().cpu().linear_rip();
  Value ended;
  if (when.ended) {
    ended = Value::Object{{"reason", when.ended->reason},
                          {"code", when.ended->code},
                          {"port", when.ended->port == 0 ? Value() : Value(when.ended->port)}};
  }
  return Value::Object{{"position", when.moment.position.steps},
                       {"deliveries", when.moment.deliveries},
                       {"start", when.start.steps},
                       {"end", when.end.steps},
                       {"virtual_ns", when.virtual_ns},
                       {"pc", hex(pc)},
                       {"symbol", symbol_at(pc, call)},
                       {"mode", when.mode},
                       {"cpl", when.cpl},
                       {"halted", when.halted},
                       {"whereabouts", whereabouts_word(when.whereabouts)},
                       {"guest_ended", std::move(ended)}};
}

Value where_shape() {
  using namespace shape;
  return object(
      {{"position", count(), "Steps since power-on"},
       {"deliveries", count(), "Interrupts and exceptions delivered since arriving there"},
       {"start", count(), "Where the recording begins"},
       {"end", count(), "Where it ends"},
       {"virtual_ns", count(), "The guest's time"},
       {"pc", hex(), "Linear address of the instruction that is next"},
       {"symbol", or_null(text()), "What is there"},
       {"mode", text(), "Of the processor: \"64-bit\", \"real mode\""},
       {"cpl", count(), "0: kernel, 3: user"},
       {"halted", flag()},
       {"whereabouts", one_of({"timeline", "branch", "live"})},
       {"guest_ended",
        or_null(object({{"reason", text()},
                        {"code", count()},
                        {"port", or_null(count()), "Whose write ended it"}})),
        "How the guest ended, where it did so here"}});
}

}  // namespace chronovisor::api
