// Queries compared with a slow reference that only ever replays from the start:
// random guests and questions, any spacing of checkpoints, index on and off,
// one worker and many, in one file and in parts, whole and in shards that are merged.
#include "timetravel/query.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "base/error.h"
#include "tests/timetravel/divergent_recording.h"
#include "tests/timetravel/random_recordings.h"
#include "timetravel/linear_memory.h"

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

/// A machine at the start of the recording, with its input.
struct Replay {
  explicit Replay(const RecordingReader& reader)
      : input(reader), machine(make_machine(start_of(reader), images_of(reader))) {
    machine->set_input(&input);
  }
  ReplayInput input;
  std::unique_ptr<Machine> machine;
};

/// One moment that touches what is watched, or stands at it.
struct Event {
  Moment before;
  Moment after;
  std::uint64_t address = 0;
};

std::vector<Event> events_of(const RecordingReader& reader, const Query& query) {
  std::vector<Event> events;
  Replay replay(reader);
  Machine& machine = *replay.machine;
  DebugHooks hooks;
  if (query.kind == QueryKind::executes) {
    for (std::uint64_t n = 0; n < query.length; ++n) hooks.breakpoints.insert(query.address + n);
  } else {
    hooks.watchpoints.push_back({query.address, query.length, false, true});
  }
  machine.set_debug_hooks(&hooks);
  while (true) {
    hooks.hits.clear();
    const MachineStop stop = machine.run({reader.usable_to(), 0});
    if (stop == MachineStop::breakpoint) {
      const Moment here = machine.moment();
      hooks.resumed_at_position = here.position.steps;
      hooks.resumed_at_deliveries = here.deliveries;
      hooks.resumed_at_address = machine.cpu().linear_rip();
      events.push_back({here, here, hooks.resumed_at_address});
    } else if (stop == MachineStop::watchpoint) {
      std::uint64_t address = kNever;
      for (const WatchHit& hit : hooks.hits) address = std::min(address, hit.address);
      events.push_back({machine.moment_before(), machine.moment(), address});
    } else {
      return events;
    }
  }
}

/// The answer of one machine that looks at everything.
QueryAnswer reference(const RecordingReader& reader, const Query& query) {
  std::vector<QueryEntry> all;
  Replay replay(reader);
  Machine& machine = *replay.machine;
  const auto go = [&](Moment target) {
    if (machine.moment() < target) REQUIRE(machine.run(target) == MachineStop::reached);
  };
  for (const Event& event : events_of(reader, query)) {
    if (event.before.position < query.from || event.before.position >= query.to) continue;
    go(event.before);
    QueryEntry entry;
    entry.moment = event.before;
    entry.pc = machine.cpu().linear_rip();
    entry.cr3 = machine.cpu().state.cr3;
    entry.address = event.address;
    if (query.kind != QueryKind::executes) {
      entry.by_delivery = event.after.position == event.before.position;
    }
    if (query.kind == QueryKind::value) {
      entry.before = read_linear_value(machine, query.address, query.length);
      go(event.after);
      entry.after = read_linear_value(machine, query.address, query.length);
      if (entry.before && entry.before == entry.after) continue;
    }
    all.push_back(entry);
  }
  QueryAnswer answer;
  answer.query = query;
  if (query.select == QuerySelect::all || query.select == QuerySelect::count) {
    answer.count = all.size();
  }
  if (query.select == QuerySelect::count || all.empty()) return answer;
  if (query.select == QuerySelect::first) answer.entries = {all.front()};
  if (query.select == QuerySelect::last) answer.entries = {all.back()};
  if (query.select == QuerySelect::all) {
    all.resize(std::min<std::uint64_t>(all.size(), query.limit));
    answer.entries = all;
  }
  return answer;
}

void same(const QueryAnswer& found, const QueryAnswer& expected) {
  REQUIRE(found.count == expected.count);
  REQUIRE(found.entries.size() == expected.entries.size());
  for (std::size_t n = 0; n < found.entries.size(); ++n) {
    CAPTURE(n);
    CAPTURE(found.entries[n].moment.position.steps);
    CAPTURE(expected.entries[n].moment.position.steps);
    REQUIRE(found.entries[n] == expected.entries[n]);
  }
}

QueryAnswer ask(const RecordingReader& reader, const Query& query, const QueryOptions& options) {
  std::uint64_t last = 0;
  // What is told while it searches are the entries, and perhaps more of them.
  std::mutex mutex;
  std::vector<QueryEntry> told;
  QueryOptions telling = options;
  telling.found = [&](const QueryEntry& entry, std::uint64_t seen_ns) {
    const std::lock_guard lock(mutex);
    REQUIRE(seen_ns > 0);
    told.push_back(entry);
  };
  QueryAnswer answer =
      run_query(reader, query, telling, [&](std::uint64_t done, std::uint64_t total) {
        REQUIRE(done >= last);
        REQUIRE(done <= total);
        last = done;
      });
  REQUIRE_FALSE(answer.cancelled);
  for (const QueryEntry& entry : answer.entries) {
    REQUIRE(std::find(told.begin(), told.end(), entry) != told.end());
  }
  if (query.select == QuerySelect::all) {
    REQUIRE(told.size() == answer.count);
    // Whoever need not know how many there are gets the same ones.
    QueryOptions few = options;
    few.count_all = false;
    REQUIRE(run_query(reader, query, few, [](auto, auto) {}).entries == answer.entries);
  }
  return answer;
}

Query random_query(const Guest& guest, Position end, std::mt19937_64& random) {
  Query query;
  query.kind = static_cast<QueryKind>(random() % 3);
  query.select = static_cast<QuerySelect>(random() % 4);
  if (query.kind == QueryKind::executes) {
    query.address = guest.code[random() % guest.code.size()];
    query.length = random() % 3 == 0 ? 1 + random() % 40 : 1;
  } else {
    query.address = guest.data[random() % guest.data.size()];
    query.length = 1ULL << (random() % 4);
    // Parts of what is written, and more than it.
    query.address += random() % 4 == 0 ? random() % 7 - 3 : 0;
    if (query.kind == QueryKind::writes && random() % 4 == 0) query.length = 1 + random() % 5000;
  }
  if (random() % 3 == 0) query.from = {random() % (end.steps + 1)};
  if (random() % 3 == 0) query.to = {query.from.steps + random() % (end.steps + 1)};
  if (random() % 4 == 0) query.limit = 1 + random() % 20;
  return query;
}

int answers_compared = 0;

void question(Guest& guest, std::uint64_t seed, int cases, bool find) {
  std::mt19937_64 random(seed);
  RecorderOptions recording;
  constexpr std::array<std::uint64_t, 5> kSpacings{137, 1000, 4096, 20'000, 1ULL << 26};
  recording.checkpoint_every_steps = kSpacings[random() % kSpacings.size()];
  recording.checkpoints = random() % 6 != 0;
  recording.index = random() % 4 != 0;
  recording.checkpoint_budget_percent = 0;
  const TemporaryFolder folder;
  const bool in_parts = recording.checkpoints && random() % 4 == 0;
  CAPTURE(in_parts);
  const auto reader = in_parts
                          ? record_in_parts(guest, seed, recording, 1 + random() % 8000, folder)
                          : record(guest, seed, recording);
  if (find) find_places(guest, *reader);
  for (int n = 0; n < cases; ++n) {
    const Query query = random_query(guest, reader->usable_to(), random);
    CAPTURE(n);
    CAPTURE(static_cast<int>(query.kind));
    CAPTURE(static_cast<int>(query.select));
    CAPTURE(query.address);
    CAPTURE(query.length);
    CAPTURE(query.from.steps);
    CAPTURE(query.to.steps);
    CAPTURE(query.limit);
    const QueryAnswer expected = reference(*reader, query);
    QueryOptions options;
    options.jobs = 1;
    options.use_index = false;
    same(ask(*reader, query, options), expected);
    options.jobs = 1 + static_cast<unsigned>(random() % 4);
    options.use_index = true;
    const QueryAnswer whole = ask(*reader, query, options);
    same(whole, expected);
    std::vector<QueryAnswer> parts;
    options.shard.of = 1 + static_cast<std::uint32_t>(random() % 5);
    for (options.shard.number = 1; options.shard.number <= options.shard.of;
         ++options.shard.number) {
      options.jobs = 1 + static_cast<unsigned>(random() % 3);
      options.use_index = random() % 2 != 0;
      parts.push_back(ask(*reader, query, options));
    }
    std::shuffle(parts.begin(), parts.end(), random);
    same(merge_answers(std::move(parts)), expected);
    answers_compared += 3;
  }
}

}  // namespace

TEST_CASE("queries answer as a replay from the start would: tiny guests") {
  const std::uint64_t first = first_seed();
  for (std::uint64_t seed = first; seed < first + static_cast<std::uint64_t>(rounds()); ++seed) {
    INFO("CHRONOVISOR_TEST_SEED=" << seed);
    Guest guest = tiny(seed, 20 + static_cast<unsigned>(seed % 5) * 30);
    question(guest, seed * 7, 40, seed % 2 == 0);
  }
  MESSAGE(answers_compared << " answers compared");
}

TEST_CASE("queries answer as a replay from the start would: paging, faults, privileges") {
  std::uint64_t seed = first_seed() + 2000;
  for (const char* name :
       {"paging64", "exceptions64", "interrupts64", "selfmodify64", "strings64", "privilege64",
        "paging32", "v86", "task_switch", "task_context", "triple_fault"}) {
    std::optional<Guest> guest = built(name);
    if (!guest) {
      FAIL_CHECK("guest " << std::string(name) << " is not built (target guests)");
      continue;
    }
    ++seed;
    INFO("CHRONOVISOR_TEST_SEED=" << seed << " guest " << name);
    question(*guest, seed, 40, true);
  }
  MESSAGE(answers_compared << " answers compared");
}

TEST_CASE("an instruction that changes the task is named as it began, whatever it writes") {
  const std::optional<Guest> guest = built("task_context");
  REQUIRE(guest);
  for (const std::uint64_t spacing : {std::uint64_t{100}, std::uint64_t{1} << 26}) {
    RecorderOptions recording;
    recording.checkpoint_every_steps = spacing;
    recording.checkpoint_budget_percent = 0;
    const auto reader = record(*guest, 1, recording);
    Query query;
    query.kind = QueryKind::writes;
    query.address = 0x100000;
    query.length = kMostWatchedBytes;
    query.to = reader->usable_to();
    QueryAnswer expected = reference(*reader, query);
    CHECK(expected.count > 100);
    same(ask(*reader, query, {}), expected);
  }
}

TEST_CASE("who wrote is named as the instruction began, through faults and changes of privilege") {
  for (const char* name : {"exceptions64", "privilege64", "paging32", "v86", "wild_random32"}) {
    CAPTURE(name);
    const std::optional<Guest> guest = built(name);
    REQUIRE(guest);
    RecorderOptions recording;
    recording.checkpoint_budget_percent = 0;
    const auto reader = test::record_to(*guest, 1, recording, {100'000});
    Query query;
    query.kind = QueryKind::writes;
    query.address = 0x100000;
    query.length = kMostWatchedBytes;
    query.to = reader->usable_to();
    const QueryAnswer expected = reference(*reader, query);
    CHECK(expected.count > 100);
    same(ask(*reader, query, {}), expected);
  }
}

TEST_CASE("a variable's history is every change of it, seen step by step") {
  for (std::uint64_t seed = 40; seed < 44; ++seed) {
    const Guest guest = tiny(seed, 30);
    RecorderOptions recording;
    recording.checkpoint_every_steps = 1500;
    recording.checkpoint_budget_percent = 0;
    const auto reader = record(guest, seed, recording);
    Query query;
    query.kind = QueryKind::value;
    query.address = guest.data[seed % guest.data.size()];
    query.length = 2;
    const QueryAnswer answer = ask(*reader, query, {});
    REQUIRE(answer.entries.size() == answer.count);
    Replay replay(*reader);
    Machine& machine = *replay.machine;
    std::size_t next = 0;
    auto value = read_linear_value(machine, query.address, query.length);
    while (machine.position() < reader->usable_to()) {
      const Moment here = machine.moment();
      // One step, or one delivery.
      if (machine.run({here.position, here.deliveries + 1}) != MachineStop::reached) break;
      const auto now = read_linear_value(machine, query.address, query.length);
      if (now == value) continue;
      REQUIRE(next < answer.entries.size());
      CHECK(answer.entries[next].before == value);
      CHECK(answer.entries[next].after == now);
      ++next;
      value = now;
    }
    CHECK(next == answer.entries.size());
  }
}

TEST_CASE("a replay that is not the recorded run answers nothing") {
  const auto reader = testing::divergent_recording();
  Query query;
  query.kind = QueryKind::writes;
  query.address = testing::kTinyCounterAddress;
  query.length = 4;
  QueryOptions options;
  options.use_index = false;
  const auto nobody = [](std::uint64_t, std::uint64_t) {};
  query.to = {5'000};
  CHECK(run_query(*reader, query, options, nobody).count > 100);
  query.to = {10'000};
  try {
    (void)run_query(*reader, query, options, nobody);
    FAIL("it was answered");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::divergence);
    CHECK(std::string(error.what()).find("position 10,000") != std::string::npos);
  }
  options.verify = false;
  CHECK(run_query(*reader, query, options, nobody).count > 200);
}

TEST_CASE("a query that makes no sense is refused") {
  const Guest guest = tiny(3, 20);
  const auto reader = record(guest, 3, {});
  const auto refused = [&](const Query& query, const QueryOptions& options = {}) {
    try {
      (void)run_query(*reader, query, options, [](std::uint64_t, std::uint64_t) {});
    } catch (const Error& error) {
      return error.code() == ErrorCode::usage;
    }
    return false;
  };
  const auto of = [](QueryKind kind, std::uint64_t address, std::uint64_t length) {
    Query query;
    query.kind = kind;
    query.address = address;
    query.length = length;
    return query;
  };
  Query query;
  query.length = 0;
  CHECK(refused(query));
  query.length = kMostWatchedBytes + 1;
  CHECK(refused(query));
  query = of(QueryKind::value, 0, 3);
  CHECK(refused(query));
  query = of(QueryKind::executes, 0, kMostExecutedBytes + 1);
  CHECK(refused(query));
  query = of(QueryKind::writes, ~std::uint64_t{0}, 2);
  CHECK(refused(query));
  query = of(QueryKind::writes, 0, 2);
  query.from = {5};
  query.to = {4};
  CHECK(refused(query));
  query = of(QueryKind::writes, 0, 2);
  query.limit = 0;
  CHECK(refused(query));
  query = {};
  QueryOptions options;
  options.shard = {3, 2};
  CHECK(refused(query, options));
  CHECK_FALSE(refused(query));
}

TEST_CASE("a query is cancelled at once") {
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
  RecorderOptions recording;
  recording.checkpoint_every_steps = 10'000'000;
  const auto reader = test::record_to(guest, 1, recording, {60'000'000});
  for (const QueryKind kind : {QueryKind::value, QueryKind::executes}) {
    Query query;
    query.kind = kind;
    query.address = kind == QueryKind::executes ? a.address_of("loop") : test::kVariables;
    std::atomic<bool> cancel{false};
    std::jthread soon([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      cancel = true;
    });
    QueryOptions options;
    options.jobs = 2;
    options.cancel = cancel;
    CHECK(run_query(*reader, query, options, [](std::uint64_t, std::uint64_t) {}).cancelled);
  }
}

}  // namespace chronovisor
