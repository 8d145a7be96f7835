// Recordings with counted places, made by a simulated counter with every fault it
// can have: turned into positions they are the run that was recorded, to the
// instruction, or it is said that they cannot be.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "recorder/counted/counted_conversion.h"
#include "recorder/counted/counted_input.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/replay_input.h"
#include "tests/kvm/counted_run.h"
#include "tests/vmm/tiny_guest.h"
#include "timetravel/verify.h"

namespace chronovisor {
namespace {

using test::CountedRun;
using test::CounterFaults;
using test::GuestToRun;
using test::open_bytes;
using test::record_counted;
using test::Way;

/// Timer interrupts, faults, REP strings, self-modifying code, HLT, serial input.
GuestToRun random_tiny(std::uint64_t seed, unsigned loops) {
  GuestToRun guest;
  guest.start.kind = BootKind::flat;
  guest.start.machine.memory_bytes = 2 << 20;
  guest.start.machine.ns_per_step = 0;
  guest.image = test::random_guest(seed, loops).image;
  return guest;
}

/// One of the guests of tests/guests, as the build made it.
std::optional<GuestToRun> built(const std::string& name) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  std::ifstream file(folder / "guests" / name, std::ios::binary);
  if (!file) return std::nullopt;
  GuestToRun guest;
  guest.start.kind = BootKind::multiboot;
  guest.start.kernel_name = name;
  guest.start.machine.memory_bytes = 16 << 20;
  guest.start.machine.ns_per_step = 0;
  guest.image.assign(std::istreambuf_iterator<char>(file), {});
  return guest;
}

ConversionOptions conversion_options() {
  ConversionOptions options;
  options.recorder.checkpoint_every_steps = 4096;
  options.recorder.checkpoint_budget_percent = 0;
  options.clock_ns = [clock = std::uint64_t{0}]() mutable { return clock += 1000; };
  options.summary = [](const RunOutcome&, const Machine&) { return "{}"; };
  return options;
}

std::unique_ptr<RecordingReader> converted(const RecordingReader& reader,
                                           std::shared_ptr<const Bytes>& bytes) {
  auto file = std::make_unique<MemoryOutputFile>();
  bytes = file->bytes();
  (void)convert_counted(reader, std::move(file), conversion_options());
  return open_bytes(bytes);
}

std::vector<InputEvent> inputs_of(const RecordingReader& reader) {
  std::vector<InputEvent> events;
  for (std::size_t n = 0; n < reader.input_ranges().size(); ++n) {
    for (InputEvent& event : reader.read_inputs(n).events) events.push_back(std::move(event));
  }
  return events;
}

/// The same run as `record` makes recordings: the events at their true positions.
std::unique_ptr<RecordingReader> record_ordinary(const GuestToRun& guest, const CountedRun& run,
                                                 std::shared_ptr<const Bytes>& bytes) {
  auto log_file = std::make_unique<MemoryOutputFile>();
  const auto log_bytes = log_file->bytes();
  RecordingWriter log(std::move(log_file), FileId::random(), guest.start.to_json());
  for (const InputEvent& event : run.truth) log.input(event);
  log.advance_to(run.end);
  log.finish(std::nullopt);
  const auto truth = open_bytes(log_bytes);
  ReplayInput source(*truth);
  const auto machine = make_machine(guest.start, [&](const std::string&) { return guest.image; });
  auto file = std::make_unique<MemoryOutputFile>();
  bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
  const ConversionOptions options = conversion_options();
  {
    RunRecorder recorder(*machine, writer, source, nullptr, options.clock_ns, options.recorder);
    const Position limit = run.stop == MachineStop::ended ? Position{kNever} : run.end;
    (void)recorder.run(limit, [](Position) {});
  }
  writer.finish("{}");
  return open_bytes(bytes);
}

/// @return how many events were found where they truly were
std::uint64_t require_same_run(const GuestToRun& guest, const CountedRun& run) {
  std::shared_ptr<const Bytes> bytes;
  std::shared_ptr<const Bytes> ordinary_bytes;
  const auto reader = converted(*run.reader, bytes);
  const auto ordinary = record_ordinary(guest, run, ordinary_bytes);
  CHECK(reader->counted_chunks() == 0);
  CHECK(reader->usable_to() == run.end);
  const std::vector<InputEvent> inputs = inputs_of(*reader);
  // Nothing that comes in at the very end is of any effect, or kept.
  std::vector<InputEvent> truth = run.truth;
  while (!truth.empty() && truth.back().position == run.end && truth.size() > inputs.size()) {
    truth.pop_back();
  }
  CHECK(inputs == truth);
  CHECK(reader->digests() == ordinary->digests());
  REQUIRE(!reader->digests().empty());
  CHECK(reader->digests().back().position == run.end);
  CHECK(verify_recording(*reader, {}, [](std::uint64_t, std::uint64_t) {}).to == run.end);
  const auto machine = machine_at(*reader, run.end, {}, [](Position) {});
  CHECK(registers_hash(machine->cpu()) == run.end_registers);
  return inputs.size();
}

struct Score {
  std::uint64_t exact = 0, elsewhere = 0, said_no = 0;
};

/// Counts from event to event until one is not found.
void search(const GuestToRun& guest, const CountedRun& run, Score& score) {
  const auto machine = make_machine(guest.start, [&](const std::string&) { return guest.image; });
  std::size_t next = 0;
  CountedInput input(*run.reader, *machine, [&](const InputEvent& event) {
    const bool right = next < run.truth.size() && event == run.truth[next];
    right ? ++score.exact : ++score.elsewhere;
    ++next;
  });
  machine->set_input(&input);
  try {
    while (!input.end()) {
      const Position slice{machine->position().steps + 1'000'000};
      if (machine->run({slice, 0}, input.done()) == MachineStop::ended && !input.end()) {
        input.guest_ended();
      }
    }
    *input.end() == run.end ? ++score.exact : ++score.elsewhere;
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::divergence);
    ++score.said_no;
  }
  machine->set_input(nullptr);
}

constexpr CounterTrust kBoth{true, true};
constexpr CounterTrust kBranchesOnly{true, false};
constexpr CounterTrust kInstructionsOnly{false, true};

/// Records and converts random guests until so many interrupts came through, each
/// because of an event that was found where it was.
void require_interrupts_found(const Way& way, std::uint64_t wanted) {
  std::uint64_t events = 0;
  std::uint64_t interrupts = 0;
  for (std::uint64_t seed = way.seed; interrupts < wanted; ++seed) {
    CAPTURE(seed);
    REQUIRE(seed < way.seed + 400);
    const GuestToRun guest = random_tiny(seed, 400);
    Way here = way;
    here.seed = seed;
    const CountedRun run = record_counted(guest, here);
    interrupts += run.interrupts;
    events += require_same_run(guest, run);
  }
  MESSAGE(events << " events, " << interrupts << " interrupts");
  CHECK(events >= wanted);
}

}  // namespace

TEST_CASE("10,000 interrupts recorded by counts are the run, with both counters exact") {
  require_interrupts_found({{100, 30, 0, 0}, kBoth, 1}, 10'000);
}

TEST_CASE("10,000 interrupts recorded by branches alone are the run, whatever instructions say") {
  require_interrupts_found({{100, 30, 0, 40}, kBranchesOnly, 1001}, 10'000);
}

TEST_CASE("10,000 interrupts recorded by instructions alone are the run, whatever branches say") {
  require_interrupts_found({{100, 30, 40, 0}, kInstructionsOnly, 2001}, 10'000);
}

TEST_CASE("a count that is wrong all the same is said, never silently elsewhere") {
  Score score;
  for (const CounterFaults& faults : {CounterFaults{100, 30, 2, 0}, CounterFaults{100, 30, 0, 2}}) {
    std::uint64_t said_no = score.said_no;
    for (std::uint64_t seed = 3001; seed < 3301; ++seed) {
      const GuestToRun guest = random_tiny(seed, 400);
      const CountedRun run = record_counted(guest, {faults, kBoth, seed, 300});
      search(guest, run, score);
    }
    CHECK(score.said_no > said_no);
  }
  CHECK(score.elsewhere == 0);
  CHECK(score.exact > 10'000);
}

TEST_CASE("an event in the middle of a delivery has no position, and is said") {
  Score score;
  for (std::uint64_t seed = 3501; seed < 3601; ++seed) {
    const GuestToRun guest = random_tiny(seed, 400);
    CounterFaults faults{100, 30, 0, 0};
    faults.hides_deliveries = true;
    search(guest, record_counted(guest, {faults, kBoth, seed, 300}), score);
  }
  CHECK(score.elsewhere == 0);
  CHECK(score.said_no > 50);
  CHECK(score.exact > 1'000);
}

TEST_CASE("the tiny guests, recorded by counts, are the runs that were") {
  for (const char* name : {"interrupts64", "strings64", "exceptions64", "selfmodify64", "paging64",
                           "privilege64", "v86"}) {
    const std::optional<GuestToRun> guest = built(name);
    if (!guest) {
      FAIL_CHECK("guest " << std::string(name) << " is not built (target guests)");
      continue;
    }
    INFO("guest " << name);
    std::uint64_t seed = 4001;
    for (const CounterTrust& trust : {kBoth, kBranchesOnly, kInstructionsOnly}) {
      const CounterFaults faults{100, 20, trust.branches_exact ? 0U : 30U,
                                 trust.instructions_exact ? 0U : 30U};
      (void)require_same_run(*guest, record_counted(*guest, {faults, trust, ++seed, 2000}));
    }
  }
}

TEST_CASE("a recorder that was killed leaves its events up to the last whole chunk") {
  const GuestToRun guest = random_tiny(17, 400);
  const CountedRun run = record_counted(guest, {{}, kBoth, 17, 200}, test::Ending::killed);
  CHECK_FALSE(run.reader->damage().empty());
  std::shared_ptr<const Bytes> bytes;
  const auto reader = converted(*run.reader, bytes);
  CHECK(reader->usable_to() > Position{0});
  CHECK_NOTHROW((void)verify_recording(*reader, {}, [](std::uint64_t, std::uint64_t) {}));
}

TEST_CASE("a recording of another run is refused with the event's number and counts") {
  GuestToRun guest = random_tiny(21, 400);
  const CountedRun run = record_counted(guest, {{}, kBoth, 21, 200});
  // The same log, in front of another guest.
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  const GuestToRun other = random_tiny(22, 400);
  RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(other.image));
  for (std::size_t n = 0; n < run.reader->counted_chunks(); ++n) {
    const CountedChunk chunk = run.reader->read_counted(n);
    for (const CountedEvent& event : chunk.events) writer.counted(event, chunk.trust);
  }
  writer.finish(std::nullopt);
  const auto reader = open_bytes(bytes);
  std::shared_ptr<const Bytes> result;
  try {
    (void)converted(*reader, result);
    FAIL("a run was found that is not there");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::divergence);
    const std::string message = error.what();
    CHECK(message.find("event ") != std::string::npos);
    CHECK(message.find(" conditional branches, ") != std::string::npos);
    CHECK(message.find("never is there") != std::string::npos);
  }
}

TEST_CASE("one thing about a place that is otherwise is enough to refuse it") {
  const GuestToRun guest = random_tiny(26, 400);
  const CountedRun run = record_counted(guest, {{}, kBoth, 26, 200});
  const CountedChunk chunk = run.reader->read_counted(0);
  const std::size_t changed = chunk.events.size() / 2;
  for (std::uint64_t CountedPlace::*what :
       {&CountedPlace::branches, &CountedPlace::instructions, &CountedPlace::rip,
        &CountedPlace::rcx, &CountedPlace::registers}) {
    auto file = std::make_unique<MemoryOutputFile>();
    const auto bytes = file->bytes();
    RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
    writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
    for (std::size_t n = 0; n < chunk.events.size(); ++n) {
      CountedEvent event = chunk.events[n];
      if (n == changed) event.place.*what += 1;
      writer.counted(event, chunk.trust);
    }
    writer.finish(std::nullopt);
    CountedRun other;
    other.reader = open_bytes(bytes);
    other.truth = run.truth;
    other.end = run.end;
    Score score;
    search(guest, other, score);
    CHECK(score.exact == changed);
    CHECK(score.elsewhere == 0);
    CHECK(score.said_no == 1);
  }
}

TEST_CASE("what needs positions refuses a recording that has none yet") {
  const GuestToRun guest = random_tiny(23, 50);
  const CountedRun run = record_counted(guest, {{}, kBoth, 23, 50});
  REQUIRE(run.reader->counted_chunks() == 1);
  CHECK(run.reader->verify_bytes().empty());
  CHECK_THROWS_WITH_AS((void)runnable_start_of(*run.reader),
                       doctest::Contains("counted places, not positions yet"), Error);
  const RecordingReader* const source = run.reader.get();
  CHECK_THROWS_AS((void)rewrite_recording({&source, 1}, std::make_unique<MemoryOutputFile>(), {}),
                  Error);
}

TEST_CASE("counters that are not exact, and clocks that go by steps, are refused") {
  GuestToRun guest = random_tiny(24, 50);
  CHECK_THROWS_WITH_AS((void)record_counted(guest, {{}, {false, false}, 24, 50}),
                       doctest::Contains("neither of this host's counters is exact"), Error);
  guest.start.machine.ns_per_step = 1;
  CHECK_THROWS_WITH_AS((void)record_counted(guest, {{}, kBoth, 24, 50}),
                       doctest::Contains("ns per step must be 0"), Error);
}

TEST_CASE("damaged counted logs are refused, whatever the damage") {
  const GuestToRun guest = random_tiny(25, 50);
  const CountedRun run = record_counted(guest, {{}, kBranchesOnly, 25, 50});
  const CountedChunk chunk = run.reader->read_counted(0);
  CountedLogEncoder encoder;
  for (const CountedEvent& event : chunk.events) encoder.add(event, chunk.trust);
  const Bytes sound = encoder.take();
  CHECK(decode_counted_chunk(sound, "log").events == chunk.events);
  for (std::size_t length = 0; length < sound.size(); ++length) {
    CHECK_THROWS_AS((void)decode_counted_chunk(ByteView(sound).first(length), "log"), Error);
  }
  Bytes longer = sound;
  longer.push_back(0);
  CHECK_THROWS_AS((void)decode_counted_chunk(longer, "log"), Error);
  oracle::Random random(25, 1);
  for (unsigned n = 0; n < 20'000; ++n) {
    Bytes bad = sound;
    bad[random.below(bad.size())] ^= static_cast<std::uint8_t>(1 + random.below(255));
    try {
      (void)decode_counted_chunk(bad, "log");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::bad_input);
    }
  }
}

}  // namespace chronovisor
