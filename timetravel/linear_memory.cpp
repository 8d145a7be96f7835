#include "timetravel/linear_memory.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace chronovisor {

std::size_t read_linear_memory(Machine& machine, std::uint64_t address,
                               std::span<std::uint8_t> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto physical = machine.cpu().translate_for_debugger({address + done});
    if (!physical) break;
    const std::size_t chunk =
        std::min<std::size_t>(out.size() - done, kPageSize - ((address + done) & ~kPageMask));
    const std::size_t got = machine.look(*physical, out.subspan(done, chunk));
    done += got;
    if (got < chunk) break;
  }
  return done;
}

std::optional<std::uint64_t> read_linear_value(Machine& machine, std::uint64_t address,
                                               std::uint64_t length) {
  std::array<std::uint8_t, 8> bytes{};
  CHECK_THAT(length >= 1 && length <= bytes.size(), "a value of 1 to 8 bytes");
  if (read_linear_memory(machine, address, std::span(bytes).first(length)) != length) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (std::size_t n = length; n-- > 0;) value = value << 8 | bytes[n];
  return value;
}

}  // namespace chronovisor
