// The board: what follows from the parts of a model and from what they declare.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/vmm/tiny_guest.h"
#include "vmm/boot/tables.h"
#include "vmm/devices/core/deadline_queue.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/model/assembly.h"

namespace chronovisor {
namespace {

/// A board without a machine around it.
struct Bare final : Clock, OutputSink, MachineControl, ProcessorPins {
  explicit Bare(const Model& model)
      : board(model, {*this, *this, *this, dma, memory, upper, media, 1U << 20, 0, 0, ram, {}}) {
    board.interrupts().connect(this);
    board.reset();
  }
  [[nodiscard]] VirtualTime now() const override { return {ns}; }
  void put(const Output& output) override {
    for (const std::uint8_t byte : output.payload) {
      outputs.push_back({static_cast<char>('0' + output.device), static_cast<char>(byte)});
    }
  }
  void power_off(std::uint16_t /*port*/) override {}
  void reset_machine() override {}
  void debug_exit(std::uint32_t /*code*/, std::uint16_t /*port*/) override {}
  void set_interrupt_request(bool level) override { interrupt_request = level; }
  void request_nmi() override {}

  std::uint64_t ns = 0;
  std::vector<std::string> outputs;
  bool interrupt_request = false;
  Ram ram{1U << 20};
  DmaBus dma{ram};
  PageSpace memory{ram};
  UpperMemory upper{ram, [] {}};
  MediaPort media;
  Assembly board;
};

/// Section bytes of every device.
std::vector<Bytes> save(Assembly& board) {
  std::vector<Bytes> sections;
  for (const auto& device : board.devices()) {
    StateSaver saver;
    device->visit_state(saver);
    sections.push_back(saver.take());
  }
  return sections;
}

void load(Assembly& board, const std::vector<Bytes>& sections) {
  for (std::size_t n = 0; n < sections.size(); ++n) {
    StateLoader loader(sections[n], board.devices()[n]->name());
    board.devices()[n]->visit_state(loader);
    loader.finish();
  }
  board.state_restored();
}

Model pc_with_second_port() {
  Model model = pc1();
  model.name = "pc-1 and COM2";
  model.parts.push_back(
      {[](PartContext& c) { return std::make_unique<Uart16550>(1, c.clock, c.outputs); },
       {.number = 1}});
  return model;
}

TEST_CASE("a second serial port is one more part of a model") {
  Bare pc(pc_with_second_port());
  pc.board.ports().write(0x2f8, 1, 'x');
  pc.board.ports().write(0x3f8, 1, 'y');
  CHECK(pc.outputs == std::vector<std::string>{"1x", "0y"});

  CHECK(pc.board.inputs().has_room(InputKind::serial_byte, 1));
  pc.board.inputs().deliver({InputKind::serial_byte, 1, {'z'}});
  CHECK((pc.board.ports().read(0x2fd, 1) & 1) == 1);
  CHECK((pc.board.ports().read(0x3fd, 1) & 1) == 0);
  CHECK(pc.board.ports().read(0x2f8, 1) == 'z');

  const FirmwareFacts& facts = pc.board.firmware();
  CHECK(facts.serial_ports == std::vector<std::uint16_t>{0x3f8, 0x2f8});
  CHECK(std::count_if(facts.isa_interrupts.begin(), facts.isa_interrupts.end(),
                      [](const auto& isa) { return isa.irq == 3; }) == 1);
  const Bytes dsdt = acpi_dsdt(facts);
  const std::string_view com2 = "COM2";
  CHECK(std::search(dsdt.begin(), dsdt.end(), com2.begin(), com2.end()) != dsdt.end());
}

TEST_CASE("a model may put a device elsewhere") {
  Model model = pc1();
  model.parts.push_back(
      {[](PartContext& c) { return std::make_unique<Uart16550>(1, c.clock, c.outputs); },
       {.number = 1, .ports = {0x500}, .interrupts = {11}}});
  Bare pc(model);
  pc.board.ports().write(0x500, 1, 'x');
  CHECK(pc.outputs == std::vector<std::string>{"1x"});
  CHECK(pc.board.ports().read(0x2fd, 1) == 0xff);
  CHECK(pc.board.firmware().serial_ports.back() == 0x500);
  const auto& interrupts = pc.board.firmware().isa_interrupts;
  CHECK(std::any_of(interrupts.begin(), interrupts.end(),
                    [](const auto& interrupt) { return interrupt.irq == 11; }));
}

TEST_CASE("an input for a device that is not there is refused by name") {
  Bare pc(pc1());
  CHECK_FALSE(pc.board.inputs().has_room(InputKind::serial_byte, 1));
  CHECK_THROWS_WITH_AS(pc.board.inputs().deliver({InputKind::serial_byte, 300, {'z'}}),
                       doctest::Contains("kind 1 for device 300"), Error);
  CHECK_THROWS_AS(pc.board.inputs().deliver({InputKind::mouse, 0, {}}), Error);
}

TEST_CASE("a shared interrupt line is up while one of its pins is") {
  Model model = pc1();
  model.parts.push_back(
      {[](PartContext& c) { return std::make_unique<Uart16550>(1, c.clock, c.outputs); },
       {.number = 1, .interrupts = {4}}});  // COM1's
  Bare pc(model);
  const auto requested = [](Bare& bare) {
    return (bare.board.ports().read(0x20, 1) & 0x10) != 0;  // IRR, IRQ 4
  };
  const auto enable = [&](std::uint16_t port) { pc.board.ports().write(port + 1U, 1, 2); };
  enable(0x3f8);
  CHECK(requested(pc));
  enable(0x2f8);
  (void)pc.board.ports().read(0x3fa, 1);  // COM1 takes its request back
  CHECK(requested(pc));
  SUBCASE("until the last one falls") {
    (void)pc.board.ports().read(0x2fa, 1);
    CHECK_FALSE(requested(pc));
  }
  SUBCASE("also when the state went through a file") {
    Bare copy(model);
    load(copy.board, save(pc.board));
    CHECK(save(copy.board) == save(pc.board));
    CHECK(requested(copy));
    (void)copy.board.ports().read(0x2fa, 1);
    CHECK_FALSE(requested(copy));
  }
}

TEST_CASE("the local APIC's page is where IA32_APIC_BASE says") {
  constexpr std::uint32_t kApicBase = 0x1b;
  constexpr std::uint64_t kFlags = 0x900;  // enabled, boot processor
  constexpr std::uint64_t kVersion = 0x30;
  constexpr std::uint64_t kOnes = 0xffffffff;
  Bare pc(pc1());
  LocalApic& apic = pc.board.interrupts().local_apic();
  const auto version = [](Bare& bare, std::uint64_t page) {
    return bare.board.memory().read({page + kVersion}, 4);
  };
  CHECK(version(pc, 0xfee00000) == 0x50014);
  REQUIRE(apic.write_msr(kApicBase, 0xfed40000 | kFlags));
  CHECK(version(pc, 0xfee00000) == kOnes);
  CHECK(version(pc, 0xfed40000) == 0x50014);
  pc.board.memory().write({0xfed40080}, 4, 0x20);
  CHECK(apic.cr8() == 2);

  Bare copy(pc1());
  load(copy.board, save(pc.board));
  CHECK(version(copy, 0xfee00000) == kOnes);
  CHECK(version(copy, 0xfed40000) == 0x50014);

  // Over the I/O APIC it is the processor's own page that answers.
  REQUIRE(apic.write_msr(kApicBase, 0xfec00000 | kFlags));
  CHECK(version(pc, 0xfec00000) == 0x50014);
  REQUIRE(apic.write_msr(kApicBase, 0xff'ffff'f000 | kFlags));  // the last page there is
  CHECK(version(pc, 0xff'ffff'f000) == 0x50014);
  pc.board.memory().write({0xfec00000}, 4, 1);
  CHECK(pc.board.memory().read({0xfec00010}, 4) == 0x00170020);
  REQUIRE(apic.write_msr(kApicBase, 0xff'ffff'f000 | 0x100));  // disabled: nobody is there
  CHECK(version(pc, 0xff'ffff'f000) == kOnes);
  pc.board.reset();
  CHECK(version(pc, 0xfee00000) == 0x50014);
}

TEST_CASE("a device's message becomes an interrupt") {
  Bare pc(pc1());
  MessageInterrupts& messages = pc.board.interrupts();
  messages.send_message_interrupt(0xfee00000, 0x51);
  CHECK(pc.interrupt_request);
  CHECK(pc.board.interrupts().acknowledge() == 0x51);
  pc.board.memory().write({0xfee000b0}, 4, 0);
  CHECK_FALSE(pc.interrupt_request);

  messages.send_message_interrupt(0xfee05000, 0x51);           // another processor
  messages.send_message_interrupt(0xfed00000, 0x51);           // no APIC's address
  messages.send_message_interrupt(0x1'fee00000, 0x51);         // nor this
  messages.send_message_interrupt(0xfee00000, 0x8000 | 0x51);  // a level taken back
  CHECK_FALSE(pc.interrupt_request);

  // Where the APIC's page is does not matter to a device.
  REQUIRE(pc.board.interrupts().local_apic().write_msr(0x1b, 0xfed40900));
  messages.send_message_interrupt(0xfee00000, 0x61);
  CHECK(pc.board.interrupts().acknowledge() == 0x61);

  CHECK(message_of(0xfee01000, 0x4141)->delivery_mode == ApicDeliveryMode::lowest_priority);
  CHECK(message_of(0xfee0100c, 0x41)->destination_mode == ApicDestinationMode::logical);
  // Linux has logical destinations without the redirection hint.
  CHECK(message_of(0xfee01004, 0x41)->destination_mode == ApicDestinationMode::logical);
  CHECK(message_of(0xfee01008, 0x41)->destination_mode == ApicDestinationMode::physical);
  CHECK(message_of(0xfee01000, 0xc041)->trigger == ApicTrigger::level);
  CHECK(message_of(0xfee01000, 0xc041)->destination == 1);
}

/// Due when it is told to be; notes when it was served.
class Alarm final : public Device {
 public:
  Alarm(char id, std::string& log) : id_(id), log_(log) {}
  [[nodiscard]] std::string_view name() const override { return "alarm"; }
  void declare(Declaration& /*declaration*/) override {}
  void visit_state(StateVisitor& /*visitor*/) override {}
  void reset() override {}
  [[nodiscard]] std::uint64_t next_deadline_ns() const override { return due_ns; }
  void advance(VirtualTime /*now*/) override {
    log_ += id_;
    due_ns = kNever;
    if (sets != nullptr) sets->set(sets_ns);
  }
  void set(std::uint64_t ns) {
    due_ns = ns;
    deadline_changed();
  }
  std::uint64_t due_ns = kNever;
  Alarm* sets = nullptr;
  std::uint64_t sets_ns = 0;

 private:
  char id_;
  std::string& log_;
};

TEST_CASE("what is due at one time is served in the model's order, each once") {
  std::string log;
  DeadlineQueue queue;
  Alarm a('a', log);
  Alarm b('b', log);
  Alarm c('c', log);
  for (Alarm* alarm : {&a, &b, &c}) alarm->join(queue);
  CHECK(queue.next_ns() == kNever);
  c.set(10);
  a.set(30);
  b.set(20);
  CHECK(queue.next_ns() == 10);
  queue.advance({9});
  CHECK(log.empty());
  queue.advance({25});
  CHECK(log == "bc");  // not in the order of their deadlines
  CHECK(queue.next_ns() == 30);

  log.clear();
  b.sets = &c;  // one that comes later in the order is served at once
  b.sets_ns = 40;
  b.set(40);
  c.sets = &a;  // one that comes earlier, in the next round
  c.sets_ns = 40;
  a.due_ns = kNever;
  queue.all_changed();
  queue.advance({40});
  CHECK(log == "bc");
  CHECK(queue.next_ns() == 40);
  queue.advance({40});
  CHECK(log == "bca");
  CHECK(queue.next_ns() == kNever);
}

/// Answers with what it is called.
class Named final : public MmioDevice, public PortDevice {
 public:
  explicit Named(std::uint8_t id) : id_(id) {}
  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i) {
      value |= std::uint64_t{static_cast<std::uint8_t>((id_ << 6) ^ (offset + i))} << (8 * i);
    }
    return value;
  }
  void write_mmio(std::uint64_t /*offset*/, unsigned /*width*/, std::uint64_t /*v*/) override {}
  std::uint32_t read_port(std::uint16_t offset, unsigned width) override {
    return static_cast<std::uint32_t>(read_mmio(offset, width));
  }
  void write_port(std::uint16_t /*offset*/, unsigned /*width*/, std::uint32_t /*v*/) override {}

 private:
  std::uint8_t id_;
};

TEST_CASE("wherever a guest puts its windows, the bus has an answer and it is the rule's") {
  constexpr std::uint64_t kTop = ~std::uint64_t{0};
  Named fixed(0);
  Named first(1);
  Named second(2);
  Named apic(3);
  Window first_window(0x40);
  Window second_window(0x30);
  Window apic_window(0x10);
  MmioBus memory;
  memory.map({0x100}, 0x50, fixed);
  memory.add(first_window, first);
  memory.add(second_window, second);
  memory.add(apic_window, apic, Precedence::processor);
  struct Claim {
    const Window* window;
    Named* device;
  };
  const std::vector<Claim> order{
      {&apic_window, &apic}, {nullptr, &fixed}, {&first_window, &first}, {&second_window, &second}};
  const auto expected = [&](std::uint64_t at) -> std::uint8_t {
    for (const Claim& claim : order) {
      const std::uint64_t size = claim.window == nullptr ? 0x50 : claim.window->size();
      if (claim.window != nullptr && !claim.window->first()) continue;
      const std::uint64_t begin = claim.window == nullptr ? 0x100 : *claim.window->first();
      if (at >= begin && at - begin < size) {
        return static_cast<std::uint8_t>(claim.device->read_mmio(at - begin, 1));
      }
    }
    return 0xff;
  };
  std::mt19937_64 random(7);
  for (unsigned round = 0; round < 2000; ++round) {
    Window& window = *std::array{&first_window, &second_window, &apic_window}[random() % 3];
    switch (random() % 4) {
      case 0:
        window.remove();
        break;
      case 1:
        window.place(kTop - random() % 0x60);  // at the very end, or beyond it
        break;
      default:
        window.place(0xc0 + random() % 0xe0);
        break;
    }
    for (unsigned n = 0; n < 8; ++n) {
      const std::uint64_t at = n == 0 ? kTop - random() % 0x60 : 0xa0 + random() % 0x120;
      REQUIRE(memory.read({at}, 1) == expected(at));
      std::uint64_t four = 0;
      for (unsigned i = 0; i < 4; ++i) four |= std::uint64_t{expected(at + i)} << (8 * i);
      if (at <= kTop - 4) REQUIRE(memory.read({at}, 4) == four);
    }
  }
}

TEST_CASE("a port window may be moved over others and beyond the last port") {
  Named fixed(0);
  Named moved(1);
  Window window(0x20);
  PortBus ports;
  ports.map(0x100, 4, fixed);
  ports.add(window, moved);
  CHECK(ports.read(0x100, 1) == 0x00);
  window.place(0xf8);
  CHECK(ports.read(0xf8, 1) == 0x40);
  CHECK(ports.read(0x100, 1) == 0x00);  // the board's own ports win
  CHECK(ports.read(0x104, 1) == 0x4c);
  CHECK(ports.read(0xfe, 4) == 0x01004746);
  window.place(0xfff0);
  CHECK(ports.read(0xffff, 1) == 0x4f);
  CHECK(ports.read(0x104, 1) == 0xff);
  window.place(0x1'0000);
  CHECK(ports.read(0xffff, 1) == 0xff);
  CHECK(ports.read(0x0000, 1) == 0xff);
}

TEST_CASE("an observer hears what it asked for, with the position") {
  struct Note final : OutputObserver {
    void output(Position position, const Output& output) override {
      heard.push_back(std::to_string(position.steps) + ":" +
                      std::to_string(static_cast<unsigned>(output.kind)) + "/" +
                      std::to_string(output.device));
    }
    std::vector<std::string> heard;
  };
  OutputRouter router;
  Note everything;
  Note debug;
  router.attach(OutputKind::debug, 0, debug);
  const std::array<std::uint8_t, 1> byte{'x'};
  {
    const Listening listening(router, &everything);
    router.put({5}, {OutputKind::serial, 1, byte});
    router.put({6}, {OutputKind::debug, 0, byte});
  }
  router.put({7}, {OutputKind::debug, 0, byte});
  CHECK(everything.heard == std::vector<std::string>{"5:1/1", "6:2/0"});
  CHECK(debug.heard == std::vector<std::string>{"6:2/0", "7:2/0"});
}

}  // namespace
}  // namespace chronovisor
