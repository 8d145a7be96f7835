#include "vmm/devices/firmware/rom.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kProgram = 0x10;
constexpr std::uint8_t kErase = 0x20;
constexpr std::uint8_t kProgramToo = 0x40;
constexpr std::uint8_t kClearStatus = 0x50;
constexpr std::uint8_t kLock = 0x60;
constexpr std::uint8_t kReadStatus = 0x70;
constexpr std::uint8_t kIdentify = 0x90;
constexpr std::uint8_t kConfirm = 0xd0;
constexpr std::uint8_t kReadArray = 0xff;

constexpr std::uint8_t kReady = 0x80;
constexpr std::uint8_t kBadSequence = 0x30;

constexpr std::uint8_t kMaker = 0x89;  // Intel
constexpr std::uint8_t kPart = 0x18;

}  // namespace

Rom::Rom(PagedRegion& content, std::unique_ptr<RomMapping> mapping, const FlashConfig& flash)
    : content_(content),
      mapping_(std::move(mapping)),
      flash_begin_(content.size() - flash.below_4g_bytes - flash.size_bytes),
      flash_end_(content.size() - flash.below_4g_bytes),
      command_(kReadArray) {
  CHECK_THAT(flash.size_bytes % kBlockBytes == 0 && flash.below_4g_bytes % kBlockBytes == 0 &&
                 flash.below_4g_bytes <= content.size() &&
                 flash.size_bytes <= content.size() - flash.below_4g_bytes,
             "flash memory within the ROM");
}

void Rom::declare(Declaration& declaration) {
  constexpr std::uint64_t kEnd = 1ULL << 32;
  declaration.memory(kEnd - content_.size(), content_.size(), *this);
}

void Rom::visit_state(StateVisitor& visitor) {
  if (state_version() < 2) return;
  visitor.field("flash.command", command_);
  visitor.field("flash.expecting", expecting_);
  visitor.field("flash.status", status_);
}

void Rom::reset() {
  command_ = kReadArray;
  expecting_ = false;
  status_ = kReady;
  show();
}

/// In any mode but that of the array, reads give something else than the content.
void Rom::show() {
  mapping_->hide_start(flash_begin_ != flash_end_ && command_ != kReadArray ? flash_end_ : 0);
}

std::uint64_t Rom::read_mmio(std::uint64_t offset, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    const std::uint64_t at = offset + i;
    std::uint8_t byte = 0xff;
    if (!in_flash(at) || command_ == kReadArray) {
      if (at < content_.size()) byte = *content_.host(at);
    } else if (command_ == kIdentify) {
      const std::uint64_t what = at % kBlockBytes;
      byte = what == 0 ? kMaker : what == 1 ? kPart : 0;
    } else {
      byte = status_;
    }
    value |= std::uint64_t{byte} << (8 * i);
  }
  return value;
}

void Rom::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  if (!in_flash(offset)) return;
  if (expecting_) {
    finish(offset, width, value);
  } else {
    begin(static_cast<std::uint8_t>(value));
  }
  show();
}

void Rom::begin(std::uint8_t command) {
  command_ = command;
  switch (command) {
    case kProgram:
    case kProgramToo:
    case kErase:
    case kLock:
      expecting_ = true;
      break;
    case kReadStatus:
    case kIdentify:
      break;
    case kClearStatus:
      status_ = 0;
      command_ = kReadArray;
      break;
    default:
      command_ = kReadArray;
      break;
  }
}

void Rom::finish(std::uint64_t offset, unsigned width, std::uint64_t value) {
  expecting_ = false;
  const bool confirmed = static_cast<std::uint8_t>(value) == kConfirm;
  if (command_ == kProgram || command_ == kProgramToo) {
    std::array<std::uint8_t, 8> bytes{};
    for (unsigned i = 0; i < width; ++i) bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
    change(offset, ByteView(bytes).first(width));
    status_ |= kReady;
  } else if (command_ == kErase && confirmed) {
    change(offset / kBlockBytes * kBlockBytes, Bytes(kBlockBytes, 0xff));
    status_ |= kReady;
  } else if (command_ == kErase) {
    status_ |= kReady | kBadSequence;
  } else if (static_cast<std::uint8_t>(value) == kReadArray) {
    command_ = kReadArray;
  } else {
    status_ |= kReady;  // locked or unlocked, which changes nothing
  }
}

/// What goes past the flash is dropped. A write never crosses a page in the middle of a
/// block, but may leave the flash.
void Rom::change(std::uint64_t offset, ByteView bytes) {
  const std::uint64_t end = std::min<std::uint64_t>(offset + bytes.size(), flash_end_);
  for (std::uint64_t at = offset; at < end;) {
    const std::uint64_t count = std::min(end - at, kPageSize - at % kPageSize);
    mapping_->before_change(at, count);
    content_.write(at, bytes.subspan(at - offset, count));
    at += count;
  }
}

}  // namespace chronovisor
