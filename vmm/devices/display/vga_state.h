// Owns the registers of a VGA with Bochs' VBE extension, as plain values: what the
// device keeps, and all that drawing its screen needs beside video memory. Knows
// no bus. Values; any thread.
// Source: IBM VGA register set as in "Programmer's Guide to the EGA, VGA and Super
// VGA Cards" (Ferraro), and Intel's "Open Source HD Graphics PRM", vol. "VGA".
#pragma once

#include <array>
#include <cstdint>

namespace chronovisor {

/// Registers of the sequencer, by index.
enum VgaSequencer : std::uint8_t {
  kSeqReset = 0,
  kSeqClocking = 1,
  kSeqMapMask = 2,
  kSeqFontSelect = 3,
  kSeqMemoryMode = 4,
  kSeqRegisters = 5,
};

/// Registers of the graphics controller, by index.
enum VgaGraphics : std::uint8_t {
  kGfxSetReset = 0,
  kGfxEnableSetReset = 1,
  kGfxColorCompare = 2,
  kGfxRotate = 3,
  kGfxReadMap = 4,
  kGfxMode = 5,
  kGfxMiscellaneous = 6,
  kGfxColorDontCare = 7,
  kGfxBitMask = 8,
  kGfxRegisters = 9,
};

/// Registers of the CRT controller, by index.
enum VgaCrtc : std::uint8_t {
  kCrtcHorizontalTotal = 0x00,
  kCrtcHorizontalDisplayEnd = 0x01,
  kCrtcHorizontalBlankStart = 0x02,
  kCrtcVerticalTotal = 0x06,
  kCrtcOverflow = 0x07,
  kCrtcPresetRowScan = 0x08,
  kCrtcMaximumScanLine = 0x09,
  kCrtcCursorStart = 0x0a,
  kCrtcCursorEnd = 0x0b,
  kCrtcStartHigh = 0x0c,
  kCrtcStartLow = 0x0d,
  kCrtcCursorHigh = 0x0e,
  kCrtcCursorLow = 0x0f,
  kCrtcVerticalRetraceStart = 0x10,
  kCrtcVerticalRetraceEnd = 0x11,
  kCrtcVerticalDisplayEnd = 0x12,
  kCrtcOffset = 0x13,
  kCrtcUnderline = 0x14,
  kCrtcModeControl = 0x17,
  kCrtcLineCompare = 0x18,
  kCrtcRegisters = 0x19,
};

/// Registers of the attribute controller, by index; 0 to 15 are the palette.
enum VgaAttribute : std::uint8_t {
  kAttrMode = 0x10,
  kAttrOverscan = 0x11,
  kAttrPlaneEnable = 0x12,
  kAttrPanning = 0x13,
  kAttrColorSelect = 0x14,
  kAttrRegisters = 0x15,
};

/// Registers of the VBE extension ("dispi"), by index.
enum VgaVbe : std::uint8_t {
  kVbeId = 0,
  kVbeWidth = 1,
  kVbeHeight = 2,
  kVbeBitsPerPixel = 3,
  kVbeEnable = 4,
  kVbeBank = 5,
  kVbeVirtualWidth = 6,
  kVbeVirtualHeight = 7,
  kVbeOffsetX = 8,
  kVbeOffsetY = 9,
  kVbeMemory64K = 10,
  kVbeRegisters = 11,
};

inline constexpr std::uint16_t kVbeEnabled = 0x01;
inline constexpr std::uint16_t kVbeGetCapabilities = 0x02;
inline constexpr std::uint16_t kVbe8BitDac = 0x20;
inline constexpr std::uint16_t kVbeNoClear = 0x80;

struct VgaState {
  std::uint8_t miscellaneous = 0;  ///< the miscellaneous output register
  std::uint8_t feature = 0;
  std::uint8_t sequencer_index = 0;
  std::array<std::uint8_t, kSeqRegisters> sequencer{};
  std::uint8_t graphics_index = 0;
  std::array<std::uint8_t, kGfxRegisters> graphics{};
  std::uint8_t crtc_index = 0;
  std::array<std::uint8_t, kCrtcRegisters> crtc{};
  std::uint8_t attribute_index = 0;
  bool attribute_data_next = false;  ///< the flip-flop of 3C0H
  std::array<std::uint8_t, kAttrRegisters> attribute{};
  std::uint8_t dac_mask = 0xff;
  bool dac_reading = false;
  std::uint8_t dac_read_index = 0;
  std::uint8_t dac_write_index = 0;
  std::uint8_t dac_component = 0;  ///< 0 red, 1 green, 2 blue
  std::array<std::uint8_t, 3 * 256> palette{};
  std::array<std::uint8_t, 4> latch{};
  std::uint16_t vbe_index = 0;
  std::array<std::uint16_t, kVbeRegisters> vbe{};

  [[nodiscard]] bool vbe_enabled() const { return (vbe[kVbeEnable] & kVbeEnabled) != 0; }
  /// Somebody has set a mode: the power-on state shows nothing that could be drawn.
  [[nodiscard]] bool mode_set() const {
    return vbe_enabled() || crtc[kCrtcHorizontalTotal] != 0 || crtc[kCrtcVerticalTotal] != 0;
  }
  /// Graphics rather than characters.
  [[nodiscard]] bool graphics_mode() const { return (graphics[kGfxMiscellaneous] & 1) != 0; }
  /// Lines of a frame that are shown, and all of them.
  [[nodiscard]] unsigned display_lines() const {
    return (crtc[kCrtcVerticalDisplayEnd] | (crtc[kCrtcOverflow] & 0x02U) << 7 |
            (crtc[kCrtcOverflow] & 0x40U) << 3) +
           1;
  }
  [[nodiscard]] unsigned total_lines() const {
    return (crtc[kCrtcVerticalTotal] | (crtc[kCrtcOverflow] & 0x01U) << 8 |
            (crtc[kCrtcOverflow] & 0x20U) << 4) +
           2;
  }
  [[nodiscard]] unsigned retrace_start_line() const {
    return crtc[kCrtcVerticalRetraceStart] | (crtc[kCrtcOverflow] & 0x04U) << 6 |
           (crtc[kCrtcOverflow] & 0x80U) << 2;
  }
  [[nodiscard]] unsigned line_compare() const {
    return crtc[kCrtcLineCompare] | (crtc[kCrtcOverflow] & 0x10U) << 4 |
           (crtc[kCrtcMaximumScanLine] & 0x40U) << 3;
  }
  /// Characters of a line that are shown, and all of them.
  [[nodiscard]] unsigned display_characters() const { return crtc[kCrtcHorizontalDisplayEnd] + 1U; }
  [[nodiscard]] unsigned total_characters() const { return crtc[kCrtcHorizontalTotal] + 5U; }
  /// Dots of a character.
  [[nodiscard]] unsigned character_dots() const {
    return (sequencer[kSeqClocking] & 1) != 0 ? 8 : 9;
  }
  /// The part of A0000H to BFFFFH in which its memory is, as an offset and a length.
  struct Window {
    std::uint32_t offset = 0;
    std::uint32_t length_bytes = 0;
  };
  [[nodiscard]] Window window() const {
    constexpr std::array<Window, 4> kWindows{
        {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}}};
    return kWindows[graphics[kGfxMiscellaneous] >> 2 & 3];
  }
  [[nodiscard]] unsigned start_address() const {
    return crtc[kCrtcStartHigh] << 8 | crtc[kCrtcStartLow];
  }
};

}  // namespace chronovisor
