// Makes a recording as a long run leaves it (tests/recorder/large_recording.h), or opens
// one, asks it everything that can be asked, and prints what that took: seconds of the
// processor, and the most memory so far.
// With every checkpoint, a million steps apart, so many pages change (100): a tenth of them
// to something new, the others to and fro.
//   large_recording make FILE CHECKPOINTS [PAGES]
//   large_recording open FILE
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/start_condition.h"
#include "tests/recorder/large_recording.h"
#include "tests/timetravel/large_guest.h"
#include "timetravel/query.h"
#include "timetravel/timeline.h"

using namespace chronovisor;
using testing::LargeGuest;

namespace {

constexpr std::uint32_t kPages = 65'536;  // of memory
constexpr std::uint64_t kStepsApart = 1'000'000;

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

double most_resident_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// Of the processor, by all threads.
class Watch {
 public:
  [[nodiscard]] double seconds() const {
    return static_cast<double>(std::clock() - began_) / CLOCKS_PER_SEC;
  }

 private:
  std::clock_t began_ = std::clock();
};

std::uint32_t rare_of(std::uint32_t checkpoints) { return checkpoints / 3; }

void make(const std::string& path, std::uint32_t checkpoints, std::uint32_t changed) {
  const LargeGuest guest(std::uint64_t{kPages} * kPageSize, rare_of(checkpoints));
  testing::LargeRecording kind;
  kind.checkpoints = checkpoints;
  kind.pages = kPages;
  kind.steps_apart = kStepsApart;
  kind.hot_pages = changed / 50;
  kind.other_pages = changed / 10 - kind.hot_pages;
  kind.returning_pages = changed - changed / 10;
  kind.events = true;
  kind.listed = 16;
  kind.guest = &guest.guest();
  const Watch watch;
  testing::write_large(std::make_unique<PosixOutputFile>(path, ExistingFile::replace),
                       FileId::random(), kind, guest.metadata(), {}, [&](std::uint32_t n) {
                         if ((n + 1) % std::max(1U, checkpoints / 10) != 0) return;
                         std::fprintf(stderr, "%u checkpoints, %.0f s, resident %.0f MiB\n", n + 1,
                                      watch.seconds(), most_resident_mib());
                       });
  std::printf("resident while it was written, MiB: %.0f\n", most_resident_mib());
}

void row(const char* what, double seconds, const std::string& answer = {}) {
  std::printf("%-44s %8.3f s  resident %4.0f MiB%s%s\n", what, seconds, most_resident_mib(),
              answer.empty() ? "" : "  ", answer.c_str());
  std::fflush(stdout);
}

void ask(const RecordingReader& reader, const char* what, const Query& query) {
  const Watch watch;
  QueryOptions options;
  options.verify = false;  // nothing was run for its digests
  const QueryAnswer answer = run_query(reader, query, options, [](std::uint64_t, std::uint64_t) {});
  row(what, watch.seconds(),
      std::to_string(std::max<std::uint64_t>(answer.count, answer.entries.size())) + " found, " +
          std::to_string(answer.searched) + " of " + std::to_string(answer.intervals) +
          " intervals searched");
}

void ask_queries(const RecordingReader& reader) {
  Query query;
  query.kind = QueryKind::executes;
  query.address = LargeGuest::kRareCode;
  ask(reader, "query executes", query);
  query.select = QuerySelect::first;
  ask(reader, "query executes --first", query);
  query.select = QuerySelect::last;
  ask(reader, "query executes --last", query);
  query.select = QuerySelect::count;
  ask(reader, "query executes --count", query);
  query = {};
  query.address = LargeGuest::kRareData;
  query.length = 4;
  ask(reader, "query writes", query);
  query.kind = QueryKind::value;
  ask(reader, "query value", query);
  query.address = LargeGuest::kRareData + 64;
  ask(reader, "query value, where nothing is written", query);
}

void read_records(const RecordingReader& reader) {
  const Position middle{reader.usable_to().steps / 2};
  {
    const Watch watch;
    InputCursor inputs(reader, middle);
    std::uint64_t count = 0;
    for (; count < 1000 && inputs.peek() != nullptr; ++count) inputs.pop();
    row("1,000 inputs from the middle on", watch.seconds(), std::to_string(count));
  }
  {
    const Watch watch;
    std::uint64_t all = 0;
    for (const auto& [kind, count] : reader.input_counts()) all += count;
    row("how many inputs there are", watch.seconds(), std::to_string(all));
  }
  {
    const Watch watch;
    const auto packet = find_packet(reader, reader.checkpoints().size());
    row("the packet in the middle", watch.seconds(),
        packet ? "at " + std::to_string(packet->position.steps) : "none");
  }
  {
    const Watch watch;
    std::uint64_t bytes = 0;
    const std::size_t chunks = reader.console_chunks();
    for (std::size_t n = chunks / 2; n < std::min(chunks, chunks / 2 + 100); ++n) {
      reader.show_console(n, [&](const ConsoleView& view) { bytes += view.bytes.size(); });
    }
    row("100 chunks of console output in the middle", watch.seconds(),
        std::to_string(bytes) + " bytes");
  }
  {
    const Watch watch;
    const std::size_t count = reader.bookmarks().size();
    row("bookmarks", watch.seconds(), std::to_string(count));
  }
  {
    const Watch watch;
    std::uint64_t chunks = 0;
    for (const TypeSize& size : reader.sizes()) chunks += size.chunks;
    row("sizes by type", watch.seconds(), std::to_string(chunks) + " chunks");
  }
}

void travel(const RecordingReader& reader) {
  TimelineOptions options;
  // Memory changes in it with every checkpoint, and no instruction writes that.
  options.verify = false;
  const Watch watch;
  Timeline timeline(reader, options);
  timeline.seek({timeline.end(), 0});
  row("ready at the end", watch.seconds());
  const Watch behind;
  timeline.prepare_way_back();
  row("the way back from there prepared", behind.seconds());
  std::vector<double> times;
  std::mt19937_64 random(1);
  for (int n = 0; n < 30; ++n) {
    const Watch one;
    timeline.seek({Position{random() % timeline.end().steps}, 0});
    times.push_back(one.seconds());
  }
  std::sort(times.begin(), times.end());
  row("a seek anywhere, median of 30", times[times.size() / 2],
      "worst " + std::to_string(times.back()));
  timeline.seek({timeline.end(), 0});
  StopSet stops;
  stops.breakpoints.push_back({LargeGuest::kRareCode, {}});
  const Watch back;
  (void)timeline.run_backward(stops, {});
  row("back to the breakpoint", back.seconds(),
      "at " + std::to_string(timeline.now().position.steps));
  std::printf("kept of what was read %.1f MiB, for travel %.1f MiB\n", mib(reader.cache_bytes()),
              mib(timeline.cache_bytes_used()));
}

void open(const std::string& path) {
  const Watch all;
  const RecordingReader reader(path, ReaderOptions::within(TimelineOptions{}.cache_bytes));
  row("open", all.seconds());
  const auto contents =
      reader.checkpoints().empty() ? 0 : reader.checkpoints().back().pages_before.value_or(0);
  std::printf("%.3g steps, %zu checkpoints, %.1f MiB, %u contents of pages\n",
              static_cast<double>(reader.usable_to().steps), reader.checkpoints().size(),
              mib(reader.file_bytes()), contents);
  read_records(reader);
  ask_queries(reader);
  travel(reader);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 2 ? argv[1] : "";
    if (what == "make" && argc > 3) {
      make(argv[2], static_cast<std::uint32_t>(std::strtoull(argv[3], nullptr, 0)),
           argc > 4 ? static_cast<std::uint32_t>(std::strtoull(argv[4], nullptr, 0)) : 100);
    } else if (what == "open") {
      open(argv[2]);
    } else {
      std::fprintf(stderr,
                   "large_recording make FILE CHECKPOINTS [PAGES]\n"
                   "large_recording open FILE\n");
      return 2;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "large_recording: %s\n", error.what());
    return 5;
  }
  return 0;
}
