// Counting of retired branches and instructions by the soft processor, and the
// clock that only inputs move.
#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "tests/vmm/tiny_guest.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/counted_place.h"
#include "vmm/machine/machine.h"

using namespace chronovisor;

namespace {

/// The instruction at RIP, in real mode.
Instruction instruction_at(Machine& machine) {
  const Cpu& cpu = machine.cpu();
  std::array<std::uint8_t, 15> bytes{};
  (void)machine.ram().read({cpu.state.gpr[kGprRip] + cpu.state.segment[kCs].base}, bytes);
  Instruction instruction;
  (void)decode({false, false, 2}, bytes, instruction);
  return instruction;
}

/// Counts as a person would: step by step, from what was at RIP before.
RetiredCounts counted_by_hand(const Bytes& image, Position until) {
  const auto machine = test::boot_tiny(image);
  RetiredCounts counts;
  while (machine->position() < until) {
    const Position here = machine->position();
    const Instruction instruction = instruction_at(*machine);
    // A delivery before the step shows in the moment; the step is another one then.
    if (machine->run({here, machine->moment().deliveries + 1}) == MachineStop::ended) break;
    if (machine->position() == here) continue;
    const unsigned opcode = instruction.opcode;
    const bool jcc = (opcode & 0xf0) == 0x70 && instruction.length() == 2;
    const bool near_jcc = (opcode & 0xf0) == 0x80 && instruction.length() == 4 &&
                          row_attributes(instruction) & kEndsBlock;
    const bool loop = opcode >= 0xe0 && opcode <= 0xe3 && instruction.length() == 2;
    counts.branches += static_cast<std::uint64_t>(jcc || near_jcc || loop);
    counts.instructions += machine->cpu().inside_repeat() ? 0 : 1;
  }
  return counts;
}

}  // namespace

TEST_CASE("counts are the same in blocks and by hand, in guests with everything in them") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const Bytes image = test::random_guest(seed, 30).image;
    const auto machine = test::boot_tiny(image);
    RetiredCounts counts;
    machine->set_retired_counts(&counts);
    (void)machine->run({{20'000}, 0});
    const RetiredCounts expected = counted_by_hand(image, machine->position());
    CHECK(counts.branches == expected.branches);
    CHECK(counts.instructions == expected.instructions);
    CHECK(counts.branches > 20);
    machine->set_retired_counts(nullptr);
  }
}

TEST_CASE("counting changes nothing of a run") {
  for (std::uint64_t seed = 50; seed < 60; ++seed) {
    const Bytes image = test::random_guest(seed, 60).image;
    const auto plain = test::boot_tiny(image);
    const auto counting = test::boot_tiny(image);
    RetiredCounts counts;
    counts.careful_from_branches = seed;  // from there on a step at a time
    counting->set_retired_counts(&counts);
    CHECK(plain->run({{30'000}, 0}) == counting->run({{30'000}, 0}));
    CHECK(plain->moment() == counting->moment());
    CHECK(plain->digest() == counting->digest());
    counting->set_retired_counts(nullptr);
  }
}

TEST_CASE("the processor comes back exactly at the branch it was told") {
  test::Assembler a;
  a.bytes({0xb9});
  a.word(5000);           // mov cx, 5000
  a.bytes({0x49});        // dec cx
  a.bytes({0x75, 0xfd});  // jnz to the dec
  a.bytes({0xeb, 0xfe});  // for ever
  const auto machine = test::boot_tiny(a.finish());
  RetiredCounts counts;
  counts.careful_from_branches = 1234;
  machine->change_cpu([&](Cpu& cpu) {
    cpu.set_retired_counts(&counts);
    CHECK(cpu.run({kNever}) == CpuStop::recheck);
    CHECK(counts.branches == 1234);
    CHECK(cpu.state.gpr[kRcx] == 5000 - 1234);
    CHECK(cpu.position() == Position{1 + 2 * 1234});
    const CountedPlace place = place_of(cpu, counts);
    CHECK(place.instructions == 1 + 2 * 1234);
    CHECK(cpu.run({kNever}) == CpuStop::recheck);
    CHECK(cpu.position() == Position{2 + 2 * 1234});
    CHECK(place_of(cpu, counts).registers != place.registers);
    // Branches that are not conditional do not count.
    counts.careful_from_branches = kNever;
    CHECK(cpu.run({20'000}) == CpuStop::budget);
    CHECK(counts.branches == 5000);
    CHECK(counts.instructions == 20'000);
    cpu.set_retired_counts(nullptr);
  });
}

namespace {

/// Moves the clock by so much at every look, so often.
class Ticks final : public InputSource {
 public:
  Ticks(std::uint64_t by_ns, unsigned count) : by_ns_(by_ns), left_(count) {}
  [[nodiscard]] Position next_look(Position now) override { return {now.steps + 100}; }
  std::optional<Input> take(InputStamp here, const InputRoom& /*room*/) override {
    // The handler of the tick before must be through.
    if (left_ == 0 || here.position < next_) return std::nullopt;
    next_.steps = here.position.steps + 100;
    --left_;
    Input input{InputKind::clock, 0, {}};
    const std::uint64_t target = here.idle_ns + by_ns_;
    for (unsigned n = 0; n < 8; ++n) {
      input.payload.push_back(static_cast<std::uint8_t>(target >> (8 * n)));
    }
    return input;
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t deadline) override {
    return {deadline == kNever ? IdleOutcome::Kind::forever : IdleOutcome::Kind::deadline,
            deadline};
  }

 private:
  std::uint64_t by_ns_;
  unsigned left_;
  Position next_;
};

/// Interrupts on, the PIT ticks, and a loop that only an interrupt leaves.
Bytes waiting_guest() {
  test::Assembler a;
  test::emit_prologue(a, 100);
  a.label("wait");
  a.jump("wait");
  test::emit_handlers(a);
  return a.finish();
}

std::uint64_t timer_count(Machine& machine) {
  std::array<std::uint8_t, 2> word{};
  (void)machine.ram().read({test::kTimerCount}, word);
  return word[0] | unsigned{word[1]} << 8;
}

std::unique_ptr<Machine> timeless(const Bytes& image) {
  MachineConfig config;
  config.memory_bytes = 2 << 20;
  config.ns_per_step = 0;
  auto machine = std::make_unique<Machine>(config);
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel_name = "waiting";
  request.kernel = image;
  machine->boot(request);
  return machine;
}

}  // namespace

TEST_CASE("where steps take no time, only inputs let timers tick, one at a time") {
  const auto machine = timeless(waiting_guest());
  (void)machine->run({{1'000'000}, 0});
  CHECK(machine->now().ns == 0);
  const std::uint64_t at_first = timer_count(*machine);  // the PIT's output rises when it is set up
  CHECK(at_first <= 1);
  // A period of 100 ticks is 83,810 ns, and each jump would go past several.
  constexpr std::uint64_t kPeriodNs = 83'810;
  Ticks ticks(10 * kPeriodNs, 50);
  machine->set_input(&ticks);
  (void)machine->run({{2'000'000}, 0});
  CHECK(timer_count(*machine) - at_first == 50);
  CHECK(machine->now().ns / kPeriodNs == 50);
  machine->set_input(nullptr);
}

TEST_CASE("a clock that goes back is refused") {
  const auto machine = timeless(waiting_guest());
  Ticks ticks(1000, 1);
  machine->set_input(&ticks);
  (void)machine->run({{1000}, 0});
  CHECK(machine->now().ns == 1000);
  Ticks back(~std::uint64_t{0} - 500, 1);  // 1000 - 501, past the end of the numbers
  machine->set_input(&back);
  CHECK_THROWS_AS((void)machine->run({{2000}, 0}), Error);
  machine->set_input(nullptr);
}
