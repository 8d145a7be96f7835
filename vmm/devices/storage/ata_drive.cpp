#include "vmm/devices/storage/ata_drive.h"

#include <algorithm>
#include <array>
#include <utility>
#include "vmm/devices/storage/ata_identity.h"

namespace chronovisor {
namespace {

// Commands.
enum : std::uint8_t {
  kNop = 0x00,
  kRecalibrate = 0x10,
  kReadSectors = 0x20,
  kReadSectorsOnce = 0x21,
  kReadSectorsExt = 0x24,
  kReadDmaExt = 0x25,
  kReadNativeMaxExt = 0x27,
  kReadMultipleExt = 0x29,
  kWriteSectors = 0x30,
  kWriteSectorsOnce = 0x31,
  kWriteSectorsExt = 0x34,
  kWriteDmaExt = 0x35,
  kWriteMultipleExt = 0x39,
  kVerify = 0x40,
  kVerifyOnce = 0x41,
  kVerifyExt = 0x42,
  kSeek = 0x70,
  kDiagnostic = 0x90,
  kInitializeParameters = 0x91,
  kStandbyImmediateOld = 0x94,
  kIdleImmediateOld = 0x95,
  kCheckPowerOld = 0x98,
  kReadMultiple = 0xc4,
  kWriteMultiple = 0xc5,
  kSetMultiple = 0xc6,
  kReadDma = 0xc8,
  kReadDmaOnce = 0xc9,
  kWriteDma = 0xca,
  kWriteDmaOnce = 0xcb,
  kStandbyImmediate = 0xe0,
  kIdleImmediate = 0xe1,
  kStandby = 0xe2,
  kIdle = 0xe3,
  kCheckPower = 0xe5,
  kSleep = 0xe6,
  kFlush = 0xe7,
  kFlushExt = 0xea,
  kIdentify = 0xec,
  kSetFeatures = 0xef,
  kReadNativeMax = 0xf8,
};

}  // namespace

AtaDrive::AtaDrive(Disk& disk, std::string serial) : disk_(disk), serial_(std::move(serial)) {}

void AtaDrive::put_signature() {
  count_[0] = 1;
  lba_low_[0] = 1;
  lba_mid_[0] = 0;
  lba_high_[0] = 0;
}

void AtaDrive::drive_reset() {
  kind_ = Kind::none;
  wide_ = false;
  sector_ = 0;
  left_ = 0;
  first_ = 0;
  count_asked_ = 0;
  block_ = 1;
  multiple_ = 0;
  heads_ = 16;
  track_sectors_ = 63;
}

void AtaDrive::visit_drive(StateVisitor& visitor, const std::string& prefix) {
  auto kind = static_cast<std::uint8_t>(kind_);
  visitor.field(prefix + "kind", kind);
  kind_ = kind <= static_cast<std::uint8_t>(Kind::no_data) ? static_cast<Kind>(kind) : Kind::none;
  visitor.field(prefix + "wide", wide_);
  visitor.field(prefix + "sector", sector_);
  visitor.field(prefix + "left", left_);
  visitor.field(prefix + "first", first_);
  visitor.field(prefix + "asked", count_asked_);
  visitor.field(prefix + "block", block_);
  visitor.field(prefix + "multiple", multiple_);
  visitor.field(prefix + "heads", heads_);
  visitor.field(prefix + "track_sectors", track_sectors_);
  visitor.field(prefix + "transfer_mode", transfer_mode_);
  // Of a state that was not saved by a drive.
  if (sector_ > disk_.sectors() || left_ > disk_.sectors() - sector_) left_ = 0;
  block_ = std::clamp<std::uint32_t>(block_, 1, kBufferBytes / kSectorBytes);
}

void AtaDrive::execute(std::uint8_t command) {
  const std::uint32_t multiple = multiple_;
  switch (command) {
    case kIdentify:
      begin(Kind::identify);
      break;
    case kReadSectors:
    case kReadSectorsOnce:
      transfer(Kind::read, false, 1);
      break;
    case kReadSectorsExt:
      transfer(Kind::read, true, 1);
      break;
    case kReadMultiple:
    case kReadMultipleExt:
      transfer(Kind::read, command == kReadMultipleExt, multiple);
      break;
    case kWriteSectors:
    case kWriteSectorsOnce:
      transfer(Kind::write, false, 1);
      break;
    case kWriteSectorsExt:
      transfer(Kind::write, true, 1);
      break;
    case kWriteMultiple:
    case kWriteMultipleExt:
      transfer(Kind::write, command == kWriteMultipleExt, multiple);
      break;
    case kReadDma:
    case kReadDmaOnce:
    case kReadDmaExt:
      transfer(Kind::read_dma, command == kReadDmaExt, kBufferBytes / kSectorBytes);
      break;
    case kWriteDma:
    case kWriteDmaOnce:
    case kWriteDmaExt:
      transfer(Kind::write_dma, command == kWriteDmaExt, kBufferBytes / kSectorBytes);
      break;
    case kVerify:
    case kVerifyOnce:
    case kVerifyExt:
      transfer(Kind::verify, command == kVerifyExt, 1);
      break;
    case kFlush:
    case kFlushExt:
      begin(Kind::flush);
      break;
    case kSetMultiple:
      if (count_[0] > kMostMultiple || (count_[0] & (count_[0] - 1)) != 0) {
        fail(kIdeAborted);
      } else {
        multiple_ = count_[0];
        finish();
      }
      break;
    case kInitializeParameters:
      heads_ = static_cast<std::uint8_t>((device_ & 0x0f) + 1);
      track_sectors_ = count_[0];
      finish();
      break;
    case kSetFeatures:
      set_features();
      break;
    case kReadNativeMax:
      show_place(std::min(disk_.sectors() - 1, kMostSectors28));
      finish();
      break;
    case kReadNativeMaxExt:
      wide_ = true;
      show_place(disk_.sectors() - 1);
      finish();
      break;
    case kDiagnostic:
      put_signature();
      error_ = 1;
      finish();
      break;
    case kCheckPower:
    case kCheckPowerOld:
      count_[0] = 0xff;  // active or idle
      finish();
      break;
    case kSeek:
    case kStandbyImmediate:
    case kStandbyImmediateOld:
    case kIdleImmediate:
    case kIdleImmediateOld:
    case kStandby:
    case kIdle:
    case kSleep:
      finish();
      break;
    default:
      if ((command & 0xf0) == kRecalibrate) {
        finish();
      } else {
        fail(kIdeAborted);
      }
      break;
  }
}

void AtaDrive::begin(Kind kind) {
  kind_ = kind;
  wait(0);
}

/// What is refused leaves the range of the transfer before as it was.
bool AtaDrive::take_range(bool wide) {
  wide_ = wide;
  std::uint64_t sector = 0;
  std::uint32_t count = 0;
  if (wide) {
    sector = std::uint64_t{lba_low_[0]} | std::uint64_t{lba_mid_[0]} << 8 |
             std::uint64_t{lba_high_[0]} << 16 | std::uint64_t{lba_low_[1]} << 24 |
             std::uint64_t{lba_mid_[1]} << 32 | std::uint64_t{lba_high_[1]} << 40;
    count = static_cast<std::uint32_t>(count_[0] | count_[1] << 8);
    if (count == 0) count = 65'536;
  } else {
    count = count_[0] == 0 ? 256 : count_[0];
    if ((device_ & kIdeLba) != 0) {
      sector = std::uint64_t{lba_low_[0]} | std::uint64_t{lba_mid_[0]} << 8 |
               std::uint64_t{lba_high_[0]} << 16 | std::uint64_t{device_ & 0x0fU} << 24;
    } else {
      const std::uint64_t cylinder = lba_mid_[0] | std::uint64_t{lba_high_[0]} << 8;
      const unsigned head = device_ & 0x0fU;
      if (lba_low_[0] == 0 || lba_low_[0] > track_sectors_ || head >= heads_) {
        fail(kIdeIdNotFound);
        return false;
      }
      sector = (cylinder * heads_ + head) * track_sectors_ + lba_low_[0] - 1;
    }
  }
  if (sector >= disk_.sectors() || count > disk_.sectors() - sector) {
    fail(kIdeIdNotFound);
    return false;
  }
  sector_ = first_ = sector;
  left_ = count_asked_ = count;
  return true;
}

std::string AtaDrive::request() const {
  const char* name = kind_ == Kind::read_dma ? "READ DMA" : "WRITE DMA";
  return std::string(name) + (wide_ ? " EXT" : "") + ", LBA " + std::to_string(first_) + ", " +
         std::to_string(count_asked_) + " sectors";
}

std::size_t AtaDrive::piece_bytes() const {
  return std::size_t{std::min(left_, block_)} * kSectorBytes;
}

void AtaDrive::transfer(Kind kind, bool wide, std::uint32_t sectors_a_block) {
  if (sectors_a_block == 0) {  // READ or WRITE MULTIPLE before SET MULTIPLE MODE
    fail(kIdeAborted);
    return;
  }
  if (!take_range(wide)) return;
  kind_ = kind;
  block_ = sectors_a_block;
  switch (kind) {
    case Kind::read:
    case Kind::read_dma:
      wait(piece_bytes());
      break;
    case Kind::write:
      ask_for_data(piece_bytes(), IdeAction::none);
      break;
    case Kind::write_dma:
      ask_for_dma(piece_bytes());
      break;
    default:
      wait(std::uint64_t{left_} * kSectorBytes);
      break;
  }
}

void AtaDrive::go_on() {
  switch (kind_) {
    case Kind::identify:
      identify();
      offer_data();
      break;
    case Kind::read:
    case Kind::read_dma:
      read_piece();
      break;
    case Kind::write:
      // The buffer is on the disk.
      if (left_ == 0) {
        finish();
      } else {
        ask_for_data(piece_bytes(), IdeAction::interrupt);
      }
      break;
    case Kind::write_dma:
      if (left_ == 0) {
        finish();
      } else {
        ask_for_dma(piece_bytes());
      }
      break;
    case Kind::verify:
      sector_ += left_;
      left_ = 0;
      show_place(sector_ - 1);
      finish();
      break;
    default:
      finish();
      break;
  }
}

void AtaDrive::read_piece() {
  buffer_.assign(piece_bytes(), 0);
  if (buffer_.empty()) {  // of a state that was not saved by a drive
    fail(kIdeAborted);
    return;
  }
  if (disk_.read(sector_, buffer_) != DiskStatus::done) {
    show_place(sector_);
    fail(kIdeUncorrectable);
    return;
  }
  const auto count = static_cast<std::uint32_t>(buffer_.size() / kSectorBytes);
  sector_ += count;
  left_ -= count;
  show_place(sector_ - 1);
  if (kind_ == Kind::read_dma) {
    offer_dma();
  } else {
    offer_data();
  }
}

void AtaDrive::data_taken() {
  if (kind_ == Kind::read && left_ != 0) {
    wait(piece_bytes());
  } else if (kind_ == Kind::read_dma) {
    if (left_ != 0) {
      wait(piece_bytes());
    } else {
      finish();
    }
  } else {
    // The interrupt came with the data.
    finish(IdeAction::none);
  }
}

void AtaDrive::data_written() {
  const auto count = static_cast<std::uint32_t>(buffer_.size() / kSectorBytes);
  if (count == 0 || count > left_) {  // of a state that was not saved by a drive
    fail(kIdeAborted);
    return;
  }
  if (disk_.write(sector_, buffer_) != DiskStatus::done) {
    show_place(sector_);
    fail(disk_.read_only() ? kIdeAborted : kIdeUncorrectable);
    return;
  }
  sector_ += count;
  left_ -= count;
  show_place(sector_ - 1);
  wait(buffer_.size());
}

/// Puts where a command ended into the task file.
void AtaDrive::show_place(std::uint64_t sector) {
  if (wide_) {
    for (unsigned which = 0; which < 2; ++which) {
      lba_low_[which] = static_cast<std::uint8_t>(sector >> (24 * which));
      lba_mid_[which] = static_cast<std::uint8_t>(sector >> (24 * which + 8));
      lba_high_[which] = static_cast<std::uint8_t>(sector >> (24 * which + 16));
    }
    return;
  }
  std::uint64_t place = sector;
  if ((device_ & kIdeLba) == 0 && track_sectors_ != 0) {
    const std::uint64_t track = sector / track_sectors_;
    place = (sector % track_sectors_ + 1) | (track / heads_) << 8 | (track % heads_) << 24;
  }
  lba_low_[0] = static_cast<std::uint8_t>(place);
  lba_mid_[0] = static_cast<std::uint8_t>(place >> 8);
  lba_high_[0] = static_cast<std::uint8_t>(place >> 16);
  device_ = static_cast<std::uint8_t>((device_ & 0xf0) | (place >> 24 & 0x0f));
}

void AtaDrive::set_features() {
  switch (features_) {
    case 0x03:
      transfer_mode_ = count_[0];
      finish();
      break;
    case 0x02:  // write cache on
    case 0x82:  // ... off
    case 0xaa:  // read look-ahead on
    case 0x55:  // ... off
    case 0x66:
    case 0xcc:
      finish();
      break;
    default:
      fail(kIdeAborted);
      break;
  }
}

void AtaDrive::identify() {
  IdentityWords words = disk_identity(disk_.sectors(), serial_);
  words[20] = 3;
  words[21] = 512;
  words[48] = 1;  // doubleword I/O
  words[51] = 0x0200;
  words[55] = heads_;
  words[56] = track_sectors_;
  const std::uint32_t current = std::uint32_t{words[54]} * heads_ * track_sectors_;
  words[57] = static_cast<std::uint16_t>(current);
  words[58] = static_cast<std::uint16_t>(current >> 16);
  words[59] = multiple_ != 0 ? static_cast<std::uint16_t>(0x100 | multiple_) : std::uint16_t{0};
  words[80] = 0x007e;  // ATA-1 to ATA/ATAPI-6
  if ((transfer_mode_ & 0xf8) == 0x20)
    words[63] |= static_cast<std::uint16_t>(0x100 << (transfer_mode_ & 7));
  if ((transfer_mode_ & 0xf8) == 0x40)
    words[88] |= static_cast<std::uint16_t>(0x100 << (transfer_mode_ & 7));
  words[93] = 0x600b;
  buffer_ = identity_bytes(words);
  left_ = 0;
}

}  // namespace chronovisor
