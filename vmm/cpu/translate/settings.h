// Owns the choice of the soft engine's gear. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chronovisor::translate {

enum class Mode : std::uint8_t {
  off,     ///< the interpreter alone
  on,      ///< blocks that are executed often are translated
  always,  ///< every block is, at once: for tests
};

struct Settings {
  Mode mode = Mode::on;
  std::size_t cache_bytes = std::size_t{64} << 20;
  bool perf_map = false;  ///< /tmp/perf-PID.map tells perf about emitted code
  bool report = false;    ///< keep statistics for total_statistics()
};

/// What processors made from here on use. The environment variable
/// CHRONOVISOR_TRANSLATE (off, on, always) gives the first value. Set it before
/// the first machine is made.
Settings& default_settings();

}  // namespace chronovisor::translate
