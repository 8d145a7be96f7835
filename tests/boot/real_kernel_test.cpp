#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/boot/boot_images.h"

using namespace chronovisor;
using namespace chronovisor::boot_test;

namespace {

namespace fs = std::filesystem;

/// The files called `name` that scripts/fetch-kernel left.
std::vector<fs::path> fetched(const std::string& name) {
  const fs::path root = CHRONOVISOR_SOURCE_DIR;
  const fs::path folder = root / ".cache" / "kernels";
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& package : fs::directory_iterator(folder, ignored)) {
    if (fs::is_regular_file(package.path() / name)) found.push_back(package.path() / name);
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) {
    MESSAGE("SKIPPED: no " << (folder / "*" / name).string() << "; run scripts/fetch-kernel");
  }
  return found;
}

Bytes contents(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("Debian's bzImages load at their preferred address") {
  for (const fs::path& path : fetched("vmlinuz")) {
    INFO(path.string());
    const Bytes image = contents(path);
    BootRequest request = request_of(BootKind::linux_kernel, image);
    request.command_line = "console=ttyS0";
    Ram ram(256 * kMiB);
    const BootCpuState state = load_guest(ram, request);
    const bool is_64_bit = !path.parent_path().filename().string().ends_with(":i386");
    CHECK(state.mode == (is_64_bit ? BootMode::long64 : BootMode::protected32));
    CHECK(state.rip == 16 * kMiB + (is_64_bit ? 0x200 : 0));
    CHECK(contains(failure(request, 32 * kMiB), "--memory"));
    const Bytes cut(image.begin(), image.end() - 4096);
    CHECK(contains(failure(request_of(BootKind::linux_kernel, cut), 256 * kMiB), "truncated"));
  }
}

TEST_CASE("Debian's vmlinux files load by their PVH note") {
  for (const fs::path& path : fetched("vmlinux")) {
    INFO(path.string());
    const Bytes image = contents(path);
    Ram ram(256 * kMiB);
    const BootCpuState state = load_guest(ram, request_of(BootKind::linux_kernel, image));
    CHECK(state.mode == BootMode::protected32);
    CHECK(state.rip >= 16 * kMiB);
    CHECK(state.rip < 256 * kMiB);
    CHECK(peek<std::uint8_t>(ram, state.rip) == 0xfc);  // cld
  }
}
