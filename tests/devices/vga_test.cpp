// What a VGA's registers and memory make of its screen, pixel by pixel.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "tests/devices/device_test_support.h"
#include "vmm/devices/display/vga.h"
#include "vmm/devices/display/vga_screen.h"

namespace chronovisor {
namespace {

using namespace chronovisor::test;

/// What a BIOS writes for a mode; palette and overscan are the same for all of them.
/// Source: IBM VGA, the parameter tables of its BIOS
struct VgaMode {
  std::uint8_t miscellaneous;
  std::array<std::uint8_t, 5> sequencer;
  std::array<std::uint8_t, 25> crt;
  std::array<std::uint8_t, 9> graphics;
  std::uint8_t attribute_mode;
};

/// 320 x 200 in 256 colours.
constexpr VgaMode kMode13h{
    0x63,
    {0x03, 0x01, 0x0f, 0x00, 0x0e},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
    {0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff},
    0x41};
/// 640 x 480 in 16 colours.
constexpr VgaMode kMode12h{
    0xe3,
    {0x03, 0x01, 0x0f, 0x00, 0x06},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
    {0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff},
    0x01};

struct VgaBench final : PortsBench {
  NoMessages messages;
  PagedRegion memory{Vga::kMemoryName, Vga::kMemoryBytes};
  Vga vga{{0, 2, 0}, messages, clock, memory};

  VgaBench() {
    vga.set_state_version(2);
    place(vga);
    vga.reset();
  }
  Device& device() override { return vga; }

  void indexed(std::uint16_t port, unsigned index, unsigned value) {
    out(port, index | value << 8, 2);
  }
  void attribute(unsigned index, unsigned value) {
    (void)in(0x3da);
    out(0x3c0, index);
    out(0x3c0, value);
    (void)in(0x3da);
    out(0x3c0, 0x20);
  }
  void vbe(unsigned index, unsigned value) {
    out(0x1ce, index, 2);
    out(0x1d0, value, 2);
  }
  void color(unsigned index, unsigned red, unsigned green, unsigned blue) {
    out(0x3c8, index);
    out(0x3c9, red);
    out(0x3c9, green);
    out(0x3c9, blue);
  }
  /// Byte at a physical address of the window.
  void poke(std::uint32_t address, std::uint8_t value) {
    aperture->write_mmio(address - 0xa0000, 1, value);
  }
  std::uint8_t peek(std::uint32_t address) {
    return static_cast<std::uint8_t>(aperture->read_mmio(address - 0xa0000, 1));
  }
  void set_mode(const VgaMode& mode) {
    out(0x3c2, mode.miscellaneous);
    for (unsigned n = 0; n < mode.sequencer.size(); ++n) indexed(0x3c4, n, mode.sequencer[n]);
    indexed(0x3d4, 0x11, 0x00);
    for (unsigned n = 0; n < mode.crt.size(); ++n) indexed(0x3d4, n, mode.crt[n]);
    for (unsigned n = 0; n < mode.graphics.size(); ++n) indexed(0x3ce, n, mode.graphics[n]);
    for (unsigned n = 0; n < 16; ++n) attribute_data(n, n);
    attribute(0x10, mode.attribute_mode);
    attribute(0x12, 0x0f);
    attribute(0x13, 0x00);
    attribute(0x14, 0x00);
    out(0x3c6, 0xff);
  }
  void attribute_data(unsigned index, unsigned value) {
    (void)in(0x3da);
    out(0x3c0, index);
    out(0x3c0, value);
  }
  ScreenImage screen() {
    return draw_screen(vga.registers(), ByteView(memory.host(0), memory.size()), clock.now());
  }
  std::vector<std::string> text() {
    return screen_text(vga.registers(), ByteView(memory.host(0), memory.size()));
  }

  std::uint64_t step(Random& random) override {
    switch (below(random, 10)) {
      case 8:
        attribute(static_cast<unsigned>(below(random, 32)), static_cast<unsigned>(random() & 0xff));
        return in(0x3c1);
      case 9: {
        const auto at = static_cast<std::uint32_t>(0xa0000 + below(random, 0x20000));
        indexed(0x3c4, 2, 0x0f);
        poke(at, static_cast<std::uint8_t>(random()));
        return peek(at);
      }
      case 0:
        clock.ns += below(random, 20'000'000);
        return in(0x3da);
      case 1:
        poke(static_cast<std::uint32_t>(0xa0000 + below(random, 0x20000)),
             static_cast<std::uint8_t>(random()));
        return 0;
      case 2:
        return peek(static_cast<std::uint32_t>(0xa0000 + below(random, 0x20000)));
      case 3:
        vbe(static_cast<unsigned>(below(random, 12)), static_cast<unsigned>(random() & 0xffff));
        return in(0x1d0, 2);
      case 4:
        return in(static_cast<std::uint16_t>(0x3b0 + below(random, 0x30)));
      case 5:
        vga.write_config(static_cast<std::uint8_t>(below(random, 64)), 1,
                         static_cast<std::uint32_t>(random() & 0xff));
        return 0;
      default:
        out(static_cast<std::uint16_t>(0x3b0 + below(random, 0x30)),
            static_cast<std::uint32_t>(random() & 0xff));
        return 0;
    }
  }
};

using Pixel = std::array<unsigned, 3>;

Pixel pixel(const ScreenImage& image, unsigned x, unsigned y) {
  const std::size_t at = (std::size_t{y} * image.width + x) * 3;
  return {image.rgb[at], image.rgb[at + 1], image.rgb[at + 2]};
}

/// 256 characters of 16 rows: character c's row r is c with its bits turned by r.
Bytes test_font() {
  Bytes font(256 * 16);
  for (unsigned c = 0; c < 256; ++c) {
    for (unsigned r = 0; r < 16; ++r)
      font[c * 16 + r] = static_cast<std::uint8_t>(c << (r & 7) | c >> (8 - (r & 7)));
  }
  return font;
}

TEST_CASE("a text screen shows its characters, colours and cursor") {
  VgaBench bench;
  bench.vga.set_text_mode(test_font(), 16);
  const std::string line = "Hello";
  for (unsigned n = 0; n < line.size(); ++n) {
    bench.poke(0xb8000 + 2 * (80 + n), static_cast<std::uint8_t>(line[n]));
    bench.poke(0xb8000 + 2 * (80 + n) + 1, 0x1e);  // yellow on blue
  }
  const auto text = bench.text();
  REQUIRE(text.size() == 25);
  CHECK(text[0].empty());
  CHECK(text[1] == "Hello");

  const ScreenImage image = bench.screen();
  CHECK(image.width == 720);
  CHECK(image.height == 400);
  // The first row of 'H' is 01001000.
  const Pixel yellow{0xff, 0xff, 0x55};
  const Pixel blue{0, 0, 0xaa};
  CHECK(pixel(image, 0, 16) == blue);
  CHECK(pixel(image, 1, 16) == yellow);
  CHECK(pixel(image, 2, 16) == blue);
  CHECK(pixel(image, 4, 16) == yellow);
  CHECK(pixel(image, 8, 16) == blue);  // the ninth dot
  // The cursor is at the first character, lines 13 and 14, and blinks.
  CHECK(pixel(image, 3, 13) == Pixel{0xaa, 0xaa, 0xaa});
  CHECK(pixel(image, 3, 12) == Pixel{0, 0, 0});
  bench.clock.ns = 150'000'000;
  CHECK(pixel(bench.screen(), 3, 13) == Pixel{0, 0, 0});
}

TEST_CASE("characters are named as code page 437 has them") {
  VgaBench bench;
  bench.vga.set_text_mode(test_font(), 16);
  bench.poke(0xb8000, 0xc9);
  bench.poke(0xb8002, 0x01);
  bench.poke(0xb8004, 0xe1);
  CHECK(bench.text()[0] == "╔☺ß");
}

TEST_CASE("a guest without firmware finds a text screen, in the font of the video BIOS") {
  Bytes font = test_font();
  const Bytes face{0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e, 0, 0, 0, 0};
  std::fill(font.begin(), font.begin() + 16, 0);
  std::copy(face.begin(), face.end(), font.begin() + 16);
  const auto shown = [&](std::uint64_t font_at, std::uint32_t version) {
    VgaBench bench;
    PagedRegion rom("vga.rom", Vga::kRomBytes);
    rom.write(font_at, font);
    Vga vga({0, 2, 0}, bench.messages, bench.clock, bench.memory, &rom);
    vga.set_state_version(version);
    vga.reset();
    vga.set_up_by_firmware();
    bench.memory.write(0, Bytes{'H', 0x1e});
    return std::pair(vga.registers().mode_set(),
                     draw_screen(vga.registers(), ByteView(bench.memory.host(0), Vga::kMemoryBytes),
                                 VirtualTime{}));
  };
  const auto [mode_set, image] = shown(0x73d0, 3);
  CHECK(mode_set);
  REQUIRE(image.width == 720);
  const Pixel yellow{0xff, 0xff, 0x55};
  const Pixel blue{0, 0, 0xaa};
  CHECK(pixel(image, 0, 0) == blue);
  CHECK(pixel(image, 1, 0) == yellow);  // 'H' is 01001000
  CHECK(pixel(image, 2, 0) == blue);
  // A font that goes beyond its ROM has no more characters; a font of another kind has none.
  CHECK(pixel(shown(Vga::kRomBytes - 'H' * 16, 3).second, 1, 0) == blue);
  CHECK(pixel(shown(Vga::kRomBytes - 16, 3).second, 1, 0) == blue);
  CHECK_FALSE(shown(0x73d0, 2).first);  // machines of older recordings
}

TEST_CASE("mode 13H is one byte a pixel") {
  VgaBench bench;
  bench.set_mode(kMode13h);
  bench.color(7, 63, 0, 21);
  bench.poke(0xa0000 + 320 * 10 + 33, 7);
  const ScreenImage image = bench.screen();
  CHECK(image.width == 640);
  CHECK(image.height == 400);
  CHECK(pixel(image, 66, 20) == Pixel{255, 0, 85});
  CHECK(pixel(image, 67, 21) == Pixel{255, 0, 85});
  CHECK(pixel(image, 65, 20) == Pixel{0, 0, 0});
  CHECK(pixel(image, 68, 20) == Pixel{0, 0, 0});
  CHECK(pixel(image, 66, 22) == Pixel{0, 0, 0});
}

TEST_CASE("mode X has four pixels an address, and pans and scrolls") {
  VgaBench bench;
  bench.set_mode(kMode13h);
  bench.indexed(0x3c4, 4, 0x06);  // chain-4 off
  bench.indexed(0x3d4, 0x14, 0);  // byte mode
  bench.indexed(0x3d4, 0x17, 0xe3);
  bench.color(9, 0, 63, 0);
  bench.indexed(0x3c4, 2, 1U << 2);
  bench.poke(0xa0000 + 80 * 3 + 5, 9);
  CHECK(pixel(bench.screen(), (5 * 4 + 2) * 2, 6) == Pixel{0, 255, 0});
  bench.indexed(0x3d4, 0x0d, 80);  // one row down
  CHECK(pixel(bench.screen(), (5 * 4 + 2) * 2, 4) == Pixel{0, 255, 0});
  bench.attribute(0x13, 2);  // one pixel left
  CHECK(pixel(bench.screen(), (5 * 4 + 1) * 2, 4) == Pixel{0, 255, 0});
}

TEST_CASE("planes are written in all four modes") {
  VgaBench bench;
  bench.set_mode(kMode12h);
  for (unsigned n = 0; n < 16; ++n) bench.color(n, 4 * n, 0, 0);
  const auto red = [](unsigned n) {
    const unsigned six = 4 * n;
    return Pixel{six << 2 | six >> 4, 0, 0};
  };
  // Mode 0 with set/reset: colour 5 where the mask has ones.
  bench.indexed(0x3ce, 0, 5);
  bench.indexed(0x3ce, 1, 0x0f);
  bench.indexed(0x3ce, 8, 0xf0);
  bench.poke(0xa0000, 0xff);
  // Mode 2: the colour is the byte.
  bench.indexed(0x3ce, 1, 0);
  bench.indexed(0x3ce, 5, 2);
  bench.indexed(0x3ce, 8, 0x0f);
  (void)bench.peek(0xa0000);
  bench.poke(0xa0000, 10);
  ScreenImage image = bench.screen();
  CHECK(image.width == 640);
  CHECK(image.height == 480);
  CHECK(pixel(image, 0, 0) == red(5));
  CHECK(pixel(image, 3, 0) == red(5));
  CHECK(pixel(image, 4, 0) == red(10));
  // Mode 1: latches are copied.
  bench.indexed(0x3ce, 5, 1);
  (void)bench.peek(0xa0000);
  bench.poke(0xa0000 + 80, 0);
  // Mode 3: the byte is the mask, set/reset the colour.
  bench.indexed(0x3ce, 5, 3);
  bench.indexed(0x3ce, 8, 0xff);
  bench.indexed(0x3ce, 0, 12);
  (void)bench.peek(0xa0000 + 160);
  bench.poke(0xa0000 + 160, 0x01);
  image = bench.screen();
  CHECK(pixel(image, 0, 1) == red(5));
  CHECK(pixel(image, 7, 1) == red(10));
  CHECK(pixel(image, 6, 2) == red(0));
  CHECK(pixel(image, 7, 2) == red(12));
  // Read mode 1 looks for a colour.
  bench.indexed(0x3ce, 5, 8);
  bench.indexed(0x3ce, 2, 5);
  CHECK(bench.peek(0xa0000) == 0xf0);
}

TEST_CASE("a VBE mode is linear memory, also through the window") {
  VgaBench bench;
  bench.out(0x1ce, 0, 2);
  CHECK(bench.in(0x1d0, 2) == 0xb0c5);
  bench.vbe(1, 640);
  bench.vbe(2, 480);
  bench.vbe(3, 32);
  bench.vbe(4, 0x41);
  bench.attribute(0x10, 0x01);
  const std::array<std::uint8_t, 4> orange{0x00, 0x80, 0xff, 0x00};
  bench.memory.write((640 * 100 + 7) * 4, orange);
  CHECK(bench.screen().width == 640);
  CHECK(pixel(bench.screen(), 7, 100) == Pixel{0xff, 0x80, 0});
  bench.indexed(0x3ce, 6, 5);
  bench.vbe(5, 1);  // the second 64 KiB
  bench.poke(0xa0000, 0x55);
  CHECK(pixel(bench.screen(), 0x4000 % 640, 0x4000 / 640) == Pixel{0, 0, 0x55});
  bench.vbe(8, 7);
  bench.vbe(9, 100);
  CHECK(pixel(bench.screen(), 0, 0) == Pixel{0xff, 0x80, 0});
}

TEST_CASE("a pixel's place is where a processor writes what it is drawn from") {
  VgaBench bench;
  bench.vga.set_text_mode(test_font(), 16);
  struct Found {
    bool linear;
    std::uint64_t offset;
    unsigned length_bytes;
    bool operator==(const Found&) const = default;
  };
  const auto place = [&](unsigned x, unsigned y) {
    const auto found = pixel_place(bench.vga.registers(), x, y);
    REQUIRE(found);
    return Found{found->linear, found->offset, found->length_bytes};
  };
  CHECK(place(9 * 5 + 8, 16 * 3 + 15) == Found{false, 0x18000 + 2 * (80 * 3 + 5), 2});
  CHECK_FALSE(pixel_place(bench.vga.registers(), 720, 0));
  CHECK_FALSE(pixel_place(bench.vga.registers(), 0, 400));
  bench.set_mode(kMode12h);
  CHECK(place(8, 2) == Found{false, 161, 1});
  bench.attribute(0x13, 1);
  CHECK(place(7, 2) == Found{false, 161, 1});
  bench.set_mode(kMode13h);
  CHECK(place(67, 21) == Found{false, 320 * 10 + 33, 1});
  bench.indexed(0x3c4, 4, 0x06);  // mode X, one row down
  bench.indexed(0x3d4, 0x14, 0);
  bench.indexed(0x3d4, 0x17, 0xe3);
  bench.indexed(0x3d4, 0x0d, 80);
  CHECK(place((5 * 4 + 2) * 2, 4) == Found{false, 80 * 3 + 5, 1});
  bench.vbe(1, 640);
  bench.vbe(2, 480);
  bench.vbe(3, 32);
  bench.vbe(4, 0x41);
  bench.vbe(8, 7);
  bench.vbe(9, 100);
  CHECK(place(0, 1) == Found{true, (640 * 101 + 7) * 4, 4});
  CHECK_FALSE(pixel_place(bench.vga.registers(), 640, 0));
}

TEST_CASE("a VBE mode that is set from a text mode has its window at A0000H") {
  for (const unsigned bits : {8U, 4U}) {
    VgaBench bench;
    bench.vga.set_state_version(3);
    bench.vga.set_text_mode(test_font(), 16);
    bench.vbe(1, 320);
    bench.vbe(2, 200);
    bench.vbe(3, bits);
    bench.vbe(4, 1);
    bench.indexed(0x3ce, 8, 0xff);
    bench.poke(0xa0001, 0x3f);
    const ScreenImage image = bench.screen();
    REQUIRE(image.width == 320);
    const unsigned x = bits == 8 ? 1 : 10;  // a byte is a pixel, or a bit of eight
    CHECK(pixel(image, x, 0) != pixel(image, x - 1, 0));
    CHECK(bench.peek(0xa0001) == 0x3f);
  }
}

TEST_CASE("index and data of VBE are one double word, but for machines of older recordings") {
  VgaBench bench;
  bench.out(0x1ce, 1 | 640U << 16, 4);
  CHECK(bench.in(0x1ce, 4) == (1 | 640U << 16));
  bench.vga.set_state_version(1);
  bench.out(0x1ce, 2 | 480U << 16, 4);  // nothing took it
  CHECK(bench.in(0x1ce, 2) == 1);
  // Four bytes: the index, the data twice, and nothing.
  CHECK(bench.in(0x1ce, 4) == (1 | (640U & 0xff) << 8 | (640U & 0xff) << 16 | 0xffU << 24));
}

TEST_CASE("the vertical retrace comes once a frame") {
  VgaBench bench;
  bench.vga.set_text_mode(test_font(), 16);
  unsigned rises = 0;
  std::uint64_t high = 0;
  bool before = false;
  constexpr std::uint64_t kStep = 5'000;
  for (std::uint64_t ns = 0; ns < 1'000'000'000; ns += kStep) {
    bench.clock.ns = ns;
    const bool now = (bench.in(0x3da) & 8) != 0;
    rises += now && !before ? 1 : 0;
    high += now ? kStep : 0;
    before = now;
  }
  CHECK(rises >= 69);
  CHECK(rises <= 71);
  CHECK(high / rises > 50'000);
  CHECK(high / rises < 80'000);
}

TEST_CASE("registers that a guest sets to nonsense draw something of a bounded size") {
  Random random(5);
  for (unsigned n = 0; n < 40; ++n) {
    VgaBench bench;
    for (unsigned i = 0; i < 300; ++i) (void)bench.step(random);
    const ScreenImage image = bench.screen();
    CHECK(image.width <= 4096);
    CHECK(image.height <= 4096);
    CHECK(image.rgb.size() == std::size_t{image.width} * image.height * 3);
    (void)bench.text();
  }
}

TEST_CASE("VGA keeps its state through a round trip") {
  check_round_trip([]() -> std::unique_ptr<Bench> { return std::make_unique<VgaBench>(); },
                   {"pci.intx_asked", "pci.intx"}, 60);
}

TEST_CASE("a look at the window gives what a read gives, and leaves the latches alone") {
  VgaBench bench;
  bench.set_mode(kMode12h);
  for (unsigned plane = 0; plane < 4; ++plane) {
    bench.indexed(0x3c4, 2, 1U << plane);
    bench.poke(0xa0010, static_cast<std::uint8_t>(0x10 + plane));
    bench.poke(0xa0020, static_cast<std::uint8_t>(0x20 + plane));
  }
  bench.indexed(0x3c4, 2, 0x0f);
  bench.indexed(0x3ce, 4, 2);  // plane 2 is read
  (void)bench.peek(0xa0020);   // into the latches
  CHECK(bench.aperture->peek_mmio(0x10) == 0x12);
  CHECK(bench.aperture->peek_mmio(0x18010) == 0xff);  // mapped nowhere in this mode
  bench.indexed(0x3ce, 5, 1);                         // write mode 1: the latches
  bench.poke(0xa0030, 0);
  CHECK(bench.peek(0xa0030) == 0x22);
}

}  // namespace
}  // namespace chronovisor
