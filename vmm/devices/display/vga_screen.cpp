#include "vmm/devices/display/vga_screen.h"

#include <algorithm>
#include <array>

namespace chronovisor {
namespace {

/// What a monitor of the time could show, and more than any VBE mode has.
constexpr unsigned kMostPixels = 4096;
constexpr std::uint64_t kFrameNs = 16'683'333;  // 59.94 Hz
constexpr unsigned kCursorBlinkFrames = 16;
constexpr unsigned kCharacterBlinkFrames = 32;

using Color = std::array<std::uint8_t, 3>;

/// The picture while it is drawn.
class Canvas {
 public:
  Canvas(unsigned width, unsigned height) {
    image_.width = width;
    image_.height = height;
    image_.rgb.resize(std::size_t{width} * height * 3);
  }
  void put(unsigned x, unsigned y, const Color& color) {
    if (x >= image_.width || y >= image_.height) return;
    std::copy(
        color.begin(), color.end(),
        image_.rgb.begin() + static_cast<std::ptrdiff_t>((std::size_t{y} * image_.width + x) * 3));
  }
  ScreenImage take() { return std::move(image_); }

 private:
  ScreenImage image_;
};

std::uint8_t byte_at(ByteView memory, std::uint64_t offset) {
  return offset < memory.size() ? memory[offset] : 0;
}

/// Byte `offset` of a plane of VGA memory.
std::uint8_t plane_byte(ByteView memory, unsigned plane, std::uint32_t offset) {
  return byte_at(memory, std::uint64_t{offset & 0xffff} * 4 + plane);
}

/// The DAC's colour.
Color dac_color(const VgaState& state, std::uint8_t index) {
  const std::size_t at = std::size_t{3} * (index & state.dac_mask);
  if ((state.vbe[kVbeEnable] & kVbe8BitDac) != 0) {
    return {state.palette[at], state.palette[at + 1], state.palette[at + 2]};
  }
  const auto widen = [](std::uint8_t value) {
    return static_cast<std::uint8_t>((value & 0x3f) << 2 | (value & 0x3f) >> 4);
  };
  return {widen(state.palette[at]), widen(state.palette[at + 1]), widen(state.palette[at + 2])};
}

/// The colour of a 4-bit pixel, by the attribute controller's palette.
Color attribute_color(const VgaState& state, unsigned pixel) {
  const std::uint8_t mode = state.attribute[kAttrMode];
  const std::uint8_t select = state.attribute[kAttrColorSelect];
  std::uint8_t index = state.attribute[pixel & state.attribute[kAttrPlaneEnable] & 15] & 0x3f;
  if ((mode & 0x80) != 0) index = static_cast<std::uint8_t>((index & 0x0f) | (select & 3) << 4);
  return dac_color(state, static_cast<std::uint8_t>(index | (select & 0x0c) << 4));
}

/// Where the address counter leads: byte, word or doubleword mode, and the two
/// row-scan bits that CGA and Hercules modes put into the address.
std::uint32_t plane_address(const VgaState& state, std::uint32_t counter, unsigned row) {
  const std::uint8_t control = state.crtc[kCrtcModeControl];
  std::uint32_t address = counter;
  if ((state.crtc[kCrtcUnderline] & 0x40) != 0) {
    address = counter << 2 | (counter >> 14 & 3);
  } else if ((control & 0x40) == 0) {
    const unsigned top = (control & 0x20) != 0 ? 15 : 13;
    address = counter << 1 | (counter >> top & 1);
  }
  if ((control & 0x01) == 0) address = (address & ~0x2000U) | (row & 1) << 13;
  if ((control & 0x02) == 0) address = (address & ~0x4000U) | (row >> 1 & 1) << 14;
  return address & 0xffff;
}

/// A frame's geometry: which memory counter and row of a character each line has.
struct Line {
  std::uint32_t counter = 0;
  unsigned row = 0;  ///< scan line within the character row
  bool panned = true;
};

std::vector<Line> lines_of(const VgaState& state, unsigned lines) {
  const unsigned row_last = state.crtc[kCrtcMaximumScanLine] & 0x1fU;
  const bool doubled = (state.crtc[kCrtcMaximumScanLine] & 0x80) != 0;
  const unsigned pitch = state.crtc[kCrtcOffset] * 2U;
  const unsigned compare = state.line_compare();
  const bool split_pans = (state.attribute[kAttrMode] & 0x20) == 0;
  std::vector<Line> result(lines);
  std::uint32_t row_counter = state.start_address() + (state.crtc[kCrtcPresetRowScan] >> 5 & 3);
  unsigned row = state.crtc[kCrtcPresetRowScan] & 0x1fU;
  bool panned = true;
  bool second = false;
  for (unsigned y = 0; y < lines; ++y) {
    result[y] = {row_counter, row, panned};
    const bool advance = !doubled || second;
    second = doubled && !second;
    if (advance) {
      if (row >= row_last) {
        row = 0;
        row_counter += pitch;
      } else {
        ++row;
      }
    }
    if (y == compare) {
      row_counter = 0;
      row = 0;
      second = false;
      panned = split_pans;
    }
  }
  return result;
}

/// Dots of the screen for each of a row in memory: two where the clock is halved.
unsigned dots_repeated(const VgaState& state) {
  return (state.sequencer[kSeqClocking] & 8) != 0 ? 2 : 1;
}

bool blank(const VgaState& state) {
  return (state.sequencer[kSeqClocking] & 0x20) != 0 || (state.attribute_index & 0x20) == 0;
}

ScreenImage black(unsigned width, unsigned height) { return Canvas(width, height).take(); }

// ---- text -----------------------------------------------------------------------

struct Cursor {
  bool shown = false;
  std::uint32_t counter = 0;
  unsigned first_row = 0;
  unsigned last_row = 0;
};

Cursor cursor_of(const VgaState& state, std::uint64_t frame) {
  Cursor cursor;
  cursor.shown =
      (state.crtc[kCrtcCursorStart] & 0x20) == 0 && frame / (kCursorBlinkFrames / 2) % 2 == 0;
  cursor.counter = state.crtc[kCrtcCursorHigh] << 8 | state.crtc[kCrtcCursorLow];
  cursor.counter += state.crtc[kCrtcCursorEnd] >> 5 & 3;
  cursor.first_row = state.crtc[kCrtcCursorStart] & 0x1fU;
  cursor.last_row = state.crtc[kCrtcCursorEnd] & 0x1fU;
  return cursor;
}

/// Where the font of a character begins in plane 2.
std::uint32_t font_offset(const VgaState& state, std::uint8_t attributes) {
  const std::uint8_t select = state.sequencer[kSeqFontSelect];
  const unsigned a = (select >> 2 & 3) | (select >> 3 & 4);
  const unsigned b = (select & 3) | (select >> 2 & 4);
  const unsigned block = (attributes & 8) != 0 ? a : b;
  return (block & 3) * 0x4000 + (block >> 2) * 0x2000;
}

/// The dots of one row of a character, the leftmost in bit `dots - 1`.
unsigned character_row(const VgaState& state, ByteView memory, std::uint8_t character,
                       std::uint8_t attributes, unsigned row) {
  const std::uint32_t at = font_offset(state, attributes) + character * 32U + row;
  unsigned bits = plane_byte(memory, 2, at);
  if (state.character_dots() == 9) {
    const bool line_graphics = (state.attribute[kAttrMode] & 4) != 0;
    const bool extended = line_graphics && character >= 0xc0 && character <= 0xdf;
    bits = bits << 1 | (extended ? bits & 1 : 0);
  }
  return bits;
}

/// Dots by which a line of characters is shifted to the left. In 9-dot modes 8 means
/// none, and n means n + 1 dots.
unsigned text_pan(const VgaState& state, const Line& line) {
  const bool nine = state.character_dots() == 9;
  const unsigned pan = line.panned ? state.attribute[kAttrPanning] & 15U : (nine ? 8 : 0);
  if (nine) return pan >= 8 ? 0 : pan + 1;
  return pan & 7;
}

void draw_text(const VgaState& state, ByteView memory, std::uint64_t frame, unsigned width,
               Canvas& canvas, const std::vector<Line>& lines) {
  const unsigned dots = state.character_dots();
  const unsigned repeat = dots_repeated(state);
  const bool blinking = (state.attribute[kAttrMode] & 8) != 0;
  const bool blink_off = frame / (kCharacterBlinkFrames / 2) % 2 != 0;
  const unsigned underline = state.crtc[kCrtcUnderline] & 0x1fU;
  const bool monochrome = (state.attribute[kAttrMode] & 2) != 0;
  const Cursor cursor = cursor_of(state, frame);
  for (unsigned y = 0; y < lines.size(); ++y) {
    const Line& line = lines[y];
    const unsigned pan = text_pan(state, line);
    for (unsigned column = 0; column <= state.display_characters(); ++column) {
      const std::uint32_t counter = line.counter + column;
      const std::uint32_t at = plane_address(state, counter, 0);
      const std::uint8_t character = plane_byte(memory, 0, at);
      const std::uint8_t attributes = plane_byte(memory, 1, at);
      unsigned bits = character_row(state, memory, character, attributes, line.row);
      if (monochrome && (attributes & 0x77) == 0x01 && line.row == underline) {
        bits = (1U << dots) - 1;
      }
      unsigned foreground = attributes & 15U;
      unsigned background = attributes >> 4;
      if (blinking) {
        background &= 7;
        if ((attributes & 0x80) != 0 && blink_off) foreground = background;
      }
      if (cursor.shown && (counter & 0xffff) == (cursor.counter & 0xffff) &&
          line.row >= cursor.first_row && line.row <= cursor.last_row) {
        bits = (1U << dots) - 1;
        foreground = attributes & 15U;
      }
      const Color on = attribute_color(state, foreground);
      const Color off = attribute_color(state, background);
      for (unsigned dot = 0; dot < dots; ++dot) {
        const unsigned from_left = column * dots + dot;
        if (from_left < pan) continue;
        const unsigned x = (from_left - pan) * repeat;
        if (x >= width) break;
        const Color& color = (bits >> (dots - 1 - dot) & 1) != 0 ? on : off;
        for (unsigned i = 0; i < repeat; ++i) canvas.put(x + i, y, color);
      }
    }
  }
}

// ---- graphics -----------------------------------------------------------------------

/// Eight pixels of four bits from the four planes, as the shift registers take them.
std::array<std::uint8_t, 8> shifted_pixels(const VgaState& state, ByteView memory,
                                           std::uint32_t at) {
  std::array<std::uint8_t, 4> planes{};
  for (unsigned p = 0; p < 4; ++p) planes[p] = plane_byte(memory, p, at);
  std::array<std::uint8_t, 8> pixels{};
  if ((state.graphics[kGfxMode] & 0x20) != 0) {
    // Interleaved: even bits from planes 0 and 2, odd ones from 1 and 3, two bits a pixel.
    for (unsigned n = 0; n < 8; ++n) {
      const unsigned low = planes[n / 4] >> (6 - 2 * (n % 4)) & 3U;
      const unsigned high = planes[2 + n / 4] >> (6 - 2 * (n % 4)) & 3U;
      pixels[n] = static_cast<std::uint8_t>(low | high << 2);
    }
    return pixels;
  }
  for (unsigned n = 0; n < 8; ++n) {
    for (unsigned p = 0; p < 4; ++p) {
      pixels[n] |= static_cast<std::uint8_t>((planes[p] >> (7 - n) & 1U) << p);
    }
  }
  return pixels;
}

/// As text_pan(), of graphics modes.
unsigned graphics_pan(const VgaState& state, const Line& line) {
  return line.panned ? state.attribute[kAttrPanning] & 7U : 0;
}

void draw_planar(const VgaState& state, ByteView memory, unsigned width, Canvas& canvas,
                 const std::vector<Line>& lines) {
  const unsigned repeat = dots_repeated(state);
  for (unsigned y = 0; y < lines.size(); ++y) {
    const Line& line = lines[y];
    const unsigned pan = graphics_pan(state, line);
    for (unsigned column = 0; column <= state.display_characters(); ++column) {
      const std::uint32_t at = plane_address(state, line.counter + column, line.row);
      const auto pixels = shifted_pixels(state, memory, at);
      for (unsigned n = 0; n < 8; ++n) {
        const unsigned from_left = column * 8 + n;
        if (from_left < pan) continue;
        const unsigned x = (from_left - pan) * repeat;
        if (x >= width) break;
        const Color color = attribute_color(state, pixels[n]);
        for (unsigned i = 0; i < repeat; ++i) canvas.put(x + i, y, color);
      }
    }
  }
}

/// 256 colours: four pixels from the four planes for each count, two dots each.
void draw_256(const VgaState& state, ByteView memory, unsigned width, Canvas& canvas,
              const std::vector<Line>& lines) {
  const unsigned repeat = 2 * dots_repeated(state);
  for (unsigned y = 0; y < lines.size(); ++y) {
    const Line& line = lines[y];
    const unsigned pan = graphics_pan(state, line) / 2;
    for (unsigned column = 0; column <= state.display_characters(); ++column) {
      const std::uint32_t at = plane_address(state, line.counter + column, line.row);
      for (unsigned n = 0; n < 4; ++n) {
        const unsigned from_left = column * 4 + n;
        if (from_left < pan) continue;
        const unsigned x = (from_left - pan) * repeat;
        if (x >= width) break;
        const Color color = dac_color(state, plane_byte(memory, n, at));
        for (unsigned i = 0; i < repeat; ++i) canvas.put(x + i, y, color);
      }
    }
  }
}

// ---- VBE -----------------------------------------------------------------------------

Color vbe_pixel(const VgaState& state, ByteView memory, std::uint64_t line_start, unsigned x,
                unsigned bits) {
  const auto scale = [](unsigned value, unsigned most) {
    return static_cast<std::uint8_t>((value * 255 + most / 2) / most);
  };
  switch (bits) {
    case 4: {
      const std::uint64_t at = line_start + x / 8;
      unsigned pixel = 0;
      for (unsigned p = 0; p < 4; ++p) {
        pixel |= (byte_at(memory, at * 4 + p) >> (7 - x % 8) & 1U) << p;
      }
      return attribute_color(state, pixel);
    }
    case 8:
      return dac_color(state, byte_at(memory, line_start + x));
    case 15:
    case 16: {
      const std::uint64_t at = line_start + std::uint64_t{2} * x;
      const unsigned v = byte_at(memory, at) | byte_at(memory, at + 1) << 8;
      if (bits == 15) return {scale(v >> 10 & 31, 31), scale(v >> 5 & 31, 31), scale(v & 31, 31)};
      return {scale(v >> 11 & 31, 31), scale(v >> 5 & 63, 63), scale(v & 31, 31)};
    }
    default: {
      const std::uint64_t at = line_start + std::uint64_t{bits / 8} * x;
      return {byte_at(memory, at + 2), byte_at(memory, at + 1), byte_at(memory, at)};
    }
  }
}

/// How a VBE mode lies in memory. In planes a line is counted in bytes of one plane.
struct VbeLayout {
  unsigned width;
  unsigned height;
  unsigned bits;
  std::uint64_t pitch = 0;
  std::uint64_t start = 0;

  explicit VbeLayout(const VgaState& state)
      : width(state.vbe[kVbeWidth]),
        height(state.vbe[kVbeHeight]),
        bits(state.vbe[kVbeBitsPerPixel]) {
    const std::uint64_t virtual_width = std::max<std::uint64_t>(state.vbe[kVbeVirtualWidth], width);
    pitch = columns(virtual_width);
    start = state.vbe[kVbeOffsetY] * pitch + columns(state.vbe[kVbeOffsetX]);
  }
  [[nodiscard]] bool possible() const {
    return width != 0 && height != 0 && width <= kMostPixels && height <= kMostPixels;
  }
  [[nodiscard]] unsigned pixel_bytes() const { return (bits + 7) / 8; }
  /// Bytes of so many pixels.
  [[nodiscard]] std::uint64_t columns(std::uint64_t pixels) const {
    return bits == 4 ? pixels / 8 : pixels * pixel_bytes();
  }
};

ScreenImage draw_vbe(const VgaState& state, ByteView memory) {
  const VbeLayout layout(state);
  if (!layout.possible()) return black(1, 1);
  Canvas canvas(layout.width, layout.height);
  for (unsigned y = 0; y < layout.height; ++y) {
    for (unsigned x = 0; x < layout.width; ++x) {
      canvas.put(x, y, vbe_pixel(state, memory, layout.start + y * layout.pitch, x, layout.bits));
    }
  }
  return canvas.take();
}

std::optional<PixelPlace> vbe_place(const VgaState& state, unsigned x, unsigned y) {
  const VbeLayout layout(state);
  if (!layout.possible() || x >= layout.width || y >= layout.height) return std::nullopt;
  const std::uint64_t at = layout.start + y * layout.pitch + layout.columns(x);
  if (layout.bits == 4) return PixelPlace{true, at * 4, 4};
  return PixelPlace{true, at, layout.pixel_bytes()};
}

bool is_256_colors(const VgaState& state) {
  return state.graphics_mode() && (state.graphics[kGfxMode] & 0x40) != 0;
}
unsigned vga_width(const VgaState& state) {
  const unsigned dots = state.graphics_mode() ? 8 : state.character_dots();
  return state.display_characters() * dots * dots_repeated(state);
}

std::optional<PixelPlace> vga_place(const VgaState& state, unsigned x, unsigned y) {
  if (x >= vga_width(state) || y >= state.display_lines()) return std::nullopt;
  const Line line = lines_of(state, y + 1).back();
  const unsigned dot = x / dots_repeated(state);
  const std::uint64_t window = state.window().offset;
  if (!state.graphics_mode()) {
    const unsigned column = (dot + text_pan(state, line)) / state.character_dots();
    return PixelPlace{false, window + plane_address(state, line.counter + column, 0), 2};
  }
  if (is_256_colors(state)) {
    const unsigned from_left = dot / 2 + graphics_pan(state, line) / 2;
    const std::uint32_t at = plane_address(state, line.counter + from_left / 4, line.row);
    const bool chained = (state.sequencer[kSeqMemoryMode] & 8) != 0;
    return PixelPlace{false, window + at + (chained ? from_left % 4 : 0), 1};
  }
  const unsigned column = (dot + graphics_pan(state, line)) / 8;
  const bool odd_even = (state.sequencer[kSeqMemoryMode] & 4) == 0;
  return PixelPlace{false, window + plane_address(state, line.counter + column, line.row),
                    odd_even ? 2U : 1U};
}

// ---- code page 437 -----------------------------------------------------------------------

/// The characters 00H to 1FH and 7FH to FFH; the others are ASCII.
constexpr std::array<char16_t, 32> kLow = {
    u' ', u'☺', u'☻', u'♥', u'♦', u'♣', u'♠', u'•', u'◘', u'○', u'◙', u'♂', u'♀', u'♪', u'♫', u'☼',
    u'►', u'◄', u'↕', u'‼', u'¶', u'§', u'▬', u'↨', u'↑', u'↓', u'→', u'←', u'∟', u'↔', u'▲', u'▼'};
constexpr std::array<char16_t, 129> kHigh = {
    u'⌂', u'Ç', u'ü', u'é', u'â', u'ä', u'à', u'å', u'ç', u'ê', u'ë', u'è', u'ï', u'î', u'ì',
    u'Ä', u'Å', u'É', u'æ', u'Æ', u'ô', u'ö', u'ò', u'û', u'ù', u'ÿ', u'Ö', u'Ü', u'¢', u'£',
    u'¥', u'₧', u'ƒ', u'á', u'í', u'ó', u'ú', u'ñ', u'Ñ', u'ª', u'º', u'¿', u'⌐', u'¬', u'½',
    u'¼', u'¡', u'«', u'»', u'░', u'▒', u'▓', u'│', u'┤', u'╡', u'╢', u'╖', u'╕', u'╣', u'║',
    u'╗', u'╝', u'╜', u'╛', u'┐', u'└', u'┴', u'┬', u'├', u'─', u'┼', u'╞', u'╟', u'╚', u'╔',
    u'╩', u'╦', u'╠', u'═', u'╬', u'╧', u'╨', u'╤', u'╥', u'╙', u'╘', u'╒', u'╓', u'╫', u'╪',
    u'┘', u'┌', u'█', u'▄', u'▌', u'▐', u'▀', u'α', u'ß', u'Γ', u'π', u'Σ', u'σ', u'µ', u'τ',
    u'Φ', u'Θ', u'Ω', u'δ', u'∞', u'φ', u'ε', u'∩', u'≡', u'±', u'≥', u'≤', u'⌠', u'⌡', u'÷',
    u'≈', u'°', u'∙', u'·', u'√', u'ⁿ', u'²', u'■', u' '};

void append_utf8(std::string& out, char16_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

char16_t code_page_437(std::uint8_t character) {
  if (character < kLow.size()) return kLow[character];
  if (character >= 0x7f) return kHigh[character - 0x7fU];
  return character;
}

}  // namespace

ScreenImage draw_screen(const VgaState& state, ByteView memory, VirtualTime now) {
  if (state.vbe_enabled()) {
    if ((state.attribute_index & 0x20) == 0) return black(1, 1);
    return draw_vbe(state, memory);
  }
  const unsigned width = vga_width(state);
  const unsigned height = state.display_lines();
  if (width > kMostPixels || height > kMostPixels) return black(1, 1);
  if (blank(state)) return black(width, height);
  Canvas canvas(width, height);
  const std::vector<Line> lines = lines_of(state, height);
  if (!state.graphics_mode()) {
    draw_text(state, memory, now.ns / kFrameNs, width, canvas, lines);
  } else if (is_256_colors(state)) {
    draw_256(state, memory, width, canvas, lines);
  } else {
    draw_planar(state, memory, width, canvas, lines);
  }
  return canvas.take();
}

std::optional<PixelPlace> pixel_place(const VgaState& state, unsigned x, unsigned y) {
  return state.vbe_enabled() ? vbe_place(state, x, y) : vga_place(state, x, y);
}

std::vector<std::string> screen_text(const VgaState& state, ByteView memory) {
  std::vector<std::string> text;
  if (state.vbe_enabled() || state.graphics_mode()) return text;
  const unsigned row_lines = (state.crtc[kCrtcMaximumScanLine] & 0x1fU) + 1;
  const unsigned doubled = (state.crtc[kCrtcMaximumScanLine] & 0x80) != 0 ? 2 : 1;
  const std::vector<Line> lines = lines_of(state, state.display_lines());
  for (std::size_t y = 0; y < lines.size(); y += std::size_t{row_lines} * doubled) {
    std::string line;
    for (unsigned column = 0; column < state.display_characters(); ++column) {
      const std::uint32_t at = plane_address(state, lines[y].counter + column, 0);
      append_utf8(line, code_page_437(plane_byte(memory, 0, at)));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text.push_back(std::move(line));
  }
  return text;
}

}  // namespace chronovisor
