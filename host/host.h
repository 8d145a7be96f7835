// Owns the few things the command line asks of the host: files, clocks,
// signals, the terminal. Nothing here is seen by a guest. Main thread.
#pragma once

#include <termios.h>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace chronovisor {

/// Monotonic host time in ns.
[[nodiscard]] std::uint64_t monotonic_ns();
/// Processor time of the calling thread in ns.
[[nodiscard]] std::uint64_t thread_cpu_ns();
/// Seconds since the epoch, UTC.
[[nodiscard]] std::int64_t unix_seconds();
/// "2026-01-31T12:00:00Z"
[[nodiscard]] std::string utc_text(std::int64_t unix_time);
/// 64 bits from the host's entropy source.
[[nodiscard]] std::uint64_t host_entropy();
/// "Linux 6.1 x86_64, <CPU model>"
[[nodiscard]] std::string host_description();

/// Set by SIGINT, SIGTERM and SIGHUP once watched.
[[nodiscard]] std::atomic<bool>& stop_signal();
void watch_stop_signals();

/// Puts a terminal into raw mode for as long as it lives.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  int fd_;
  std::optional<termios> saved_;
};

/// "256M", "1G", "65536K", or bytes. Throws Error{usage}.
[[nodiscard]] std::uint64_t parse_size(const std::string& text, const std::string& option);
/// A decimal or 0x number, with _ or , as separators. Throws Error{usage}.
[[nodiscard]] std::uint64_t parse_number(const std::string& text, const std::string& what);
/// "12.3 MiB"
[[nodiscard]] std::string size_text(std::uint64_t bytes);

/// Draws one line of progress on stderr, if that is a terminal.
class Progress {
 public:
  explicit Progress(bool enabled);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Redraws at most ten times a second.
  void show(const std::string& text);

 private:
  bool enabled_;
  bool drawn_ = false;
  std::uint64_t last_ns_ = 0;
};

}  // namespace chronovisor
