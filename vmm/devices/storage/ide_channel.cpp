#include "vmm/devices/storage/ide_channel.h"

#include <algorithm>
#include <utility>

namespace chronovisor {
namespace {

constexpr std::uint8_t kNoInterrupts = 0x02;   // nIEN
constexpr std::uint8_t kSoftwareReset = 0x04;  // SRST
constexpr std::uint8_t kHighOrder = 0x80;      // HOB

constexpr std::uint8_t kMasterStart = 0x01;
constexpr std::uint8_t kMasterToMemory = 0x08;
constexpr std::uint8_t kMasterActive = 0x01;
constexpr std::uint8_t kMasterError = 0x02;
constexpr std::uint8_t kMasterInterrupt = 0x04;
constexpr std::uint8_t kMasterDrivesCan = 0x60;

constexpr std::uint32_t kLastDescriptor = 0x80000000;
/// A table lies within 64 KiB.
constexpr unsigned kMostDescriptors = 8192;

}  // namespace

IdeChannel::IdeChannel(std::string prefix, const Clock& clock, DmaPort& dma)
    : prefix_(std::move(prefix)), clock_(clock), dma_(dma) {}

IdeDrive* IdeChannel::selected() const { return drives_[second_ ? 1 : 0].get(); }

void IdeChannel::raise() {
  asserted_ = true;
  master_status_ |= kMasterInterrupt;
  pin_.set((control_ & kNoInterrupts) == 0);
}

void IdeChannel::act(unsigned which, IdeAction action) {
  // The drive that is not selected keeps its interrupt to itself.
  if (action == IdeAction::interrupt && which == (second_ ? 1U : 0U)) raise();
}

std::uint32_t IdeChannel::read_command_block(unsigned offset, unsigned width) {
  IdeDrive* drive = selected();
  if (offset == 0) {
    if (drive == nullptr) return 0xffffffff;
    const std::uint32_t value = drive->read_data(width, clock_.now().ns);
    act(second_ ? 1 : 0, drive->take_action());
    return value;
  }
  if (drive == nullptr) {
    // With drive 0 alone, it answers for drive 1 with zeros; with none, the bus floats.
    return drives_[0] == nullptr && drives_[1] == nullptr ? (offset == 7 ? 0x7f : 0xff) : 0;
  }
  if (offset == 7) {
    asserted_ = false;
    pin_.set(false);
    return drive->status();
  }
  if ((drive->status() & kIdeBusy) != 0) return drive->status();
  return drive->read_register(offset, (control_ & kHighOrder) != 0);
}

void IdeChannel::write_command_block(unsigned offset, unsigned width, std::uint32_t value) {
  const std::uint64_t now = clock_.now().ns;
  if (offset == 0) {
    if (IdeDrive* drive = selected()) act(second_ ? 1 : 0, drive->write_data(value, width, now));
    return;
  }
  const auto byte = static_cast<std::uint8_t>(value);
  control_ &= static_cast<std::uint8_t>(~kHighOrder);
  if (offset < 7) {
    if (offset == 6) second_ = (byte & kIdeSecondDrive) != 0;
    // Both drives take the task file, unless they are at work.
    for (const auto& drive : drives_) {
      if (drive != nullptr && (drive->status() & (kIdeBusy | kIdeDataRequest)) == 0) {
        drive->write_register(offset, byte);
      }
    }
    return;
  }
  constexpr std::uint8_t kDiagnostic = 0x90;
  constexpr std::uint8_t kDeviceReset = 0x08;
  asserted_ = false;
  pin_.set(false);
  for (unsigned which = 0; which < drives_.size(); ++which) {
    IdeDrive* drive = drives_[which].get();
    if (drive == nullptr || (which != (second_ ? 1U : 0U) && byte != kDiagnostic)) continue;
    const bool working = (drive->status() & (kIdeBusy | kIdeDataRequest)) != 0;
    if (working && byte != kDeviceReset) continue;
    drive->write_command(byte, now, clock_.position());
    act(which, drive->take_action());
  }
  move_data();
}

std::uint8_t IdeChannel::read_control() const {
  const IdeDrive* drive = selected();
  if (drive != nullptr) return drive->status();
  return drives_[0] == nullptr && drives_[1] == nullptr ? 0x7f : 0;
}

void IdeChannel::write_control(std::uint8_t value) {
  const bool reset_begins = (value & ~control_ & kSoftwareReset) != 0;
  control_ = value & (kNoInterrupts | kSoftwareReset | kHighOrder);
  if (reset_begins) {
    for (const auto& drive : drives_) {
      if (drive != nullptr) drive->reset();
    }
    second_ = false;
    asserted_ = false;
  }
  pin_.set(asserted_ && (control_ & kNoInterrupts) == 0);
}

std::uint8_t IdeChannel::read_bus_master(unsigned offset) const {
  switch (offset) {
    case 0:
      return master_command_;
    case 2:
      return master_status_;
    case 4:
    case 5:
    case 6:
    case 7:
      return static_cast<std::uint8_t>(table_ >> (8 * (offset - 4)));
    default:
      return 0;
  }
}

void IdeChannel::write_bus_master(unsigned offset, std::uint8_t value) {
  switch (offset) {
    case 0: {
      const bool starts = (value & ~master_command_ & kMasterStart) != 0;
      master_command_ = value & (kMasterStart | kMasterToMemory);
      if (starts) {
        next_ = table_;
        region_at_ = region_left_ = descriptors_taken_ = 0;
        last_descriptor_ = false;
        master_status_ |= kMasterActive;
        move_data();
      } else if ((value & kMasterStart) == 0) {
        master_status_ &= static_cast<std::uint8_t>(~kMasterActive);
      }
      break;
    }
    case 2:
      // Interrupt and error are cleared by ones; "drive can do DMA" is what is written.
      master_status_ = static_cast<std::uint8_t>(
          (master_status_ & ~(value & (kMasterInterrupt | kMasterError)) & ~kMasterDrivesCan) |
          (value & kMasterDrivesCan));
      break;
    case 4:
    case 5:
    case 6:
    case 7: {
      const unsigned shift = 8 * (offset - 4);
      table_ = (table_ & ~(0xffU << shift)) | std::uint32_t{value} << shift;
      table_ &= ~3U;
      break;
    }
    default:
      break;
  }
}

/// Moves what a drive has waiting, if the bus master is started.
void IdeChannel::move_data() {
  IdeDrive* drive = selected();
  if (drive == nullptr || drive->dma() == IdeDrive::Dma::none) return;
  if ((master_command_ & kMasterStart) == 0 || (master_status_ & kMasterActive) == 0) return;
  if (!master_allowed_) return;
  const bool to_memory = drive->dma() == IdeDrive::Dma::to_memory;
  const bool programmed_to_memory = (master_command_ & kMasterToMemory) != 0;
  const bool whole = to_memory == programmed_to_memory && move(*drive);
  if (!whole) {
    master_status_ |= kMasterError;
    master_status_ &= static_cast<std::uint8_t>(~kMasterActive);
  }
  const IdeAction action = drive->dma_moved(whole, clock_.now().ns);
  if (action == IdeAction::interrupt) {
    master_status_ &= static_cast<std::uint8_t>(~kMasterActive);
  }
  act(second_ ? 1 : 0, action);
}

/// Takes the next descriptor of the table.
/// @return false when there is none, or memory did not give it
bool IdeChannel::next_descriptor() {
  if (last_descriptor_ || descriptors_taken_ >= kMostDescriptors) return false;
  std::uint32_t address = 0;
  std::uint32_t control = 0;
  if (dma_.read({next_}, address) != DmaStatus::done ||
      dma_.read({next_ + 4ULL}, control) != DmaStatus::done) {
    return false;
  }
  next_ += 8;
  ++descriptors_taken_;
  region_at_ = address & ~1U;
  region_left_ = (control & 0xfffe) == 0 ? 0x10000 : control & 0xfffe;
  last_descriptor_ = (control & kLastDescriptor) != 0;
  return true;
}

/// @return whether the table had room for the drive's piece, and memory took it
bool IdeChannel::move(IdeDrive& drive) {
  const DmaPort::Doing doing(dma_, drive);
  std::vector<std::uint8_t>& buffer = drive.dma_buffer();
  const bool to_memory = drive.dma() == IdeDrive::Dma::to_memory;
  for (std::size_t done = 0; done < buffer.size();) {
    if (region_left_ == 0 && !next_descriptor()) return false;
    const std::size_t count = std::min<std::size_t>(region_left_, buffer.size() - done);
    const std::span<std::uint8_t> piece(buffer.data() + done, count);
    const DmaStatus status =
        to_memory ? dma_.write({region_at_}, ByteView(piece)) : dma_.read({region_at_}, piece);
    if (status != DmaStatus::done) return false;
    done += count;
    region_at_ += static_cast<std::uint32_t>(count);
    region_left_ -= static_cast<std::uint32_t>(count);
  }
  return true;
}

std::uint64_t IdeChannel::due_ns() const {
  std::uint64_t due = kNever;
  for (const auto& drive : drives_) {
    if (drive != nullptr) due = std::min(due, drive->due_ns());
  }
  return due;
}

void IdeChannel::advance(std::uint64_t now_ns) {
  for (unsigned which = 0; which < drives_.size(); ++which) {
    if (drives_[which] != nullptr) act(which, drives_[which]->advance(now_ns));
  }
  move_data();
}

void IdeChannel::reset() {
  for (const auto& drive : drives_) {
    if (drive != nullptr) drive->reset();
  }
  second_ = false;
  control_ = 0;
  asserted_ = false;
  pin_.set(false);
  master_command_ = 0;
  master_status_ = 0;
  table_ = next_ = region_at_ = region_left_ = descriptors_taken_ = 0;
  last_descriptor_ = false;
}

void IdeChannel::visit_state(StateVisitor& visitor) {
  visitor.field(prefix_ + "second", second_);
  visitor.field(prefix_ + "control", control_);
  visitor.field(prefix_ + "asserted", asserted_);
  pin_.visit_state(visitor, prefix_ + "pin");
  visitor.field(prefix_ + "master_command", master_command_);
  visitor.field(prefix_ + "master_status", master_status_);
  visitor.field(prefix_ + "table", table_);
  visitor.field(prefix_ + "next", next_);
  visitor.field(prefix_ + "region_at", region_at_);
  visitor.field(prefix_ + "region_left", region_left_);
  visitor.field(prefix_ + "descriptors_taken", descriptors_taken_);
  visitor.field(prefix_ + "last_descriptor", last_descriptor_);
  for (unsigned which = 0; which < drives_.size(); ++which) {
    if (drives_[which] != nullptr) {
      drives_[which]->visit_state(visitor, prefix_ + (which == 0 ? "drive0." : "drive1."));
    }
  }
}

}  // namespace chronovisor
