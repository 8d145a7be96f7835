#include "inspect/export/screen.h"

#include <algorithm>

#include "vmm/devices/display/vga.h"

namespace chronovisor {
namespace {

const Vga* vga_of(const Machine& machine) {
  return dynamic_cast<const Vga*>(machine.device("vga"));
}

ByteView memory_of(const Vga& vga) {
  const PagedRegion& memory = vga.video_memory();
  return {memory.host(0), memory.size()};
}

}  // namespace

bool screen_is_unset(const Machine& machine) {
  const Vga* const vga = vga_of(machine);
  return vga != nullptr && !vga->registers().mode_set();
}

std::optional<ScreenImage> screen_of(const Machine& machine) {
  const Vga* const vga = vga_of(machine);
  if (vga == nullptr) return std::nullopt;
  return draw_screen(vga->registers(), memory_of(*vga), machine.now());
}

std::optional<ScreenPixel> pixel_of(const Machine& machine, unsigned x, unsigned y) {
  const Vga* const vga = vga_of(machine);
  const auto place = vga == nullptr ? std::nullopt : pixel_place(vga->registers(), x, y);
  if (!place) return std::nullopt;
  const ScreenImage image = draw_screen(vga->registers(), memory_of(*vga), machine.now());
  ScreenPixel pixel;
  if (x < image.width && y < image.height) {
    const std::size_t at = (std::size_t{y} * image.width + x) * pixel.rgb.size();
    std::copy_n(image.rgb.begin() + static_cast<std::ptrdiff_t>(at), pixel.rgb.size(),
                pixel.rgb.begin());
  }
  pixel.address = {place->offset + (place->linear ? vga->linear_base() : Vga::kWindowBase)};
  pixel.length_bytes = place->length_bytes;
  return pixel;
}

std::optional<std::vector<std::string>> screen_text_of(const Machine& machine) {
  const Vga* const vga = vga_of(machine);
  if (vga == nullptr) return std::nullopt;
  return screen_text(vga->registers(), memory_of(*vga));
}

}  // namespace chronovisor
