// Measures travel in a recording at the timeline, without gdb and its protocol,
// and prints one JSON object: times in ms, sizes in bytes.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "timetravel/timeline.h"

namespace chronovisor {
namespace {

using Clock = std::chrono::steady_clock;

template <class Action>
double milliseconds(Action&& action) {
  const auto began = Clock::now();
  action();
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

struct Options {
  std::string file;
  TimelineOptions travel;
  std::uint64_t breakpoint = 0;  ///< hit once, early
  std::uint64_t watch = 0;       ///< written once, long ago
  std::uint64_t hot = 0;         ///< hit often
  std::uint64_t watch_length = 4;
  int seeks = 200;
  bool each = false;  ///< every seek's time on stderr
  int steps = 1000;
};

std::uint64_t resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

class Report {
 public:
  void number(const char* name, double value) {
    std::printf("%s\n  \"%s\": %.4f", first_ ? "{" : ",", name, value);
    first_ = false;
  }
  void spread(const std::string& name, std::vector<double> values) {
    std::sort(values.begin(), values.end());
    if (values.empty()) return;
    number((name + "_median_ms").c_str(), values[values.size() / 2]);
    number((name + "_p99_ms").c_str(), values[values.size() * 99 / 100]);
    number((name + "_worst_ms").c_str(), values.back());
  }
  ~Report() { std::printf("\n}\n"); }

 private:
  bool first_ = true;
};

void measure_search(Report& report, Timeline& timeline, const std::string& name,
                    const StopSet& stops) {
  timeline.seek({timeline.end(), 0});
  const std::uint64_t before = timeline.steps_searched();
  TravelResult result;
  report.number((name + "_ms").c_str(),
                milliseconds([&] { result = timeline.run_backward(stops, {}); }));
  report.number((name + "_steps").c_str(), static_cast<double>(timeline.steps_searched() - before));
  report.number((name + "_stop").c_str(), static_cast<double>(result.stop));
  report.number((name + "_position").c_str(), static_cast<double>(timeline.now().position.steps));
}

/// Steps a second of one machine that just runs.
double plain_speed(const RecordingReader& reader) {
  TimelineOptions plain;
  plain.jobs = 1;
  plain.verify = false;
  plain.use_index = false;  // or it would leave out everything
  Timeline timeline(reader, plain);
  const std::uint64_t end = timeline.end().steps;
  const Position from{end / 2};
  const Position to{std::min(end, from.steps + 150'000'000)};
  timeline.seek({from, 0});
  const double ms = milliseconds([&] { (void)timeline.run_forward({}, {}, to); });
  return static_cast<double>(to.steps - from.steps) / ms * 1000;
}

/// A condition on a hot place that holds nowhere, so that everything is searched.
void measure_condition(Report& report, Timeline& timeline, const Options& options) {
  StopSet stops;
  stops.breakpoints.push_back({options.hot, [](Machine& machine) {
                                 return machine.cpu().gpr(kRax) == 0x1234567887654321;
                               }});
  const unsigned jobs = options.travel.jobs != 0
                            ? options.travel.jobs
                            : std::max(1U, std::thread::hardware_concurrency());
  const double plain = plain_speed(timeline.reader());
  timeline.seek({timeline.end(), 0});
  const std::uint64_t before = timeline.steps_searched();
  const double ms = milliseconds([&] { (void)timeline.run_backward(stops, {}); });
  const auto steps = static_cast<double>(timeline.steps_searched() - before);
  report.number("reverse_condition_ms", ms);
  report.number("reverse_condition_steps", steps);
  report.number("reverse_condition_speed", steps / ms * 1000);
  report.number("plain_speed", plain);
  report.number("reverse_condition_ratio", steps / ms * 1000 / (plain * jobs));
  timeline.seek({timeline.start(), 0});
  report.number("forward_condition_ms",
                milliseconds([&] { (void)timeline.run_forward(stops, {}); }));
}

void measure(const Options& options) {
  Report report;
  const auto began = Clock::now();
  const RecordingReader reader(options.file, ReaderOptions::within(options.travel.cache_bytes));
  Timeline timeline(reader, options.travel);
  timeline.seek({timeline.end(), 0});
  report.number("open_at_end_ms",
                std::chrono::duration<double, std::milli>(Clock::now() - began).count());
  report.number("open_resident_bytes", static_cast<double>(resident_bytes()));
  // A server does this while nobody asks for anything.
  report.number("way_back_ms", milliseconds([&] { timeline.prepare_way_back(); }));
  report.number("steps", static_cast<double>(timeline.end().steps));
  report.number("checkpoints", static_cast<double>(reader.checkpoints().size()));
  report.number("intervals", static_cast<double>(reader.intervals().size()));

  report.number("first_reverse_step_ms", milliseconds([&] { (void)timeline.step_backward(); }));
  std::vector<double> times;
  for (int n = 0; n < options.steps; ++n) {
    times.push_back(milliseconds([&] { (void)timeline.step_backward(); }));
  }
  report.spread("reverse_steps", times);

  times.clear();
  std::mt19937_64 random(1);
  for (int n = 0; n < options.seeks; ++n) {
    const Position target{random() % timeline.end().steps};
    times.push_back(milliseconds([&] { (void)timeline.seek({target, 0}); }));
    if (options.each) {
      std::fprintf(stderr, "seek to %llu: %.1f ms\n", static_cast<unsigned long long>(target.steps),
                   times.back());
    }
  }
  report.spread("seek", times);

  if (options.breakpoint != 0) {
    StopSet stops;
    stops.breakpoints.push_back({options.breakpoint, {}});
    measure_search(report, timeline, "reverse_breakpoint", stops);
    timeline.seek({timeline.start(), 0});
    report.number("forward_breakpoint_ms",
                  milliseconds([&] { (void)timeline.run_forward(stops, {}); }));
    StopSet never;
    never.breakpoints.push_back({0xdead0000, {}});
    timeline.seek({timeline.start(), 0});
    report.number("forward_to_end_ms",
                  milliseconds([&] { (void)timeline.run_forward(never, {}); }));
  }
  if (options.watch != 0) {
    StopSet stops;
    stops.watchpoints.push_back({Watchpoint{options.watch, options.watch_length, false, true}, {}});
    measure_search(report, timeline, "reverse_watch", stops);
  }
  if (options.hot != 0) measure_condition(report, timeline, options);
  report.number("cache_bytes", static_cast<double>(timeline.cache_bytes_used()));
  report.number("resident_bytes", static_cast<double>(resident_bytes()));
}

int usage() {
  std::fprintf(stderr,
               "usage: travel_bench FILE [--break ADDRESS] [--watch ADDRESS] [--hot ADDRESS]\n"
               "         [--seeks N] [--steps N] [--jobs N] [--cache BYTES] [--no-index] "
               "[--no-verify] [--each]\n");
  return 2;
}

int run(int count, char** arguments) {
  Options options;
  for (int n = 1; n < count; ++n) {
    const std::string name = arguments[n];
    if (name == "--no-index") {
      options.travel.use_index = false;
    } else if (name == "--no-verify") {
      options.travel.verify = false;
    } else if (name == "--each") {
      options.each = true;
    } else if (!name.starts_with("--")) {
      options.file = name;
    } else {
      if (n + 1 >= count) return usage();
      const std::uint64_t value = std::strtoull(arguments[++n], nullptr, 0);
      if (name == "--break")
        options.breakpoint = value;
      else if (name == "--watch")
        options.watch = value;
      else if (name == "--hot")
        options.hot = value;
      else if (name == "--seeks")
        options.seeks = static_cast<int>(value);
      else if (name == "--steps")
        options.steps = static_cast<int>(value);
      else if (name == "--jobs")
        options.travel.jobs = static_cast<unsigned>(value);
      else if (name == "--cache")
        options.travel.cache_bytes = value;
      else
        return usage();
    }
  }
  if (options.file.empty()) return usage();
  measure(options);
  return 0;
}

}  // namespace
}  // namespace chronovisor

int main(int count, char** arguments) {
  try {
    return chronovisor::run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "travel_bench: %s\n", error.what());
    return 1;
  }
}
