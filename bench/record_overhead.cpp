// What recording costs: the same guest on two machines in one process, one
// bare and one recorded, taking turns of a few million steps, so that whatever
// else the host does falls on both alike. Prints one JSON object.
//
//   record_overhead [--no-index] [--no-checkpoints] FILE.cvr KERNEL INITRD [COMMAND LINE]
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "recorder/format/start_condition.h"
#include "recorder/live/run_recorder.h"

namespace {

using namespace chronovisor;

std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

/// Wall and CPU time of one of the two machines.
struct Stopwatch {
  std::uint64_t wall_ns = 0;
  std::uint64_t cpu_ns = 0;

  void start() {
    wall_ns -= clock_ns(CLOCK_MONOTONIC);
    cpu_ns -= clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  }
  void stop() {
    wall_ns += clock_ns(CLOCK_MONOTONIC);
    cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  }
};

Bytes read_whole(const std::string& path) {
  const PosixInputFile file(path);
  Bytes bytes(file.size());
  file.read(0, bytes);
  return bytes;
}

int measure(const std::string& output, const std::string& kernel, const std::string& initrd,
            const std::string& command_line, const RecorderOptions& options) {
  StartCondition start;
  start.kernel_name = kernel;
  start.initrd_name = initrd;
  start.command_line = command_line;
  const auto image = [&](const std::string& role) {
    return read_whole(role == kKernelRole ? kernel : initrd);
  };
  const std::unique_ptr<Machine> recorded = make_machine(start, image);
  const std::unique_ptr<Machine> bare = make_machine(start, image);
  RecordingWriter writer(std::make_unique<PosixOutputFile>(output, ExistingFile::replace),
                         FileId::random(), start.to_json());
  NoInput live;
  Stopwatch bare_time;
  Stopwatch recorded_time;
  RunOutcome outcome;
  RecorderCosts costs;
  {
    // The recorder's clock stands still while the bare machine runs.
    RunRecorder recorder(
        *recorded, writer, live, nullptr,
        [&] { return clock_ns(CLOCK_MONOTONIC) - bare_time.wall_ns; }, options);
    recorded_time.start();
    outcome = recorder.run({kNever}, [&](Position here) {
      recorded_time.stop();
      bare_time.start();
      bare->run({here, 0});
      bare_time.stop();
      recorded_time.start();
    });
    recorded_time.stop();
    costs = recorder.costs();
  }
  writer.finish("{}");
  nlohmann::ordered_json json;
  json["instructions"] = outcome.position.steps;
  json["equal"] = bare->position() == outcome.position && bare->digest() == outcome.digest;
  json["bare_seconds"] = static_cast<double>(bare_time.wall_ns) / 1e9;
  json["recorded_seconds"] = static_cast<double>(recorded_time.wall_ns) / 1e9;
  json["ratio"] =
      static_cast<double>(recorded_time.wall_ns) / static_cast<double>(bare_time.wall_ns);
  json["cpu_ratio"] =
      static_cast<double>(recorded_time.cpu_ns) / static_cast<double>(bare_time.cpu_ns);
  json["checkpoint_seconds"] = static_cast<double>(costs.checkpoint_ns) / 1e9;
  json["checkpoints"] = writer.checkpoint_count();
  json["bytes"] = writer.file_bytes();
  std::printf("%s\n", json.dump(2).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  RecorderOptions options;
  options.checkpoint_every_ns = kUsualCheckpointNs;
  std::vector<std::string> names;
  for (int n = 1; n < argc; ++n) {
    const std::string argument = argv[n];
    if (argument == "--no-index") {
      options.index = false;
    } else if (argument == "--no-checkpoints") {
      options.checkpoints = false;
    } else {
      names.push_back(argument);
    }
  }
  if (names.size() < 3) {
    std::fprintf(stderr,
                 "usage: record_overhead [--no-index] [--no-checkpoints] FILE.cvr KERNEL INITRD "
                 "[COMMAND LINE]\n");
    return 2;
  }
  try {
    return measure(names[0], names[1], names[2],
                   names.size() > 3 ? names[3] : "console=ttyS0 quiet panic=-1 nokaslr", options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "record_overhead: %s\n", error.what());
    return 1;
  }
}
