#include "vmm/devices/display/vga.h"

#include <algorithm>
#include <array>
#include <bit>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kFirstPort = 0x3b0;
constexpr std::uint16_t kPorts = 0x30;
constexpr std::uint16_t kVbePort = 0x1ce;
constexpr std::uint64_t kApertureBase = 0xa0000;
constexpr std::uint64_t kApertureBytes = 0x20000;
constexpr std::uint64_t kRegisterWindowBytes = 0x1000;

constexpr std::uint16_t kVbeOldestId = 0xb0c0;
constexpr std::uint16_t kVbeNewestId = 0xb0c5;
constexpr std::uint16_t kMostWidth = 2560;
constexpr std::uint16_t kMostHeight = 1600;
constexpr std::uint16_t kMostBits = 32;

/// Bits that the sequencer's registers have.
constexpr std::array<std::uint8_t, kSeqRegisters> kSequencerBits{0x03, 0x3d, 0x0f, 0x3f, 0x0e};
constexpr std::array<std::uint8_t, kGfxRegisters> kGraphicsBits{0x0f, 0x0f, 0x0f, 0x1f, 0x03,
                                                                0x7b, 0x0f, 0x0f, 0xff};

constexpr PciDevice::Identity kIdentity{.vendor = 0x1234,
                                        .device = 0x1111,
                                        .class_code = 0x030000,
                                        .revision = 2,
                                        .subsystem_vendor = 0x1af4,
                                        .subsystem = 0x1100};

/// In state version 2 and before, a kernel that is started without firmware finds no mode
/// set, and a VBE mode leaves the VGA's registers as they are.
constexpr std::uint32_t kTextModeVersion = 3;
/// Of the font that every video BIOS has: the characters 0, which is empty, and 1, a face.
constexpr unsigned kFontRows = 16;
constexpr std::array<std::uint8_t, 2 * kFontRows> kFontBegin{
    0, 0, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0, 0,
    0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e, 0, 0, 0, 0};

std::uint8_t rotate_right(std::uint8_t value, unsigned count) {
  return std::rotr(value, static_cast<int>(count));
}

}  // namespace

Vga::Vga(PciAddress usual, MessageInterrupts& messages, const Clock& clock, PagedRegion& memory,
         const PagedRegion* rom)
    : PciDevice(kIdentity, usual, messages), clock_(clock), memory_(memory), video_bios_(rom) {
  add_memory_bar(0, kMemoryBytes, MemoryBar::bits32, frame_buffer_);
  add_memory_bar(2, kRegisterWindowBytes, MemoryBar::bits32, register_window_);
  add_legacy_ports();
  if (rom != nullptr) add_rom(*rom);
}

void Vga::declare(Declaration& declaration) {
  PciDevice::declare(declaration);
  declaration.ports(kFirstPort, kPorts, registers_);
  declaration.ports(kVbePort, 4, vbe_ports_);
  declaration.memory(kApertureBase, kApertureBytes, aperture_);
  declaration.firmware().fixed.vga = true;
}

void Vga::reset() {
  PciDevice::reset();
  state_ = {};
  state_.sequencer[kSeqReset] = 3;
  state_.vbe[kVbeId] = kVbeNewestId;
  state_.vbe[kVbeMemory64K] = kMemoryBytes / 0x10000;
}

void Vga::set_up_by_firmware() {
  if (state_version() >= kTextModeVersion) set_text_mode(font_in_rom(), kFontRows);
}

/// 256 characters; fewer, if its ROM ends before, or none.
Bytes Vga::font_in_rom() const {
  if (video_bios_ == nullptr) return {};
  Bytes rom(kRomBytes, 0);
  video_bios_->read(0, rom);
  const auto begin = std::search(rom.begin(), rom.end(), kFontBegin.begin(), kFontBegin.end());
  const auto size = std::min<std::ptrdiff_t>(rom.end() - begin, 256 * kFontRows);
  return {begin, begin + size};
}

void Vga::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  visitor.field("miscellaneous", state_.miscellaneous);
  visitor.field("feature", state_.feature);
  visitor.field("sequencer_index", state_.sequencer_index);
  visitor.field("sequencer", state_.sequencer);
  visitor.field("graphics_index", state_.graphics_index);
  visitor.field("graphics", state_.graphics);
  visitor.field("crtc_index", state_.crtc_index);
  visitor.field("crtc", state_.crtc);
  visitor.field("attribute_index", state_.attribute_index);
  visitor.field("attribute_data_next", state_.attribute_data_next);
  visitor.field("attribute", state_.attribute);
  visitor.field("dac_mask", state_.dac_mask);
  visitor.field("dac_reading", state_.dac_reading);
  visitor.field("dac_read_index", state_.dac_read_index);
  visitor.field("dac_write_index", state_.dac_write_index);
  visitor.field("dac_component", state_.dac_component);
  visitor.field("palette", state_.palette);
  visitor.field("latch", state_.latch);
  visitor.field("vbe_index", state_.vbe_index);
  visitor.field("vbe", state_.vbe);
  state_.dac_component %= 3;
}

// ---- ports ---------------------------------------------------------------------------

std::uint8_t Vga::read_register(std::uint16_t offset) {
  const unsigned port = kFirstPort + offset;
  // The CRT controller and the status register answer at 3BxH or at 3DxH.
  if ((port >= 0x3d0) != color_ports() && (port < 0x3c0 || port >= 0x3d0)) return 0xff;
  switch (port) {
    case 0x3c0:
      return state_.attribute_index;
    case 0x3c1:
      return read_attribute();
    case 0x3c2:
      return 0x10;  // switch sense: a colour monitor
    case 0x3c4:
      return state_.sequencer_index;
    case 0x3c5:
      return state_.sequencer_index < kSeqRegisters ? state_.sequencer[state_.sequencer_index] : 0;
    case 0x3c6:
      return state_.dac_mask;
    case 0x3c7:
      return state_.dac_reading ? 3 : 0;
    case 0x3c8:
      return state_.dac_write_index;
    case 0x3c9:
      return read_dac_data();
    case 0x3ca:
      return state_.feature;
    case 0x3cc:
      return state_.miscellaneous;
    case 0x3ce:
      return state_.graphics_index;
    case 0x3cf:
      return state_.graphics_index < kGfxRegisters ? state_.graphics[state_.graphics_index] : 0;
    case 0x3b4:
    case 0x3d4:
      return state_.crtc_index;
    case 0x3b5:
    case 0x3d5:
      return state_.crtc_index < kCrtcRegisters ? state_.crtc[state_.crtc_index] : 0;
    case 0x3ba:
    case 0x3da:
      state_.attribute_data_next = false;
      return input_status();
    default:
      return 0xff;
  }
}

void Vga::write_register(std::uint16_t offset, std::uint8_t value) {
  const unsigned port = kFirstPort + offset;
  if ((port >= 0x3d0) != color_ports() && (port < 0x3c0 || port >= 0x3d0)) return;
  switch (port) {
    case 0x3c0:
      write_attribute(value);
      break;
    case 0x3c2:
      state_.miscellaneous = value;
      break;
    case 0x3c4:
      state_.sequencer_index = value & 7;
      break;
    case 0x3c5:
      write_sequencer(value);
      break;
    case 0x3c6:
      state_.dac_mask = value;
      break;
    case 0x3c7:
      state_.dac_read_index = value;
      state_.dac_component = 0;
      state_.dac_reading = true;
      break;
    case 0x3c8:
      state_.dac_write_index = value;
      state_.dac_component = 0;
      state_.dac_reading = false;
      break;
    case 0x3c9:
      write_dac_data(value);
      break;
    case 0x3ce:
      state_.graphics_index = value & 15;
      break;
    case 0x3cf:
      write_graphics(value);
      break;
    case 0x3b4:
    case 0x3d4:
      state_.crtc_index = value & 0x3f;
      break;
    case 0x3b5:
    case 0x3d5:
      write_crtc(value);
      break;
    case 0x3ba:
    case 0x3da:
      state_.feature = value & 3;
      break;
    default:
      break;
  }
}

std::uint8_t Vga::read_attribute() const {
  const unsigned index = state_.attribute_index & 0x1fU;
  return index < kAttrRegisters ? state_.attribute[index] : 0;
}

void Vga::write_attribute(std::uint8_t value) {
  if (!state_.attribute_data_next) {
    state_.attribute_index = value & 0x3f;
  } else {
    const unsigned index = state_.attribute_index & 0x1fU;
    if (index < 0x10) {
      // The palette answers the processor only while the screen is off it.
      if ((state_.attribute_index & 0x20) == 0) state_.attribute[index] = value & 0x3f;
    } else if (index < kAttrRegisters) {
      constexpr std::array<std::uint8_t, 5> kBits{0xef, 0xff, 0x3f, 0x0f, 0x0f};
      state_.attribute[index] = value & kBits[index - 0x10];
    }
  }
  state_.attribute_data_next = !state_.attribute_data_next;
}

void Vga::write_sequencer(std::uint8_t value) {
  if (state_.sequencer_index < kSeqRegisters) {
    state_.sequencer[state_.sequencer_index] = value & kSequencerBits[state_.sequencer_index];
  }
}

void Vga::write_graphics(std::uint8_t value) {
  if (state_.graphics_index < kGfxRegisters) {
    state_.graphics[state_.graphics_index] = value & kGraphicsBits[state_.graphics_index];
  }
}

void Vga::write_crtc(std::uint8_t value) {
  const unsigned index = state_.crtc_index;
  if (index >= kCrtcRegisters) return;
  const bool protect = (state_.crtc[kCrtcVerticalRetraceEnd] & 0x80) != 0;
  if (protect && index <= kCrtcOverflow) {
    // Of the protected registers only bit 8 of the line compare can be written.
    if (index == kCrtcOverflow) {
      state_.crtc[index] =
          static_cast<std::uint8_t>((state_.crtc[index] & ~0x10U) | (value & 0x10U));
    }
    return;
  }
  state_.crtc[index] = value;
}

std::uint8_t Vga::read_dac_data() {
  const std::uint8_t value =
      state_.palette[std::size_t{3} * state_.dac_read_index + state_.dac_component];
  if (++state_.dac_component == 3) {
    state_.dac_component = 0;
    ++state_.dac_read_index;
  }
  return value;
}

void Vga::write_dac_data(std::uint8_t value) {
  const bool wide = (state_.vbe[kVbeEnable] & kVbe8BitDac) != 0;
  state_.palette[std::size_t{3} * state_.dac_write_index + state_.dac_component] =
      wide ? value : value & 0x3f;
  if (++state_.dac_component == 3) {
    state_.dac_component = 0;
    ++state_.dac_write_index;
  }
}

/// Input status 1: where the beam is, by virtual time.
std::uint8_t Vga::input_status() const {
  constexpr std::uint64_t kHz25 = 25'175'000;
  constexpr std::uint64_t kHz28 = 28'322'000;
  constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
  constexpr std::uint8_t kDisplayDisabled = 0x01;
  constexpr std::uint8_t kVerticalRetrace = 0x08;
  const std::uint64_t hz = ((state_.miscellaneous & 0x0c) == 4 ? kHz28 : kHz25) /
                           ((state_.sequencer[kSeqClocking] & 8) != 0 ? 2 : 1);
  const std::uint64_t line_dots =
      std::uint64_t{state_.total_characters()} * state_.character_dots();
  const std::uint64_t frame_dots = line_dots * state_.total_lines();
  // Whole seconds apart, so that the product stays below 2^64.
  const std::uint64_t now = clock_.now().ns;
  const std::uint64_t seconds_dots = (now / kNsPerSecond % frame_dots) * (hz % frame_dots);
  const std::uint64_t dots = (seconds_dots + now % kNsPerSecond * hz / kNsPerSecond) % frame_dots;
  const std::uint64_t line = dots / line_dots;
  const std::uint64_t character = dots % line_dots / state_.character_dots();
  const unsigned retrace = state_.retrace_start_line();
  const unsigned length = (state_.crtc[kCrtcVerticalRetraceEnd] - retrace) & 0x0fU;
  std::uint8_t status = 0;
  if (line >= state_.display_lines() || character >= state_.display_characters()) {
    status |= kDisplayDisabled;
  }
  if (line >= retrace && line < retrace + std::max(length, 1U)) {
    status |= kVerticalRetrace | kDisplayDisabled;
  }
  return status;
}

// ---- VBE ------------------------------------------------------------------------------

bool Vga::VbePorts::is_half(std::uint16_t offset) const {
  return offset == kSecondData && vga_.state_version() < 2;
}

std::uint32_t Vga::VbePorts::read_port(std::uint16_t offset, unsigned width) {
  if (offset > kSecondData) return 0xff;
  const std::uint32_t value = offset == 0 ? vga_.state_.vbe_index : vga_.read_vbe();
  if (width == 4) {
    const std::uint32_t data = vga_.read_vbe();
    if (!is_half(kSecondData)) return value | data << 16;
    return (value & 0xff) | (data & 0xff) << 8 | (data & 0xff) << 16 | 0xff000000;
  }
  if (is_half(offset)) return (value & 0xff) | 0xff00;
  return width == 1 ? value & 0xff : value;
}

void Vga::VbePorts::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  if (width == 1 || is_half(offset)) return;  // the registers are words
  if (width == 4) {
    if (is_half(kSecondData)) return;
    vga_.state_.vbe_index = static_cast<std::uint16_t>(value);
    vga_.write_vbe(static_cast<std::uint16_t>(value >> 16));
    return;
  }
  if (offset == 0) {
    vga_.state_.vbe_index = static_cast<std::uint16_t>(value);
  } else {
    vga_.write_vbe(static_cast<std::uint16_t>(value));
  }
}

std::uint16_t Vga::read_vbe() const {
  const std::uint16_t index = state_.vbe_index;
  if (index >= kVbeRegisters) return 0;
  if ((state_.vbe[kVbeEnable] & kVbeGetCapabilities) != 0) {
    if (index == kVbeWidth) return kMostWidth;
    if (index == kVbeHeight) return kMostHeight;
    if (index == kVbeBitsPerPixel) return kMostBits;
  }
  return state_.vbe[index];
}

unsigned Vga::vbe_pitch_bytes() const {
  const unsigned bits = state_.vbe[kVbeBitsPerPixel];
  const unsigned width = state_.vbe[kVbeVirtualWidth];
  return bits == 4 ? width / 2 : width * ((bits + 7) / 8);
}

void Vga::fit_vbe_virtual_height() {
  const unsigned pitch = vbe_pitch_bytes();
  const std::uint64_t lines = pitch == 0 ? 0 : kMemoryBytes / pitch;
  state_.vbe[kVbeVirtualHeight] =
      static_cast<std::uint16_t>(std::min<std::uint64_t>(lines, 0xffff));
}

void Vga::write_vbe(std::uint16_t value) {
  const bool enabled = state_.vbe_enabled();
  switch (state_.vbe_index) {
    case kVbeId:
      if (value >= kVbeOldestId && value <= kVbeNewestId) state_.vbe[kVbeId] = value;
      break;
    case kVbeWidth:
      if (!enabled && value <= kMostWidth) state_.vbe[kVbeWidth] = value & 0xfff8;
      break;
    case kVbeHeight:
      if (!enabled && value <= kMostHeight) state_.vbe[kVbeHeight] = value;
      break;
    case kVbeBitsPerPixel: {
      const std::uint16_t bits = value == 0 ? 8 : value;
      const bool known =
          bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
      if (!enabled && known) state_.vbe[kVbeBitsPerPixel] = bits;
      break;
    }
    case kVbeEnable:
      enable_vbe(value);
      break;
    case kVbeBank:
      state_.vbe[kVbeBank] = value & (kMemoryBytes / 0x10000 - 1);
      break;
    case kVbeVirtualWidth:
      if (value >= state_.vbe[kVbeWidth]) {
        const std::uint16_t before = state_.vbe[kVbeVirtualWidth];
        state_.vbe[kVbeVirtualWidth] = value & 0xfff8;
        if (std::uint64_t{vbe_pitch_bytes()} * state_.vbe[kVbeHeight] > kMemoryBytes) {
          state_.vbe[kVbeVirtualWidth] = before;
        }
        fit_vbe_virtual_height();
      }
      break;
    case kVbeOffsetX:
    case kVbeOffsetY:
      state_.vbe[state_.vbe_index] = value;
      break;
    default:
      break;
  }
}

void Vga::enable_vbe(std::uint16_t value) {
  const bool was = state_.vbe_enabled();
  state_.vbe[kVbeEnable] = value & 0xe3;
  if (was || !state_.vbe_enabled()) return;
  if (state_.vbe[kVbeBitsPerPixel] == 0) state_.vbe[kVbeBitsPerPixel] = 8;
  state_.vbe[kVbeVirtualWidth] = state_.vbe[kVbeWidth];
  state_.vbe[kVbeOffsetX] = 0;
  state_.vbe[kVbeOffsetY] = 0;
  state_.vbe[kVbeBank] = 0;
  fit_vbe_virtual_height();
  if (state_version() >= kTextModeVersion) leave_text_mode();
  if ((value & kVbeNoClear) == 0) {
    const std::uint64_t bytes = std::min<std::uint64_t>(
        std::uint64_t{vbe_pitch_bytes()} * state_.vbe[kVbeHeight], kMemoryBytes);
    const Bytes zeros(kPageSize, 0);
    for (std::uint64_t at = 0; at < bytes; at += kPageSize) {
      memory_.write(at, ByteView(zeros).first(std::min<std::uint64_t>(kPageSize, bytes - at)));
    }
  }
}

/// What a guest must find that sets a VBE mode by its registers alone: the window at A0000H,
/// 64 KiB of it, and all planes one after the other.
void Vga::leave_text_mode() {
  constexpr std::uint8_t kWindowBits = 0x0c;
  constexpr std::uint8_t kGraphicsAtA0000 = 0x05;
  constexpr std::uint8_t kOddEvenAndShift = 0x70;
  constexpr std::uint8_t kAllMemoryInOrder = 0x06;
  std::uint8_t& miscellaneous = state_.graphics[kGfxMiscellaneous];
  miscellaneous = static_cast<std::uint8_t>((miscellaneous & ~kWindowBits) | kGraphicsAtA0000);
  state_.graphics[kGfxMode] &= static_cast<std::uint8_t>(~kOddEvenAndShift);
  state_.sequencer[kSeqMapMask] = 0x0f;
  state_.sequencer[kSeqMemoryMode] |= kAllMemoryInOrder;
}

// ---- memory ------------------------------------------------------------------------------

std::uint8_t Vga::memory_byte(std::uint64_t at) const {
  return at < kMemoryBytes ? *memory_.host(at) : 0xff;
}

void Vga::set_memory_byte(std::uint64_t at, std::uint8_t value) {
  if (at < kMemoryBytes) memory_.write(at, ByteView(&value, 1));
}

bool Vga::aperture_offset(std::uint64_t& offset) const {
  const VgaState::Window window = state_.window();
  if (offset < window.offset || offset - window.offset >= window.length_bytes) return false;
  offset -= window.offset;
  return true;
}

std::uint32_t Vga::linear_base() const {
  constexpr std::uint8_t kFirstBar = 0x10;
  std::uint32_t base = 0;
  for (unsigned n = 0; n < 4; ++n) {
    base |= std::uint32_t{config_byte(static_cast<std::uint8_t>(kFirstBar + n))} << (8 * n);
  }
  return base & ~0xfU;
}

Vga::ApertureRead Vga::look_at_aperture(std::uint64_t offset) const {
  ApertureRead read{0xff, state_.latch};
  if (!aperture_offset(offset)) return read;
  if (state_.vbe_enabled() && state_.vbe[kVbeBitsPerPixel] != 4) {
    read.value = memory_byte(std::uint64_t{state_.vbe[kVbeBank]} * 0x10000 + (offset & 0xffff));
    return read;
  }
  std::uint32_t at = static_cast<std::uint32_t>(offset & 0xffff);
  unsigned plane = state_.graphics[kGfxReadMap] & 3;
  if ((state_.sequencer[kSeqMemoryMode] & 8) != 0) {
    plane = at & 3;
    at &= 0xfffc;
  } else if ((state_.graphics[kGfxMode] & 0x10) != 0) {
    plane = (plane & 2) | (at & 1);
    at &= 0xfffe;
  }
  const std::uint64_t bank = std::uint64_t{state_.vbe_enabled() ? state_.vbe[kVbeBank] : 0U} << 16;
  const std::uint64_t base = (bank + at) * 4;
  for (unsigned p = 0; p < 4; ++p) read.latch[p] = memory_byte(base + p);
  if ((state_.graphics[kGfxMode] & 8) == 0) {
    read.value = read.latch[plane];
    return read;
  }
  // Read mode 1: ones where the four planes have the colour looked for.
  for (unsigned p = 0; p < 4; ++p) {
    if ((state_.graphics[kGfxColorDontCare] >> p & 1) == 0) continue;
    const std::uint8_t wanted = (state_.graphics[kGfxColorCompare] >> p & 1) != 0 ? 0xff : 0;
    read.value &= static_cast<std::uint8_t>(~(read.latch[p] ^ wanted));
  }
  return read;
}

void Vga::write_aperture(std::uint64_t offset, std::uint8_t value) {
  if (!aperture_offset(offset)) return;
  if (state_.vbe_enabled() && state_.vbe[kVbeBitsPerPixel] != 4) {
    set_memory_byte(std::uint64_t{state_.vbe[kVbeBank]} * 0x10000 + (offset & 0xffff), value);
    return;
  }
  std::uint32_t at = static_cast<std::uint32_t>(offset & 0xffff);
  std::uint8_t planes = state_.sequencer[kSeqMapMask];
  if ((state_.sequencer[kSeqMemoryMode] & 8) != 0) {
    planes &= static_cast<std::uint8_t>(1U << (at & 3));
    at &= 0xfffc;
  } else if ((state_.sequencer[kSeqMemoryMode] & 4) == 0) {
    planes &= (at & 1) != 0 ? 0x0a : 0x05;
    at &= 0xfffe;
  }
  write_planes(at, planes, value);
}

void Vga::write_planes(std::uint32_t plane_offset, std::uint8_t planes, std::uint8_t value) {
  const std::uint64_t bank = std::uint64_t{state_.vbe_enabled() ? state_.vbe[kVbeBank] : 0U} << 16;
  const std::uint64_t base = (bank + plane_offset) * 4;
  const unsigned mode = state_.graphics[kGfxMode] & 3U;
  const std::uint8_t rotated = rotate_right(value, state_.graphics[kGfxRotate] & 7U);
  const std::uint8_t set_reset = state_.graphics[kGfxSetReset];
  const std::uint8_t mask =
      mode == 3 ? rotated & state_.graphics[kGfxBitMask] : state_.graphics[kGfxBitMask];
  for (unsigned p = 0; p < 4; ++p) {
    if ((planes >> p & 1) == 0) continue;
    const std::uint8_t latch = state_.latch[p];
    if (mode == 1) {
      set_memory_byte(base + p, latch);
      continue;
    }
    const auto all = [](unsigned bit) { return static_cast<std::uint8_t>(bit != 0 ? 0xff : 0); };
    std::uint8_t data = rotated;
    if (mode == 2) {
      data = all(value >> p & 1U);
    } else if (mode == 3 || (state_.graphics[kGfxEnableSetReset] >> p & 1) != 0) {
      data = all(set_reset >> p & 1U);
    }
    switch (state_.graphics[kGfxRotate] >> 3 & 3) {
      case 1:
        data &= latch;
        break;
      case 2:
        data |= latch;
        break;
      case 3:
        data ^= latch;
        break;
      default:
        break;
    }
    set_memory_byte(base + p, static_cast<std::uint8_t>((data & mask) | (latch & ~mask)));
  }
}

std::uint64_t Vga::Aperture::read_mmio(std::uint64_t offset, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned n = 0; n < width; ++n) {
    const ApertureRead read = vga_.look_at_aperture(offset + n);
    vga_.state_.latch = read.latch;
    value |= std::uint64_t{read.value} << (8 * n);
  }
  return value;
}

std::optional<std::uint8_t> Vga::Aperture::peek_mmio(std::uint64_t offset) const {
  return vga_.look_at_aperture(offset).value;
}

void Vga::Aperture::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  for (unsigned n = 0; n < width; ++n) {
    vga_.write_aperture(offset + n, static_cast<std::uint8_t>(value >> (8 * n)));
  }
}

std::uint64_t Vga::FrameBuffer::read_mmio(std::uint64_t offset, unsigned width) {
  std::array<std::uint8_t, 8> bytes{};
  memory_.read(offset, std::span(bytes).first(width));
  std::uint64_t value = 0;
  for (unsigned n = 0; n < width; ++n) value |= std::uint64_t{bytes[n]} << (8 * n);
  return value;
}

std::optional<std::uint8_t> Vga::FrameBuffer::peek_mmio(std::uint64_t offset) const {
  return offset < memory_.size() ? *memory_.host(offset) : 0xff;
}

void Vga::FrameBuffer::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes{};
  for (unsigned n = 0; n < width; ++n) bytes[n] = static_cast<std::uint8_t>(value >> (8 * n));
  memory_.write(offset, ByteView(bytes).first(width));
}

std::uint64_t Vga::RegisterWindow::read_mmio(std::uint64_t offset, unsigned width) {
  constexpr std::uint64_t kVgaPorts = 0x400;
  constexpr std::uint64_t kVbe = 0x500;
  if (offset >= kVgaPorts && offset + width <= kVgaPorts + 0x20) {
    return vga_.registers_.read_port(static_cast<std::uint16_t>(offset - kVgaPorts + 0x10), width);
  }
  if (offset >= kVbe && offset < kVbe + 2 * kVbeRegisters && offset % 2 == 0 && width == 2) {
    const std::uint16_t index = vga_.state_.vbe_index;
    vga_.state_.vbe_index = static_cast<std::uint16_t>((offset - kVbe) / 2);
    const std::uint16_t value = vga_.read_vbe();
    vga_.state_.vbe_index = index;
    return value;
  }
  return ~std::uint64_t{0} >> (64 - 8 * width);
}

void Vga::RegisterWindow::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  constexpr std::uint64_t kVgaPorts = 0x400;
  constexpr std::uint64_t kVbe = 0x500;
  if (offset >= kVgaPorts && offset + width <= kVgaPorts + 0x20) {
    vga_.registers_.write_port(static_cast<std::uint16_t>(offset - kVgaPorts + 0x10), width,
                               static_cast<std::uint32_t>(value));
  } else if (offset >= kVbe && offset < kVbe + 2 * kVbeRegisters && offset % 2 == 0 && width == 2) {
    const std::uint16_t index = vga_.state_.vbe_index;
    vga_.state_.vbe_index = static_cast<std::uint16_t>((offset - kVbe) / 2);
    vga_.write_vbe(static_cast<std::uint16_t>(value));
    vga_.state_.vbe_index = index;
  }
}

// ---- a text mode without a video BIOS ------------------------------------------------------

void Vga::set_text_mode(ByteView font, unsigned rows) {
  // Mode 3 with 16 scan lines a character, as IBM's BIOS sets it.
  state_.miscellaneous = 0x67;
  state_.sequencer = {0x03, 0x00, 0x03, 0x00, 0x02};
  state_.crtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
  state_.graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff};
  state_.attribute = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                      0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
  state_.attribute_index = 0x20;
  for (unsigned n = 0; n < 64; ++n) {
    // A colour of EGA's 64: two bits a component, the weaker one in the upper half.
    for (unsigned c = 0; c < 3; ++c) {
      const unsigned strong = n >> (2 - c) & 1U;
      const unsigned weak = n >> (5 - c) & 1U;
      state_.palette[std::size_t{3} * n + c] = static_cast<std::uint8_t>(42 * strong + 21 * weak);
    }
  }
  for (unsigned c = 0; c < 256 && (c + 1) * rows <= font.size(); ++c) {
    for (unsigned row = 0; row < std::min(rows, 32U); ++row) {
      set_memory_byte((std::uint64_t{c} * 32 + row) * 4 + 2, font[std::size_t{c} * rows + row]);
    }
  }
  for (std::uint32_t cell = 0; cell < 80 * 25; ++cell) {
    set_memory_byte(std::uint64_t{cell} * 2 * 4, ' ');
    set_memory_byte(std::uint64_t{cell} * 2 * 4 + 1, 0x07);
  }
}

}  // namespace chronovisor
