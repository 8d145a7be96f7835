// The machine: running to exact moments, however the run is cut, saved or
// restored, and stopping for observers without the guest noticing.
#include "vmm/machine/machine.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "base/error.h"
#include "tests/vmm/tiny_guest.h"

namespace chronovisor {
namespace {

using test::boot_tiny;
using test::random_guest;
using test::ScriptedInput;
using test::TinyGuest;

std::vector<std::uint64_t> random_positions(std::mt19937_64& random, std::uint64_t below,
                                            std::size_t count) {
  std::set<std::uint64_t> positions;
  for (std::size_t n = 0; n < count; ++n) positions.insert(1 + random() % below);
  return {positions.begin(), positions.end()};
}

std::uint64_t length_of(const TinyGuest& guest, const std::vector<std::uint64_t>& inputs,
                        std::uint64_t seed) {
  ScriptedInput input(inputs, seed);
  const auto machine = boot_tiny(guest.image);
  machine->set_input(&input);
  REQUIRE(machine->run({{kNever - 1}, 0}) == MachineStop::ended);
  REQUIRE(machine->ending().reason == EndReason::debug_exit);
  return machine->position().steps;
}

void copy_machine(Machine& from, Machine& to) {
  (void)from.close_epoch();
  (void)to.close_epoch();
  for (std::uint64_t page = 0; page < from.ram().page_count(); ++page) {
    if (from.page_hash(page) == to.page_hash(page)) continue;
    to.replace_page(page, {from.ram().host(page * kPageSize), kPageSize}, from.page_hash(page));
  }
  to.load_sections(from.save_sections());
}

Bytes small_loop() {
  test::Assembler a;
  test::emit_prologue(a, 1000);
  a.bytes({0xfa});
  a.label("loop");
  a.increment_word(test::kVariables);
  a.jump("loop");
  test::emit_handlers(a);
  a.label("subroutine");
  return a.finish();
}

/// Changes one byte of one field at a time.
class FieldFlipper final : public StateVisitor {
 public:
  explicit FieldFlipper(std::size_t target) : target_(target) {}
  [[nodiscard]] bool done() const { return flipped_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 protected:
  void raw(std::string_view name, void* data, std::size_t size) override {
    if (!flipped_ && target_ < size) {
      static_cast<std::uint8_t*>(data)[target_] ^= 1;
      flipped_ = true;
      name_ = name;
    }
    target_ -= flipped_ ? 0 : size;
  }
  void list(std::string_view /*name*/, std::size_t /*size*/, std::size_t /*most*/,
            std::size_t /*count*/, const std::function<void*(std::size_t)>& /*resize*/) override {}

 private:
  std::size_t target_;
  bool flipped_ = false;
  std::string name_;
};

Bytes cpu_section(Machine& machine) {
  for (Section& section : machine.save_sections()) {
    if (section.name == "cpu") return section.bytes;
  }
  FAIL("no cpu section");
  return {};
}

}  // namespace

TEST_CASE("however a run is cut, the digests at every cut are equal") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed * 77);
    const TinyGuest guest = random_guest(seed, 60);
    const std::vector<std::uint64_t> inputs = random_positions(random, 20000, 12);
    const std::uint64_t length = length_of(guest, inputs, seed);
    const std::vector<std::uint64_t> cuts = random_positions(random, length - 1, 25);

    ScriptedInput coarse_input(inputs, seed);
    const auto coarse = boot_tiny(guest.image);
    coarse->set_input(&coarse_input);
    ScriptedInput fine_input(inputs, seed);
    const auto fine = boot_tiny(guest.image);
    fine->set_input(&fine_input);
    for (const std::uint64_t cut : cuts) {
      REQUIRE(coarse->run({{cut}, 0}) == MachineStop::reached);
      while (fine->position().steps < cut) {
        const std::uint64_t here = fine->position().steps;
        const std::uint64_t step = random() % 3 == 0 ? 1 : 1 + random() % 700;
        Moment to{{std::min(cut, here + step)}, 0};
        if (to.position.steps < cut && random() % 4 == 0)
          to.deliveries = 1 + static_cast<std::uint32_t>(random() % 2);
        if (fine->run(to) != MachineStop::reached) break;
        if (random() % 5 == 0) (void)fine->digest();
        if (random() % 5 == 0) (void)fine->close_epoch();
        if (random() % 5 == 0) fine->set_debug_hooks(nullptr);
      }
      REQUIRE(fine->position().steps == cut);
      REQUIRE(coarse->digest() == fine->digest());
    }
    const std::uint64_t alone = cuts[cuts.size() / 2];
    ScriptedInput one_input(inputs, seed);
    const auto one = boot_tiny(guest.image);
    one->set_input(&one_input);
    REQUIRE(one->run({{alone}, 0}) == MachineStop::reached);
    ScriptedInput again_input(inputs, seed);
    const auto again = boot_tiny(guest.image);
    again->set_input(&again_input);
    for (const std::uint64_t cut : cuts) {
      if (cut > alone) break;
      (void)again->run({{cut}, 0});
    }
    CHECK(one->digest() == again->digest());
  }
}

TEST_CASE("a machine restored from sections and pages runs on identically") {
  for (std::uint64_t seed = 20; seed < 28; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const TinyGuest guest = random_guest(seed, 50);
    const std::vector<std::uint64_t> inputs = random_positions(random, 20000, 12);
    const std::uint64_t length = length_of(guest, inputs, seed);
    const std::vector<std::uint64_t> cuts = random_positions(random, length - 1, 30);

    ScriptedInput input(inputs, seed);
    const auto machine = boot_tiny(guest.image);
    machine->set_input(&input);
    MachineConfig shape;
    shape.memory_bytes = 2 << 20;
    Machine other(shape);
    for (std::size_t n = 0; n + 1 < cuts.size(); n += 2) {
      REQUIRE(machine->run({{cuts[n]}, 0}) == MachineStop::reached);
      copy_machine(*machine, other);
      REQUIRE(other.digest() == machine->digest());
      ScriptedInput other_input(inputs, seed);
      other_input.rewind_to(other.position());
      other.set_input(&other_input);
      REQUIRE(machine->run({{cuts[n + 1]}, 0}) == MachineStop::reached);
      REQUIRE(other.run({{cuts[n + 1]}, 0}) == MachineStop::reached);
      REQUIRE(other.digest() == machine->digest());
      CHECK(other.run({{length + 100}, 0}) == MachineStop::ended);
      CHECK(other.position().steps == length);
      other.set_input(nullptr);
    }
  }
}

TEST_CASE(
    "every byte of every CPU field is in the digest and survives a round trip, or is refused") {
  // Values that no machine can have.
  const std::set<std::string> bounded{"steps", "cpl",  "shadow",   "mxcsr", "cr0",
                                      "cr4",   "xcr0", "msr.efer", "rflags"};
  const auto machine = boot_tiny(small_loop());
  REQUIRE(machine->run({{300}, 0}) == MachineStop::reached);
  // In real mode CPL is always 0.
  machine->change_cpu([](Cpu& cpu) { cpu.state.cr0 |= kCr0Pe; });
  const std::vector<Section> clean = machine->save_sections();
  const Hash128 clean_digest = machine->digest();
  MachineConfig shape;
  shape.memory_bytes = 2 << 20;
  Machine other(shape);
  std::set<std::string> fields;
  for (std::size_t byte = 0;; ++byte) {
    FieldFlipper flipper(byte);
    try {
      machine->change_cpu([&](Cpu& cpu) { cpu.visit_state(flipper); });
    } catch (const Error& error) {
      CAPTURE(flipper.name());
      REQUIRE(error.code() == ErrorCode::bad_input);
      REQUIRE(bounded.contains(flipper.name()));
      fields.insert(flipper.name());
      machine->load_sections(clean);
      continue;
    }
    if (!flipper.done()) break;
    fields.insert(flipper.name());
    CAPTURE(flipper.name());
    CAPTURE(byte);
    const Bytes changed = cpu_section(*machine);
    if (flipper.name() != "rflags") {  // its fixed bits stay as they are
      REQUIRE(machine->digest() != clean_digest);
    }
    other.load_sections(machine->save_sections());
    REQUIRE(cpu_section(other) == changed);
    machine->load_sections(clean);
    REQUIRE(machine->digest() == clean_digest);
  }
  CHECK(fields.size() > 90);
}

TEST_CASE("a section that is missing or cut is refused") {
  const auto machine = boot_tiny(small_loop());
  const std::vector<Section> sections = machine->save_sections();
  for (std::size_t n = 0; n < sections.size(); ++n) {
    std::vector<Section> without = sections;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(n));
    CHECK_THROWS_AS(machine->load_sections(without), Error);
    std::vector<Section> cut = sections;
    if (cut[n].bytes.empty()) continue;
    cut[n].bytes.pop_back();
    CHECK_THROWS_AS(machine->load_sections(cut), Error);
  }
  machine->load_sections(sections);
  CHECK(machine->run({{1000}, 0}) == MachineStop::reached);
}

TEST_CASE("an input is delivered at its stamp and nowhere else") {
  test::Assembler a;
  test::emit_prologue(a, 0xffff);
  a.label("loop");
  a.increment_word(test::kVariables);
  a.jump("loop");
  test::emit_handlers(a);
  const Bytes image = a.finish();
  ScriptedInput input({5000, 6000, 9000}, 1);
  const auto machine = boot_tiny(image);
  machine->set_input(&input);
  const auto count = [&] { return *machine->ram().host(test::kSerialCount); };
  REQUIRE(machine->run({{5000}, 0}) == MachineStop::reached);
  CHECK_FALSE(machine->moment().deliveries != 0);
  // the interrupt is taken at the very position of the input
  REQUIRE(machine->run({{5000}, 1}) == MachineStop::reached);
  CHECK(machine->position() == Position{5000});
  CHECK(machine->cpu().linear_rip() == a.address_of("serial"));
  CHECK(count() == 0);
  REQUIRE(machine->run({{9000}, 0}) == MachineStop::reached);
  CHECK(count() == 2);
  REQUIRE(machine->run({{9100}, 0}) == MachineStop::reached);
  CHECK(count() == 3);
  CHECK(*machine->ram().host(test::kSerialByte) == static_cast<std::uint8_t>(9000));
}

TEST_CASE("an idle machine warps to its timer, or wakes early when told") {
  test::Assembler a;
  test::emit_prologue(a, 20000);
  a.label("loop");
  a.bytes({0xf4});
  a.increment_word(test::kVariables);
  a.jump("loop");
  test::emit_handlers(a);
  const Bytes image = a.finish();
  const auto warped = boot_tiny(image);
  REQUIRE(warped->run({{1000}, 0}) == MachineStop::reached);
  CHECK(warped->idle_ns() > 20000 * 838ULL);
  const auto timer_count = *warped->ram().host(test::kTimerCount);
  CHECK(timer_count > 10);

  class WakesEarly final : public InputSource {
   public:
    [[nodiscard]] Position next_look(Position /*now*/) override { return {kNever}; }
    std::optional<Input> take(InputStamp here, const InputRoom& /*room*/) override {
      if (here.idle_ns != woken_) return std::nullopt;
      woken_ = kNever;
      return Input{InputKind::serial_byte, 0, {0x41}};
    }
    IdleOutcome idle(InputStamp here, std::uint64_t deadline) override {
      if (stop) return {IdleOutcome::Kind::stop, 0};
      CHECK(deadline > here.idle_ns);
      woken_ = here.idle_ns + 5;
      return {IdleOutcome::Kind::early, woken_};
    }
    bool stop = false;

   private:
    std::uint64_t woken_ = kNever;
  } early;
  const auto machine = boot_tiny(image);
  machine->set_input(&early);
  REQUIRE(machine->run({{1000}, 0}) == MachineStop::reached);
  CHECK(*machine->ram().host(test::kSerialCount) > 10);
  CHECK(machine->idle_ns() < 1000);
  early.stop = true;
  CHECK(machine->run({{100000}, 0}) == MachineStop::idle_stopped);
}

TEST_CASE("a run that is cancelled stops, and goes on as if nothing had been") {
  const Bytes image = small_loop();
  const auto straight = boot_tiny(image);
  REQUIRE(straight->run({{20'000'000}, 0}) == MachineStop::reached);
  const auto machine = boot_tiny(image);
  std::atomic<bool> cancel{true};
  CHECK(machine->run({{20'000'000}, 0}, cancel) == MachineStop::interrupted);
  CHECK(machine->position() == Position{0});
  cancel = false;
  CHECK(machine->run({{20'000'000}, 0}, cancel) == MachineStop::reached);
  CHECK(machine->digest() == straight->digest());
}

TEST_CASE("a breakpoint stops before its instruction each time it is arrived at") {
  for (std::uint64_t seed = 40; seed < 46; ++seed) {
    const TinyGuest guest = random_guest(seed, 12);
    for (const std::uint16_t address : guest.code) {
      CAPTURE(seed);
      CAPTURE(address);
      // Every moment there is, by single moments.
      ScriptedInput input({500, 1500, 2500}, seed);
      const auto walked = boot_tiny(guest.image);
      walked->set_input(&input);
      std::set<Moment> must;
      std::set<Moment> may;
      std::uint64_t previous_rip = kNever;
      while (true) {
        const Moment here = walked->moment();
        const std::uint64_t rip = walked->cpu().linear_rip();
        if (walked->run({here.position, here.deliveries + 1}) != MachineStop::reached) break;
        const bool retired = walked->position() > here.position;
        const bool repeats = previous_rip == rip && (walked->ram().host(rip)[0] & 0xfe) == 0xf2;
        if (rip == address && !repeats) {
          may.insert(here);
          if (retired) must.insert(here);
        }
        previous_rip = here.deliveries == 0 || retired ? rip : kNever;
        if (walked->position() > here.position && walked->moment().deliveries != 0)
          previous_rip = kNever;
      }
      ScriptedInput again({500, 1500, 2500}, seed);
      const auto machine = boot_tiny(guest.image);
      machine->set_input(&again);
      DebugHooks hooks;
      hooks.breakpoints.insert(address);
      machine->set_debug_hooks(&hooks);
      std::set<Moment> stops;
      while (machine->run({{kNever - 1}, 0}) == MachineStop::breakpoint) {
        CHECK(machine->cpu().linear_rip() == address);
        const Moment here = machine->moment();
        CHECK(stops.insert(here).second);
        hooks.resumed_at_position = here.position.steps;
        hooks.resumed_at_deliveries = here.deliveries;
        hooks.resumed_at_address = address;
      }
      for (const Moment& moment : stops) REQUIRE(may.contains(moment));
      for (const Moment& moment : must) REQUIRE(stops.contains(moment));
      CHECK(machine->digest() == walked->digest());
    }
  }
}

TEST_CASE("a breakpoint at a handler's entry is hit after the delivery, at the same position") {
  test::Assembler a;
  test::emit_prologue(a, 5);
  a.label("loop");
  a.increment_word(test::kVariables);
  a.jump("loop");
  test::emit_handlers(a);
  const auto machine = boot_tiny(a.finish());
  DebugHooks hooks;
  hooks.breakpoints.insert(a.address_of("timer"));
  machine->set_debug_hooks(&hooks);
  REQUIRE(machine->run({{1'000'000}, 0}) == MachineStop::breakpoint);
  CHECK(machine->moment().deliveries == 1);
  CHECK(*machine->ram().host(test::kTimerCount) == 0);
  const Position first = machine->position();
  hooks.resumed_at_position = first.steps;
  hooks.resumed_at_deliveries = 1;
  hooks.resumed_at_address = a.address_of("timer");
  REQUIRE(machine->run({{1'000'000}, 0}) == MachineStop::breakpoint);
  CHECK(machine->position() > first);
  CHECK(*machine->ram().host(test::kTimerCount) == 1);
}

TEST_CASE(
    "a breakpoint on a REP instruction is hit once, also when the run is cut or restored inside") {
  test::Assembler a;
  a.bytes({0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0xfc, 0xb9});
  a.word(50);
  a.bytes({0xbf});
  a.word(0x3000);
  const std::uint16_t rep = a.here();
  a.bytes({0xf3, 0xaa, 0x90, 0xf4});
  const Bytes image = a.finish();
  const auto machine = boot_tiny(image);
  DebugHooks hooks;
  hooks.breakpoints.insert(rep);
  machine->set_debug_hooks(&hooks);
  REQUIRE(machine->run({{1000}, 0}) == MachineStop::breakpoint);
  const std::uint64_t first = machine->position().steps;
  hooks.resumed_at_position = first;
  hooks.resumed_at_address = rep;
  for (std::uint64_t cut = 1; cut < 50; cut += 7) {
    REQUIRE(machine->run({{first + cut}, 0}) == MachineStop::reached);
    Machine other(machine->config());
    copy_machine(*machine, other);
    DebugHooks other_hooks;
    other_hooks.breakpoints.insert(rep);
    other.set_debug_hooks(&other_hooks);
    CHECK(other.run({{1000}, 0}) == MachineStop::ended);
  }
  CHECK(machine->run({{1000}, 0}) == MachineStop::ended);
}

TEST_CASE("a watchpoint stops after the step that touched it, and names byte and kind") {
  // mov ax,[0x2fff] (across pages); mov [0x2ffe],ax; inc byte [0x3000]; nop; hlt
  const Bytes image{0xfa, 0xa1, 0xff, 0x2f, 0xa3, 0xfe, 0x2f, 0xfe, 0x06, 0x00, 0x30, 0x90, 0xf4};
  struct Expected {
    std::uint64_t position;
    std::uint64_t address;
    bool write;
  };
  const auto all_hits = [&](const Watchpoint& watch) {
    const auto machine = boot_tiny(image);
    DebugHooks hooks;
    hooks.watchpoints.push_back(watch);
    machine->set_debug_hooks(&hooks);
    std::vector<Expected> hits;
    while (machine->run({{100}, 0}) == MachineStop::watchpoint) {
      for (const WatchHit& hit : hooks.hits) {
        CHECK(hit.watchpoint == watch);
        hits.push_back({machine->position().steps, hit.address, hit.write});
      }
      CHECK(machine->moment_before() == Moment{{machine->position().steps - 1}, 0});
      hooks.hits.clear();
    }
    return hits;
  };
  const auto same = [](const std::vector<Expected>& found, const std::vector<Expected>& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t n = 0; n < found.size(); ++n) {
      CHECK(found[n].position == expected[n].position);
      CHECK(found[n].address == expected[n].address);
      CHECK(found[n].write == expected[n].write);
    }
  };
  same(all_hits({0x3000, 1, true, false}), {{2, 0x3000, false}, {4, 0x3000, false}});
  same(all_hits({0x3000, 1, false, true}), {{4, 0x3000, true}});
  same(all_hits({0x2fff, 1, true, true}), {{2, 0x2fff, false}, {3, 0x2fff, true}});
  same(all_hits({0x2ff0, 0x100, false, true}), {{3, 0x2ffe, true}, {4, 0x3000, true}});
  same(all_hits({0x3001, 8, true, true}), {});
}

TEST_CASE("a machine ends as the guest asked, and says how") {
  const auto ending_of = [](const Bytes& image) {
    const auto machine = boot_tiny(image);
    REQUIRE(machine->run({{10000}, 0}) == MachineStop::ended);
    REQUIRE(machine->run({{20000}, 0}) == MachineStop::ended);
    return machine->ending();
  };
  CHECK(ending_of({0xb0, 0x07, 0xe6, 0xf4, 0xf4}).reason == EndReason::debug_exit);
  CHECK(ending_of({0xb0, 0x07, 0xe6, 0xf4, 0xf4}).code == 7);
  CHECK(ending_of({0xfa, 0xf4}).reason == EndReason::halted);
  // LIDT [0x7c08] with limit 0, then INT3: no way out
  const Bytes triple{0x0f, 0x01, 0x1e, 0x08, 0x7c, 0xcc, 0x90, 0x90, 0, 0, 0, 0, 0, 0};
  CHECK(ending_of(triple).reason == EndReason::triple_fault);
  CHECK(ending_of({0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe}).reason == EndReason::reset);
}

TEST_CASE(
    "instructions that are not implemented are counted, those that raise #UD on purpose not") {
  const auto counted = [](std::initializer_list<std::uint8_t> code) {
    const auto machine = boot_tiny(Bytes(code));
    (void)machine->run({{3}, 0});
    return machine->cpu().counters().undefined_instructions;
  };
  CHECK(counted({0x0f, 0x0b}) == 0);        // UD2
  CHECK(counted({0x0f, 0xb9, 0xc0}) == 0);  // UD1
  CHECK(counted({0x0f, 0xff, 0xc0}) == 0);  // UD0
  CHECK(counted({0x0f, 0x04}) > 0);
}

TEST_CASE("a guest whose handler faults where it begins is ended, and can be interrupted") {
  // SS away from everything; the handler of #UD at 0x7c20 is undefined itself.
  Bytes image{0xb8, 0x00, 0x20, 0x8e, 0xd0,                     // mov ax, 0x2000; mov ss, ax
              0xc7, 0x06, 0x18, 0x00, 0x20, 0x7c,               // mov word [0x18], 0x7c20
              0xc7, 0x06, 0x1a, 0x00, 0x00, 0x00, 0x0f, 0x04};  // mov word [0x1a], 0; undefined
  image.resize(0x20, 0x90);
  image.insert(image.end(), {0x0f, 0x04});
  const auto machine = boot_tiny(image);
  CHECK(machine->run({{1000}, 0}) == MachineStop::ended);
  CHECK(machine->ending().reason == EndReason::exception_loop);
  CHECK(machine->position() == Position{4});
  CHECK(machine->moment().deliveries == Cpu::kMostDeliveries);
  CHECK(machine->run({{1000}, 0}) == MachineStop::ended);

  const auto other = boot_tiny(image);
  std::atomic<bool> cancel{false};
  std::jthread soon([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    cancel = true;
  });
  const MachineStop stop = other->run({{1000}, 0}, cancel);
  CHECK((stop == MachineStop::interrupted || stop == MachineStop::ended));
  soon.join();
  cancel = false;
  CHECK(other->run({{1000}, 0}) == MachineStop::ended);
  CHECK(other->moment().deliveries == Cpu::kMostDeliveries);
  CHECK(other->digest() == machine->digest());
}

}  // namespace chronovisor
