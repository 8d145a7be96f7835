// Owns what the device tests share: a settable clock, recording sinks, and the
// round-trip check that every device must pass.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/state.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/machine_control.h"
#include "vmm/devices/core/message_interrupt.h"

namespace chronovisor::test {

class ManualClock final : public Clock {
 public:
  [[nodiscard]] VirtualTime now() const override { return {ns}; }
  [[nodiscard]] Position position() const override { return {ns / 3}; }
  std::uint64_t ns = 0;
};

/// Remembers every change of every line, in order.
class RecordingLines final : public InterruptSink {
 public:
  void set_line(unsigned line, bool value) override {
    events.push_back(line * 2 + (value ? 1 : 0));
    if (value) ++rises;
    level = value;
  }
  /// Wires every interrupt that `device` declares to this.
  void wire(Device& device) {
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    device.declare(declaration);
    for (const auto& [pin, irq, trigger] : declaration.interrupts()) {
      wires.push_back(std::make_unique<InterruptLine>());
      wires.back()->add_sink(*this, irq);
      wires.back()->add_pin(*pin);
    }
    for (const auto& [pin, line] : declaration.pci_interrupts()) {
      wires.push_back(std::make_unique<InterruptLine>());
      wires.back()->add_sink(*this, 16 + line);
      wires.back()->add_pin(*pin);
    }
    if (declaration.has_deadlines()) device.join(deadlines);
  }
  void state_restored() {
    for (const auto& wire : wires) wire->state_restored();
    deadlines.all_changed();
  }
  std::vector<std::unique_ptr<InterruptLine>> wires;
  DeadlineQueue deadlines;
  std::vector<std::uint64_t> events;
  unsigned rises = 0;
  bool level = false;
};

class RecordingBytes final : public OutputSink {
 public:
  void put(const Output& output) override {
    text.append(output.payload.begin(), output.payload.end());
  }
  std::string text;
};

/// Remembers what devices asked of the machine.
class RecordingControl final : public MachineControl {
 public:
  void power_off(std::uint16_t port) override { power_offs.push_back(port); }
  void reset_machine() override { ++resets; }
  void debug_exit(std::uint32_t code, std::uint16_t /*port*/) override { exits.push_back(code); }
  std::vector<std::uint16_t> power_offs;
  unsigned resets = 0;
  std::vector<std::uint32_t> exits;
};

inline Bytes save(Device& device) {
  StateSaver saver;
  device.visit_state(saver);
  return saver.take();
}

inline void load(Device& device, const Bytes& bytes) {
  StateLoader loader(bytes, device.name());
  device.visit_state(loader);
  loader.finish();
}

/// Advances clock and device to `ns`, stopping at every deadline on the way.
inline void run_to(ManualClock& clock, Device& device, std::uint64_t ns) {
  while (device.next_deadline_ns() <= ns) {
    clock.ns = std::max(clock.ns, device.next_deadline_ns());
    device.advance({clock.ns});
  }
  clock.ns = ns;
  device.advance({ns});
}

using Random = std::mt19937_64;

inline std::uint64_t below(Random& random, std::uint64_t limit) { return random() % limit; }

/// A device with its own clock and recorders. `step` does one random thing to it
/// and returns what the guest could see of it.
struct Bench {
  virtual ~Bench() = default;
  virtual Device& device() = 0;
  virtual std::uint64_t step(Random& random) = 0;
  /// What a guest sees that reads everything there is, rarely met by step().
  virtual std::vector<std::uint64_t> observe() { return {}; }
  ManualClock clock;
  RecordingLines lines;
  RecordingBytes output;
};

/// Devices that send messages in place of interrupts have nobody to send them to.
struct NoMessages final : MessageInterrupts {
  void send_message_interrupt(std::uint64_t /*address*/, std::uint32_t /*data*/) override {}
};

/// A bench whose device is reached at its usual ports, as a guest reaches it.
struct PortsBench : Bench {
  /// Finds the ports and memory of `device`.
  void place(Device& device) {
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    device.declare(declaration);
    ports = declaration.all_ports();
    if (!declaration.all_memory().empty()) aperture = declaration.all_memory().front().device;
  }
  std::uint32_t in(std::uint16_t port, unsigned width = 1) {
    const Declaration::Ports* const there = at(port);
    if (there == nullptr) return 0xffffffff;
    return there->device->read_port(static_cast<std::uint16_t>(port - there->first), width);
  }
  void out(std::uint16_t port, std::uint32_t value, unsigned width = 1) {
    if (const Declaration::Ports* const there = at(port)) {
      there->device->write_port(static_cast<std::uint16_t>(port - there->first), width, value);
    }
  }
  [[nodiscard]] const Declaration::Ports* at(std::uint16_t port) const {
    const auto found = std::find_if(ports.begin(), ports.end(), [&](const auto& p) {
      return port >= p.first && port < p.first + p.count;
    });
    return found == ports.end() ? nullptr : &*found;
  }
  std::vector<Declaration::Ports> ports;
  MmioDevice* aperture = nullptr;  ///< the first region of its memory
};

/// Random histories: the state survives a round trip into a fresh device, both
/// then behave and end alike, and every field was at some time other than in a
/// fresh device (so that a field nobody exercises is noticed).
template <class MakeBench>
void check_round_trip(MakeBench make, std::set<std::string> constant_fields = {},
                      unsigned histories = 300) {
  std::set<std::string> changed = std::move(constant_fields);
  const Bytes fresh = save(make()->device());
  for (unsigned seed = 1; seed <= histories; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    std::unique_ptr<Bench> first = make();
    const std::uint64_t steps = 1 + below(random, 120);
    for (std::uint64_t i = 0; i < steps; ++i) {
      (void)first->step(random);
      // Whatever changed the deadline has said so.
      REQUIRE(first->lines.deadlines.next_ns() == first->device().next_deadline_ns());
      for (const FieldDifference& difference :
           compare_sections(fresh, save(first->device()), first->device().name())) {
        changed.insert(difference.field);
      }
    }

    const Bytes saved = save(first->device());
    std::unique_ptr<Bench> second = make();
    second->clock.ns = first->clock.ns;
    load(second->device(), saved);
    second->device().state_restored();
    second->lines.state_restored();
    REQUIRE(second->lines.events.empty());  // restoring drives nothing
    REQUIRE(save(second->device()) == saved);
    REQUIRE(second->device().next_deadline_ns() == first->device().next_deadline_ns());

    first->lines.events.clear();
    first->output.text.clear();
    if (seed % 2 == 0) REQUIRE(first->observe() == second->observe());
    Random random_first(seed + 1000);
    Random random_second(seed + 1000);
    for (unsigned i = 0; i < 60; ++i) {
      REQUIRE(first->step(random_first) == second->step(random_second));
      REQUIRE(first->lines.events == second->lines.events);
      REQUIRE(first->output.text == second->output.text);
    }
    REQUIRE(save(first->device()) == save(second->device()));
  }
  std::unique_ptr<Bench> names = make();
  // A section compared with nothing lists every field.
  for (const FieldDifference& field : compare_sections(fresh, Bytes{}, names->device().name())) {
    CAPTURE(field.field);
    CHECK(changed.count(field.field) == 1);
  }
}

/// A random time to pass: mostly short, sometimes an idle warp of hours.
inline std::uint64_t random_wait(Random& random) {
  const std::uint64_t bits = 1 + below(random, below(random, 8) == 0 ? 43 : 28);
  return random() & ((std::uint64_t{1} << bits) - 1);
}

/// Lets time pass: deadline by deadline, and late when there are very many.
inline void random_pass(Bench& bench, Random& random) {
  const std::uint64_t target = bench.clock.ns + random_wait(random);
  unsigned events = 0;
  while (bench.device().next_deadline_ns() <= target && ++events < 50) {
    bench.clock.ns = std::max(bench.clock.ns, bench.device().next_deadline_ns());
    bench.device().advance({bench.clock.ns});
  }
  bench.clock.ns = std::max(bench.clock.ns, target);
  bench.device().advance({bench.clock.ns});
}

}  // namespace chronovisor::test
