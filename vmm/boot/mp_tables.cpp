#include "vmm/boot/tables.h"

#include <algorithm>
#include <numeric>

#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

constexpr std::uint8_t kSpecificationRevision = 4;  // 1.4
constexpr std::size_t kPointerSize = 16;

constexpr std::uint8_t kPciBus = 0;
constexpr std::uint8_t kIsaBus = 1;

enum EntryType : std::uint8_t {
  kProcessor = 0,
  kBus = 1,
  kIoApic = 2,
  kIoInterrupt = 3,
  kLocalInterrupt = 4,
};

enum InterruptType : std::uint8_t { kInt = 0, kNmi = 1, kExtInt = 3 };

constexpr std::uint16_t kBusDefault = 0x0000;
constexpr std::uint16_t kActiveHighLevel = 0x000d;
constexpr std::uint8_t kAllApics = 0xff;

void set_checksum(Bytes& bytes, std::size_t offset) {
  const unsigned sum = std::accumulate(bytes.begin(), bytes.end(), 0U);
  bytes[offset] = static_cast<std::uint8_t>(0U - sum);
}

/// The entries of the configuration table, in the order the specification asks.
class Entries {
 public:
  void processor(const FirmwareFacts::Processor& processor, bool boots) {
    constexpr std::uint8_t kEnabled = 0x01;
    constexpr std::uint8_t kBootProcessor = 0x02;
    constexpr std::uint32_t kSignature = 0x600;  // family 6
    constexpr std::uint32_t kFeatures = 0x201;   // FPU, APIC
    begin(kProcessor);
    out_.integer(processor.apic_id);
    out_.integer(processor.apic_version);
    out_.integer(static_cast<std::uint8_t>(kEnabled | (boots ? kBootProcessor : 0)));
    out_.integer(kSignature);
    out_.integer(kFeatures);
    out_.integer(std::uint64_t{0});
  }
  void bus(std::uint8_t id, std::string_view name) {
    begin(kBus);
    out_.integer(id);
    out_.bytes(as_bytes(name));
  }
  void io_apic(const FirmwareFacts::IoApic& io_apic) {
    begin(kIoApic);
    out_.integer(io_apic.id);
    out_.integer(io_apic.version);
    out_.integer(std::uint8_t{1});  // usable
    out_.integer(io_apic.base);
  }
  void interrupt(EntryType entry, InterruptType type, std::uint16_t flags, std::uint8_t irq,
                 std::uint8_t apic, std::uint8_t pin) {
    begin(entry);
    out_.integer(static_cast<std::uint8_t>(type));
    out_.integer(flags);
    out_.integer(kIsaBus);
    out_.integer(irq);
    out_.integer(apic);
    out_.integer(pin);
  }
  [[nodiscard]] const Bytes& bytes() const { return out_.data(); }
  [[nodiscard]] std::uint16_t count() const { return count_; }

 private:
  void begin(EntryType type) {
    out_.integer(static_cast<std::uint8_t>(type));
    ++count_;
  }
  ByteWriter out_;
  std::uint16_t count_ = 0;
};

Entries entries(const FirmwareFacts& facts) {
  constexpr std::uint8_t kIsaInterrupts = 16;
  constexpr std::uint8_t kCascade = 2;
  Entries all;
  bool boots = true;
  for (const FirmwareFacts::Processor& processor : facts.processors) {
    all.processor(processor, boots);
    boots = false;
  }
  all.bus(kPciBus, "PCI   ");
  all.bus(kIsaBus, "ISA   ");
  for (const FirmwareFacts::IoApic& io_apic : facts.io_apics) all.io_apic(io_apic);
  const std::uint8_t io_apic = facts.io_apics.empty() ? 0 : facts.io_apics.front().id;
  all.interrupt(kIoInterrupt, kExtInt, kBusDefault, 0, io_apic, 0);
  for (std::uint8_t irq = 0; irq < kIsaInterrupts; ++irq) {
    if (irq == kCascade) continue;  // its pin takes the timer
    const auto fact = std::find_if(facts.isa_interrupts.begin(), facts.isa_interrupts.end(),
                                   [&](const auto& isa) { return isa.irq == irq; });
    const bool driven = fact != facts.isa_interrupts.end();
    const bool level = driven && fact->trigger == Trigger::level;
    all.interrupt(kIoInterrupt, kInt, level ? kActiveHighLevel : kBusDefault, irq, io_apic,
                  driven ? fact->gsi : irq);
  }
  all.interrupt(kLocalInterrupt, kExtInt, kBusDefault, 0, kAllApics, 0);
  all.interrupt(kLocalInterrupt, kNmi, kBusDefault, 0, kAllApics, 1);
  return all;
}

Bytes configuration_table(const FirmwareFacts& facts) {
  constexpr std::size_t kHeaderSize = 44;
  const Entries all = entries(facts);
  ByteWriter out;
  out.bytes(as_bytes("PCMP"));
  out.integer(static_cast<std::uint16_t>(kHeaderSize + all.bytes().size()));
  out.integer(kSpecificationRevision);
  out.integer(std::uint8_t{0});  // checksum, below
  out.bytes(as_bytes("CHRONOVS"));
  out.bytes(as_bytes("CHRONOVISOR "));
  out.integer(std::uint32_t{0});  // OEM table
  out.integer(std::uint16_t{0});  // its size
  out.integer(all.count());
  out.integer(facts.local_apic_base);
  out.integer(std::uint32_t{0});  // no extended table
  out.bytes(all.bytes());
  Bytes bytes = out.take();
  set_checksum(bytes, 7);
  return bytes;
}

Bytes floating_pointer(std::uint32_t table_address) {
  ByteWriter out;
  out.bytes(as_bytes("_MP_"));
  out.integer(table_address);
  out.integer(std::uint8_t{kPointerSize / 16});
  out.integer(kSpecificationRevision);
  out.integer(std::uint8_t{0});   // checksum, below
  out.integer(std::uint32_t{0});  // features: a table is there, virtual wire mode
  out.integer(std::uint8_t{0});
  Bytes bytes = out.take();
  set_checksum(bytes, 10);
  return bytes;
}

}  // namespace

Bytes mp_tables(const FirmwareFacts& facts) {
  Bytes area = floating_pointer(platform::kMpTables + kPointerSize);
  const Bytes table = configuration_table(facts);
  area.insert(area.end(), table.begin(), table.end());
  return area;
}

}  // namespace chronovisor
