#include "inspect/export/screen.h"

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

std::optional<std::vector<std::string>> screen_text_of(const Machine& machine) {
  const Vga* const vga = vga_of(machine);
  if (vga == nullptr) return std::nullopt;
  return screen_text(vga->registers(), memory_of(*vga));
}

}  // namespace chronovisor
