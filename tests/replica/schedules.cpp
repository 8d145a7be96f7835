// Runs schedules of the simulation from the command line: a long campaign, or one that
// failed once more, by its seed.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/replica/simulation.h"

namespace {

std::uint64_t number_of(const char* text) { return std::strtoull(text, nullptr, 10); }

}  // namespace

int main(int count, char** words) {
  using chronovisor::replica::simulation::Faults;
  using chronovisor::replica::simulation::Outcome;
  std::uint64_t schedules = 1'000'000;
  std::uint64_t seed = 1;
  unsigned steps = 200;
  for (int n = 1; n + 1 < count; n += 2) {
    if (std::strcmp(words[n], "--schedules") == 0) schedules = number_of(words[n + 1]);
    if (std::strcmp(words[n], "--seed") == 0) seed = number_of(words[n + 1]);
    if (std::strcmp(words[n], "--steps") == 0) {
      steps = static_cast<unsigned>(number_of(words[n + 1]));
    }
  }
  std::uint64_t takeovers = 0;
  std::uint64_t released = 0;
  std::uint64_t repeated = 0;
  std::uint64_t overtaken = 0;
  for (std::uint64_t end = seed + schedules; seed < end; ++seed) {
    // Every eighth schedule has faults that are rarer, so that longer stretches go well.
    Faults faults;
    if (seed % 8 == 0) faults.drop = faults.duplicate = faults.damage = faults.silence = 0.0005;
    const Outcome outcome = chronovisor::replica::simulation::run_schedule(seed, steps, faults);
    takeovers += outcome.takeovers;
    released += outcome.released;
    repeated += outcome.repeated;
    overtaken += outcome.overtaken;
    if (outcome.broken.empty()) continue;
    std::printf("seed %llu: %s; again by --seed %llu --schedules 1\n",
                static_cast<unsigned long long>(seed), outcome.broken.c_str(),
                static_cast<unsigned long long>(seed));
    return 1;
  }
  std::printf(
      "%llu schedules: %llu outputs, %llu of them repeated, %llu takeovers, %llu of several "
      "backups\n",
      static_cast<unsigned long long>(schedules), static_cast<unsigned long long>(released),
      static_cast<unsigned long long>(repeated), static_cast<unsigned long long>(takeovers),
      static_cast<unsigned long long>(overtaken));
  return 0;
}
