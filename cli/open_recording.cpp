#include "cli/open_recording.h"

#include <cstdio>
#include <utility>

#include "base/error.h"
#include "cli/long_run.h"
#include "host/host.h"
#include "recorder/counted/counted_conversion.h"
#include "recorder/edit/new_file.h"
#include "session/run_summary.h"

namespace chronovisor::cli {
namespace {

ConversionResult write_with_positions(const RecordingReader& reader,
                                      std::unique_ptr<OutputFile> output) {
  const std::uint64_t began = monotonic_ns();
  Progress progress(true);
  ConversionOptions options;
  options.clock_ns = monotonic_ns;
  options.cancel = stop_signal();
  options.counting = [&](std::uint64_t events, Position here) {
    progress.show("finding positions: " + grouped(events) + " events in " + grouped(here.steps) +
                  " steps");
  };
  options.writing = [&](Position here, Position end) {
    progress.show(progress_text("recording with positions", here.steps, end.steps));
  };
  options.summary = [&](const RunOutcome& outcome, const Machine& machine) {
    const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
    return run_summary(outcome, {}, {kNever}, seconds, machine);
  };
  return convert_counted(reader, std::move(output), options);
}

/// Puts an ordinary recording in the place of the file at `path`.
void give_positions(const RecordingReader& reader, const std::string& path) {
  std::fprintf(stderr, "chronovisor: %s: its events have counted places; finding their positions\n",
               path.c_str());
  watch_stop_signals();
  // It takes the place of what is read, which is what this is for.
  NewFile output({path, {}, true});
  const ConversionResult result = write_with_positions(reader, output.open());
  output.commit();
  std::fprintf(stderr, "chronovisor: %s: %s events have positions now, up to %s\n", path.c_str(),
               grouped(result.events).c_str(), grouped(result.outcome.position.steps).c_str());
}

}  // namespace

void warn_of_damage(const RecordingReader& reader) {
  for (const Damage& damage : reader.damage()) {
    std::fprintf(stderr, "chronovisor: warning: %s\n", damage.message.c_str());
  }
}

std::unique_ptr<RecordingReader> open_with_positions(const std::string& path,
                                                     const ReaderOptions& options) {
  auto reader = std::make_unique<RecordingReader>(path, options);
  if (reader->counted_chunks() == 0) return reader;
  warn_of_damage(*reader);
  give_positions(*reader, path);
  return std::make_unique<RecordingReader>(path, options);
}

}  // namespace chronovisor::cli
