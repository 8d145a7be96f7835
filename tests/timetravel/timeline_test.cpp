// Travel compared with a slow reference that only ever replays from the start:
// random tiny guests, random walks through them, any spacing of checkpoints,
// any memory budget, index on and off, in one file and in parts that were thinned, one
// worker and many.
#include "timetravel/timeline.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "base/error.h"
#include "recorder/live/replay_input.h"
#include "recorder/live/run_recorder.h"
#include "tests/timetravel/random_recordings.h"
#include "timetravel/index_build.h"

namespace chronovisor {
namespace {

using test::built;
using test::find_places;
using test::first_seed;
using test::Guest;
using test::record;
using test::record_in_parts;
using test::rounds;
using test::tiny;
using testing::TemporaryFolder;

/// Replays from the start each time, and knows nothing else.
class Reference {
 public:
  explicit Reference(const RecordingReader& reader)
      : reader_(reader), start_(start_of(reader)), end_(reader.usable_to()) {}

  Hash128 digest_at(Moment moment) {
    Run run(*this);
    if (moment > Moment{{0}, 0}) REQUIRE(run.machine->run(moment) == MachineStop::reached);
    REQUIRE(run.machine->moment() == moment);
    return run.machine->digest();
  }
  /// Moments after deliveries, for places to go to.
  std::vector<Moment> deliveries() {
    std::vector<Moment> moments;
    Run run(*this);
    Machine& machine = *run.machine;
    while (machine.position() < end_) {
      const Moment here = machine.moment();
      if (machine.run({here.position, here.deliveries + 1}) != MachineStop::reached) break;
      if (machine.moment().deliveries != 0) moments.push_back(machine.moment());
      if (moments.size() > 400) break;
    }
    return moments;
  }

  struct Event {
    Moment before;  ///< where a backward search stops
    Moment after;   ///< where a forward run stops
    TravelResult result;
  };
  /// Everything in the run that counts as a stop, in order.
  std::vector<Event> events(const StopSet& stops) {
    std::vector<Event> all;
    Run run(*this);
    Machine& machine = *run.machine;
    DebugHooks hooks;
    for (const TravelBreakpoint& b : stops.breakpoints) hooks.breakpoints.insert(b.address);
    for (const TravelWatchpoint& w : stops.watchpoints) hooks.watchpoints.push_back(w.watch);
    machine.set_debug_hooks(&hooks);
    while (true) {
      hooks.hits.clear();
      const MachineStop stop = machine.run({end_, 0});
      if (stop == MachineStop::breakpoint) {
        const Moment here = machine.moment();
        const std::uint64_t address = machine.cpu().linear_rip();
        hooks.resumed_at_position = here.position.steps;
        hooks.resumed_at_deliveries = here.deliveries;
        hooks.resumed_at_address = address;
        for (const TravelBreakpoint& b : stops.breakpoints) {
          if (b.address != address || (b.condition && !b.condition(machine))) continue;
          all.push_back({here, here, {TravelStop::breakpoint, address, {}, false}});
          break;
        }
      } else if (stop == MachineStop::watchpoint) {
        const auto chosen = [&]() -> std::optional<TravelResult> {
          for (const WatchHit& hit : hooks.hits) {
            for (const TravelWatchpoint& w : stops.watchpoints) {
              if (w.watch == hit.watchpoint && (!w.condition || w.condition(machine))) {
                return TravelResult{TravelStop::watchpoint, hit.address, hit.watchpoint, hit.write};
              }
            }
          }
          return std::nullopt;
        }();
        if (chosen) all.push_back({machine.moment_before(), machine.moment(), *chosen});
      } else {
        break;
      }
    }
    return all;
  }

 private:
  struct Run {
    explicit Run(Reference& reference)
        : input(reference.reader_),
          machine(make_machine(reference.start_, images_of(reference.reader_))) {
      machine->set_input(&input);
    }
    ReplayInput input;
    std::unique_ptr<Machine> machine;
  };
  const RecordingReader& reader_;
  StartCondition start_;
  Position end_;
};

std::uint32_t word_at(Machine& machine, std::uint64_t address) {
  const auto physical = machine.cpu().translate_for_debugger({address});
  std::array<std::uint8_t, 2> bytes{};
  if (physical) (void)machine.ram().read(*physical, bytes);
  return bytes[0] | (bytes[1] << 8);
}

std::uint64_t resident_bytes() {
  std::ifstream status("/proc/self/statm");
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  status >> all >> resident;
  return resident * 4096;
}

class Walk {
 public:
  Walk(const Guest& guest, const RecordingReader& reader, const TimelineOptions& options,
       std::uint64_t seed)
      : guest_(guest),
        reference_(reader),
        timeline_(reader, options),
        random_(seed),
        deliveries_(reference_.deliveries()),
        budget_(options.cache_bytes) {}

  void go(int cases) {
    for (int n = 0; n < cases; ++n) {
      const Moment from = timeline_.now();
      CAPTURE(n);
      CAPTURE(from.position.steps);
      CAPTURE(from.deliveries);
      const std::uint64_t choice = random_() % 10;
      CAPTURE(choice);
      switch (choice) {
        case 0:
        case 1:
          seek();
          break;
        case 2:
          step_back_in_a_row();
          break;
        case 3:
          step_forward();
          break;
        case 4:
        case 5:
          run_forward();
          break;
        case 6:
        case 7:
        case 8:
          run_backward();
          break;
        case 9:
          random_() % 2 != 0 ? cancel() : branch();
          break;
      }
    }
    CHECK(timeline_.cache_bytes_used() < budget_ + (8 << 20));
  }

 private:
  std::uint64_t end() const { return timeline_.end().steps; }

  void seek() {
    Moment target{{random_() % (end() + 1)}, 0};
    if (!deliveries_.empty() && random_() % 4 == 0)
      target = deliveries_[random_() % deliveries_.size()];
    if (random_() % 16 == 0) target = {{end()}, 0};
    if (random_() % 16 == 0) target = {timeline_.start(), 0};
    if (random_() % 8 == 0) target = std::min(timeline_.now(), Moment{timeline_.end(), 0});
    REQUIRE(timeline_.seek(target) == TravelStop::arrived);
    check_state(target);
  }
  void check_state(Moment target) {
    CAPTURE(target.position.steps);
    CAPTURE(target.deliveries);
    CAPTURE(timeline_.now().position.steps);
    CAPTURE(timeline_.now().deliveries);
    REQUIRE(timeline_.now() == target);
    REQUIRE(timeline_.machine().digest() == reference_.digest_at(target));
  }
  void step_back_in_a_row() {
    for (std::uint64_t count = 1 + random_() % 12; count > 0; --count) {
      const Moment here = timeline_.now();
      const TravelResult result = timeline_.step_backward();
      if (here == Moment{timeline_.start(), 0}) {
        REQUIRE(result.stop == TravelStop::history_begin);
        return;
      }
      REQUIRE(result.stop == TravelStop::arrived);
      const Moment target =
          here.deliveries != 0 ? Moment{here.position, 0} : Moment{{here.position.steps - 1}, 0};
      REQUIRE(timeline_.now() == target);
    }
    check_state(timeline_.now());
  }
  void step_forward() {
    const Position here = timeline_.now().position;
    const TravelResult result = timeline_.step_forward();
    if (here == timeline_.end()) {
      REQUIRE(result.stop == TravelStop::history_end);
    } else {
      REQUIRE(result.stop == TravelStop::arrived);
      check_state({{here.steps + 1}, 0});
    }
  }

  std::function<bool(Machine&)> condition() {
    const std::uint64_t kind = random_() % 6;
    if (kind < 3) return {};
    const std::uint64_t address = kind == 3 ? test::kCounter : test::kTimerCount;
    const std::uint32_t mask = static_cast<std::uint32_t>(1 + random_() % 15);
    const std::uint32_t value = static_cast<std::uint32_t>(random_()) & mask;
    if (kind == 5) return [](Machine&) { return false; };
    return [=](Machine& machine) { return (word_at(machine, address) & mask) == value; };
  }
  StopSet stops() {
    StopSet set;
    const std::uint64_t breakpoints = random_() % 3;
    for (std::uint64_t n = 0; n < breakpoints && !guest_.code.empty(); ++n) {
      set.breakpoints.push_back({guest_.code[random_() % guest_.code.size()], condition()});
    }
    const std::uint64_t watchpoints = random_() % 3;
    for (std::uint64_t n = 0; n < watchpoints && !guest_.data.empty(); ++n) {
      const std::uint64_t kind = random_() % 4;
      set.watchpoints.push_back(
          {Watchpoint{guest_.data[random_() % guest_.data.size()],
                      random_() % 5 == 0 ? 1 + random_() % 200 : 1 + random_() % 4,
                      kind != 0 && kind != 3, kind != 1},
           condition()});
    }
    return set;
  }
  static void same(const TravelResult& found, const TravelResult& expected) {
    REQUIRE(found.stop == expected.stop);
    if (found.stop == TravelStop::breakpoint) REQUIRE(found.address == expected.address);
    if (found.stop == TravelStop::watchpoint) {
      REQUIRE(found.address == expected.address);
      REQUIRE(found.watchpoint == expected.watchpoint);
      REQUIRE(found.write == expected.write);
    }
  }
  void run_forward() {
    const StopSet set = stops();
    const Moment from = timeline_.now();
    const Position limit =
        random_() % 4 == 0 ? Position{from.position.steps + random_() % 3000} : Position{kNever};
    const Position last = std::min(limit, timeline_.end());
    const TravelResult result = timeline_.run_forward(set, {}, limit);
    for (const Reference::Event& event : reference_.events(set)) {
      const bool later =
          event.result.stop == TravelStop::watchpoint ? event.before >= from : event.after > from;
      if (!later) continue;
      const bool within = event.result.stop == TravelStop::watchpoint ? event.before.position < last
                                                                      : event.after.position < last;
      if (!within) break;
      same(result, event.result);
      REQUIRE(timeline_.now() == event.after);
      return;
    }
    const bool at_end = last == timeline_.end();
    REQUIRE(result.stop == (at_end ? TravelStop::history_end : TravelStop::arrived));
    REQUIRE(timeline_.now().position == std::max(last, from.position));
    if (from.position < last) check_state({last, 0});
  }
  void run_backward() {
    const StopSet set = stops();
    const Moment from = timeline_.now();
    const TravelResult result = timeline_.run_backward(set, {});
    const Reference::Event* last = nullptr;
    const std::vector<Reference::Event> events = reference_.events(set);
    for (const Reference::Event& event : events) {
      if (event.before < from) last = &event;
    }
    if (last == nullptr) {
      REQUIRE(result.stop == TravelStop::history_begin);
      check_state({timeline_.start(), 0});
      return;
    }
    same(result, last->result);
    check_state(last->before);
  }
  void cancel() {
    const Moment from = timeline_.now();
    const std::atomic<bool> cancelled{true};
    const TravelResult result = timeline_.run_backward(stops(), cancelled);
    REQUIRE((result.stop == TravelStop::interrupted || result.stop == TravelStop::history_begin));
    if (result.stop == TravelStop::interrupted) REQUIRE(timeline_.now() == from);
    seek();
  }
  void branch() {
    const Moment from = timeline_.now();
    timeline_.note_change();
    timeline_.machine().change_cpu([](Cpu& cpu) { cpu.gpr(kRbx) ^= 0x55; });
    std::array<std::uint8_t, 1> byte{0x77};
    (void)timeline_.machine().ram().write({test::kVariables}, byte);
    (void)timeline_.run_forward({}, {}, {from.position.steps + random_() % 500});
    REQUIRE(timeline_.on_branch());
    if (random_() % 2 == 0) {
      timeline_.discard_branch();
      check_state(from);
    } else {
      seek();
    }
    REQUIRE_FALSE(timeline_.on_branch());
  }

  const Guest& guest_;
  Reference reference_;
  Timeline timeline_;
  std::mt19937_64 random_;
  std::vector<Moment> deliveries_;
  std::uint64_t budget_;
};

TimelineOptions random_options(std::mt19937_64& random) {
  TimelineOptions options;
  constexpr std::array<std::uint64_t, 4> kBudgets{0, 300'000, 3'000'000, 1ULL << 30};
  options.cache_bytes = kBudgets[random() % kBudgets.size()];
  options.jobs = 1 + static_cast<unsigned>(random() % 3);
  if (random() % 2 == 0) options.small_steps = random() % 500;
  options.use_index = random() % 3 != 0;
  options.verify = random() % 4 != 0;
  return options;
}

void walk_through(Guest& guest, std::uint64_t seed, int cases, bool find) {
  std::mt19937_64 random(seed);
  RecorderOptions recording;
  constexpr std::array<std::uint64_t, 5> kSpacings{137, 1000, 4096, 20'000, 1ULL << 26};
  recording.checkpoint_every_steps = kSpacings[random() % kSpacings.size()];
  recording.checkpoints = random() % 5 != 0;
  recording.index = random() % 4 != 0;
  recording.checkpoint_budget_percent = 0;
  const TemporaryFolder folder;
  const bool in_parts = recording.checkpoints && random() % 3 == 0;
  CAPTURE(in_parts);
  const auto reader = in_parts
                          ? record_in_parts(guest, seed, recording, 1 + random() % 8000, folder)
                          : record(guest, seed, recording);
  if (find) find_places(guest, *reader);
  Walk walk(guest, *reader, random_options(random), seed * 31);
  walk.go(cases);
}

void walk_through_parts(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const Guest guest = tiny(seed, 100 + static_cast<unsigned>(seed % 5) * 60);
  RecorderOptions recording;
  recording.checkpoint_every_steps = 61 + random() % 300;
  recording.checkpoint_budget_percent = 0;
  const TemporaryFolder folder;
  const auto reader = record_in_parts(guest, seed, recording, 1 + random() % 3000, folder);
  REQUIRE(reader->parts().size() > 2);
  Walk walk(guest, *reader, random_options(random), seed * 31);
  walk.go(40);
}

}  // namespace

TEST_CASE("travel answers as a replay from the start would: tiny guests") {
  const std::uint64_t first = first_seed();
  for (std::uint64_t seed = first; seed < first + static_cast<std::uint64_t>(rounds()); ++seed) {
    INFO("CHRONOVISOR_TEST_SEED=" << seed);
    Guest guest = tiny(seed, 20 + static_cast<unsigned>(seed % 5) * 30);
    walk_through(guest, seed, 60, false);
  }
}

TEST_CASE("travel answers as a replay from the start would: paging, faults, privileges") {
  std::uint64_t seed = first_seed() + 1000;
  for (const char* name : {"paging64", "exceptions64", "interrupts64", "selfmodify64", "strings64",
                           "privilege64", "paging32", "v86", "task_switch", "triple_fault"}) {
    std::optional<Guest> guest = built(name);
    if (!guest) {
      FAIL_CHECK("guest " << std::string(name) << " is not built (target guests)");
      continue;
    }
    ++seed;
    INFO("CHRONOVISOR_TEST_SEED=" << seed << " guest " << name);
    walk_through(*guest, seed, 40, true);
  }
}

TEST_CASE("travel answers as a replay from the start would: parts, thinned as they were made") {
  const std::uint64_t first = first_seed() + 2000;
  for (std::uint64_t seed = first; seed < first + static_cast<std::uint64_t>(rounds()) / 3;
       ++seed) {
    INFO("CHRONOVISOR_TEST_SEED=" << seed);
    walk_through_parts(seed);
  }
}

TEST_CASE("a recording can be travelled with checkpoints, without, and gives the same states") {
  const Guest guest = tiny(5, 60);
  RecorderOptions with;
  with.checkpoint_every_steps = 500;
  with.checkpoint_budget_percent = 0;
  RecorderOptions without;
  without.checkpoints = false;
  const auto first = record(guest, 5, with);
  const auto second = record(guest, 5, without);
  REQUIRE(first->checkpoints().size() > 5);
  REQUIRE(second->checkpoints().empty());
  Timeline a(*first, {});
  Timeline b(*second, {});
  for (std::uint64_t at = a.end().steps; at > 100; at -= std::min<std::uint64_t>(at, 97)) {
    a.seek({{at}, 0});
    b.seek({{at}, 0});
    REQUIRE(a.machine().digest() == b.machine().digest());
  }
}

/// A guest that counts in memory on and on, recorded for 60 million steps.
struct Counting {
  std::unique_ptr<RecordingReader> reader;
  std::uint64_t loop = 0;  ///< address of the loop
};
Counting counting_recording(std::uint64_t checkpoint_every_steps) {
  test::Assembler a;
  test::emit_prologue(a, 1000);
  a.label("loop");
  a.increment_word(test::kVariables);
  a.jump("loop");
  test::emit_handlers(a);
  Guest guest;
  guest.start.kind = BootKind::flat;
  guest.start.machine.memory_bytes = 2 << 20;
  guest.image = a.finish();
  const auto machine = make_machine(guest.start, [&](const std::string&) { return guest.image; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
  NoInput input;
  RecorderOptions options;
  options.checkpoint_every_steps = checkpoint_every_steps;
  {
    RunRecorder recorder(
        *machine, writer, input, nullptr, [] { return std::uint64_t{0}; }, options);
    (void)recorder.run({60'000'000}, [](Position) {});
  }
  writer.finish("{}");
  return {std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes)),
          a.address_of("loop")};
}

TEST_CASE("a search is cancelled at once and leaves the timeline where it was") {
  const Counting counting = counting_recording(10'000'000);
  const RecordingReader& reader = *counting.reader;
  for (const unsigned jobs : {1U, 3U}) {
    TimelineOptions travel;
    travel.jobs = jobs;
    Timeline timeline(reader, travel);
    timeline.seek({timeline.end(), 0});
    const Hash128 before = timeline.machine().digest();
    std::atomic<bool> cancel{false};
    std::jthread soon([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      cancel = true;
    });
    StopSet stops;
    stops.breakpoints.push_back({counting.loop, [](Machine&) { return false; }});
    const TravelResult result = timeline.run_backward(stops, cancel);
    CHECK(result.stop == TravelStop::interrupted);
    CHECK(timeline.now() == Moment{timeline.end(), 0});
    CHECK(timeline.machine().digest() == before);

    // Forward too; then the machine is somewhere on the way, on the timeline.
    timeline.seek({{1'000'000}, 0});
    cancel = false;
    const std::jthread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      cancel = true;
    });
    CHECK(timeline.run_forward(stops, cancel).stop == TravelStop::interrupted);
    CHECK(timeline.now() >= Moment{{1'000'000}, 0});
    timeline.seek({timeline.end(), 0});
    CHECK(timeline.machine().digest() == before);
  }
}

TEST_CASE("the way back from a checkpoint is prepared without leaving it") {
  const Counting counting = counting_recording(60'000'000);
  Timeline plain(*counting.reader, {});
  plain.seek({{plain.end().steps - 1}, 0});
  const Hash128 one_before = plain.machine().digest();

  TimelineOptions travel;
  travel.jobs = 1;
  Timeline timeline(*counting.reader, travel);
  timeline.seek({timeline.end(), 0});
  const Hash128 at_end = timeline.machine().digest();
  std::atomic<bool> cancel{true};
  timeline.prepare_way_back(cancel);  // comes to nothing
  CHECK(timeline.now() == Moment{timeline.end(), 0});
  CHECK(timeline.machine().digest() == at_end);

  const std::uint64_t before = timeline.cache_bytes_used();
  timeline.prepare_way_back();
  CHECK(timeline.now() == Moment{timeline.end(), 0});
  CHECK(timeline.machine().digest() == at_end);
  CHECK(timeline.cache_bytes_used() > before);
  // A search over what is left runs from the checkpoint that was prepared.
  StopSet stops;
  std::uint64_t seen = 0;
  stops.breakpoints.push_back({counting.loop, [&](Machine&) { return ++seen, true; }});
  REQUIRE(timeline.run_backward(stops, {}).stop == TravelStop::breakpoint);
  CHECK(seen < (1 << 21) + 10'000);  // two steps a turn, 4 Mi steps, and returns of interrupts

  timeline.seek({timeline.end(), 0});
  (void)timeline.step_backward();
  CHECK(timeline.machine().digest() == one_before);

  // Off the timeline, and at its start, there is nothing to prepare.
  timeline.note_change();
  timeline.prepare_way_back();
  CHECK(timeline.on_branch());
  timeline.seek({timeline.start(), 0});
  timeline.prepare_way_back();
  CHECK(timeline.now() == Moment{timeline.start(), 0});
}

TEST_CASE("memory for checkpoints stays within the budget however long one travels") {
  const Guest guest = tiny(11, 400);
  RecorderOptions options;
  options.checkpoints = false;
  const auto reader = record(guest, 11, options);
  TimelineOptions travel;
  travel.cache_bytes = 2 << 20;
  Timeline timeline(*reader, travel);
  std::mt19937_64 random(3);
  for (int n = 0; n < 400; ++n) {
    timeline.seek({{random() % (timeline.end().steps + 1)}, 0});
    REQUIRE(timeline.cache_bytes_used() <= travel.cache_bytes);
  }
}

TEST_CASE("travelling on and on takes no more memory") {
  Guest guest = tiny(12, 300);
  RecorderOptions recording;
  recording.checkpoint_every_steps = 20'000;
  recording.checkpoint_budget_percent = 0;
  const auto reader = record(guest, 12, recording);
  TimelineOptions travel;
  travel.cache_bytes = 4 << 20;
  travel.jobs = 2;
  travel.small_steps = 1000;
  Timeline timeline(*reader, travel);
  std::mt19937_64 random(5);
  const auto walk = [&](int rounds_of_it) {
    for (int n = 0; n < rounds_of_it; ++n) {
      timeline.seek({{random() % (timeline.end().steps + 1)}, 0});
      StopSet stops;
      stops.breakpoints.push_back(
          {guest.code[random() % guest.code.size()], [](Machine&) { return false; }});
      stops.watchpoints.push_back(
          {Watchpoint{guest.data[random() % guest.data.size()], 2, false, true}, {}});
      if (random() % 2 == 0) {
        (void)timeline.run_backward(stops, {});
      } else {
        (void)timeline.run_forward(stops, {});
      }
      for (int step = 0; step < 5; ++step) (void)timeline.step_backward();
      REQUIRE(timeline.cache_bytes_used() <= travel.cache_bytes);
    }
  };
  walk(150);  // every cache has filled up
  const std::uint64_t before = resident_bytes();
  walk(450);
  const std::uint64_t after = resident_bytes();
  MESSAGE("resident: " << before / 1024 << " KiB, then " << after / 1024 << " KiB");
#ifndef __SANITIZE_ADDRESS__  // which holds back what is freed
  CHECK(after < before + (8 << 20));
#endif
}

TEST_CASE("an index made afterwards rules out nothing that happened") {
  for (std::uint64_t seed = 60; seed < 66; ++seed) {
    INFO("seed " << seed);
    const Guest guest = tiny(seed, 60);
    RecorderOptions recording;
    recording.checkpoint_every_steps = 300;
    recording.checkpoint_budget_percent = 0;
    recording.index = false;
    const auto bare = record(guest, seed, recording);
    const IndexState missing = index_state(*bare);
    REQUIRE(missing.intervals > 1);
    REQUIRE(missing.missing.size() == missing.intervals);
    const BuiltIndex one = build_index(*bare, missing, 1, {}, [](auto, auto) {});
    const BuiltIndex three = build_index(*bare, missing, 3, {}, [](auto, auto) {});
    REQUIRE(one.intervals.size() == missing.intervals);
    REQUIRE(three.intervals.size() == missing.intervals);
    // All of it holds for each: whatever stops in an interval is in its index.
    Reference reference(*bare);
    std::mt19937_64 random(seed);
    for (int n = 0; n < 40; ++n) {
      StopSet stops;
      if (n % 2 == 0) {
        stops.breakpoints.push_back({guest.code[random() % guest.code.size()], {}});
      } else {
        stops.watchpoints.push_back({Watchpoint{guest.data[random() % guest.data.size()],
                                                1 + random() % 4, n % 3 == 0, true},
                                     {}});
      }
      for (const Reference::Event& event : reference.events(stops)) {
        for (const BuiltIndex* built : {&one, &three}) {
          const auto interval = std::find_if(
              built->intervals.begin(), built->intervals.end(), [&](const NewInterval& i) {
                return i.from <= event.before.position && event.before.position < i.to;
              });
          REQUIRE(interval != built->intervals.end());
          REQUIRE(may_stop_in(IntervalAccesses::decode(interval->data, "index"), stops));
        }
      }
    }
  }
}

}  // namespace chronovisor
