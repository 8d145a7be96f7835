#include "vmm/devices/storage/isa_dma.h"

#include <algorithm>
#include <utility>

namespace chronovisor {
namespace {

constexpr unsigned kChannelsOfChip = 4;
constexpr std::uint8_t kDisabled = 0x04;    // command: no channel is served
constexpr std::uint8_t kMaskOne = 0x04;     // single mask register: set, not clear
constexpr std::uint8_t kKind = 0x0c;        // mode: what is moved
constexpr std::uint8_t kVerify = 0x00;      //   nothing
constexpr std::uint8_t kToMemory = 0x04;    //   into memory
constexpr std::uint8_t kFromMemory = 0x08;  //   out of it
constexpr std::uint8_t kAutomatic = 0x10;   // mode: begins again at the terminal count
constexpr std::uint8_t kDownwards = 0x20;
constexpr std::uint8_t kCascade = 0xc0;

/// Which channel's page register lies at 80H and that offset; 8: none.
constexpr std::array<std::uint8_t, 16> kChannelOfPage{8, 2, 3, 1, 8, 8, 8, 0,
                                                      8, 6, 7, 5, 8, 8, 8, 4};
constexpr std::uint16_t kPageBase = 0x80;

}  // namespace

void IsaDma::declare(Declaration& declaration) {
  declaration.ports(0x00, 16, first_);
  declaration.ports(0xc0, 32, second_);
  // 80H and what else lies between is the POST port's, and nobody's.
  for (const auto& [first, count] :
       {std::pair{0x81, 3}, std::pair{0x87, 1}, std::pair{0x89, 3}, std::pair{0x8f, 1}}) {
    declaration.ports(static_cast<std::uint16_t>(first), static_cast<std::uint32_t>(count), pages_,
                      static_cast<std::uint16_t>(first - kPageBase));
  }
}

void IsaDma::reset() {
  channels_ = {};
  for (Chip& chip : chips_) clear(chip);
}

void IsaDma::set_up_by_firmware() {
  channels_[kChannelsOfChip].mode = kCascade;
  chips_[1].mask &= static_cast<std::uint8_t>(~1U);
}

void IsaDma::clear(Chip& chip) { chip = {}; }

void IsaDma::visit_state(StateVisitor& visitor, const std::string& prefix) {
  for (unsigned n = 0; n < channels_.size(); ++n) {
    Channel& channel = channels_[n];
    const std::string name = prefix + "channel" + std::to_string(n) + ".";
    visitor.field(name + "base_address", channel.base_address);
    visitor.field(name + "base_count", channel.base_count);
    visitor.field(name + "address", channel.address);
    visitor.field(name + "count", channel.count);
    visitor.field(name + "mode", channel.mode);
    visitor.field(name + "page", channel.page);
  }
  for (unsigned n = 0; n < chips_.size(); ++n) {
    Chip& chip = chips_[n];
    const std::string name = prefix + "chip" + std::to_string(n) + ".";
    visitor.field(name + "command", chip.command);
    visitor.field(name + "mask", chip.mask);
    visitor.field(name + "status", chip.status);
    visitor.field(name + "high_byte", chip.high_byte);
  }
}

std::uint8_t IsaDma::Registers::read_byte(std::uint16_t offset) {
  return dma_.read(chip_, offset / step_);
}
void IsaDma::Registers::write_byte(std::uint16_t offset, std::uint8_t value) {
  dma_.write(chip_, offset / step_, value);
}

std::uint8_t IsaDma::Pages::read_byte(std::uint16_t offset) {
  const unsigned channel = offset < kChannelOfPage.size() ? kChannelOfPage[offset] : 8;
  return channel < dma_.channels_.size() ? dma_.channels_[channel].page : 0xff;
}
void IsaDma::Pages::write_byte(std::uint16_t offset, std::uint8_t value) {
  const unsigned channel = offset < kChannelOfPage.size() ? kChannelOfPage[offset] : 8;
  if (channel < dma_.channels_.size()) dma_.channels_[channel].page = value;
}

std::uint8_t IsaDma::read(unsigned which, unsigned index) {
  Chip& chip = chips_[which];
  if (index < 2 * kChannelsOfChip) {
    const Channel& channel = channels_[kChannelsOfChip * which + index / 2];
    const std::uint16_t value = index % 2 == 0 ? channel.address : channel.count;
    return static_cast<std::uint8_t>(std::exchange(chip.high_byte, !chip.high_byte) ? value >> 8
                                                                                    : value);
  }
  switch (index) {
    case 8:
      return std::exchange(chip.status, std::uint8_t{0});
    case 15:  // of later chips
      return static_cast<std::uint8_t>(chip.mask | 0xf0);
    default:
      return 0;
  }
}

void IsaDma::write(unsigned which, unsigned index, std::uint8_t value) {
  Chip& chip = chips_[which];
  if (index < 2 * kChannelsOfChip) {
    Channel& channel = channels_[kChannelsOfChip * which + index / 2];
    std::uint16_t& base = index % 2 == 0 ? channel.base_address : channel.base_count;
    base = std::exchange(chip.high_byte, !chip.high_byte)
               ? static_cast<std::uint16_t>((base & 0x00ff) | value << 8)
               : static_cast<std::uint16_t>((base & 0xff00) | value);
    (index % 2 == 0 ? channel.address : channel.count) = base;
    return;
  }
  const auto bit = static_cast<std::uint8_t>(1U << (value & 3U));
  switch (index) {
    case 8:
      chip.command = value;
      break;
    case 10:
      chip.mask =
          static_cast<std::uint8_t>((value & kMaskOne) != 0 ? chip.mask | bit : chip.mask & ~bit);
      break;
    case 11:
      channels_[kChannelsOfChip * which + (value & 3U)].mode = value;
      break;
    case 12:
      chip.high_byte = false;
      break;
    case 13:
      clear(chip);
      break;
    case 14:
      chip.mask = 0;
      break;
    case 15:
      chip.mask = value & 0x0f;
      break;
    default:  // 9: requests by software
      break;
  }
}

template <class Piece>
IsaDma::Moved IsaDma::move(unsigned number, std::uint8_t kind, std::size_t bytes, Piece&& piece) {
  Channel& channel = channels_[number];
  Chip& chip = chips_[0];
  const auto bit = static_cast<std::uint8_t>(1U << number);
  Moved moved;
  // The channels of the first chip reach the processor through channel 4 of the second.
  const bool passes = (chip.command & kDisabled) == 0 && (chips_[1].command & kDisabled) == 0 &&
                      (chips_[1].mask & 1) == 0;
  const std::uint8_t programmed = channel.mode & kKind;
  if (!passes || (channel.mode & kCascade) == kCascade ||
      (programmed != kind && programmed != kVerify)) {
    return moved;
  }
  while (moved.bytes < bytes && (chip.mask & bit) == 0) {
    std::size_t count = 1;
    if ((channel.mode & kDownwards) == 0) {
      count = std::min<std::size_t>(
          {bytes - moved.bytes, channel.count + 1U, 0x10000U - channel.address});
    }
    const std::uint32_t address = std::uint32_t{channel.page} << 16 | channel.address;
    if (programmed != kVerify) piece(GuestPhysical{address}, moved.bytes, count);
    moved.bytes += count;
    channel.address = static_cast<std::uint16_t>(
        (channel.mode & kDownwards) != 0 ? channel.address - 1U : channel.address + count);
    if (count <= channel.count) {
      channel.count = static_cast<std::uint16_t>(channel.count - count);
      continue;
    }
    moved.terminal_count = true;
    chip.status |= bit;
    channel.count = 0xffff;
    if ((channel.mode & kAutomatic) != 0) {
      channel.address = channel.base_address;
      channel.count = channel.base_count;
    } else {
      chip.mask |= bit;
    }
    break;  // the device is told
  }
  return moved;
}

IsaDma::Moved IsaDma::to_memory(unsigned channel, ByteView data, DmaPort& memory) {
  return move(channel, kToMemory, data.size(),
              [&](GuestPhysical address, std::size_t at, std::size_t count) {
                (void)memory.write(address, data.subspan(at, count));
              });
}

IsaDma::Moved IsaDma::from_memory(unsigned channel, std::span<std::uint8_t> out, DmaPort& memory) {
  std::ranges::fill(out, std::uint8_t{0});
  return move(channel, kFromMemory, out.size(),
              [&](GuestPhysical address, std::size_t at, std::size_t count) {
                (void)memory.read(address, out.subspan(at, count));
              });
}

}  // namespace chronovisor
