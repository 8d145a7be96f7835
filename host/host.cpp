#include "host/host.h"

#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>

#include "base/error.h"

namespace chronovisor {
namespace {

std::atomic<bool> stop_asked{false};

void on_stop_signal(int /*number*/) { stop_asked.store(true, std::memory_order_relaxed); }

}  // namespace

std::uint64_t monotonic_ns() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

std::uint64_t thread_cpu_ns() {
  timespec used{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(used.tv_nsec);
}

std::int64_t unix_seconds() { return std::time(nullptr); }

std::string utc_text(std::int64_t unix_time) {
  const std::time_t time = unix_time;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::uint64_t host_entropy() {
  std::uint64_t value = 0;
  if (getrandom(&value, sizeof(value), 0) != static_cast<ssize_t>(sizeof(value))) {
    throw Error(ErrorCode::host,
                std::string("the host gives no random numbers: ") + std::strerror(errno));
  }
  return value;
}

std::string host_description() {
  utsname name{};
  uname(&name);
  std::string text = std::string(name.sysname) + " " + name.release + " " + name.machine;
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) text += ", " + line.substr(colon + 2);
      break;
    }
  }
  return text;
}

std::atomic<bool>& stop_signal() { return stop_asked; }

void watch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second one ends the process
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(number, nullptr, &before);
    // Whoever started the program with it ignored (nohup, a shell's background job) meant it.
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  termios settings{};
  if (isatty(fd) == 0 || tcgetattr(fd, &settings) != 0) return;
  saved_ = settings;
  cfmakeraw(&settings);
  tcsetattr(fd, TCSANOW, &settings);
}

RawTerminal::~RawTerminal() {
  if (saved_) tcsetattr(fd_, TCSANOW, &*saved_);
}

std::uint64_t parse_number(const std::string& text, const std::string& what) {
  std::string digits;
  for (const char c : text) {
    if (c != '_' && c != ',') digits += c;
  }
  int base = 10;
  std::size_t skip = 0;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    base = 16;
    skip = 2;
  }
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data() + skip, end, value, base);
  if (error != std::errc{} || at != end || digits.size() == skip) {
    throw Error(ErrorCode::usage, what + ": \"" + text + "\" is not a number");
  }
  return value;
}

std::uint64_t parse_size(const std::string& text, const std::string& option) {
  std::uint64_t unit = 1;
  std::string number = text;
  if (!number.empty()) {
    switch (number.back()) {
      case 'K':
      case 'k':
        unit = 1ULL << 10;
        break;
      case 'M':
      case 'm':
        unit = 1ULL << 20;
        break;
      case 'G':
      case 'g':
        unit = 1ULL << 30;
        break;
      default:
        break;
    }
    if (unit != 1) number.pop_back();
  }
  if (number.empty() ||
      number.find_first_not_of("0123456789xXabcdefABCDEF_,") != std::string::npos) {
    throw Error(ErrorCode::usage,
                option + ": \"" + text + "\" is not a size: bytes, or a number with K, M or G");
  }
  const std::uint64_t value = parse_number(number, option);
  if (value > (~std::uint64_t{0}) / unit) {
    throw Error(ErrorCode::usage, option + ": \"" + text + "\" is too large");
  }
  return value * unit;
}

std::string size_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

Progress::Progress(bool enabled) : enabled_(enabled && isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::show(const std::string& text) {
  if (!enabled_) return;
  const std::uint64_t now = monotonic_ns();
  if (drawn_ && now - last_ns_ < 100'000'000) return;
  last_ns_ = now;
  drawn_ = true;
  std::fprintf(stderr, "\r\x1b[K%s", text.c_str());
  std::fflush(stderr);
}

}  // namespace chronovisor
