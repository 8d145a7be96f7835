#include "inspect/cpu_mode.h"

namespace chronovisor {

std::string mode_name(const Cpu& cpu) {
  switch (cpu.mode()) {
    case CpuMode::real:
      return "real mode";
    case CpuMode::virtual8086:
      return "virtual-8086";
    case CpuMode::protected_mode:
      return cpu.code_width() == 4 ? "32-bit" : "16-bit protected";
    case CpuMode::compatibility:
      return cpu.code_width() == 4 ? "32-bit compatibility" : "16-bit compatibility";
    case CpuMode::long64:
      return "64-bit";
  }
  return "";
}

}  // namespace chronovisor
