#include "vmm/devices/storage/ahci.h"

#include <algorithm>
#include <utility>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"
#include "vmm/devices/storage/ata_identity.h"

namespace chronovisor {
namespace {

/// The state version from which on each port is told of by a message.
constexpr std::uint32_t kEachPortVersion = 2;
constexpr std::uint32_t kRegisterBytes = 4096;
constexpr std::uint32_t kFirstPort = 0x100;
constexpr std::uint32_t kPortBytes = 0x80;
// 64-bit addresses, queueing, command list override, 3 Gb/s, AHCI only, 32 slots, 6 ports.
constexpr std::uint32_t kCapabilities =
    0xc1240000U | (AhciController::kSlots - 1) << 8 | (AhciController::kPorts - 1);
constexpr std::uint32_t kVersion = 0x00010300;

constexpr std::uint32_t kAhciEnable = 1U << 31;  // of GHC
constexpr std::uint32_t kInterruptEnable = 1U << 1;
constexpr std::uint32_t kHbaReset = 1U << 0;

constexpr std::uint32_t kStart = 1U << 0;  // of PxCMD
constexpr std::uint32_t kSpinUp = 1U << 1;
constexpr std::uint32_t kPowerOn = 1U << 2;
constexpr std::uint32_t kListOverride = 1U << 3;
constexpr std::uint32_t kFisReceive = 1U << 4;
constexpr std::uint32_t kFisRunning = 1U << 14;
constexpr std::uint32_t kListRunning = 1U << 15;

constexpr std::uint32_t kRegisterFis = 1U << 0;  // of PxIS
constexpr std::uint32_t kPioSetupFis = 1U << 1;
constexpr std::uint32_t kDeviceBitsFis = 1U << 3;
constexpr std::uint32_t kConnectChange = 1U << 6;
constexpr std::uint32_t kTaskFileError = 1U << 30;

constexpr std::uint8_t kReady = 0x50;  // DRDY, DSC
constexpr std::uint8_t kError = 0x01;
constexpr std::uint8_t kAborted = 0x04;
constexpr std::uint8_t kIdNotFound = 0x10;
constexpr std::uint8_t kUncorrectable = 0x40;
constexpr std::uint32_t kNoDevice = 0x7f;
constexpr std::uint32_t kDiskSignature = 0x00000101;
constexpr std::uint32_t kLinkUp = 0x123;        // of PxSSTS: a device, 3 Gb/s, active
constexpr std::uint32_t kExchanged = 1U << 26;  // of PxSERR

constexpr std::size_t kPieceBytes = 64 * 1024;

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint64_t with_low(std::uint64_t old, std::uint32_t value) {
  return (old & 0xffffffff00000000) | value;
}
std::uint64_t with_high(std::uint64_t old, std::uint32_t value) {
  return (old & 0xffffffff) | std::uint64_t{value} << 32;
}

}  // namespace

/// A command as it lies in memory.
struct AhciController::Command {
  enum class Kind : std::uint8_t {
    unknown,
    no_data,
    identify,
    log,
    read,
    write,
    verify,
    soft_reset,
  };
  unsigned slot = 0;
  Kind kind = Kind::unknown;
  const char* name = "";
  bool pio = false;
  bool queued = false;
  std::uint8_t tag = 0;
  std::uint64_t sector = 0;
  std::uint64_t sectors = 0;
  std::array<std::uint8_t, 20> fis{};
  // Where its data go: the table's descriptors, and how far they are used.
  GuestPhysical table;
  std::uint32_t descriptors = 0;
  std::uint32_t next = 0;
  GuestPhysical region;
  std::uint64_t region_left = 0;
  std::uint32_t moved_bytes = 0;

  [[nodiscard]] std::uint64_t bytes() const {
    return kind == Kind::read || kind == Kind::write ? sectors * kSectorBytes : kSectorBytes;
  }
  void understand();
};

void AhciController::Command::understand() {
  constexpr std::uint8_t kIsCommand = 0x80;
  if ((fis[1] & kIsCommand) == 0) {
    kind = Kind::soft_reset;
    return;
  }
  bool wide = true;
  const auto data = [&](Kind is, const char* text, bool ext, bool by_pio) {
    kind = is;
    name = text;
    wide = ext;
    pio = by_pio;
  };
  switch (fis[2]) {
    case 0xec:
      data(Kind::identify, "IDENTIFY DEVICE", false, true);
      return;
    case 0x2f:
      data(Kind::log, "READ LOG EXT", true, true);
      return;
    case 0xc8:
      data(Kind::read, "READ DMA", false, false);
      break;
    case 0x25:
      data(Kind::read, "READ DMA EXT", true, false);
      break;
    case 0xca:
      data(Kind::write, "WRITE DMA", false, false);
      break;
    case 0x35:
      data(Kind::write, "WRITE DMA EXT", true, false);
      break;
    case 0x20:
    case 0xc4:
      data(Kind::read, "READ SECTORS", false, true);
      break;
    case 0x24:
    case 0x29:
      data(Kind::read, "READ SECTORS EXT", true, true);
      break;
    case 0x30:
    case 0xc5:
      data(Kind::write, "WRITE SECTORS", false, true);
      break;
    case 0x34:
    case 0x39:
      data(Kind::write, "WRITE SECTORS EXT", true, true);
      break;
    case 0x40:
      data(Kind::verify, "READ VERIFY SECTORS", false, false);
      break;
    case 0x42:
      data(Kind::verify, "READ VERIFY SECTORS EXT", true, false);
      break;
    case 0x60:
      data(Kind::read, "READ FPDMA QUEUED", true, false);
      queued = true;
      break;
    case 0x61:
      data(Kind::write, "WRITE FPDMA QUEUED", true, false);
      queued = true;
      break;
    case 0xe7:  // FLUSH CACHE
    case 0xea:
    case 0xef:  // SET FEATURES
    case 0xc6:  // SET MULTIPLE MODE
    case 0x91:  // INITIALIZE DEVICE PARAMETERS
    case 0x70:  // SEEK
    case 0xe0:  // power management
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe5:
    case 0xe6:
      kind = Kind::no_data;
      return;
    default:
      return;
  }
  sector = std::uint64_t{fis[4]} | std::uint64_t{fis[5]} << 8 | std::uint64_t{fis[6]} << 16;
  if (wide) {
    sector |=
        std::uint64_t{fis[8]} << 24 | std::uint64_t{fis[9]} << 32 | std::uint64_t{fis[10]} << 40;
  } else {
    sector |= std::uint64_t{fis[7] & 0x0fU} << 24;
  }
  const unsigned count_at = queued ? 3 : 12;
  sectors = fis[count_at];
  if (wide) sectors |= std::uint64_t{fis[queued ? 11 : 13]} << 8;
  if (sectors == 0) sectors = wide ? 65'536 : 256;
  tag = static_cast<std::uint8_t>(fis[12] >> 3);
}

class AhciController::Cause final : public DmaCause {
 public:
  Cause(const Command& command, std::uint64_t started) : command_(command), started_(started) {}
  [[nodiscard]] std::string request() const override {
    std::string text = command_.name;
    if (command_.kind == Command::Kind::read || command_.kind == Command::Kind::write) {
      text += ", LBA " + std::to_string(command_.sector) + ", " + std::to_string(command_.sectors) +
              " sectors";
    }
    return text;
  }
  [[nodiscard]] Position started() const override { return {started_}; }

 private:
  const Command& command_;
  std::uint64_t started_;
};

AhciController::AhciController(PciAddress usual, MessageInterrupts& messages, const Clock& clock,
                               DmaBus& dma)
    : PciDevice({.vendor = 0x8086, .device = 0x2922, .class_code = 0x010601, .revision = 2}, usual,
                messages),
      clock_(clock),
      dma_(dma, "ahci") {
  add_memory_bar(5, kRegisterBytes, MemoryBar::bits32, memory_);
  add_intx(1);
  add_msi(1);
}

AhciController::~AhciController() = default;

void AhciController::attach(unsigned port, std::unique_ptr<Disk> disk, std::string serial) {
  ports_.at(port).disk = std::move(disk);
  ports_.at(port).serial = std::move(serial);
}

void AhciController::declare(Declaration& declaration) {
  PciDevice::declare(declaration);
  declaration.deadlines();
}

void AhciController::reset() {
  PciDevice::reset();
  controller_reset();
}

void AhciController::controller_reset() {
  ghc_ = kAhciEnable;
  is_ = 0;
  interrupt_ = false;
  for (Port& port : ports_) reset_port(port);
  set_intx(false);
}

void AhciController::reset_port(Port& port) {
  port.clb = port.fb = 0;
  port.is = port.ie = 0;
  port.cmd = kSpinUp | kPowerOn;
  port.sctl = 0;
  port.serr = 0;
  port.last_slot = kSlots - 1;
  port.started = {};
  port.queued_error = {};
  stop_port(port);
  link_up(port);
}

/// The list is not worked on any more.
void AhciController::stop_port(Port& port) {
  port.sact = port.ci = 0;
  port.slot = 0;
  port.busy = false;
  port.due_ns = kNever;
}

void AhciController::link_up(Port& port) {
  port.signature = port.disk != nullptr ? kDiskSignature : 0xffffffff;
  port.tfd = port.disk != nullptr ? kReady | 0x100U : kNoDevice;
}

void AhciController::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  visitor.field("ghc", ghc_);
  visitor.field("is", is_);
  visitor.field("interrupt", interrupt_);
  for (unsigned n = 0; n < kPorts; ++n) {
    Port& port = ports_[n];
    const std::string prefix = "port" + std::to_string(n) + ".";
    visitor.field(prefix + "clb", port.clb);
    visitor.field(prefix + "fb", port.fb);
    visitor.field(prefix + "is", port.is);
    visitor.field(prefix + "ie", port.ie);
    visitor.field(prefix + "cmd", port.cmd);
    visitor.field(prefix + "tfd", port.tfd);
    visitor.field(prefix + "sctl", port.sctl);
    visitor.field(prefix + "serr", port.serr);
    visitor.field(prefix + "sact", port.sact);
    visitor.field(prefix + "ci", port.ci);
    visitor.field(prefix + "signature", port.signature);
    visitor.field(prefix + "slot", port.slot);
    visitor.field(prefix + "last_slot", port.last_slot);
    visitor.field(prefix + "busy", port.busy);
    visitor.field(prefix + "due_ns", port.due_ns);
    visitor.field(prefix + "started", port.started);
    visitor.field(prefix + "queued_error", port.queued_error);
    port.slot %= kSlots;
    port.last_slot %= kSlots;
  }
}

std::uint64_t AhciController::next_deadline_ns() const {
  std::uint64_t due = kNever;
  for (const Port& port : ports_) due = std::min(due, port.due_ns);
  return due;
}

void AhciController::advance(VirtualTime now) {
  for (Port& port : ports_) {
    if (port.due_ns > now.ns) continue;
    port.due_ns = kNever;
    serve(port);
    begin_next(port);
  }
  update_interrupt();
  deadline_changed();
}

std::uint64_t AhciController::Memory::read_mmio(std::uint64_t offset, unsigned width) {
  const auto aligned = static_cast<std::uint32_t>(offset & ~std::uint64_t{3});
  std::uint64_t value = ahci_.read_register(aligned);
  if ((offset & 3) + width > 4) value |= std::uint64_t{ahci_.read_register(aligned + 4)} << 32;
  return value >> (8 * (offset & 3));
}

/// Registers are written as dwords; narrower writes, which the specification forbids, are
/// dropped.
void AhciController::Memory::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  if (width < 4 || (offset & 3) != 0) return;
  const auto at = static_cast<std::uint32_t>(offset);
  ahci_.write_register(at, low(value));
  if (width == 8) ahci_.write_register(at + 4, low(value >> 32));
  ahci_.update_interrupt();
  ahci_.deadline_changed();
}

std::uint32_t AhciController::read_register(std::uint32_t offset) const {
  if (offset >= kFirstPort) {
    const std::uint32_t number = (offset - kFirstPort) / kPortBytes;
    return number < kPorts ? read_port(ports_[number], (offset - kFirstPort) % kPortBytes) : 0;
  }
  switch (offset) {
    case 0x00:
      return kCapabilities;
    case 0x04:
      return ghc_;
    case 0x08:
      return is_;
    case 0x0c:
      return (1U << kPorts) - 1;
    case 0x10:
      return kVersion;
    default:
      return 0;
  }
}

void AhciController::write_register(std::uint32_t offset, std::uint32_t value) {
  if (offset >= kFirstPort) {
    const std::uint32_t number = (offset - kFirstPort) / kPortBytes;
    if (number < kPorts) write_port(ports_[number], (offset - kFirstPort) % kPortBytes, value);
    return;
  }
  if (offset == 0x04) {
    if ((value & kHbaReset) != 0) {
      controller_reset();
    } else {
      ghc_ = kAhciEnable | (value & kInterruptEnable);
    }
  } else if (offset == 0x08) {
    is_ &= ~value;
    if (is_ == 0 || state_version() >= kEachPortVersion) interrupt_ = false;
  }
}

std::uint32_t AhciController::read_port(const Port& port, std::uint32_t offset) const {
  switch (offset) {
    case 0x00:
      return low(port.clb);
    case 0x04:
      return low(port.clb >> 32);
    case 0x08:
      return low(port.fb);
    case 0x0c:
      return low(port.fb >> 32);
    case 0x10:
      return port.is;
    case 0x14:
      return port.ie;
    case 0x18: {
      const std::uint32_t running = (port.cmd & kStart) != 0 ? kListRunning : 0;
      const std::uint32_t receiving = (port.cmd & kFisReceive) != 0 ? kFisRunning : 0;
      return port.cmd | running | receiving | std::uint32_t{port.slot} << 8;
    }
    case 0x20:
      return port.tfd;
    case 0x24:
      return port.signature;
    case 0x28:
      return port.disk != nullptr && (port.sctl & 0xf) == 0 ? kLinkUp : 0;
    case 0x2c:
      return port.sctl;
    case 0x30:
      return port.serr;
    case 0x34:
      return port.sact;
    case 0x38:
      return port.ci;
    default:
      return 0;
  }
}

void AhciController::write_port(Port& port, std::uint32_t offset, std::uint32_t value) {
  switch (offset) {
    case 0x00:
      port.clb = with_low(port.clb, value & ~0x3ffU);
      break;
    case 0x04:
      port.clb = with_high(port.clb, value);
      break;
    case 0x08:
      port.fb = with_low(port.fb, value & ~0xffU);
      break;
    case 0x0c:
      port.fb = with_high(port.fb, value);
      break;
    case 0x10:
      port.is &= ~value;
      break;
    case 0x14:
      port.ie = value & 0xfdc000ff;
      break;
    case 0x18:
      write_command(port, value);
      break;
    case 0x2c: {
      // DET 1 resets the link for as long as it is written; 0 lets it come up again.
      const bool was_reset = (port.sctl & 0xf) == 1;
      port.sctl = value & 0xfff;
      if ((port.sctl & 0xf) == 1) {
        stop_port(port);
        port.tfd = kNoDevice;
      } else if (was_reset && port.disk != nullptr) {
        link_up(port);
        port.serr |= kExchanged;
        port.is |= kConnectChange;
        post_register_fis(port);
      }
      break;
    }
    case 0x30:
      port.serr &= ~value;
      if ((port.serr & kExchanged) == 0) port.is &= ~kConnectChange;
      break;
    case 0x34:
      if ((port.cmd & kStart) != 0) port.sact |= value;
      break;
    case 0x38:
      if ((port.cmd & kStart) == 0) break;
      for (unsigned slot = 0; slot < kSlots; ++slot) {
        if ((value & ~port.ci) >> slot & 1) port.started[slot] = clock_.position().steps;
      }
      port.ci |= value;
      begin_next(port);
      break;
    default:
      break;
  }
}

void AhciController::write_command(Port& port, std::uint32_t value) {
  constexpr std::uint32_t kKept = kStart | kFisReceive;
  const bool stops = (port.cmd & ~value & kStart) != 0;
  const bool receives = (value & ~port.cmd & kFisReceive) != 0;
  port.cmd = (value & kKept) | kSpinUp | kPowerOn;
  if (stops) {
    stop_port(port);
    // What a failed command has left is gone with the list.
    if (port.disk != nullptr) port.tfd = kReady;
  }
  if ((value & kListOverride) != 0 && port.disk != nullptr) port.tfd = kReady;
  if (receives) post_register_fis(port);
  begin_next(port);
}

/// Takes the next command of the list, whose time begins now.
void AhciController::begin_next(Port& port) {
  const bool failed = (port.tfd & kError) != 0 && (port.is & kTaskFileError) != 0;
  if (port.busy || port.disk == nullptr || (port.cmd & kStart) == 0 || port.ci == 0) return;
  if (failed || !is_bus_master() || (port.sctl & 0xf) == 1) return;
  for (unsigned n = 1; n <= kSlots; ++n) {
    const unsigned slot = (port.last_slot + n) % kSlots;
    if ((port.ci >> slot & 1) == 0) continue;
    Command command;
    const std::uint64_t bytes = fetch(port, slot, command) ? command.bytes() : 0;
    port.slot = static_cast<std::uint8_t>(slot);
    port.busy = true;
    port.tfd = kReady | (command.queued ? 0U : 0x80U);
    port.due_ns = saturating_add(clock_.now().ns, kCommandNs + bytes * kNsPerByte);
    return;
  }
}

bool AhciController::fetch(Port& port, unsigned slot, Command& command) {
  const std::uint64_t header = port.clb + std::uint64_t{slot} * 32;
  std::uint32_t flags = 0;
  std::uint64_t table = 0;
  if (dma_.read({header}, flags) != DmaStatus::done ||
      dma_.read({header + 8}, table) != DmaStatus::done) {
    return false;
  }
  command.slot = slot;
  command.table = {table & ~std::uint64_t{0x7f}};
  command.descriptors = flags >> 16;
  constexpr std::uint8_t kHostToDevice = 0x27;
  if (dma_.read(command.table, command.fis) != DmaStatus::done || command.fis[0] != kHostToDevice) {
    return false;
  }
  command.understand();
  return true;
}

void AhciController::serve(Port& port) {
  if (!port.busy) return;
  port.busy = false;
  port.last_slot = port.slot;
  Command command;
  if (!fetch(port, port.slot, command)) {
    fail(port, command, kAborted);
    return;
  }
  const Cause cause(command, port.started[port.slot]);
  const DmaPort::Doing doing(dma_, cause);
  switch (command.kind) {
    case Command::Kind::soft_reset: {
      constexpr std::uint8_t kSoftwareReset = 0x04;
      if ((command.fis[15] & kSoftwareReset) == 0) link_up(port);
      port.ci &= ~(1U << command.slot);
      post_register_fis(port);
      port.is |= kRegisterFis;
      return;
    }
    case Command::Kind::no_data:
      complete(port, command);
      return;
    case Command::Kind::identify:
    case Command::Kind::log: {
      std::vector<std::uint8_t> answer =
          command.kind == Command::Kind::identify ? identity(port) : error_log(port);
      constexpr std::uint8_t kQueuedErrorLog = 0x10;
      const bool known =
          command.kind == Command::Kind::identify || command.fis[4] == kQueuedErrorLog;
      if (known && move(command, answer, DmaDirection::to_memory)) {
        complete(port, command);
      } else {
        fail(port, command, kAborted);
      }
      return;
    }
    case Command::Kind::read:
    case Command::Kind::write:
    case Command::Kind::verify:
      if (command.sector >= port.disk->sectors() ||
          command.sectors > port.disk->sectors() - command.sector) {
        fail(port, command, kIdNotFound);
      } else if (command.kind == Command::Kind::write && port.disk->read_only()) {
        fail(port, command, kAborted);
      } else if (command.kind == Command::Kind::verify || transfer(port, command)) {
        complete(port, command);
      }
      return;
    case Command::Kind::unknown:
      break;
  }
  fail(port, command, kAborted);
}

/// @return false when it has failed, and was told so
bool AhciController::transfer(Port& port, Command& command) {
  const bool in = command.kind == Command::Kind::read;
  std::vector<std::uint8_t> buffer;
  for (std::uint64_t done = 0; done < command.bytes();) {
    buffer.resize(std::min<std::uint64_t>(command.bytes() - done, kPieceBytes));
    const std::uint64_t sector = command.sector + done / kSectorBytes;
    if (in && port.disk->read(sector, buffer) != DiskStatus::done) {
      fail(port, command, kUncorrectable);
      return false;
    }
    if (!move(command, buffer, in ? DmaDirection::to_memory : DmaDirection::from_memory)) {
      fail(port, command, kAborted);
      return false;
    }
    if (!in && port.disk->write(sector, buffer) != DiskStatus::done) {
      fail(port, command, kUncorrectable);
      return false;
    }
    done += buffer.size();
  }
  return true;
}

/// Moves the next bytes of a command. @return whether its table had room, and memory took them
bool AhciController::move(Command& command, std::span<std::uint8_t> bytes, DmaDirection direction) {
  constexpr std::uint64_t kFirstDescriptor = 0x80;
  constexpr std::uint64_t kDescriptorBytes = 16;
  while (!bytes.empty()) {
    while (command.region_left == 0) {
      if (command.next >= command.descriptors) return false;
      const std::uint64_t at =
          command.table.value + kFirstDescriptor + kDescriptorBytes * command.next++;
      std::uint32_t count = 0;
      if (dma_.read({at}, command.region.value) != DmaStatus::done ||
          dma_.read({at + 12}, count) != DmaStatus::done) {
        return false;
      }
      command.region_left = (count & 0x3fffff) + 1ULL;
    }
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(command.region_left, bytes.size()));
    const auto piece = bytes.first(count);
    const DmaStatus status = direction == DmaDirection::to_memory
                                 ? dma_.write(command.region, ByteView(piece))
                                 : dma_.read(command.region, piece);
    if (status != DmaStatus::done) return false;
    bytes = bytes.subspan(count);
    command.region.value += count;
    command.region_left -= count;
    command.moved_bytes += static_cast<std::uint32_t>(count);
  }
  return true;
}

void AhciController::post_fis(const Port& port, std::uint32_t place, ByteView fis) {
  if ((port.cmd & kFisReceive) == 0 || !is_bus_master()) return;
  // Where memory does not take it, the driver does not see it.
  if (dma_.write({port.fb + place}, fis) == DmaStatus::failed) return;
}

void AhciController::post_register_fis(const Port& port) {
  if (port.disk == nullptr) return;
  std::array<std::uint8_t, 20> fis{0x34, 0x40};
  fis[2] = static_cast<std::uint8_t>(port.tfd);
  fis[3] = static_cast<std::uint8_t>(port.tfd >> 8);
  fis[4] = 1;
  fis[12] = 1;
  post_fis(port, 0x40, fis);
}

void AhciController::complete(Port& port, const Command& command) {
  port.tfd = kReady;
  port.ci &= ~(1U << command.slot);
  // How much was moved; nobody is told that memory did not take it.
  if (dma_.write(GuestPhysical{port.clb + std::uint64_t{command.slot} * 32 + 4},
                 command.moved_bytes) == DmaStatus::failed) {
    port.tfd = kReady;
  }
  if (command.queued) {
    const std::uint32_t bit = 1U << (command.tag % kSlots);
    port.sact &= ~bit;
    std::array<std::uint8_t, 8> fis{0xa1, 0x40, kReady & 0x77, 0};
    for (unsigned n = 0; n < 4; ++n) fis[4 + n] = static_cast<std::uint8_t>(bit >> (8 * n));
    post_fis(port, 0x58, fis);
    port.is |= kDeviceBitsFis;
    return;
  }
  if (command.pio) {
    std::array<std::uint8_t, 20> fis{0x5f, 0x60, kReady | 0x08};
    fis[15] = kReady;
    fis[16] = static_cast<std::uint8_t>(command.moved_bytes);
    fis[17] = static_cast<std::uint8_t>(command.moved_bytes >> 8);
    post_fis(port, 0x20, fis);
    port.is |= kPioSetupFis;
  }
  if (!command.pio || command.kind == Command::Kind::write) {
    post_register_fis(port);
    port.is |= kRegisterFis;
  }
}

void AhciController::fail(Port& port, const Command& command, std::uint8_t error) {
  port.tfd = kReady | kError | std::uint32_t{error} << 8;
  port.is |= kTaskFileError;
  if (command.queued) {
    std::copy_n(command.fis.begin(), port.queued_error.size(), port.queued_error.begin());
    port.queued_error[0] = command.tag;
    port.queued_error[2] = kReady | kError;
    port.queued_error[3] = error;
    const std::array<std::uint8_t, 8> fis{0xa1, 0x40, (kReady & 0x77) | kError, error};
    post_fis(port, 0x58, fis);
    port.is |= kDeviceBitsFis;
  } else {
    post_register_fis(port);
    port.is |= kRegisterFis;
  }
}

/// A message says that something is new: a driver that takes some of the ports' bits must hear of
/// those that came meanwhile.
/// Source: AHCI 1.3.1, 10.7 "Interrupts".
void AhciController::update_interrupt() {
  const std::uint32_t before = is_;
  for (unsigned n = 0; n < kPorts; ++n) {
    if ((ports_[n].is & ports_[n].ie) != 0) is_ |= 1U << n;
  }
  const bool wanted = (ghc_ & kInterruptEnable) != 0 && is_ != 0;
  const bool told = interrupt_ && (is_ == before || state_version() < kEachPortVersion);
  if (wanted && !told && uses_messages()) send_message(0);
  interrupt_ = wanted;
  set_intx(wanted);
}

std::vector<std::uint8_t> AhciController::error_log(const Port& port) {
  std::vector<std::uint8_t> bytes(kSectorBytes);
  std::copy(port.queued_error.begin(), port.queued_error.end(), bytes.begin());
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : bytes) sum = static_cast<std::uint8_t>(sum + byte);
  bytes.back() = static_cast<std::uint8_t>(-sum);
  return bytes;
}

std::vector<std::uint8_t> AhciController::identity(const Port& port) {
  IdentityWords words = disk_identity(port.disk->sectors(), port.serial);
  words[75] = kSlots - 1;
  words[76] = 0x0106;   // queueing, 1.5 and 3 Gb/s
  words[80] = 0x01f0;   // ATA/ATAPI-4 to ATA8-ACS
  words[88] |= 0x2000;  // Ultra DMA 5 chosen
  return identity_bytes(words);
}

}  // namespace chronovisor
