// The recording as a strip: what happened where, in bins, for whoever draws it.
#include <algorithm>

#include "api/activity.h"
#include "api/context.h"
#include "api/lanes.h"
#include "api/method_table.h"
#include "api/page.h"
#include "api/shape.h"
#include "host/host.h"

namespace chronovisor::api {
namespace {

using namespace shape;

constexpr std::uint64_t kMostActivityBins = 1024;
constexpr std::size_t kMostMarks = 1000;
constexpr std::size_t kMostSpaces = 8;
constexpr std::size_t kMostCalls = 8;
/// A page of samples is given after so long.
constexpr std::uint64_t kPatienceNs = 400'000'000;
/// Vectors of exceptions. Source: Intel SDM vol. 3A, 6.3.1.
constexpr std::uint64_t kExceptionVectors = 32;

struct LanesRequest {
  std::string from = "start";
  std::string to = "end";
  std::uint64_t bins = 512;
};

struct ActivityRequest {
  std::string from = "start";
  std::string to = "end";
  std::uint64_t bins = 256;
  std::string cursor;
};

/// The stretch of a request. Throws CallError when it is none.
template <typename Request>
Bins bins_of(Context& context, const Request& request, const Call& call) {
  const Position from = context.place(request.from, "from", call);
  const Position to = context.place(request.to, "to", call);
  if (to < from)
    throw CallError(CallFault::wrong_parameters, "to: lies before `from`", "/params/to");
  return {from, to, request.bins};
}

const char* mark_kind(const std::string& name) {
  if (name.starts_with("panic")) return "panic";
  return name.starts_with("stuck") ? "stuck" : "bookmark";
}

Value lanes(Context& context, const LanesRequest& request, const Call& call) {
  const Bins bins = bins_of(context, request, call);
  Value::Array all;
  for (const Lane& lane : context.lanes(call)) {
    Value::Array counts;
    for (const std::uint64_t count : lane.counts(bins)) counts.emplace_back(count);
    all.emplace_back(Value::Object{{"name", lane.name()},
                                   {"kind", lane.kind()},
                                   {"unit", lane.unit()},
                                   {"total", lane.total()},
                                   {"counts", std::move(counts)}});
  }
  Value::Array marks;
  for (const Bookmark& mark : context.bookmarks()) {
    if (mark.position < bins.from || mark.position > bins.to || marks.size() == kMostMarks)
      continue;
    marks.emplace_back(Value::Object{
        {"name", mark.name}, {"position", mark.position.steps}, {"kind", mark_kind(mark.name)}});
  }
  return Value::Object{{"from", bins.from.steps},   {"to", bins.to.steps},
                       {"bins", bins.count},        {"lanes", std::move(all)},
                       {"marks", std::move(marks)}, {"here", context.here().steps}};
}

/// A part of what was looked at, in per cent.
std::uint64_t share(std::uint64_t part, std::uint64_t of) { return of == 0 ? 0 : part * 100 / of; }

/// The most frequent ones, with their names.
Value call_values(Context& context, const ActivitySample& sample, const Call& call) {
  std::vector<std::pair<session::SystemCall, std::uint64_t>> by_count(sample.calls.begin(),
                                                                      sample.calls.end());
  std::stable_sort(by_count.begin(), by_count.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (by_count.size() > kMostCalls) by_count.resize(kMostCalls);
  Value::Array values;
  for (const auto& [made, count] : by_count) {
    const auto name = context.names().call_name(made, call.cancel);
    values.emplace_back(Value::Object{
        {"number", made.number}, {"name", name ? Value(*name) : Value()}, {"count", count}});
  }
  return values;
}

Value sample_value(Context& context, const ActivitySample& sample, const Call& call) {
  Value::Array spaces, vectors;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> by_share(sample.spaces.begin(),
                                                                sample.spaces.end());
  std::stable_sort(by_share.begin(), by_share.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (by_share.size() > kMostSpaces) by_share.resize(kMostSpaces);
  for (const auto& [space, looks] : by_share) {
    spaces.emplace_back(
        Value::Object{{"space", hex(space)}, {"share", share(looks, sample.looks)}});
  }
  for (const auto& [vector, count] : sample.vectors) {
    vectors.emplace_back(
        Value::Object{{"vector", std::uint64_t{vector}},
                      {"kind", vector < kExceptionVectors ? "exception" : "interrupt"},
                      {"count", count}});
  }
  std::uint64_t all_calls = 0;
  for (const auto& [made, count] : sample.calls) all_calls += count;
  return Value::Object{{"bin", sample.bin},
                       {"position", sample.position.steps},
                       {"steps", sample.steps},
                       {"kernel", share(sample.kernel, sample.looks)},
                       {"user", share(sample.user, sample.looks)},
                       {"halted", share(sample.halted, sample.looks)},
                       {"spaces", std::move(spaces)},
                       {"vectors", std::move(vectors)},
                       {"all_calls", all_calls},
                       {"calls", call_values(context, sample, call)}};
}

Value activity(Context& context, const ActivityRequest& request, const Call& call) {
  context.need_timeline("activity");
  const Bins bins = bins_of(context, request, call);
  std::uint64_t number = number_of_cursor(request.cursor, bins.count);
  Timeline& timeline = context.timeline();
  const Timeline::Excursion back(timeline);
  ActivityScan scan(timeline, bins);
  const std::uint64_t began = monotonic_ns();
  Value::Array samples;
  for (; number < bins.count; ++number) {
    if (!samples.empty() && monotonic_ns() - began > kPatienceNs) break;
    const std::uint64_t bin = scan.bin_at(number);
    // Of fewer steps than bins, some have none.
    const std::uint64_t end = bin + 1 == bins.count ? bins.to.steps : bins.first_of(bin + 1);
    if (end == bins.first_of(bin)) continue;
    try {
      samples.push_back(sample_value(context, scan.look(bin, call.cancel), call));
    } catch (const Error&) {
      check_cancelled(call);
      throw;
    }
    if (call.progress) call.progress(number, bins.count);
  }
  return Value::Object{{"from", bins.from.steps},
                       {"to", bins.to.steps},
                       {"bins", bins.count},
                       {"exact", scan.exact()},
                       {"samples", std::move(samples)},
                       {"next", number < bins.count ? Value(std::to_string(number)) : Value()}};
}

}  // namespace

std::vector<Method> strip_methods() {
  std::vector<Method> rows;
  rows.push_back(
      Row<LanesRequest>(
          "lanes", Effect::looks,
          "What happened where, counted in bins of a stretch: console output, inputs, packets, "
          "new data from disks, checkpoints, and the bookmarks. By the recording's log alone, at "
          "once however long the stretch is.")
          .place("from", &LanesRequest::from, "The first position")
          .place("to", &LanesRequest::to, "The last position")
          .count("bins", &LanesRequest::bins, {1, kMostBins}, "How many bins")
          .not_for_agents()
          .beside(Desk::strip)
          .answers(
              object(
                  {{"from", count()},
                   {"to", count()},
                   {"bins", count()},
                   {"lanes", list_of(object({{"name", text()},
                                             {"kind", one_of({"console", "input", "network", "disk",
                                                              "idle", "checkpoint"})},
                                             {"unit", text(), "What is counted"},
                                             {"total", count(), "In the whole recording"},
                                             {"counts", list_of(count()), "One a bin"}}))},
                   {"marks", list_of(object({{"name", text()},
                                             {"position", count()},
                                             {"kind", one_of({"panic", "stuck", "bookmark"})}}))},
                   {"here", count(), "Where the machine stands"}}),
              lanes));
  rows.push_back(
      Row<ActivityRequest>(
          "activity", Effect::looks,
          "What the processor did in a stretch, in bins: kernel, programs and waiting in per cent, "
          "address spaces, interrupts and exceptions by vector, and system calls by number. Of up "
          "to 20,000,000 steps all of it; of more a short run in each bin, the bins from coarse to "
          "fine, a page at a time. Per cent are of 16 looks at the processor in what was run.")
          .place("from", &ActivityRequest::from, "The first position")
          .place("to", &ActivityRequest::to, "The last position")
          .count("bins", &ActivityRequest::bins, {1, kMostActivityBins}, "How many bins")
          .text("cursor", &ActivityRequest::cursor, kCursorText)
          .not_for_agents()
          .beside(Desk::strip)
          .answers(
              object(
                  {{"from", count()},
                   {"to", count()},
                   {"bins", count()},
                   {"exact", flag(), "All of each bin was run through"},
                   {"samples",
                    list_of(object(
                        {{"bin", count()},
                         {"position", count(), "From here on was looked"},
                         {"steps", count(), "How far"},
                         {"kernel", count(), "Per cent"},
                         {"user", count(), "Per cent"},
                         {"halted", count(), "Per cent"},
                         {"spaces", list_of(object({{"space", hex(), "CR3"},
                                                    {"share", count(), "Per cent"}}))},
                         {"vectors", list_of(object({{"vector", count()},
                                                     {"kind", one_of({"exception", "interrupt"})},
                                                     {"count", count()}}))},
                         {"all_calls", count(), "System calls"},
                         {"calls",
                          list_of(object({{"number", count()},
                                          {"name", or_null(text()), "By a Linux kernel"},
                                          {"count", count()}})),
                          "The most frequent"}}))},
                   {"next", or_null(text()), "Cursor for further bins"}}),
              activity));
  return rows;
}

}  // namespace chronovisor::api
