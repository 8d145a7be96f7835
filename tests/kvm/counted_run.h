// Makes recordings with counted places: a guest that the soft processor executes
// under faulty counters, and an outside world that knows where things truly
// happened. One thread.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "recorder/counted/counted_recorder.h"
#include "recorder/format/input_log.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"
#include "tests/kvm/soft_counted_guest.h"
#include "tests/vmm/tiny_guest.h"
#include "vmm/engine/soft/soft_engine.h"

namespace chronovisor::test {

struct GuestToRun {
  StartCondition start;
  Bytes image;
  Bytes initrd{};
};

/// The outside world: time that goes on and serial bytes, wherever the guest came
/// to rest. Knows where that truly was.
class World final : public InputSource {
 public:
  World(std::uint64_t seed, std::uint64_t most_events, std::uint64_t most_clock_ns,
        unsigned quiet_percent)
      : random_(seed, 5),
        left_(most_events),
        most_clock_ns_(most_clock_ns),
        quiet_percent_(quiet_percent) {}

  [[nodiscard]] Position next_look(Position /*now*/) override { return {kNever}; }
  std::optional<Input> take(InputStamp here, const InputRoom& room) override {
    if (left_ == 0 || random_.chance(quiet_percent_)) return std::nullopt;
    --left_;
    if (left_ == 0) full_ = true;
    Input input{InputKind::clock, 0,
                wakeup_payload(here.idle_ns + 1 + random_.below(most_clock_ns_))};
    if (room.has_room(InputKind::serial_byte, 0) && random_.chance(30)) {
      input = {InputKind::serial_byte, 0, {static_cast<std::uint8_t>(random_.bits())}};
    }
    note(here, input);
    return input;
  }
  IdleOutcome idle(InputStamp here, std::uint64_t deadline) override {
    if (deadline == kNever) return {IdleOutcome::Kind::forever, 0};
    if (random_.chance(50) && deadline > here.idle_ns + 1) {
      const std::uint64_t early = here.idle_ns + 1 + random_.below(deadline - here.idle_ns - 1);
      note(here, {InputKind::wakeup, 0, wakeup_payload(early)});
      return {IdleOutcome::Kind::early, early};
    }
    note(here, {InputKind::wakeup, 0, wakeup_payload(deadline)});
    return {IdleOutcome::Kind::deadline, deadline};
  }
  [[nodiscard]] const std::vector<InputEvent>& truth() const { return truth_; }
  [[nodiscard]] const std::atomic<bool>& full() const { return full_; }

 private:
  void note(InputStamp here, const Input& input) {
    truth_.push_back({here.position, here.idle_ns, input.kind, input.device, input.payload});
  }
  oracle::Random random_;
  std::uint64_t left_;
  std::uint64_t most_clock_ns_;
  unsigned quiet_percent_;
  std::atomic<bool> full_{false};
  std::vector<InputEvent> truth_;
};

inline std::unique_ptr<RecordingReader> open_bytes(const std::shared_ptr<const Bytes>& bytes) {
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
}

/// How a run is recorded by counts.
struct Way {
  CounterFaults faults;
  CounterTrust trust;  ///< what the self-test said
  std::uint64_t seed = 0;
  std::uint64_t most_events = 1000;
  std::uint64_t most_clock_ns = 4000;  ///< at once
  unsigned quiet_percent = 25;         ///< of the places where nothing comes
  std::uint64_t slice_branches = 0;    ///< how far the guest runs; 0: a few, by the seed
};

struct CountedRun {
  std::shared_ptr<const Bytes> bytes;
  std::unique_ptr<RecordingReader> reader;
  std::vector<InputEvent> truth;
  Position end;
  std::uint64_t end_registers = 0;
  MachineStop stop = MachineStop::reached;
  std::uint64_t interrupts = 0;  ///< by the count of a random guest's handlers
};

enum class Ending { finished, killed };

/// Records `guest` into `file`.
inline CountedRun record_counted_into(std::unique_ptr<OutputFile> file, const GuestToRun& guest,
                                      const Way& way, Ending ending = Ending::finished) {
  CountedRun run;
  const auto machine = make_machine(guest.start, [&](const std::string& role) {
    return role == kInitrdRole ? guest.initrd : guest.image;
  });
  RecordingWriter writer(std::move(file), FileId::random(), guest.start.to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(guest.image));
  if (!guest.initrd.empty()) {
    writer.embed_image(kInitrdRole, "initrd", MemoryInputFile(guest.initrd));
  }
  std::optional<SoftCountedGuest> counted;
  kvm::CountedEngine* made = nullptr;
  machine->set_engine([&](Cpu& cpu) {
    counted.emplace(*machine, cpu, way.faults, way.seed);
    auto engine = std::make_unique<kvm::CountedEngine>(
        *counted, way.trust,
        kvm::CountedEngineOptions{way.slice_branches != 0 ? way.slice_branches : 1 + way.seed % 40,
                                  {128, 200'000}});
    made = engine.get();
    return engine;
  });
  kvm::CountedEngine& engine = *made;
  World world(way.seed, way.most_events, way.most_clock_ns, way.quiet_percent);
  {
    CountedRecorder recorder(*machine, engine, writer, world, {world.full()});
    run.stop = recorder.run();
    CHECK_THAT(recorder.events() == world.truth().size(), "every event is in the log");
  }
  machine->set_engine([](Cpu& cpu) { return std::make_unique<SoftEngine>(cpu); });
  run.truth = world.truth();
  run.end = machine->position();
  run.end_registers = registers_hash(machine->cpu());
  for (const std::uint16_t counter : {kTimerCount, kSerialCount}) {
    std::array<std::uint8_t, 2> word{};
    (void)machine->ram().read({counter}, word);
    run.interrupts += word[0] | unsigned{word[1]} << 8;
  }
  if (ending == Ending::finished) {
    writer.finish(std::nullopt);
  } else {
    writer.flush();
  }
  return run;
}

/// Records `guest` in memory.
inline CountedRun record_counted(const GuestToRun& guest, const Way& way,
                                 Ending ending = Ending::finished) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  CountedRun run = record_counted_into(std::move(file), guest, way, ending);
  run.bytes = bytes;
  run.reader = open_bytes(bytes);
  return run;
}

}  // namespace chronovisor::test
