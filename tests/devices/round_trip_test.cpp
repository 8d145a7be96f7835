#include <array>
#include <map>
#include <memory>

#include "base/error.h"
#include "tests/devices/device_test_support.h"
#include "tests/devices/floppy_bench.h"
#include "tests/devices/pc2_benches.h"
#include "vmm/devices/input/i8042.h"
#include "vmm/devices/interrupt/io_apic.h"
#include "vmm/devices/interrupt/local_apic.h"
#include "vmm/devices/interrupt/pic.h"
#include "vmm/devices/legacy/coprocessor_error.h"
#include "vmm/devices/legacy/debug_console.h"
#include "vmm/devices/legacy/debug_exit.h"
#include "vmm/devices/legacy/post_port.h"
#include "vmm/devices/legacy/uart16550.h"
#include "vmm/devices/pci/pci_host.h"
#include "vmm/devices/power/acpi_pm.h"
#include "vmm/devices/power/shutdown_ports.h"
#include "vmm/devices/power/system_control.h"
#include "vmm/devices/timer/pit.h"
#include "vmm/devices/timer/rtc_cmos.h"
#include "vmm/model/assembly.h"
#include "vmm/model/model.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

std::uint64_t random_port(PortDevice& device, Random& random, unsigned ports) {
  const auto offset = static_cast<std::uint16_t>(below(random, ports));
  const auto value = static_cast<std::uint8_t>(random());
  if (below(random, 2) == 0) return device.read_port(offset, 1);
  device.write_port(offset, 1, value);
  return 0;
}

struct PicBench final : Bench {
  Pic pic;
  std::uint64_t outputs = 0;
  PicBench() {
    pic.on_output_changed([this](bool level) { lines.set_line(0, level); });
  }
  Device& device() override { return pic; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 6)) {
      case 0:
        return pic.output() ? pic.acknowledge() : 0;
      case 1:
      case 2:
      case 3:
        pic.set_line(static_cast<unsigned>(below(random, 16)), below(random, 2) != 0);
        return pic.output();
      default:
        return random_port(pic, random, 6);
    }
  }
};

struct PitBench final : Bench {
  Pit pit{clock};
  PitBench() { lines.wire(pit); }
  Device& device() override { return pit; }
  std::uint64_t step(Random& random) override {
    if (below(random, 3) == 0) random_pass(*this, random);
    return random_port(pit, random, 5);
  }
};

template <std::uint16_t kNumber>
struct UartBench final : Bench {
  Uart16550 uart{kNumber, clock, output};
  UartBench() { lines.wire(uart); }
  Device& device() override { return uart; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 6)) {
      case 0:
        random_pass(*this, random);
        return 0;
      case 1:
      case 2:
        uart.receive(static_cast<std::uint8_t>(random()));
        return uart.can_receive();
      case 3:
        if (below(random, 4) == 0) uart.receive_break();
        return 0;
      default:
        return random_port(uart, random, 8);
    }
  }
};

struct RtcBench final : Bench {
  RtcCmos rtc{clock, {256U << 20, 0}, 1'700'000'000};
  RtcBench() { lines.wire(rtc); }
  Device& device() override { return rtc; }
  std::uint64_t step(Random& random) override {
    if (below(random, 3) == 0) random_pass(*this, random);
    if (below(random, 2) == 0) {
      rtc.write_port(0, 1, static_cast<std::uint32_t>(below(random, 16)));
    }
    return random_port(rtc, random, 2);
  }
};

struct I8042Bench final : Bench {
  I8042 keyboard;
  I8042Bench() { lines.wire(keyboard); }
  Device& device() override { return keyboard; }
  std::vector<std::uint64_t> observe() override {
    std::vector<std::uint64_t> seen;
    const auto drain = [&] {
      while ((keyboard.read_port(4, 1) & 1) != 0) seen.push_back(keyboard.read_port(0, 1));
    };
    drain();
    keyboard.write_port(4, 1, 0xae);
    drain();
    keyboard.write_port(0, 1, 0x00);  // ends whatever was waiting for an argument
    keyboard.write_port(0, 1, 0xf0);
    keyboard.write_port(0, 1, 0x00);  // which scan code set?
    drain();
    return seen;
  }
  std::uint64_t step(Random& random) override {
    constexpr std::array<std::uint8_t, 12> kCommands = {0x20, 0x60, 0xaa, 0xad, 0xae, 0xd0,
                                                        0xd1, 0xd2, 0xd4, 0x65, 0x25, 0xc0};
    constexpr std::array<std::uint8_t, 8> kKeyboard = {0xed, 0xf0, 0xf2, 0xf4,
                                                       0xf5, 0xfe, 0xff, 0x03};
    switch (below(random, 5)) {
      case 0:
        keyboard.receive_scan_code(static_cast<std::uint8_t>(random()));
        return keyboard.can_receive();
      case 1:
        keyboard.write_port(4, 1, kCommands[below(random, kCommands.size())]);
        return 0;
      case 2:
        keyboard.write_port(0, 1, kKeyboard[below(random, kKeyboard.size())]);
        return 0;
      case 3:
        keyboard.write_port(0, 1, static_cast<std::uint8_t>(random()));
        return 0;
      default:
        return below(random, 3) == 0 ? keyboard.read_port(0, 1) : keyboard.read_port(4, 1);
    }
  }
};

struct AcpiBench final : Bench {
  AcpiPm acpi{clock, AcpiPm::TimerWidth::bits24};
  AcpiBench() { lines.wire(acpi); }
  Device& device() override { return acpi; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 6)) {
      case 0:
        random_pass(*this, random);
        return 0;
      case 1:
        acpi.raise_gpe(static_cast<unsigned>(below(random, 16)));
        return 0;
      case 2:
        acpi.press_power_button();
        return 0;
      case 3:
        acpi.write_port(AcpiPm::kSmiCommandOffset, 1,
                        static_cast<std::uint32_t>(0xf0 + below(random, 2)));
        return 0;
      default:
        return random_port(acpi, random, 0x12);
    }
  }
};

struct PciBench final : Bench {
  PciHost pci;
  Device& device() override { return pci; }
  std::uint64_t step(Random& random) override {
    if (below(random, 2) == 0) {
      pci.write_port(0, 4, 0x80000000U | (static_cast<std::uint32_t>(random()) & 0xfc));
      return pci.read_port(0, 4);
    }
    return random_port(pci, random, 8);
  }
};

struct PostBench final : Bench {
  PostPort post;
  Device& device() override { return post; }
  std::uint64_t step(Random& random) override { return random_port(post, random, 1); }
};

struct SystemControlBench final : Bench {
  SystemControl control;
  Device& device() override { return control; }
  std::uint64_t step(Random& random) override { return random_port(control, random, 1); }
};

/// Records what leaves a device toward the other APIC.
struct RecordingBus final : ApicBus {
  explicit RecordingBus(RecordingLines& recorder) : lines(recorder) {}
  void deliver(const ApicMessage& message) override {
    lines.events.push_back(0x10000 + message.vector + 256U * message.destination);
  }
  void broadcast_eoi(std::uint8_t vector) override { lines.events.push_back(0x20000 + vector); }
  RecordingLines& lines;
};

struct IoApicBench final : Bench {
  RecordingBus bus{lines};
  IoApic io_apic{bus};
  Device& device() override { return io_apic; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 5)) {
      case 0:
        io_apic.end_of_interrupt(static_cast<std::uint8_t>(random()));
        return 0;
      case 1:
        io_apic.set_line(static_cast<unsigned>(below(random, 24)), below(random, 2) != 0);
        return 0;
      case 2:
        io_apic.write_mmio(0, 4, below(random, 0x40));
        return 0;
      case 3:
        return io_apic.read_mmio(0x10, 4);
      default:
        io_apic.write_mmio(0x10, 4, random() & 0xff0fffff);
        return 0;
    }
  }
};

struct LocalApicBench final : Bench {
  RecordingBus bus{lines};
  LocalApic apic{clock, bus, 40};
  LocalApicBench() {
    lines.wire(apic);
    apic.on_nmi([this] { lines.events.push_back(0x30000); });
  }
  Device& device() override { return apic; }
  std::vector<std::uint64_t> observe() override {
    std::vector<std::uint64_t> seen;
    for (unsigned index = 0; index < 0x40; ++index) {
      seen.push_back(apic.read_mmio(index << 4, 4));
      std::uint64_t value = 0;
      seen.push_back(apic.read_msr(0x800 + index, value) ? value : 1);
    }
    std::uint64_t deadline = 0;
    seen.push_back(apic.read_msr(0x6e0, deadline));
    seen.push_back(deadline);
    return seen;
  }
  std::uint64_t step(Random& random) override {
    constexpr std::array<unsigned, 18> kRegisters = {0x02, 0x08, 0x0b, 0x0d, 0x0e, 0x0f,
                                                     0x28, 0x30, 0x31, 0x32, 0x33, 0x34,
                                                     0x35, 0x36, 0x37, 0x38, 0x39, 0x3e};
    const unsigned index = kRegisters[below(random, kRegisters.size())];
    std::uint64_t value = 0;
    switch (below(random, 10)) {
      case 0:
        random_pass(*this, random);
        return 0;
      case 1:
        return apic.pending() ? apic.acknowledge() : 0;
      case 2: {
        ApicMessage message;
        message.vector = static_cast<std::uint8_t>(random());
        message.trigger = static_cast<ApicTrigger>(below(random, 2));
        apic.deliver(message);
        return apic.pending();
      }
      case 3:
        apic.set_lint0(below(random, 2) != 0);
        apic.set_lint1(below(random, 2) != 0);
        return apic.accepts_external();
      case 4:
        apic.set_tsc_offset(below(random, 1U << 30));
        if (below(random, 2) == 0) return apic.cr8();
        apic.write_mmio(0x280, 4, 0);  // ESR: show the errors so far
        return apic.read_mmio(0x280, 4);
      case 5:
        return apic.write_msr(0x6e0, clock.ns + below(random, 1U << 31));
      case 6:
        if (below(random, 8) == 0) return apic.write_msr(0x1b, 0xfee00900);
        if (below(random, 8) == 0) return apic.write_msr(0x1b, 0xfee00d00);
        if (below(random, 8) == 0) return apic.write_msr(0x1b, 0xfee00100);
        return apic.read_msr(0x800 + index, value) ? value : 1;
      case 7:
        return apic.read_mmio(index << 4, 4);
      case 8:
        apic.write_mmio(0xf0, 4, 0x1ff);
        apic.write_mmio(0x320, 4, 0x20040 + (below(random, 3) << 17));
        return 0;
      default:
        apic.write_mmio(index << 4, 4, random() & (below(random, 2) == 0 ? ~0U : 0xfffeffff));
        return apic.pending();
    }
  }
};

struct DebugConsoleBench final : Bench {
  DebugConsole console{output};
  Device& device() override { return console; }
  std::uint64_t step(Random& random) override { return random_port(console, random, 1); }
};

struct DebugExitBench final : Bench {
  RecordingControl control;
  DebugExit exit{"debug_exit", 0xf4, 4, DebugExit::Section::always, control};
  Device& device() override { return exit; }
  std::uint64_t step(Random& random) override {
    control.exits.clear();
    return random_port(exit, random, 4) + control.exits.size();
  }
};

struct IsaDebugExitBench final : Bench {
  RecordingControl control;
  DebugExit exit{"isa_debug_exit", 0x501, 2, DebugExit::Section::never, control};
  Device& device() override { return exit; }
  std::uint64_t step(Random& random) override {
    control.exits.clear();
    return random_port(exit, random, 2) + control.exits.size();
  }
};

struct ForeignSleepBench : Bench {
  explicit ForeignSleepBench(std::string_view name) : sleep(name, 0x4004, control) {}
  RecordingControl control;
  ForeignSleepControl sleep;
  Device& device() override { return sleep; }
  std::uint64_t step(Random& random) override {
    control.power_offs.clear();
    return random_port(sleep, random, 2) + control.power_offs.size();
  }
};
struct BochsSleepBench final : ForeignSleepBench {
  BochsSleepBench() : ForeignSleepBench("bochs_sleep") {}
};
struct VirtualBoxSleepBench final : ForeignSleepBench {
  VirtualBoxSleepBench() : ForeignSleepBench("virtualbox_sleep") {}
};

struct ShutdownWordBench final : Bench {
  RecordingControl control;
  ShutdownWord word{control};
  std::size_t next = 0;
  Device& device() override { return word; }
  std::uint64_t step(Random& random) override {
    static constexpr std::string_view kWord = "Shutdown";
    control.power_offs.clear();
    const char letter = below(random, 8) == 0 ? 'x' : kWord[below(random, kWord.size())];
    word.write_port(0, 1, static_cast<std::uint8_t>(letter));
    return control.power_offs.size();
  }
  std::vector<std::uint64_t> observe() override {
    control.power_offs.clear();
    for (const char c : std::string_view("utdown"))
      word.write_port(0, 1, static_cast<std::uint8_t>(c));
    return {control.power_offs.size()};
  }
};

struct CoprocessorErrorBench final : Bench {
  CoprocessorError circuit;
  CoprocessorErrorBench() { lines.wire(circuit); }
  Device& device() override { return circuit; }
  std::uint64_t step(Random& random) override {
    switch (below(random, 3)) {
      case 0:
        return circuit.error();
      case 1:
        circuit.error_cleared();
        return 0;
      default:
        return random_port(circuit, random, 1);
    }
  }
};

/// How the device behind a state section is tested.
struct BenchKind {
  std::function<std::unique_ptr<Bench>()> make;
  std::set<std::string> constant_fields;
  unsigned histories = 300;
};

template <class BenchType>
std::unique_ptr<Bench> make_bench() {
  return std::make_unique<BenchType>();
}

const std::map<std::string, BenchKind>& benches() {
  static const std::map<std::string, BenchKind> kinds{
      {"pic", {make_bench<PicBench>, {}}},
      // Gates 0 and 1 are tied high, so these two never freeze.
      {"pit",
       {make_bench<PitBench>,
        {"counter0.gate", "counter0.frozen", "counter0.frozen_elapsed", "counter1.gate",
         "counter1.frozen", "counter1.frozen_elapsed"},
        1000}},
      {"uart0", {make_bench<UartBench<0>>, {}, 1000}},
      {"rtc_cmos", {make_bench<RtcBench>, {}}},
      {"i8042", {make_bench<I8042Bench>, {}}},
      {"acpi_pm", {make_bench<AcpiBench>, {}}},
      {"pci_host", {make_bench<PciBench>, {}}},
      {"post_port", {make_bench<PostBench>, {}}},
      {"system_control", {make_bench<SystemControlBench>, {}}},
      {"io_apic", {make_bench<IoApicBench>, {}}},
      {"local_apic", {make_bench<LocalApicBench>, {}, 600}},
      {"debug_console", {make_bench<DebugConsoleBench>, {}}},
      {"debug_exit", {make_bench<DebugExitBench>, {}}},
      {"isa_debug_exit", {make_bench<IsaDebugExitBench>, {}}},
      {"bochs_sleep", {make_bench<BochsSleepBench>, {}}},
      {"virtualbox_sleep", {make_bench<VirtualBoxSleepBench>, {}}},
      {"shutdown_word", {make_bench<ShutdownWordBench>, {}}},
      {"coprocessor_error", {make_bench<CoprocessorErrorBench>, {}}},
      {"uart1", {make_bench<UartBench<1>>, {}, 600}},
      // A key's codes come whole, so that no F0H is ever left behind.
      {"ps2", {make_bench<Ps2Bench>, {"released"}, 1000}},
      {"piix3", {make_bench<Piix3Bench>, {"pci.intx_asked", "pci.intx"}, 600}},
      {"piix4_pm", {make_bench<Piix4PmBench>, {"pci.intx_asked", "pci.intx", "gpe_status"}, 600}},
      // ide_test.cpp has drives, and vga_test.cpp all registers.
      {"ide",
       {make_bench<EmptyIdeBench>,
        {"pci.intx_asked", "pci.intx", "primary.asserted", "primary.pin", "primary.region_at",
         "primary.region_left", "primary.descriptors_taken", "primary.last_descriptor",
         "secondary.asserted", "secondary.pin", "secondary.region_at", "secondary.region_left",
         "secondary.descriptors_taken", "secondary.last_descriptor"}}},
      {"vga",
       {make_bench<PlainVgaBench>,
        {"pci.intx_asked", "pci.intx", "attribute", "latch", "vbe_index", "vbe"},
        60}},
      {"fw_cfg", {make_bench<FwCfgBench>, {}, 100}},
      {"rom", {make_bench<RomBench>, {}, 60}},
      {"firmware_console", {make_bench<FirmwareConsoleBench>, {}}},
      // One drive has a disk, and nothing uses the second controller's channels.
      {"floppy",
       {make_bench<FloppyBench>,
        {"dma.chip1.status", "drive1.changed", "drive2.changed", "drive3.changed"},
        900}},
  };
  return kinds;
}

TEST_CASE("every device of every model has a bench in this file, under its section's name") {
  struct Nobody final : Clock, OutputSink, MachineControl {
    [[nodiscard]] VirtualTime now() const override { return {}; }
    void put(const Output& /*output*/) override {}
    void power_off(std::uint16_t /*port*/) override {}
    void reset_machine() override {}
    void debug_exit(std::uint32_t /*code*/, std::uint16_t /*port*/) override {}
  } nobody;
  for (const Model* model : all_models()) {
    CAPTURE(model->name);
    Ram ram(1U << 20);
    DmaBus dma(ram);
    PageSpace memory(ram);
    UpperMemory upper(ram, [] {});
    MediaPort media;
    const Assembly board(
        *model, {nobody, nobody, nobody, dma, memory, upper, media, 1U << 20, 0, 0, ram, {}});
    for (const auto& device : board.devices()) {
      CAPTURE(device->name());
      CHECK(benches().contains(std::string(device->name())));
    }
  }
  for (const auto& [name, kind] : benches()) CHECK(kind.make()->device().name() == name);
}

TEST_CASE("every field of every device survives a round trip") {
  for (const auto& [name, kind] : benches()) {
    CAPTURE(name);
    check_round_trip(kind.make, kind.constant_fields, kind.histories);
  }
}

template <class BenchType>
void check_early_advance() {
  for (unsigned seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    BenchType bench;
    for (unsigned i = 0; i < 60; ++i) (void)bench.step(random);
    const std::uint64_t deadline = bench.device().next_deadline_ns();
    if (deadline <= bench.clock.ns) continue;
    const Bytes before = save(bench.device());
    bench.lines.events.clear();
    bench.device().advance({bench.clock.ns});
    bench.device().advance({deadline - 1});
    CHECK(save(bench.device()) == before);
    CHECK(bench.lines.events.empty());
    CHECK(bench.device().next_deadline_ns() == deadline);
  }
}

TEST_CASE("advancing a device before its deadline changes nothing") {
  check_early_advance<PitBench>();
  check_early_advance<UartBench<0>>();
  check_early_advance<RtcBench>();
  check_early_advance<AcpiBench>();
  check_early_advance<LocalApicBench>();
  check_early_advance<Ps2Bench>();
  check_early_advance<Piix4PmBench>();
}

/// The fields of a section, to be changed one by one.
struct FieldBytes {
  std::string name;
  Bytes value;
};

std::vector<FieldBytes> fields_of(const Bytes& section) {
  std::vector<FieldBytes> fields;
  for (ByteReader in(section, "section"); !in.at_end();) {
    std::string name = in.sized_text(128);
    const ByteView value = in.sized_bytes(1U << 20);
    fields.push_back({std::move(name), Bytes(value.begin(), value.end())});
  }
  return fields;
}

Bytes section_of(const std::vector<FieldBytes>& fields) {
  ByteWriter out;
  for (const FieldBytes& field : fields) {
    out.sized_text(field.name);
    out.sized_bytes(field.value);
  }
  return out.take();
}

/// Some bytes of a value become extreme or anything.
void disturb(Bytes& value, Random& random) {
  constexpr std::array<std::uint8_t, 5> kExtremes = {0x00, 0x01, 0x7f, 0x80, 0xff};
  if (value.empty()) return;
  switch (below(random, 3)) {
    case 0:
      std::fill(value.begin(), value.end(), kExtremes[below(random, kExtremes.size())]);
      break;
    case 1:
      value[below(random, value.size())] = static_cast<std::uint8_t>(random());
      break;
    default:
      for (std::uint8_t& byte : value) byte = static_cast<std::uint8_t>(random());
      break;
  }
}

/// Loads a state of which any field may be anything. It is refused as bad input, or
/// the device goes on with a state that it could itself have saved.
/// @return whether it was taken
bool load_disturbed(const BenchKind& kind, const Bytes& candidate, std::uint64_t seed) {
  const std::unique_ptr<Bench> bench = kind.make();
  bench->clock.ns = seed % 3 == 0 ? seed << 40 : 1000;
  const auto restore = [&bench](Bench& into, const Bytes& section) {
    into.clock.ns = bench->clock.ns;
    load(into.device(), section);
    into.device().state_restored();
    into.lines.state_restored();
    REQUIRE(into.lines.events.empty());  // restoring drives nothing
  };
  try {
    restore(*bench, candidate);
  } catch (const Error& error) {
    REQUIRE(error.code() == ErrorCode::bad_input);
    return false;
  }
  const Bytes taken = save(bench->device());
  const std::unique_ptr<Bench> again = kind.make();
  restore(*again, taken);
  REQUIRE(save(again->device()) == taken);
  Random first(seed);
  Random second(seed);
  for (unsigned n = 0; n < 30; ++n) {
    REQUIRE(bench->step(first) == again->step(second));
    REQUIRE(bench->lines.events == again->lines.events);
  }
  REQUIRE(bench->observe() == again->observe());
  REQUIRE(save(bench->device()) == save(again->device()));
  return true;
}

TEST_CASE("a state with any values in its fields is refused, or the device goes on from it") {
  for (const auto& [name, kind] : benches()) {
    CAPTURE(name);
    unsigned taken = 0;
    for (unsigned seed = 1; seed <= 60; ++seed) {
      CAPTURE(seed);
      Random random(seed);
      const std::unique_ptr<Bench> bench = kind.make();
      for (std::uint64_t n = below(random, 60); n > 0; --n) (void)bench->step(random);
      const std::vector<FieldBytes> sound = fields_of(save(bench->device()));
      if (sound.empty()) {
        ++taken;
        continue;
      }
      for (unsigned round = 0; round < 10; ++round) {
        std::vector<FieldBytes> fields = sound;
        for (std::uint64_t n = 1 + below(random, 3); n > 0; --n) {
          disturb(fields[below(random, fields.size())].value, random);
        }
        if (load_disturbed(kind, section_of(fields), seed)) ++taken;
      }
    }
    CHECK(taken > 0);
  }
}

TEST_CASE("a state of another shape is refused") {
  for (const auto& bench : benches()) {
    const std::string& name = bench.first;
    const BenchKind& kind = bench.second;
    CAPTURE(name);
    const Bytes section = save(kind.make()->device());
    const auto refused = [&](const Bytes& bytes) {
      try {
        load(kind.make()->device(), bytes);
      } catch (const Error& error) {
        return error.code() == ErrorCode::bad_input;
      }
      return false;
    };
    for (std::size_t length = 0; length < section.size(); ++length) {
      CHECK(refused(Bytes(section.begin(), section.begin() + static_cast<std::ptrdiff_t>(length))));
    }
    std::vector<FieldBytes> fields = fields_of(section);
    fields.push_back({"one_more", {1}});
    CHECK(refused(section_of(fields)));
    fields.pop_back();
    if (fields.empty()) continue;
    fields.push_back(fields.front());
    CHECK(refused(section_of(fields)));
    fields.pop_back();
    fields.front().value.push_back(0);
    CHECK(refused(section_of(fields)));
  }
}

}  // namespace
}  // namespace chronovisor
