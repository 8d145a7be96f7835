#include "vmm/cpu/translate/settings.h"

#include <cstdlib>
#include <string_view>

namespace chronovisor::translate {

Settings& default_settings() {
  static Settings settings = [] {
    Settings s;
    if (const char* text = std::getenv("CHRONOVISOR_TRANSLATE"); text != nullptr) {
      const std::string_view mode = text;
      if (mode == "off") s.mode = Mode::off;
      if (mode == "on") s.mode = Mode::on;
      if (mode == "always") s.mode = Mode::always;
    }
    return s;
  }();
  return settings;
}

}  // namespace chronovisor::translate
