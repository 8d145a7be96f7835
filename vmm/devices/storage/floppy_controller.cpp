#include "vmm/devices/storage/floppy_controller.h"

#include <algorithm>
#include <utility>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

/// In state version 1 a track ends where the command says, also where the disk's does not.
constexpr std::uint32_t kOtherSideVersion = 2;
constexpr unsigned kChannel = 2;
constexpr std::uint8_t kIrq = 6;

// The digital output register.
constexpr std::uint8_t kNotReset = 0x04;
constexpr std::uint8_t kDmaGate = 0x08;  // interrupts and DMA requests leave the chip
// The main status register.
constexpr std::uint8_t kRequest = 0x80;
constexpr std::uint8_t kToHost = 0x40;
constexpr std::uint8_t kNoDma = 0x20;
constexpr std::uint8_t kBusy = 0x10;
// Status register 0.
constexpr std::uint8_t kAbnormal = 0x40;
constexpr std::uint8_t kInvalid = 0x80;
constexpr std::uint8_t kReadyChanged = 0xc0;
constexpr std::uint8_t kSeekEnd = 0x20;
constexpr std::uint8_t kEquipmentCheck = 0x10;
constexpr std::uint8_t kNotReady = 0x08;
// Status register 1.
constexpr std::uint8_t kEndOfCylinder = 0x80;
constexpr std::uint8_t kDataError = 0x20;
constexpr std::uint8_t kOverrun = 0x10;
constexpr std::uint8_t kNoData = 0x04;
constexpr std::uint8_t kNotWritable = 0x02;
constexpr std::uint8_t kNoAddressMark = 0x01;
// Status register 2.
constexpr std::uint8_t kErrorInData = 0x20;
constexpr std::uint8_t kWrongCylinder = 0x10;

// Commands, without the bits that say how.
constexpr std::uint8_t kReadTrack = 0x02;
constexpr std::uint8_t kSpecify = 0x03;
constexpr std::uint8_t kSenseDrive = 0x04;
constexpr std::uint8_t kWriteData = 0x05;
constexpr std::uint8_t kReadData = 0x06;
constexpr std::uint8_t kRecalibrate = 0x07;
constexpr std::uint8_t kSenseInterrupt = 0x08;
constexpr std::uint8_t kWriteDeleted = 0x09;
constexpr std::uint8_t kReadId = 0x0a;
constexpr std::uint8_t kReadDeleted = 0x0c;
constexpr std::uint8_t kFormatTrack = 0x0d;
constexpr std::uint8_t kDumpRegisters = 0x0e;
constexpr std::uint8_t kSeek = 0x0f;
constexpr std::uint8_t kVersion = 0x10;
constexpr std::uint8_t kPerpendicular = 0x12;
constexpr std::uint8_t kConfigure = 0x13;
constexpr std::uint8_t kLock = 0x14;
constexpr std::uint8_t kVerify = 0x16;

constexpr std::uint8_t kManyTracks = 0x80;
constexpr std::uint8_t kImpliedSeek = 0x40;  // configured_[0]
constexpr std::uint8_t kNoPolling = 0x10;
constexpr std::uint8_t kSizeCode = 2;  // 512 bytes
constexpr std::uint8_t kMostCylinder = 84;

std::uint8_t operation(std::uint8_t first) { return first & 0x1f; }

/// How many bytes a command has, the first included.
std::uint8_t length_of(std::uint8_t first) {
  switch (operation(first)) {
    case kReadTrack:
    case kWriteData:
    case kReadData:
    case kWriteDeleted:
    case kReadDeleted:
    case kVerify:
      return 9;
    case kFormatTrack:
      return 6;
    case kConfigure:
      return 4;
    case kSpecify:
      return 3;
    case kSeek:  // with bit 7 a relative one
      return 3;
    case kSenseDrive:
    case kRecalibrate:
    case kReadId:
    case kPerpendicular:
      return 2;
    default:
      return 1;
  }
}

constexpr std::array<FloppyFormat, 9> kFormats{{{40, 1, 8, 1, 2},
                                                {40, 1, 9, 1, 2},
                                                {40, 2, 8, 1, 2},
                                                {40, 2, 9, 1, 2},
                                                {80, 2, 9, 3, 2},
                                                {80, 2, 15, 2, 0},
                                                {80, 2, 18, 4, 0},
                                                {80, 2, 21, 4, 0},
                                                {80, 2, 36, 5, 3}}};

}  // namespace

std::optional<FloppyFormat> floppy_format(std::uint64_t bytes) {
  const auto* const found =
      std::ranges::find_if(kFormats, [&](const FloppyFormat& f) { return f.bytes() >= bytes; });
  if (found == kFormats.end()) return std::nullopt;
  return *found;
}

FloppyController::FloppyController(const Clock& clock, DmaBus& dma)
    : clock_(clock), dma_(dma, "floppy") {}

void FloppyController::attach(unsigned which, std::unique_ptr<Disk> disk) {
  drives_[which].format = floppy_format(disk->sectors() * kSectorBytes).value_or(kFormats.back());
  drives_[which].disk = std::move(disk);
}

void FloppyController::declare(Declaration& declaration) {
  isa_dma_.declare(declaration);
  constexpr std::uint16_t kBase = 0x3f0;
  const std::uint16_t base = declaration.ports(kBase, 6, registers_);
  declaration.ports(kBase + 7, 1, registers_, 7);
  const std::uint8_t irq = declaration.interrupt(irq_, kIrq, Trigger::edge);
  declaration.deadlines();
  for (unsigned n = 0; n < kDrives; ++n) {
    if (drives_[n].disk == nullptr) continue;
    declaration.firmware().boot_devices.push_back(
        {'a', "/pci@i0cf8/isa@1/fdc@03f0/floppy@" + std::to_string(n)});
  }
  declaration.acpi_device(
      "FDC0", aml::sequence({aml::name("_HID", aml::eisa_id("PNP0700")),
                             aml::name("_CRS", aml::resources({aml::io_ports(base, 6),
                                                               aml::io_ports(kBase + 7, 1),
                                                               aml::irq(irq)}))}));
}

void FloppyController::visit_state(StateVisitor& visitor) {
  isa_dma_.visit_state(visitor, "dma.");
  for (unsigned n = 0; n < drives_.size(); ++n) {
    Drive& drive = drives_[n];
    const std::string prefix = "drive" + std::to_string(n) + ".";
    visitor.field(prefix + "cylinder", drive.cylinder);
    visitor.field(prefix + "target", drive.target);
    visitor.field(prefix + "due_ns", drive.due_ns);
    visitor.field(prefix + "status", drive.status);
    visitor.field(prefix + "has_status", drive.has_status);
    visitor.field(prefix + "changed", drive.changed);
  }
  visitor.field("output", output_);
  visitor.field("tape", tape_);
  visitor.field("rate", rate_);
  visitor.field("interrupt", interrupt_);
  visitor.field("phase", phase_);
  visitor.field("command", command_);
  visitor.field("command_have", command_have_);
  visitor.field("result", result_);
  visitor.field("result_at", result_at_);
  visitor.field("result_count", result_count_);
  visitor.field("specified", specified_);
  visitor.field("configured", configured_);
  visitor.field("locked", locked_);
  visitor.field("perpendicular", perpendicular_);
  visitor.field("which", which_);
  visitor.field("head", head_);
  visitor.field("cylinder", cylinder_);
  visitor.field("sector", sector_);
  visitor.field("left", left_);
  visitor.field("due_ns", due_ns_);
  visitor.field("started", started_);
  visitor.field("buffer", buffer_);
  visitor.field("buffer_at", buffer_at_);
  irq_.visit_state(visitor, "irq");
  // A file may say anything; what is an index stays inside.
  if (phase_ > Phase::result) phase_ = Phase::command;
  command_have_ = std::min<std::uint8_t>(command_have_, kMostBytes - 1);
  result_count_ = std::min<std::uint8_t>(result_count_, kMostBytes);
  result_at_ = std::min(result_at_, result_count_);
  if (phase_ == Phase::result && result_at_ == result_count_) phase_ = Phase::command;
  if (phase_ != Phase::busy) due_ns_ = kNever;
  which_ &= 3;
  head_ &= 1;
  buffer_at_ = std::min<std::uint16_t>(buffer_at_, kSectorBytes - 1);
}

void FloppyController::reset() {
  isa_dma_.reset();
  for (Drive& drive : drives_) {
    drive.cylinder = drive.target = 0;
    drive.changed = true;
  }
  output_ = tape_ = 0;
  rate_ = 2;
  locked_ = false;
  specified_ = {};
  started_ = 0;
  reset_controller();
  for (Drive& drive : drives_) {
    drive.status = 0;
    drive.has_status = false;
  }
  set_interrupt(false);
}

/// What the reset bits do: drives stay where they are.
void FloppyController::reset_controller() {
  phase_ = Phase::command;
  command_ = {};
  result_ = {};
  command_have_ = result_at_ = result_count_ = 0;
  due_ns_ = kNever;
  which_ = head_ = cylinder_ = sector_ = left_ = 0;
  buffer_ = {};
  buffer_at_ = 0;
  perpendicular_ = 0;
  if (!locked_) configured_ = {};
  for (unsigned n = 0; n < drives_.size(); ++n) {
    drives_[n].due_ns = kNever;
    drives_[n].target = drives_[n].cylinder;
    drives_[n].has_status = true;
    drives_[n].status = static_cast<std::uint8_t>(kReadyChanged | n);
  }
}

std::uint64_t FloppyController::next_deadline_ns() const {
  std::uint64_t next = due_ns_;
  for (const Drive& drive : drives_) next = std::min(next, drive.due_ns);
  return next;
}

void FloppyController::advance(VirtualTime now) {
  for (unsigned n = 0; n < drives_.size(); ++n) {
    Drive& drive = drives_[n];
    if (drive.due_ns > now.ns) continue;
    drive.due_ns = kNever;
    drive.cylinder = drive.target;
    if (drive.disk != nullptr) drive.changed = false;
    drive.has_status = true;
    drive.status = static_cast<std::uint8_t>(kSeekEnd | n);
    // Where no drive is, track 0 is not found.
    if (drive.disk == nullptr) drive.status |= kAbnormal | kEquipmentCheck;
    set_interrupt(true);
  }
  if (due_ns_ <= now.ns) sector_due();
  deadline_changed();
}

void FloppyController::set_interrupt(bool level) {
  interrupt_ = level;
  irq_.set(interrupt_ && (output_ & kDmaGate) != 0);
}

bool FloppyController::ready(unsigned which) const {
  return drives_[which].disk != nullptr && (output_ & (0x10U << which)) != 0;
}

std::uint8_t FloppyController::main_status() const {
  if ((output_ & kNotReset) == 0) return 0;
  std::uint8_t status = 0;
  for (unsigned n = 0; n < drives_.size(); ++n) {
    if (drives_[n].due_ns != kNever) status |= static_cast<std::uint8_t>(1U << n);
  }
  switch (phase_) {
    case Phase::command:
      return static_cast<std::uint8_t>(status | kRequest | (command_have_ != 0 ? kBusy : 0));
    case Phase::busy:
      return static_cast<std::uint8_t>(status | kBusy | (by_dma() ? 0 : kNoDma));
    case Phase::to_host:
      return status | kRequest | kToHost | kNoDma | kBusy;
    case Phase::to_drive:
      return status | kRequest | kNoDma | kBusy;
    case Phase::result:
      break;
  }
  return status | kRequest | kToHost | kBusy;
}

std::uint8_t FloppyController::read(std::uint16_t offset) {
  switch (offset) {
    case 0:  // status register A: the interrupt, and no second drive's cable
      return interrupt_ ? 0x80 : 0x00;
    case 1:  // status register B: the drive, and the motors
      return static_cast<std::uint8_t>(0xc0 | (output_ & 1) << 5 | (output_ >> 4 & 3));
    case 2:
      return output_;
    case 3:
      return tape_;
    case 4:
      return main_status();
    case 5:
      return read_fifo();
    case 7: {
      const unsigned which = output_ & 3;
      return ready(which) && drives_[which].changed ? 0x80 : 0x00;
    }
    default:
      return 0xff;
  }
}

void FloppyController::write(std::uint16_t offset, std::uint8_t value) {
  switch (offset) {
    case 2:
      write_output_register(value);
      break;
    case 3:
      tape_ = value & 3;
      break;
    case 4:  // data rate select
      rate_ = value & 3;
      if ((value & 0x80) != 0) {
        reset_controller();
        set_interrupt(true);
      }
      break;
    case 5:
      write_fifo(value);
      break;
    case 7:  // configuration control
      rate_ = value & 3;
      break;
    default:
      break;
  }
  deadline_changed();
}

void FloppyController::write_output_register(std::uint8_t value) {
  const std::uint8_t before = std::exchange(output_, value);
  if ((value & kNotReset) == 0) {
    reset_controller();
    set_interrupt(false);
  } else if ((before & kNotReset) == 0) {
    set_interrupt((configured_[0] & kNoPolling) == 0);
  } else {
    set_interrupt(interrupt_);
  }
}

std::uint8_t FloppyController::read_fifo() {
  if (phase_ == Phase::to_host) {
    const std::uint8_t byte = buffer_[buffer_at_++];
    if (buffer_at_ == kSectorBytes) {
      set_interrupt(false);
      sector_done(false);
      deadline_changed();
    }
    return byte;
  }
  if (phase_ != Phase::result) return 0;
  set_interrupt(false);
  const std::uint8_t byte = result_[result_at_++];
  if (result_at_ == result_count_) {
    phase_ = Phase::command;
    result_at_ = result_count_ = 0;
  }
  return byte;
}

void FloppyController::write_fifo(std::uint8_t value) {
  if ((output_ & kNotReset) == 0) return;
  if (phase_ == Phase::to_drive) {
    buffer_[buffer_at_++] = value;
    if (buffer_at_ == kSectorBytes) {
      set_interrupt(false);
      buffer_at_ = 0;
      phase_ = Phase::busy;
      due_ns_ = saturating_add(clock_.now().ns, kSectorNs);
    }
    return;
  }
  // What nobody asked for is lost, as on the chip.
  if (phase_ != Phase::command) return;
  command_[command_have_++] = value;
  if (command_have_ >= length_of(command_[0])) {
    command_have_ = 0;
    execute();
  }
}

void FloppyController::answer(std::initializer_list<std::uint8_t> bytes) {
  std::ranges::copy(bytes, result_.begin());
  result_at_ = 0;
  result_count_ = static_cast<std::uint8_t>(bytes.size());
  phase_ = Phase::result;
}

void FloppyController::invalid() { answer({kInvalid}); }

void FloppyController::execute() {
  const std::uint8_t first = command_[0];
  switch (operation(first)) {
    case kReadTrack:
    case kWriteData:
    case kReadData:
    case kWriteDeleted:
    case kReadDeleted:
    case kVerify:
    case kFormatTrack:
      begin_transfer();
      break;
    case kSpecify:
      specified_ = {command_[1], command_[2]};
      break;
    case kSenseDrive:
      sense_drive();
      break;
    case kRecalibrate:
      seek(command_[1] & 3, 0);
      break;
    case kSenseInterrupt:
      sense_interrupt();
      break;
    case kReadId:
      read_id();
      break;
    case kDumpRegisters:
      dump_registers();
      break;
    case kSeek: {
      const unsigned which = command_[1] & 3;
      const int here = drives_[which].cylinder;
      const int target = (first & 0x80) == 0   ? command_[2]
                         : (first & 0x40) != 0 ? here + command_[2]
                                               : here - command_[2];
      seek(which, static_cast<std::uint8_t>(std::clamp<int>(target, 0, kMostCylinder)));
      break;
    }
    case kVersion:
      if (first == kVersion) {
        answer({0x90});
      } else {
        invalid();
      }
      break;
    case kPerpendicular:
      perpendicular_ = command_[1];
      break;
    case kConfigure:
      configured_ = {command_[2], command_[3]};
      break;
    case kLock:
      locked_ = (first & 0x80) != 0;
      answer({static_cast<std::uint8_t>(locked_ ? 0x10 : 0x00)});
      break;
    default:
      invalid();
      break;
  }
}

void FloppyController::sense_interrupt() {
  set_interrupt(false);
  for (Drive& drive : drives_) {
    if (!drive.has_status) continue;
    drive.has_status = false;
    answer({drive.status, drive.cylinder});
    drive.status = 0;
    return;
  }
  invalid();
}

void FloppyController::sense_drive() {
  const std::uint8_t select = command_[1] & 7;
  const Drive& drive = drives_[select & 3U];
  std::uint8_t status = select | 0x28;  // ready, two sides
  if (drive.cylinder == 0) status |= 0x10;
  if (drive.disk != nullptr && drive.disk->read_only()) status |= 0x40;
  answer({status});
}

void FloppyController::seek(unsigned which, std::uint8_t target) {
  Drive& drive = drives_[which];
  const int steps = std::abs(int{drive.cylinder} - int{target});
  drive.target = target;
  drive.due_ns =
      saturating_add(clock_.now().ns, kCommandNs + static_cast<std::uint64_t>(steps) * kStepNs);
}

void FloppyController::dump_registers() {
  answer({drives_[0].cylinder, drives_[1].cylinder, drives_[2].cylinder, drives_[3].cylinder,
          specified_[0], specified_[1], sector_,
          static_cast<std::uint8_t>((locked_ ? 0x80 : 0) | (perpendicular_ & 0x7f)), configured_[0],
          configured_[1]});
}

/// The next sector that comes by under the head.
void FloppyController::read_id() {
  which_ = command_[1] & 3;
  head_ = command_[1] >> 2 & 1;
  cylinder_ = drive().cylinder;
  sector_ = 1;
  left_ = 0;
  phase_ = Phase::busy;
  started_ = clock_.position().steps;
  due_ns_ = saturating_add(clock_.now().ns, kCommandNs);
}

void FloppyController::begin_transfer() {
  started_ = clock_.position().steps;
  which_ = command_[1] & 3;
  head_ = command_[1] >> 2 & 1;
  phase_ = Phase::busy;
  buffer_at_ = 0;
  std::uint64_t wait_ns = kCommandNs;
  const std::uint8_t kind = operation(command_[0]);
  if (kind == kFormatTrack) {
    cylinder_ = drive().cylinder;
    sector_ = 1;
    left_ = command_[3];
  } else {
    cylinder_ = command_[2];
    head_ = command_[3] & 1;
    sector_ = kind == kReadTrack ? std::uint8_t{1} : command_[4];
    left_ = kind == kVerify && (command_[1] & 0x80) != 0 ? command_[8] : std::uint8_t{0};
    if ((configured_[0] & kImpliedSeek) != 0 && drive().disk != nullptr) {
      const int steps = std::abs(int{drive().cylinder} - int{cylinder_});
      wait_ns += static_cast<std::uint64_t>(steps) * kStepNs;
      drive().cylinder = drive().target = std::min(cylinder_, kMostCylinder);
      drive().changed = false;
    }
  }
  due_ns_ = saturating_add(clock_.now().ns, wait_ns + kSectorNs);
}

std::uint64_t FloppyController::sector_number() const {
  const FloppyFormat& format = drives_[which_].format;
  return (std::uint64_t{cylinder_} * format.heads + head_) * format.sectors + sector_ - 1;
}

std::string FloppyController::request() const {
  const std::uint8_t kind = operation(command_[0]);
  return std::string(kind == kWriteData || kind == kWriteDeleted ? "WRITE DATA"
                     : kind == kFormatTrack                      ? "FORMAT TRACK"
                     : kind == kReadTrack                        ? "READ TRACK"
                                                                 : "READ DATA") +
         ", drive " + std::to_string(which_) + ", cylinder " + std::to_string(cylinder_) +
         ", head " + std::to_string(head_) + ", sector " + std::to_string(sector_);
}

void FloppyController::finish(std::uint8_t status0, std::uint8_t status1, std::uint8_t status2) {
  due_ns_ = kNever;
  answer({static_cast<std::uint8_t>(status0 | head_ << 2 | which_), status1, status2, cylinder_,
          head_, sector_, kSizeCode});
  set_interrupt(true);
}

void FloppyController::sector_due() {
  due_ns_ = kNever;
  const std::uint8_t kind = operation(command_[0]);
  const FloppyFormat& format = drive().format;
  if (!ready(which_)) {
    finish(kAbnormal | kNotReady, kNoAddressMark);
  } else if (rate_ != format.rate || head_ >= format.heads ||
             drive().cylinder >= format.cylinders) {
    finish(kAbnormal, kNoAddressMark);
  } else if (kind == kReadId) {
    finish(0);
  } else if (kind == kFormatTrack) {
    format_sector();
  } else if (cylinder_ != drive().cylinder) {
    finish(kAbnormal, kNoData, kWrongCylinder);
  } else if (sector_ == 0 || sector_ > format.sectors || command_[5] != kSizeCode) {
    finish(kAbnormal, kNoData);
  } else {
    move_sector();
  }
}

void FloppyController::move_sector() {
  const std::uint8_t kind = operation(command_[0]);
  const bool writes = kind == kWriteData || kind == kWriteDeleted;
  const DmaPort::Doing doing(dma_, *this);
  Disk& disk = *drive().disk;
  const bool on_disk = sector_number() < disk.sectors();
  if (writes) {
    if (disk.read_only()) {
      finish(kAbnormal, kNotWritable);
      return;
    }
    bool last = false;
    if (by_dma()) {
      const IsaDma::Moved moved = isa_dma_.from_memory(kChannel, buffer_, dma_);
      if (moved.bytes == 0) {
        finish(kAbnormal, kOverrun);
        return;
      }
      last = moved.terminal_count;
    } else if (buffer_at_ == 0 && left_ == 0) {
      // The processor brings it first; the sector is written when it is all there.
      left_ = 1;
      phase_ = Phase::to_drive;
      set_interrupt(true);
      return;
    }
    left_ = 0;
    if (!on_disk || disk.write(sector_number(), buffer_) != DiskStatus::done) {
      finish(kAbnormal, kDataError, kErrorInData);
      return;
    }
    sector_done(last);
    return;
  }
  buffer_ = {};
  if (on_disk && disk.read(sector_number(), buffer_) != DiskStatus::done) {
    finish(kAbnormal, kDataError, kErrorInData);
    return;
  }
  if (kind == kVerify) {
    const bool last = left_ != 0 && --left_ == 0;
    const bool counted = (command_[1] & 0x80) != 0;
    // Without a count the last sector of the track is the end that was asked for.
    sector_done(last || (!counted && sector_ >= command_[6]));
  } else if (by_dma()) {
    const IsaDma::Moved moved = isa_dma_.to_memory(kChannel, buffer_, dma_);
    if (moved.bytes == 0) {
      finish(kAbnormal, kOverrun);
    } else {
      sector_done(moved.terminal_count);
    }
  } else {
    buffer_at_ = 0;
    phase_ = Phase::to_host;
    set_interrupt(true);
  }
}

/// A sector's address comes from memory, and it is filled.
void FloppyController::format_sector() {
  Disk& disk = *drive().disk;
  if (disk.read_only()) {
    finish(kAbnormal, kNotWritable);
    return;
  }
  const DmaPort::Doing doing(dma_, *this);
  std::array<std::uint8_t, 4> address{};
  const IsaDma::Moved moved = isa_dma_.from_memory(kChannel, address, dma_);
  if (moved.bytes < address.size() || !by_dma()) {
    finish(kAbnormal, kOverrun);
    return;
  }
  head_ = address[1] & 1;
  sector_ = address[2];
  const bool there = address[0] == drive().cylinder && sector_ >= 1 &&
                     sector_ <= drive().format.sectors && head_ < drive().format.heads &&
                     address[3] == kSizeCode && sector_number() < disk.sectors();
  if (!there) {
    finish(kAbnormal, kNoData);
    return;
  }
  buffer_.fill(command_[5]);
  if (disk.write(sector_number(), buffer_) != DiskStatus::done) {
    finish(kAbnormal, kDataError, kErrorInData);
    return;
  }
  if (left_ > 1 && !moved.terminal_count) {
    --left_;
    due_ns_ = saturating_add(clock_.now().ns, kSectorNs);
  } else {
    finish(0);
  }
}

void FloppyController::sector_done(bool last) {
  buffer_at_ = 0;
  phase_ = Phase::busy;
  const bool many_tracks = (command_[0] & kManyTracks) != 0 && operation(command_[0]) != kReadTrack;
  // SeaBIOS asks for sectors beyond the track's last where it means those of the other side.
  const std::uint8_t last_sector = many_tracks && state_version() >= kOtherSideVersion
                                       ? std::min(command_[6], drive().format.sectors)
                                       : command_[6];
  const bool end_of_track = sector_ >= last_sector;
  const bool other_side = many_tracks && head_ == 0 && drive().format.heads > 1;
  if (!end_of_track) {
    ++sector_;
  } else if (last || other_side) {
    // Where the next one would be.
    sector_ = 1;
    if ((command_[0] & kManyTracks) == 0) {
      ++cylinder_;
    } else {
      head_ ^= 1;
      if (head_ == 0) ++cylinder_;
    }
  }
  if (last) {
    finish(0);
  } else if (end_of_track && !other_side) {
    finish(kAbnormal, kEndOfCylinder);
  } else {
    next_sector();
  }
}

void FloppyController::next_sector() { due_ns_ = saturating_add(clock_.now().ns, kSectorNs); }

}  // namespace chronovisor
