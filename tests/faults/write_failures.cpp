// Lets every single write of a recording fail in every way: a full disk, an
// I/O error, a short write, a short write and then a full disk; with and
// without the file being cut afterwards. The recorder must end with the host's
// error, the guest must not run on, and what is in the file must replay.
#include "tests/faults/fault_driver.h"
#include "tests/timetravel/tiny_recording.h"

using namespace chronovisor;
using namespace chronovisor::testing;

namespace {

const TinyOptions kOptions{.rounds = 12'000,
                           .checkpoint_every_steps = 20'000,
                           .inputs = {{10'000, 'a'}, {50'000, 'b'}, {50'001, 'c'}}};

const char* kind_name(FileFault::Kind kind) {
  switch (kind) {
    case FileFault::Kind::no_space:
      return "ENOSPC";
    case FileFault::Kind::io_error:
      return "EIO";
    case FileFault::Kind::short_write:
      return "short write";
    case FileFault::Kind::short_then_full:
      return "short write, then ENOSPC";
  }
  return "";
}

/// How many writes a recording takes when none fails.
std::uint64_t count_writes() {
  auto file = std::make_unique<FaultInjectingOutputFile>(
      std::make_unique<MemoryOutputFile>(), FileFault{FileFault::Kind::short_write, kNever});
  const FaultInjectingOutputFile& counter = *file;
  // The writer owns the file, so it is asked while the recorder still lives.
  std::uint64_t writes = 0;
  const StartCondition start = tiny_start();
  const Bytes code = tiny_guest(kOptions.rounds);
  const auto machine = make_machine(start, [&](const std::string&) { return code; });
  FileId id;
  id.bytes.fill(3);
  RecordingWriter writer(std::move(file), id, start.to_json());
  writer.embed_image(kKernelRole, "tiny", MemoryInputFile(code, "tiny"));
  ScriptedInput input(kOptions.inputs);
  RecorderOptions options;
  options.checkpoint_every_steps = kOptions.checkpoint_every_steps;
  std::uint64_t clock = 0;
  RunRecorder recorder(
      *machine, writer, input, nullptr, [&] { return clock += 60'000'000; }, options);
  static_cast<void>(recorder.run({kNever}, [](Position) {}));
  writer.finish("{}");
  writes = counter.writes();
  return writes;
}

void judge_file(const Bytes& bytes, const TinyRun& run, const std::string& place, Truth& truth,
                Tally& tally) {
  std::unique_ptr<RecordingReader> reader;
  try {
    reader = std::make_unique<RecordingReader>(std::make_shared<BorrowedFile>(ByteView(bytes)));
  } catch (const Error& error) {
    // Only before the metadata is whole, and then nothing has run.
    tally.expect(run.machine_position == Position{0}, place + ": ran, but " + error.what());
    tally.count("no metadata yet, and nothing ran");
    return;
  }
  tally.expect(reader->usable_to() <= std::max(run.machine_position, run.outcome.position),
               place + ": the file goes on past the guest");
  if (reader->images().empty()) {
    tally.expect(run.machine_position == Position{0}, place + ": ran without its image");
    tally.count("no image yet, and nothing ran");
    return;
  }
  const ReplayVerdict verdict = judge_replay(*reader, std::nullopt, truth);
  tally.expect(verdict == ReplayVerdict::right, place + ": " + verdict_name(verdict));
  tally.count(verdict_name(verdict));
}

}  // namespace

int main() {
  Truth truth(record_tiny(kOptions));
  const std::uint64_t writes = count_writes();
  const std::vector<FileFault::Kind> kinds{FileFault::Kind::no_space, FileFault::Kind::io_error,
                                           FileFault::Kind::short_write,
                                           FileFault::Kind::short_then_full};
  Tally tally("failures at each of " + grouped(writes) + " writes of a recording");
  tally.expect(writes > 20, "too few writes to be of use");
  on_all_cores(writes * kinds.size() * 2, [&](std::size_t n) {
    const FileFault fault{kinds[n % kinds.size()], n / kinds.size() % writes};
    const bool truncate_fails = n / kinds.size() / writes != 0;
    const std::string place = std::string(kind_name(fault.kind)) + " at write " +
                              std::to_string(fault.at_write) +
                              (truncate_fails ? ", cutting fails too" : "");
    auto memory = std::make_unique<MemoryOutputFile>();
    const auto bytes = memory->bytes();
    const TinyRun run =
        record_tiny_into(std::make_unique<FaultInjectingOutputFile>(std::move(memory), fault,
                                                                    std::nullopt, truncate_fails),
                         kOptions);
    tally.count(std::string("failures: ") + kind_name(fault.kind));
    if (fault.kind == FileFault::Kind::short_write) {
      tally.expect(run.error.empty(), place + ": " + run.error);
      // Chunks may stand in another order: pages are there when they are compressed.
      const RecordingReader whole(std::make_shared<BorrowedFile>(ByteView(*bytes)));
      tally.expect(whole.damage().empty() && whole.verify_bytes().empty() &&
                       whole.usable_to() == truth.reader().usable_to(),
                   place + ": not a whole recording");
      tally.expect(whole.checkpoints().size() == truth.reader().checkpoints().size(),
                   place + ": other checkpoints in the file");
      return;
    }
    tally.expect(!run.error.empty(), place + " went unnoticed");
    tally.expect(run.error_code == ErrorCode::host, place + ": not the host's error: " + run.error);
    tally.expect(run.position_after_retry == run.machine_position, place + ": the guest ran on");
    judge_file(*bytes, run, place, truth, tally);
  });
  return tally.finish();
}
