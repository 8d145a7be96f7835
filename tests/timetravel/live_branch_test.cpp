// Going live on a branch: a machine driven in pieces of any length, stopped
// anywhere, is recorded so that the recording verifies bit for bit; and the
// timeline it left is as it was.
#include "timetravel/live_branch.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>

#include "base/error.h"
#include "recorder/live/recording_child.h"
#include "tests/vmm/tiny_guest.h"
#include "timetravel/timeline.h"
#include "timetravel/verify.h"

namespace chronovisor {
namespace {

using test::ScriptedInput;

struct Guest {
  StartCondition start;
  Bytes image;
  std::vector<std::uint64_t> inputs;
};

Guest random_tiny(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Guest guest;
  guest.start.kind = BootKind::flat;
  guest.start.machine.memory_bytes = 2 << 20;
  guest.image = test::random_guest(seed, 60).image;
  for (std::uint64_t at = 0; at < 30'000; at += 1 + random() % 6000) guest.inputs.push_back(at + 1);
  return guest;
}

/// One of the guests of tests/guests, as the build made it.
std::optional<Guest> built(const std::string& name) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  std::ifstream file(folder / "guests" / name, std::ios::binary);
  if (!file) return std::nullopt;
  Guest guest;
  guest.start.kind = BootKind::multiboot;
  guest.start.kernel_name = name;
  guest.start.machine.memory_bytes = 16 << 20;
  guest.image.assign(std::istreambuf_iterator<char>(file), {});
  guest.inputs = {3000, 9000};
  return guest;
}

std::unique_ptr<RecordingReader> open_bytes(const std::shared_ptr<const Bytes>& bytes) {
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
}

std::unique_ptr<RecordingReader> record(const Guest& guest, std::uint64_t seed) {
  const auto machine = make_machine(guest.start, [&](const std::string&) { return guest.image; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
  ScriptedInput input(guest.inputs, seed);
  RecorderOptions options;
  options.checkpoint_every_steps = 4096;
  options.checkpoint_budget_percent = 0;
  {
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 1000; }, options);
    (void)recorder.run({20'000'000}, [](Position) {});
  }
  writer.finish("{}");
  return open_bytes(bytes);
}

/// Inputs from a script; notices being asked again where it had nothing to give.
/// The outside world might have something by then, and a replay, which hands out
/// everything on arrival, would hand it out too early.
class AskedOnce final : public InputSource {
 public:
  AskedOnce(std::vector<std::uint64_t> inputs, std::uint64_t seed, bool& asked_again)
      : script_(std::move(inputs), seed), asked_again_(asked_again) {}
  [[nodiscard]] Position next_look(Position now) override { return script_.next_look(now); }
  std::optional<Input> take(InputStamp here, const InputRoom& room) override {
    if (nothing_at_ == here) asked_again_ = true;
    std::optional<Input> input = script_.take(here, room);
    if (!input) nothing_at_ = here;
    return input;
  }
  IdleOutcome idle(InputStamp here, std::uint64_t deadline) override {
    return script_.idle(here, deadline);
  }

 private:
  ScriptedInput script_;
  bool& asked_again_;
  std::optional<InputStamp> nothing_at_;
};

/// A live run into memory.
struct LiveFile {
  std::shared_ptr<const Bytes> bytes;
  bool asked_again = false;
  bool ended = false;
  std::string trouble;
};

void go_live(Timeline& timeline, LiveFile& live, std::vector<std::uint64_t> inputs,
             std::uint64_t seed, std::unique_ptr<OutputFile> file = nullptr) {
  timeline.settle();
  Departure departure;
  departure.position = timeline.now().position;
  departure.deliveries = timeline.now().deliveries;
  departure.digest = timeline.machine().digest();
  departure.changed_by_hand = timeline.on_branch();
  if (file == nullptr) {
    auto memory = std::make_unique<MemoryOutputFile>();
    live.bytes = memory->bytes();
    file = std::move(memory);
  }
  WriterOptions writer_options;
  writer_options.start = departure.position;
  LiveRun run;
  run.writer = std::make_unique<RecordingWriter>(
      std::move(file), FileId::random(), child_start(timeline.reader(), departure).to_json(),
      writer_options);
  copy_images(timeline.reader(), *run.writer);
  run.input = std::make_unique<AskedOnce>(std::move(inputs), seed, live.asked_again);
  run.clock_ns = [clock = std::uint64_t{0}]() mutable { return clock += 1000; };
  run.recorder.checkpoint_every_steps = 500 + seed % 3000;
  run.recorder.checkpoint_budget_percent = 0;
  run.recorder.begin_with_checkpoint = true;
  run.recorder.index = false;
  run.summary = [](const RunOutcome&) { return "{}"; };
  run.ended = [&live](const RunOutcome&, const std::string& trouble) {
    live.ended = true;
    live.trouble = trouble;
  };
  timeline.go_live(std::move(run));
}

/// Runs on in steps, deliveries, and pieces that end at breakpoints and
/// watchpoints, as a debugger's user does.
void wander(Timeline& timeline, std::mt19937_64& random, int pieces) {
  for (int n = 0; n < pieces && timeline.live() != nullptr; ++n) {
    const Moment here = timeline.now();
    switch (random() % 4) {
      case 0:
        timeline.step_forward();
        break;
      case 1:
        timeline.run_branch_to({here.position, here.deliveries + 1});
        break;
      case 2: {
        // The code that runs next, and data that anybody writes.
        StopSet stops;
        stops.breakpoints.push_back({timeline.machine().cpu().linear_rip(), {}});
        stops.watchpoints.push_back({{0x1000 + random() % 0x1000, 64, true, true}, {}});
        timeline.run_forward(stops, {}, {here.position.steps + random() % 3000});
        break;
      }
      default:
        timeline.run_forward({}, {}, {here.position.steps + random() % 1500});
    }
  }
}

void try_guest(const Guest& guest, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto parent = record(guest, seed);
  Timeline timeline(*parent, {});
  for (int round = 0; round < 6; ++round) {
    Moment place{{random() % (timeline.end().steps)}, 0};
    timeline.seek(place);
    // Into the middle of a position, sometimes: after a delivery, or at a stop.
    if (round % 3 == 1) {
      for (int n = 0; n < 3000 && timeline.now().deliveries == 0; ++n) {
        if (timeline.now().position >= timeline.end()) break;
        timeline.seek({timeline.now().position, 1});
      }
    }
    if (timeline.now().position >= timeline.end()) continue;
    const bool changed = round % 2 == 1;
    if (changed) {
      timeline.note_change();
      const Bytes bytes{static_cast<std::uint8_t>(random())};
      timeline.machine().ram().write({0x1800 + random() % 0x200}, bytes);
    }
    place = timeline.now();
    LiveFile live;
    std::vector<std::uint64_t> inputs;
    for (std::uint64_t at = place.position.steps; inputs.size() < 8; at += 1 + random() % 2000) {
      inputs.push_back(at + 1);
    }
    go_live(timeline, live, inputs, seed + static_cast<std::uint64_t>(round));
    CHECK(timeline.on_branch());
    CHECK(timeline.now().position == place.position);
    wander(timeline, random, 60);
    const Position reached = timeline.now().position;
    timeline.seek({{random() % (timeline.end().steps + 1)}, 0});
    CHECK(live.ended);
    CHECK(live.trouble.empty());
    CHECK(!live.asked_again);
    CHECK(!timeline.on_branch());
    const auto child = open_bytes(live.bytes);
    CHECK(child->damage().empty());
    CHECK(child->usable_to() == reached);
    REQUIRE(start_of(*child).parent.has_value());
    CHECK(start_of(*child).parent->changed_by_hand == changed);
    const VerifyOutcome verified =
        verify_recording(*child, {}, [](std::uint64_t, std::uint64_t) {});
    CHECK(verified.to == reached);
    CHECK(verified.checkpoints_checked >= 1);
  }
  // The timeline is as it was: every recorded digest, and memory as it was read.
  timeline.seek({timeline.start(), 0});
  timeline.seek({timeline.end(), 0});
  for (int n = 0; n < 20; ++n) timeline.seek({{random() % (timeline.end().steps + 1)}, 0});
}

}  // namespace

TEST_CASE("a live branch, driven in pieces, is a recording that verifies: tiny guests") {
  const char* more = std::getenv("CHRONOVISOR_TEST_ROUNDS");
  const std::uint64_t rounds = more != nullptr ? std::strtoull(more, nullptr, 10) : 12;
  for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
    INFO("seed " << seed);
    try_guest(random_tiny(seed), seed);
  }
}

TEST_CASE("a live branch, driven in pieces, is a recording that verifies: interrupts and paging") {
  std::uint64_t seed = 100;
  for (const char* name : {"interrupts64", "exceptions64", "paging64", "selfmodify64", "v86"}) {
    const std::optional<Guest> guest = built(name);
    if (!guest) {
      FAIL_CHECK("guest " << std::string(name) << " is not built (target guests)");
      continue;
    }
    INFO("guest " << name);
    try_guest(*guest, ++seed);
  }
}

TEST_CASE("a live branch begins at power-on with what was changed there") {
  const auto parent = record(random_tiny(3), 3);
  Timeline timeline(*parent, {});
  timeline.note_change();
  timeline.machine().change_cpu([](Cpu& cpu) { cpu.gpr(kRbx) = 0x1234; });
  LiveFile live;
  go_live(timeline, live, {}, 3);
  timeline.run_forward({}, {}, {700});
  CHECK_THROWS_WITH_AS(timeline.note_change(), doctest::Contains("live"), Error);
  timeline.end_live();
  CHECK(timeline.on_branch());
  timeline.discard_branch();
  const auto child = open_bytes(live.bytes);
  CHECK(child->start() == Position{0});
  CHECK(!begins_at_power_on(*child));
  CHECK(verify_recording(*child, {}, [](std::uint64_t, std::uint64_t) {}).to == Position{700});
  Timeline again(*child, {});
  CHECK(again.machine().cpu().state.gpr[kRbx] == 0x1234);
}

TEST_CASE("a full disk stops a live branch, and the timeline is still there") {
  const auto parent = record(random_tiny(4), 4);
  for (const std::uint64_t at_write : {0, 1, 3, 6, 9, 12, 15}) {
    INFO("write " << at_write);
    Timeline timeline(*parent, {});
    timeline.seek({{1000}, 0});
    LiveFile live;
    auto memory = std::make_unique<MemoryOutputFile>();
    live.bytes = memory->bytes();
    auto file = std::make_unique<FaultInjectingOutputFile>(
        std::move(memory), FileFault{FileFault::Kind::no_space, at_write});
    bool failed = false;
    try {
      go_live(timeline, live, {1500, 2500}, 4, std::move(file));
      for (int n = 0; n < 40 && timeline.live() != nullptr; ++n) {
        timeline.run_forward({}, {}, {timeline.now().position.steps + 300});
      }
    } catch (const Error& error) {
      failed = true;
      CHECK(error.code() == ErrorCode::host);
    }
    CHECK(failed);
    if (timeline.live() != nullptr) {
      // It does not run on unrecorded.
      CHECK_THROWS_AS(timeline.run_forward({}, {}, {timeline.now().position.steps + 5000}), Error);
    }
    timeline.seek({{2000}, 0});
    timeline.seek({{500}, 0});
    timeline.seek({timeline.end(), 0});
    CHECK(!timeline.on_branch());
    if (live.ended) CHECK(!live.trouble.empty());
  }
}

/// Waits for somebody who never comes, looking around every 200 ms.
class Waiting final : public InputSource {
 public:
  explicit Waiting(std::function<void()> look) : look_(std::move(look)) {}
  [[nodiscard]] Position next_look(Position /*now*/) override { return {kNever}; }
  std::optional<Input> take(InputStamp /*here*/, const InputRoom& /*room*/) override { return {}; }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t /*deadline*/) override {
    look_();
    return {IdleOutcome::Kind::stop, 0};
  }

 private:
  std::function<void()> look_;
};

std::size_t console_size(const std::shared_ptr<const Bytes>& bytes) {
  std::size_t size = 0;
  open_bytes(bytes)->for_each_console([&](const ConsoleView& view) { size += view.bytes.size(); });
  return size;
}

TEST_CASE("what a live branch has done is in the file while it waits") {
  Guest guest;
  guest.start.kind = BootKind::flat;
  guest.start.machine.memory_bytes = 2 << 20;
  guest.image = {0xb0, 'x', 0xe6, 0xe9, 0xfb, 0xf4, 0xeb, 0xfd};  // print x; sti; hlt; again
  const auto parent = record(guest, 1);
  Timeline timeline(*parent, {});
  timeline.seek({timeline.start(), 0});
  timeline.settle();
  Departure departure;
  departure.digest = timeline.machine().digest();
  LiveRun run;
  auto memory = std::make_unique<MemoryOutputFile>();
  const auto bytes = memory->bytes();
  run.writer = std::make_unique<RecordingWriter>(
      std::move(memory), FileId::random(), child_start(timeline.reader(), departure).to_json(),
      WriterOptions{});
  copy_images(timeline.reader(), *run.writer);
  std::uint64_t clock = 0;
  run.clock_ns = [&] { return clock; };
  std::size_t before = 0;
  std::size_t after = 0;
  run.input = std::make_unique<Waiting>([&] {
    before = console_size(bytes);
    clock += 200'000'000;
    timeline.live()->waiting();
    after = console_size(bytes);
  });
  run.recorder.begin_with_checkpoint = true;
  run.recorder.index = false;
  run.summary = [](const RunOutcome&) { return "{}"; };
  run.ended = [](const RunOutcome&, const std::string&) {};
  timeline.go_live(std::move(run));
  timeline.run_forward({}, {}, {100});
  CHECK(before == 0);
  CHECK(after == 1);
}

}  // namespace chronovisor
