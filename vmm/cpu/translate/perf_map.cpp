#include "vmm/cpu/translate/perf_map.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <string>

namespace chronovisor::translate {

void note_in_perf_map(const std::uint8_t* code, std::size_t size, std::string_view name) {
  static std::mutex mutex;
  static std::FILE* const file = [] {
    const std::string path = "/tmp/perf-" + std::to_string(getpid()) + ".map";
    return std::fopen(path.c_str(), "we");
  }();
  if (file == nullptr) return;
  const std::lock_guard lock(mutex);
  std::fprintf(file, "%llx %zx %.*s\n",
               static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(code)), size,
               static_cast<int>(name.size()), name.data());
  std::fflush(file);
}

}  // namespace chronovisor::translate
