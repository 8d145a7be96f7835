// Feeds the loaders whatever libFuzzer invents: the first byte picks the kind,
// the next three the split between kernel, initrd or module, and text.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "vmm/boot/boot.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chronovisor;
  constexpr std::uint64_t kMemory = 32ULL << 20;
  constexpr std::size_t kPrefix = 4;
  if (size < kPrefix) return 0;
  const ByteView rest(data + kPrefix, size - kPrefix);
  const std::size_t extra_size = data[1] < rest.size() ? data[1] : rest.size();
  const ByteView extra = rest.first(extra_size);

  BootRequest request;
  request.kind = static_cast<BootKind>(data[0] % 3);
  request.kernel_name = "fuzz";
  request.kernel = rest.subspan(extra_size);
  if (request.kind == BootKind::flat) {
    request.flat_address = static_cast<std::uint64_t>(data[2]) << 8 | data[3] << 4;
  } else {
    request.command_line = std::string(data[2], 'c');
  }
  if (request.kind == BootKind::linux_kernel) request.initrd = extra;
  if (request.kind == BootKind::multiboot && data[3] % 2 != 0) {
    request.modules.push_back({"module", extra, std::string(data[3], 'm')});
  }
  Ram ram(kMemory);
  try {
    static_cast<void>(load_guest(ram, request));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
  }
  return 0;
}
