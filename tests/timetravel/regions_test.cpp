// Recordings of a machine that has memory beside RAM: a screen's, and a sparse disk's.
#include <doctest/doctest.h>

#include "base/error.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/replay_input.h"
#include "recorder/live/run_recorder.h"
#include "timetravel/restore.h"
#include "timetravel/state_difference.h"
#include "timetravel/traveller.h"
#include "vmm/devices/core/byte_port_device.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

/// What is written to its port it writes to two regions and, by DMA, to RAM.
class Toy final : public Device, public BytePortDevice {
 public:
  static constexpr std::uint64_t kScreenBytes = 16ULL << 20, kDiskBytes = 1ULL << 30;

  explicit Toy(PartContext& context)
      : screen_(context.memory.add_region("screen", kScreenBytes)),
        disk_(context.memory.add_region("disk", kDiskBytes)),
        dma_(context.dma, "toy") {}
  [[nodiscard]] std::string_view name() const override { return "toy"; }
  void declare(Declaration& declaration) override { declaration.ports(0x2f0, 1, *this); }
  void visit_state(StateVisitor& visitor) override { visitor.field("writes", writes_); }
  void reset() override { writes_ = 0; }

 protected:
  std::uint8_t read_byte(std::uint16_t /*offset*/) override { return 0xff; }
  void write_byte(std::uint16_t /*offset*/, std::uint8_t value) override {
    ++writes_;
    screen_.write(value * 0x10321ULL, Bytes{value, static_cast<std::uint8_t>(writes_)});
    REQUIRE(dma_.write({0x3000}, writes_) == DmaStatus::done);
    if (value % 16 != 0) return;
    disk_.write(place_of(writes_), Bytes{value, 1, 2, 3});
    // A page that was written some time ago is zeros again.
    if (value % 32 == 0) disk_.write(place_of(writes_ - 16), Bytes(4, 0));
  }

 private:
  static std::uint64_t place_of(std::uint64_t number) {
    return (number * 0x9e3779b97f4a7c15ULL >> 20) % kDiskBytes & kPageMask;
  }
  PagedRegion& screen_;
  PagedRegion& disk_;
  DmaPort dma_;
  std::uint64_t writes_ = 0;
};

const Model& pc_with_toy() {
  static const Model model = [] {
    Model made = pc1();
    made.parts.push_back({[](PartContext& context) { return std::make_unique<Toy>(context); }});
    return made;
  }();
  return model;
}

/// mov dx, 0x2f0; again: out dx, al; inc ax; jmp again
const Bytes kGuest{0xba, 0xf0, 0x02, 0xee, 0x40, 0xeb, 0xfc};

StartCondition start() {
  StartCondition start;
  start.kind = BootKind::flat;
  start.machine.memory_bytes = 2 << 20;
  return start;
}

std::unique_ptr<Machine> new_machine() {
  return std::make_unique<Machine>(start().machine, pc_with_toy());
}

std::unique_ptr<RecordingReader> record(std::uint64_t steps) {
  const auto machine = new_machine();
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel = kGuest;
  machine->boot(request);
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), start().to_json());
  writer.embed_image(kKernelRole, "guest", MemoryInputFile(kGuest));
  NoInput input;
  {
    RecorderOptions options;
    options.checkpoint_every_steps = 1000;
    options.checkpoint_budget_percent = 0;
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 1000; }, options);
    (void)recorder.run({steps}, [](Position) {});
  }
  writer.finish("{}");
  return std::make_unique<RecordingReader>(std::make_shared<MemoryInputFile>(*bytes));
}

}  // namespace

TEST_CASE("a recording's checkpoints carry regions, and cost what was touched") {
  const auto reader = record(20'000);
  REQUIRE(reader->checkpoints().size() == 21);
  CHECK(reader->verify_bytes().empty());
  CHECK(reader->file_bytes() < 4 << 20);
  for (std::size_t n = 1; n < reader->checkpoints().size(); ++n) {
    // The 16th's pages are differences from those of the first.
    CHECK(reader->page_delta(n).size() < (n == 16 ? 800 : 400));
  }
  for (std::size_t n = 0; n < reader->checkpoints().size(); n += 3) {
    CAPTURE(n);
    const auto restored = new_machine();
    Machine& machine = *restored;
    restore_checkpoint(machine, *reader, n);
    CHECK(machine.digest() == reader->checkpoints()[n].digest);
    if (n + 1 == reader->checkpoints().size()) continue;
    // Running on gives the next recorded state, to the byte.
    REQUIRE(machine.run({reader->checkpoints()[n + 1].position, 0}) == MachineStop::reached);
    CHECK(machine.digest() == reader->checkpoints()[n + 1].digest);
    RecordedState recorded(*reader, n + 1);
    LiveState live(machine);
    CHECK(compare_states(live, recorded).empty());
    machine.memory().region("screen")->write(0x5123, Bytes{0xee});
    LiveState changed(machine);
    const StateDifference difference = compare_states(changed, recorded);
    REQUIRE(difference.pages.size() == 1);
    CHECK(difference.pages[0].region == "screen");
    CHECK(difference.pages[0].page == GuestPhysical{0x5000});
    CHECK(difference.pages[0].offset == 0x123);
  }
}

TEST_CASE(
    "a traveller goes anywhere in a machine with regions, by recorded states and by its own") {
  const auto reader = record(20'000);
  auto machine = new_machine();
  CheckpointStore store(*reader, machine->pages().page_count(), 64 << 20);
  Traveller traveller(std::move(machine), store);
  const auto digest_at = [&](std::uint64_t position) {
    traveller.restore(*store.latest({position}));
    REQUIRE(traveller.machine().run({{position}, 0}) == MachineStop::reached);
    return traveller.machine().digest();
  };
  for (const std::uint64_t position : {19'000, 3'000, 12'000, 0, 20'000, 7'000}) {
    CAPTURE(position);
    const auto n = reader->checkpoint_before({position});
    CHECK(digest_at(position) == reader->checkpoints()[*n].digest);
  }
  const Hash128 between = digest_at(7'321);
  store.add({7'321}, traveller.take_snapshot(store.pool()));
  (void)digest_at(15'555);
  CHECK(store.latest({7'400})->snapshot != nullptr);
  CHECK(digest_at(7'321) == between);
  CHECK(digest_at(8'000) == reader->checkpoints()[8].digest);
  // A gibibyte that is hardly used costs hardly anything.
  CHECK(store.bytes_used() < 8 << 20);
}

TEST_CASE("a machine without the recorded regions is refused by name") {
  const auto reader = record(3'000);
  Machine machine(start().machine);
  CHECK_THROWS_WITH_AS(restore_checkpoint(machine, *reader, 2),
                       doctest::Contains("outside the machine's memory"), Error);
}

}  // namespace chronovisor
