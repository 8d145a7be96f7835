#include "vmm/devices/storage/ide_drive.h"

#include <algorithm>
#include <utility>

#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {

std::uint8_t IdeDrive::read_register(unsigned number, bool high_order) const {
  const unsigned which = high_order ? 1 : 0;
  switch (number) {
    case 1:
      return error_;
    case 2:
      return count_[which];
    case 3:
      return lba_low_[which];
    case 4:
      return lba_mid_[which];
    case 5:
      return lba_high_[which];
    default:
      return static_cast<std::uint8_t>(device_ | 0xa0);
  }
}

void IdeDrive::write_register(unsigned number, std::uint8_t value) {
  const auto shift_in = [value](std::array<std::uint8_t, 2>& pair) {
    pair[1] = pair[0];
    pair[0] = value;
  };
  switch (number) {
    case 1:
      features_ = value;
      break;
    case 2:
      shift_in(count_);
      break;
    case 3:
      shift_in(lba_low_);
      break;
    case 4:
      shift_in(lba_mid_);
      break;
    case 5:
      shift_in(lba_high_);
      break;
    default:
      device_ = value;
      break;
  }
}

void IdeDrive::write_command(std::uint8_t command, std::uint64_t now_ns, Position here) {
  now_ns_ = now_ns;
  started_ = here.steps;
  command_ = command;
  error_ = 0;
  status_ = ready_status();
  buffer_.clear();
  at_ = 0;
  writing_ = false;
  dma_ = Dma::none;
  due_ns_ = kNever;
  action_ = IdeAction::none;
  execute(command);
}

std::uint32_t IdeDrive::read_data(unsigned width, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if ((status_ & kIdeDataRequest) == 0 || writing_ || dma_ != Dma::none) return 0;
  std::uint32_t value = 0;
  for (unsigned n = 0; n < width && at_ < buffer_.size(); ++n) {
    value |= std::uint32_t{buffer_[at_++]} << (8 * n);
  }
  if (at_ >= buffer_.size()) {
    status_ &= static_cast<std::uint8_t>(~kIdeDataRequest);
    data_taken();
  }
  return value;
}

IdeAction IdeDrive::write_data(std::uint32_t value, unsigned width, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  if ((status_ & kIdeDataRequest) == 0 || !writing_ || dma_ != Dma::none) return IdeAction::none;
  for (unsigned n = 0; n < width && at_ < buffer_.size(); ++n) {
    buffer_[at_++] = static_cast<std::uint8_t>(value >> (8 * n));
  }
  if (at_ >= buffer_.size()) {
    status_ &= static_cast<std::uint8_t>(~kIdeDataRequest);
    writing_ = false;
    data_written();
  }
  return take_action();
}

IdeAction IdeDrive::take_action() { return std::exchange(action_, IdeAction::none); }

IdeAction IdeDrive::advance(std::uint64_t now_ns) {
  if (due_ns_ > now_ns) return IdeAction::none;
  now_ns_ = now_ns;
  due_ns_ = kNever;
  status_ = ready_status();
  go_on();
  return take_action();
}

IdeAction IdeDrive::dma_moved(bool whole, std::uint64_t now_ns) {
  now_ns_ = now_ns;
  const Dma was = std::exchange(dma_, Dma::none);
  status_ &= static_cast<std::uint8_t>(~kIdeDataRequest);
  if (!whole) {
    fail(kIdeAborted);
  } else if (was == Dma::from_memory) {
    data_written();
  } else {
    data_taken();
  }
  return take_action();
}

void IdeDrive::reset() {
  features_ = 0;
  error_ = 1;  // no error was found
  command_ = 0;
  status_ = ready_status();
  buffer_.clear();
  at_ = 0;
  writing_ = false;
  dma_ = Dma::none;
  due_ns_ = kNever;
  started_ = 0;
  action_ = IdeAction::none;
  device_ = 0;
  count_ = lba_low_ = lba_mid_ = lba_high_ = {};
  put_signature();
  drive_reset();
}

void IdeDrive::wait(std::uint64_t bytes) {
  status_ = static_cast<std::uint8_t>((ready_status() | kIdeBusy) & ~kIdeDataRequest);
  due_ns_ = saturating_add(now_ns_, kIdeCommandNs + bytes * kIdeNsPerByte);
}

void IdeDrive::offer_data() {
  at_ = 0;
  writing_ = false;
  status_ = ready_status() | kIdeDataRequest;
  action_ = IdeAction::interrupt;
}

void IdeDrive::ask_for_data(std::size_t bytes, IdeAction interrupt) {
  buffer_.assign(std::min(bytes, kBufferBytes), 0);
  at_ = 0;
  writing_ = true;
  status_ = ready_status() | kIdeDataRequest;
  action_ = interrupt;
}

void IdeDrive::offer_dma() {
  dma_ = Dma::to_memory;
  status_ = ready_status() | kIdeDataRequest;
}

void IdeDrive::ask_for_dma(std::size_t bytes) {
  buffer_.assign(std::min(bytes, kBufferBytes), 0);
  dma_ = Dma::from_memory;
  status_ = ready_status() | kIdeDataRequest;
}

void IdeDrive::finish(IdeAction interrupt) {
  status_ = ready_status();
  buffer_.clear();
  action_ = interrupt;
}

void IdeDrive::fail(std::uint8_t error) {
  error_ = error;
  status_ = ready_status() | kIdeError;
  buffer_.clear();
  action_ = IdeAction::interrupt;
}

void IdeDrive::visit_state(StateVisitor& visitor, const std::string& prefix) {
  visitor.field(prefix + "features", features_);
  visitor.field(prefix + "error", error_);
  visitor.field(prefix + "count", count_);
  visitor.field(prefix + "lba_low", lba_low_);
  visitor.field(prefix + "lba_mid", lba_mid_);
  visitor.field(prefix + "lba_high", lba_high_);
  visitor.field(prefix + "device", device_);
  visitor.field(prefix + "status", status_);
  visitor.field(prefix + "command", command_);
  visitor.field(prefix + "buffer", buffer_, kBufferBytes);
  visitor.field(prefix + "at", at_);
  visitor.field(prefix + "writing", writing_);
  auto dma = static_cast<std::uint8_t>(dma_);
  visitor.field(prefix + "dma", dma);
  dma_ = dma <= static_cast<std::uint8_t>(Dma::from_memory) ? static_cast<Dma>(dma) : Dma::none;
  visitor.field(prefix + "due_ns", due_ns_);
  visitor.field(prefix + "started", started_);
  visit_drive(visitor, prefix);
}

}  // namespace chronovisor
