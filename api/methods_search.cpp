// Who wrote, what ran, who read: by searching the recording.
#include <algorithm>
#include <optional>

#include "api/context.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/scan.h"
#include "api/shape.h"
#include "session/address_space.h"

namespace chronovisor::api {
namespace {

using namespace shape;
using session::Direction;

constexpr std::uint64_t kMostHistory = 100;
constexpr std::uint64_t kMostJobs = 256;
constexpr std::uint64_t kMostQueryLimit = 1000;

/// Of a session's request, and whether to go where it leads.
template <typename Request>
struct Going {
  Request request;
  bool go = false;
};

struct ReadsRequest {
  std::uint64_t address = 0;
  std::uint64_t length = 8;
  std::uint64_t count = 10;
};

constexpr const char* kGoText = "Go there; otherwise the machine stays";

Value store_value(Context& context, const session::Store& store, const Call& call) {
  Value::Object value{{"position", store.moment.position.steps},
                      {"deliveries", store.moment.deliveries},
                      {"pc", hex(store.pc)},
                      {"symbol", context.symbol_at(store.pc, call)},
                      {"address", hex(store.first_byte)},
                      {"before", store.before},
                      {"after", store.after}};
  if (!store.device.empty()) {
    value.emplace_back("device", store.device);
    value.emplace_back("request", store.request.text);
    if (store.request.started_steps != kNever) {
      value.emplace_back("started", store.request.started_steps);
    }
    if (store.packet) value.emplace_back("packet", *store.packet);
  }
  return value;
}

Value store_shape() {
  return object({{"position", count(), "Where the machine stands on the instruction that writes"},
                 {"deliveries", count()},
                 {"pc", hex(), "The instruction"},
                 {"symbol", or_null(text())},
                 {"address", hex(), "The first byte that was written"},
                 {"before", text(), "The value before, a number or bytes"},
                 {"after", text(), "The value after"},
                 {"device?", text(), "That wrote by itself; then the instruction did not"},
                 {"request?", text(), "What the device was doing"},
                 {"started?", count(), "The position at which it was told to"},
                 {"packet?", count(), "Of the network, that it wrote"}});
}

Value found_shape() {
  return object({{"position", count()},
                 {"deliveries", count()},
                 {"pc", hex()},
                 {"symbol", or_null(text())},
                 {"address", hex()}});
}

Value found_value(Context& context, const session::FoundAnswer& found, const Call& call) {
  return Value::Object{{"position", found.moment.position.steps},
                       {"deliveries", found.moment.deliveries},
                       {"pc", hex(found.pc)},
                       {"symbol", context.symbol_at(found.pc, call)},
                       {"address", hex(found.address)}};
}

Value entry_value(Context& context, const QueryEntry& entry, QueryKind kind, const Call& call) {
  Value::Object value{{"position", entry.moment.position.steps},
                      {"deliveries", entry.moment.deliveries},
                      {"pc", hex(entry.pc)},
                      {"symbol", context.symbol_at(entry.pc, call)},
                      {"cr3", hex(entry.cr3)}};
  if (kind == QueryKind::executes) return value;
  value.emplace_back("address", hex(entry.address));
  value.emplace_back("by", !entry.device.empty() ? "device"
                           : entry.by_delivery   ? "delivery"
                                                 : "instruction");
  if (!entry.device.empty()) {
    value.emplace_back("device", entry.device);
    value.emplace_back("request", entry.request);
    if (entry.started) value.emplace_back("started", *entry.started);
  }
  if (kind == QueryKind::value) {
    value.emplace_back("before", entry.before ? Value(hex(*entry.before)) : Value());
    value.emplace_back("after", entry.after ? Value(hex(*entry.after)) : Value());
  }
  return value;
}

Value scan_shape(QueryKind kind) {
  Value entry;
  if (kind == QueryKind::executes) {
    entry = object({{"position", count()},
                    {"deliveries", count()},
                    {"pc", hex()},
                    {"symbol", or_null(text())},
                    {"cr3", hex(), "Which address space"}});
  } else {
    entry = object({{"position", count(), "Just before it happened"},
                    {"deliveries", count()},
                    {"pc", hex()},
                    {"symbol", or_null(text())},
                    {"cr3", hex(), "Which address space"},
                    {"address", hex(), "The first watched byte that was written"},
                    {"by", one_of({"instruction", "delivery", "device"})},
                    {"device?", text()},
                    {"request?", text()},
                    {"started?", count()},
                    {"before?", or_null(hex()), "Of a variable: its value"},
                    {"after?", or_null(hex())}});
  }
  return object(
      {{"results", list_of(std::move(entry))},
       {"next", or_null(text()), "Cursor with which to go on searching; null: there is no more"}});
}

struct WritesRequest : ScanRequest {};
struct ExecutesRequest : ScanRequest {};
struct ValuesRequest : ScanRequest {
  ValuesRequest() { length = 8; }
};

template <typename Request>
Row<Request> scan_row(const char* name, const char* description, Range length,
                      const char* length_text) {
  return Row<Request>(name, Effect::looks, description)
      .address("address", &Request::address, "The first byte")
      .count("length", &Request::length, length, length_text)
      .place("from", &Request::from, "Positions from here on")
      .place("to", &Request::to, "Positions before here")
      .count("limit", &Request::limit, kPageRange, kLimitText)
      .text("cursor", &Request::cursor, kCursorText)
      .beside(Desk::search);
}

/// What runs a scan of this kind.
auto scanner(QueryKind kind) {
  return [kind](Context& context, const ScanRequest& request, const Call& call) {
    // Names may have to be looked for first; then a page takes as long as its search.
    static_cast<void>(context.names().symbols(call.cancel));
    const ScanPage page = scan(context, kind, request, call);
    Value::Array results;
    for (const QueryEntry& entry : page.entries) {
      results.push_back(entry_value(context, entry, kind, call));
    }
    return Value(Value::Object{{"results", std::move(results)},
                               {"next", page.next ? Value(*page.next) : Value()}});
  };
}

/// The latest reads before here: by going back from one to the one before.
Value reads(Context& context, const ReadsRequest& request, const Call& call) {
  context.need_timeline("reads");
  static_cast<void>(context.names().symbols(call.cancel));
  Timeline& timeline = context.timeline();
  StopSet stops;
  stops.watchpoints.push_back({{request.address, request.length, true, false}, {}});
  if (const auto space = session::space_that_matters(context.machine(), request.address)) {
    stops.watchpoints[0].condition = session::in_address_space(*space);
  }
  const Timeline::Excursion back(timeline);
  Value::Array found;
  bool complete = false;
  while (found.size() < request.count) {
    const TravelResult result = timeline.run_backward(stops, call.cancel);
    check_cancelled(call);
    if (result.stop != TravelStop::watchpoint) {
      complete = true;
      break;
    }
    const Moment here = timeline.now();
    const std::uint64_t pc = context.machine().cpu().linear_rip();
    found.emplace_back(Value::Object{{"position", here.position.steps},
                                     {"deliveries", here.deliveries},
                                     {"pc", hex(pc)},
                                     {"symbol", context.symbol_at(pc, call)},
                                     {"address", hex(result.address)}});
  }
  return Value::Object{{"reads", std::move(found)}, {"complete", complete}};
}

std::vector<Method> nearest_rows() {
  using LastWrite = Going<session::LastWriteRequest>;
  using Watch = Going<session::WatchRequest>;
  using Reached = Going<session::ReachedRequest>;
  std::vector<Method> rows;
  rows.push_back(
      Row<LastWrite>(
          "last_write", Effect::travels,
          "Who wrote this? The latest write of a range of memory before where the machine stands: "
          "the instruction, and the value before and after. With `go` the machine goes to that "
          "instruction; ask `backtrace` there.")
          .address(
              "address", [](LastWrite & r) -> auto& { return r.request.address; }, "The first byte")
          .count(
              "length", [](LastWrite & r) -> auto& { return r.request.length; },
              {1, kMostWatchedBytes}, "How many bytes")
          .flag(
              "physical", [](LastWrite & r) -> auto& { return r.request.physical; },
              "The address is a physical one: by any mapping, and by devices")
          .flag("go", &LastWrite::go, kGoText)
          .beside(Desk::search)
          .answers(object({{"write", store_shape()}, {"went", flag()}}),
                   [](Context& context, const LastWrite& request, const Call& call) {
                     const auto answer = context.ask_for<session::LastWriteAnswer>(
                         request.request, call, request.go);
                     return Value(Value::Object{{"write", store_value(context, answer.store, call)},
                                                {"went", request.go}});
                   }));
  rows.push_back(
      Row<session::HistoryRequest>(
          "history", Effect::looks,
          "The latest writes of a range of memory before where the machine stands, the latest "
          "first, with the values before and after.")
          .address("address", &session::HistoryRequest::address, "The first byte")
          .count("length", &session::HistoryRequest::length, {1, kMostWatchedBytes},
                 "How many bytes")
          .count("count", &session::HistoryRequest::count, {1, kMostHistory}, "How many writes")
          .flag("physical", &session::HistoryRequest::physical, "The address is a physical one")
          .beside(Desk::search)
          .answers(object({{"writes", list_of(store_shape())},
                           {"complete", flag(), "There is none before these"}}),
                   [](Context& context, const session::HistoryRequest& request, const Call& call) {
                     const auto answer = context.ask_for<session::HistoryAnswer>(request, call);
                     Value::Array stores;
                     for (const session::Store& store : answer.stores) {
                       stores.push_back(store_value(context, store, call));
                     }
                     return Value(Value::Object{{"writes", std::move(stores)},
                                                {"complete", answer.complete}});
                   }));
  rows.push_back(
      Row<ReadsRequest>("reads", Effect::looks,
                        "The latest reads of a range of memory before where the machine stands, "
                        "the latest first.")
          .address("address", &ReadsRequest::address, "The first byte")
          .count("length", &ReadsRequest::length, {1, kMostWatchedBytes}, "How many bytes")
          .count("count", &ReadsRequest::count, {1, kMostHistory}, "How many reads")
          .beside(Desk::search)
          .answers(object({{"reads", list_of(found_shape())},
                           {"complete", flag(), "There is none before these"}}),
                   reads));
  rows.push_back(
      Row<Watch>("find_write", Effect::travels,
                 "The nearest write of a range, in either direction, for which a condition holds, "
                 "as \"value == 0\" or \"value > 100 && $cpl == 3\". Backward it is the place of "
                 "the writing instruction, forward the one behind it.")
          .address(
              "address", [](Watch & r) -> auto& { return r.request.address; }, "The first byte")
          .count(
              "length", [](Watch & r) -> auto& { return r.request.length; }, {1, kMostWatchedBytes},
              "How many bytes")
          .choice(
              "direction", [](Watch & r) -> auto& { return r.request.direction; },
              {"forward", "backward"}, "Which way in time")
          .text(
              "condition", [](Watch & r) -> auto& { return r.request.condition; },
              "Only a write for which this holds")
          .flag(
              "physical", [](Watch & r) -> auto& { return r.request.physical; },
              "The address is a physical one")
          .flag("go", &Watch::go, kGoText)
          .beside(Desk::search)
          .answers(found_shape(), [](Context& context, const Watch& request, const Call& call) {
            return found_value(
                context, context.ask_for<session::FoundAnswer>(request.request, call, request.go),
                call);
          }));
  rows.push_back(
      Row<Reached>("find_arrival", Effect::travels,
                   "The nearest arrival at an instruction, as at the beginning of a function, in "
                   "either direction.")
          .address(
              "address", [](Reached & r) -> auto& { return r.request.address; }, "The instruction")
          .choice(
              "direction", [](Reached & r) -> auto& { return r.request.direction; },
              {"forward", "backward"}, "Which way in time")
          .text(
              "condition", [](Reached & r) -> auto& { return r.request.condition; },
              "Only where this holds, as \"$rdi == 0\"")
          .flag("go", &Reached::go, kGoText)
          .beside(Desk::search)
          .answers(found_shape(), [](Context& context, const Reached& request, const Call& call) {
            return found_value(
                context, context.ask_for<session::FoundAnswer>(request.request, call, request.go),
                call);
          }));
  return rows;
}

struct CountRequest {
  QueryKind kind = QueryKind::writes;
  QuerySelect select = QuerySelect::count;
  std::uint64_t address = 0;
  std::uint64_t length = 1;
  bool physical = false;
  std::string from = "start";
  std::string to = "end";
  std::uint64_t limit = 100;
  std::uint64_t jobs = 0;
};

Value query(Context& context, const CountRequest& request, const Call& call) {
  session::QueryRequest asked;
  asked.query.kind = request.kind;
  asked.query.select = request.select;
  asked.query.address = request.address;
  asked.query.length = request.length;
  asked.query.physical = request.physical;
  asked.query.from = context.place(request.from, "from", call);
  asked.query.to = context.place(request.to, "to", call);
  asked.query.limit = request.limit;
  asked.jobs = static_cast<unsigned>(request.jobs);
  try {
    return Value::Made{session::json_of(
        session::Answer(session::answer_query(context.timeline().reader(), asked, call.cancel,
                                              [&](std::uint64_t done, std::uint64_t total) {
                                                if (call.progress) call.progress(done, total);
                                              })))};
  } catch (const Error&) {
    check_cancelled(call);
    throw;
  }
}

Method query_row() {
  return Row<CountRequest>(
             "query", Effect::looks,
             "Searches the whole stretch at once: how many writes, executions or changes of a "
             "value there are, the first, the last, or the earliest of them. For pages use "
             "writes, executes or values.")
      .choice("kind", &CountRequest::kind, {"writes", "executes", "value"}, "What is looked for")
      .choice("select", &CountRequest::select, {"all", "first", "last", "count"},
              "Which of them; all: the earliest, and how many")
      .address("address", &CountRequest::address, "The first byte")
      .count("length", &CountRequest::length, {1, kMostWatchedBytes},
             "Bytes; 1, 2, 4 or 8 of a value")
      .flag("physical", &CountRequest::physical, "Of writes: the address is a physical one")
      .place("from", &CountRequest::from, "Positions from here on")
      .place("to", &CountRequest::to, "Positions before here")
      .count("limit", &CountRequest::limit, {1, kMostQueryLimit}, kLimitText)
      .count("jobs", &CountRequest::jobs, {0, kMostJobs}, "Threads; 0: one a core")
      .beside(Desk::search)
      .answers(object({{"recording", anything(), "Of what it was asked"},
                       {"query", anything(), "What was asked"},
                       {"count?", count(), "How many there are"},
                       {"results", list_of(anything())}}),
               query);
}

}  // namespace

std::vector<Method> search_methods() {
  std::vector<Method> rows = nearest_rows();
  rows.push_back(
      scan_row<WritesRequest>("writes",
                              "All writes into a range of memory, from first to last, over the "
                              "whole recording or a stretch of it, a page at a time.",
                              {1, kMostWatchedBytes}, "How many bytes")
          .flag("physical", &WritesRequest::physical,
                "The address is a physical one: writes by any mapping, and by devices")
          .answers(scan_shape(QueryKind::writes), scanner(QueryKind::writes)));
  rows.push_back(scan_row<ExecutesRequest>(
                     "executes",
                     "All arrivals at an instruction, or at those in a range, from "
                     "first to last, a page at a time.",
                     {1, kMostExecutedBytes}, "Bytes of code in which the instruction begins")
                     .answers(scan_shape(QueryKind::executes), scanner(QueryKind::executes)));
  rows.push_back(
      scan_row<ValuesRequest>("values",
                              "The history of a variable: each write that changed it, with the "
                              "value before and after, from first to last, a page at a time.",
                              {1, 8}, "Bytes of the variable: 1, 2, 4 or 8")
          .answers(scan_shape(QueryKind::value), scanner(QueryKind::value)));
  rows.push_back(query_row());
  return rows;
}

}  // namespace chronovisor::api
