#include "tests/crosscheck/watchdog.h"

#include <sys/time.h>

#include <csignal>
#include <cstdint>

namespace chronovisor::crosscheck {
namespace {

// What a signal handler may touch.
std::atomic<std::uint64_t> steps_begun{0};
std::atomic<std::uint64_t> steps_seen{0};
std::atomic<bool> is_tired{false};

void tick(int /*signal*/) {
  if (steps_seen == steps_begun) is_tired = true;
  steps_seen = steps_begun.load();
}

void keep_ticking(bool on) {
  constexpr int kMicroseconds = 250'000;
  itimerval interval{};
  interval.it_interval.tv_usec = interval.it_value.tv_usec = on ? kMicroseconds : 0;
  (void)::setitimer(ITIMER_REAL, &interval, nullptr);
}

}  // namespace

Watchdog::Watchdog() {
  struct sigaction action {};
  action.sa_handler = tick;  // without SA_RESTART: KVM_RUN is to be interrupted
  (void)::sigaction(SIGALRM, &action, nullptr);
  keep_ticking(true);
}

Watchdog::~Watchdog() { keep_ticking(false); }

void Watchdog::step_begins() {
  ++steps_begun;
  is_tired = false;
}

const std::atomic<bool>& Watchdog::tired() const { return is_tired; }

}  // namespace chronovisor::crosscheck
