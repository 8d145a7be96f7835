// A device of one's own: all that is needed to give a machine one more part, and
// that recordings made without it do not mind.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "tests/timetravel/tiny_recording.h"
#include "timetravel/replay.h"
#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/byte_port_device.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

/// Adds up what is written to its port, puts the sum into memory at 1100H, and
/// interrupts until it is read.
class Toy final : public Device, public BytePortDevice {
 public:
  explicit Toy(DmaBus& bus) : dma_(bus, "toy") {}
  [[nodiscard]] std::string_view name() const override { return "toy"; }
  void declare(Declaration& declaration) override {
    const std::uint16_t port = declaration.ports(0x2f0, 1, *this);
    const std::uint8_t irq = declaration.interrupt(irq_, 5, Trigger::edge);
    declaration.acpi_device(
        "TOY0", aml::sequence(
                    {aml::name("_HID", aml::eisa_id("TOY0001")),
                     aml::name("_CRS", aml::resources({aml::io_ports(port, 1), aml::irq(irq)}))}));
  }
  void visit_state(StateVisitor& visitor) override {
    visitor.field("sum", sum_);
    irq_.visit_state(visitor, "level");
  }
  void reset() override {
    sum_ = 0;
    irq_.set(false);
  }

 protected:
  std::uint8_t read_byte(std::uint16_t /*offset*/) override {
    irq_.set(false);
    return sum_;
  }
  void write_byte(std::uint16_t /*offset*/, std::uint8_t value) override {
    sum_ = static_cast<std::uint8_t>(sum_ + value);
    if (dma_.write(GuestPhysical{0x1100}, sum_) == DmaStatus::failed) return;
    irq_.set(true);
  }

 private:
  std::uint8_t sum_ = 0;
  InterruptPin irq_;
  DmaPort dma_;
};

Model pc_with_toy() {
  Model model = pc1();
  model.name = "pc-1 and a toy";
  model.parts.push_back({[](PartContext& context) { return std::make_unique<Toy>(context.dma); }});
  return model;
}

/// Writes 7 and 9 to the toy; IRQ 5's handler reads the sum to 1000H and counts
/// at 1001H. Ends by debug-exit 0.
Bytes toy_guest() {
  constexpr std::uint8_t kHandler = 0x3c;
  return {0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70,  // ds = ss = 0, sp = 7000H
          0xc7, 0x06, 0x34, 0x00, kHandler, 0x7c,                // vector 0dH: the handler
          0xc7, 0x06, 0x36, 0x00, 0x00, 0x00,                    //
          0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21,        // 8259A: vectors from 08H on
          0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21,        //
          0xb0, 0xdf, 0xe6, 0x21, 0xfb,                          // IRQ 5 alone; sti
          0xba, 0xf0, 0x02, 0xb0, 0x07, 0xee, 0x90,              // out 2f0H, 7
          0xb0, 0x09, 0xee, 0x90,                                // out 2f0H, 9
          0xba, 0xf4, 0x00, 0xb0, 0x00, 0xee, 0xf4,              // debug-exit 0
          // the handler
          0xba, 0xf0, 0x02, 0xec, 0xa2, 0x00, 0x10,  // in al, 2f0H; mov [1000H], al
          0xfe, 0x06, 0x01, 0x10,                    // inc byte [1001H]
          0xb0, 0x20, 0xe6, 0x20, 0xcf};             // end of interrupt; iret
}

std::unique_ptr<Machine> boot_toy(const Model& model) {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  auto machine = std::make_unique<Machine>(config, model);
  const Bytes image = toy_guest();
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel_name = "toy";
  request.kernel = image;
  machine->boot(request);
  return machine;
}

TEST_CASE("a device of one's own has ports, an interrupt, state, DMA and an ACPI entry") {
  const Model model = pc_with_toy();
  const auto machine = boot_toy(model);
  REQUIRE(machine->run({{kNever - 1}, 0}) == MachineStop::ended);
  CHECK(machine->ending().reason == EndReason::debug_exit);
  CHECK(machine->config().model == model.name);
  CHECK(*machine->ram().host(0x1000) == 16);
  CHECK(*machine->ram().host(0x1001) == 2);
  CHECK(*machine->ram().host(0x1100) == 16);

  const ByteView tables(machine->ram().host(0xf0000), 0x8000);
  const std::string_view entry = "TOY0";
  CHECK(std::search(tables.begin(), tables.end(), entry.begin(), entry.end()) != tables.end());

  const auto half = boot_toy(model);
  REQUIRE(half->run({{20}, 0}) == MachineStop::reached);  // just after the first write
  const std::vector<Section> sections = half->save_sections();
  const auto toy = std::find_if(sections.begin(), sections.end(),
                                [](const Section& section) { return section.name == "toy"; });
  REQUIRE(toy != sections.end());
  const auto copy = boot_toy(model);
  REQUIRE(copy->run({{5}, 0}) == MachineStop::reached);
  (void)copy->close_epoch();
  (void)half->close_epoch();
  for (std::uint64_t page = 0; page < half->ram().page_count(); ++page) {
    copy->replace_page(page, {half->ram().host(page * kPageSize), kPageSize},
                       half->page_hash(page));
  }
  copy->load_sections(sections);
  CHECK(copy->digest() == half->digest());
  REQUIRE(copy->run({{kNever - 1}, 0}) == MachineStop::ended);
  CHECK(copy->digest() == machine->digest());
}

TEST_CASE("a recording made without a device opens beside machines that have it") {
  const Model model = pc_with_toy();
  const auto with_toy = boot_toy(model);
  const auto reader = testing::open_bytes(testing::record_tiny({.inputs = {{30'000, 'a'}}}));
  const ReplayOutcome outcome = replay_recording(*reader, {}, [](Position) {});
  CHECK(outcome.digests_checked > 1);
  CHECK(outcome.position == reader->usable_to());
}

}  // namespace
}  // namespace chronovisor
