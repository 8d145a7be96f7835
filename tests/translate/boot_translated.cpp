// Boots a Linux kernel on a machine with the soft engine in the gear asked for, and
// prints how long it took; or on two machines, interpreted and translated, whose
// states are compared every 2^20 steps and at four random steps between, on average;
// their RAM every 2^28 and at the end.
//
//   translate_boot KERNEL INITRD off|on|always|lock-step [STEPS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/oracle/random.h"
#include "vmm/cpu/translate/settings.h"
#include "vmm/cpu/translate/statistics.h"
#include "vmm/machine/machine.h"

namespace chronovisor::test {
namespace {

Bytes contents(const char* path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::unique_ptr<Machine> make(const Bytes& kernel, const Bytes& initrd, translate::Mode mode) {
  translate::default_settings().mode = mode;
  MachineConfig config;
  auto machine = std::make_unique<Machine>(config);
  BootRequest request;
  request.kind = BootKind::linux_kernel;
  request.kernel = kernel;
  request.initrd = initrd;
  request.command_line = "console=ttyS0 quiet panic=-1 nokaslr";
  machine->boot(request);
  return machine;
}

int lock_step(const Bytes& kernel, const Bytes& initrd, std::uint64_t most) {
  auto a = make(kernel, initrd, translate::Mode::off);
  auto b = make(kernel, initrd, translate::Mode::on);
  oracle::Random random(3, 5);
  constexpr std::uint64_t kPeriod = std::uint64_t{1} << 20;
  constexpr std::uint64_t kRamPeriod = std::uint64_t{1} << 28;
  std::uint64_t position = 0;
  std::uint64_t compared = 0;
  while (position < most) {
    const std::uint64_t next_period = (position / kPeriod + 1) * kPeriod;
    position = std::min(next_period, position + 1 + random.below(kPeriod / 2));
    const MachineStop first = a->run({{position}, 0});
    const MachineStop second = b->run({{position}, 0});
    const bool ended = first == MachineStop::ended;
    ++compared;
    if (first != second || a->position() != b->position() ||
        a->save_sections() != b->save_sections() ||
        (position % kRamPeriod == 0 && a->digest() != b->digest())) {
      std::printf("differ at %llu and %llu\n", static_cast<unsigned long long>(a->position().steps),
                  static_cast<unsigned long long>(b->position().steps));
      return 1;
    }
    if (ended) break;
  }
  const bool alike = a->digest() == b->digest();
  std::printf("%llu steps, compared %llu times: %s\n",
              static_cast<unsigned long long>(a->position().steps),
              static_cast<unsigned long long>(compared), alike ? "alike" : "RAM differs");
  return alike ? 0 : 1;
}

}  // namespace
}  // namespace chronovisor::test

int main(int argc, char** argv) {
  using namespace chronovisor;
  if (argc < 4) return 2;
  const Bytes kernel = test::contents(argv[1]);
  const Bytes initrd = test::contents(argv[2]);
  const std::string how = argv[3];
  const std::uint64_t most = argc > 4 ? std::strtoull(argv[4], nullptr, 0) : 1ULL << 40;
  if (how == "lock-step") return test::lock_step(kernel, initrd, most);
  const auto start = std::chrono::steady_clock::now();
  translate::default_settings().report = true;
  auto machine = test::make(kernel, initrd,
                            how == "off"      ? translate::Mode::off
                            : how == "always" ? translate::Mode::always
                                              : translate::Mode::on);
  machine->run({{most}, 0});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Hash128 digest = machine->digest();
  std::printf("%s: %llu steps, %.2f s, digest %016llx\n", how.c_str(),
              static_cast<unsigned long long>(machine->position().steps), seconds,
              static_cast<unsigned long long>(*reinterpret_cast<const std::uint64_t*>(&digest)));
  machine.reset();
  const translate::Statistics s = translate::total_statistics();
  std::printf("%llu blocks, %llu translated of %llu steps, %llu handler calls, %llu entries\n",
              static_cast<unsigned long long>(s.blocks), static_cast<unsigned long long>(s.steps),
              static_cast<unsigned long long>(s.all_steps),
              static_cast<unsigned long long>(s.handler_calls),
              static_cast<unsigned long long>(s.entries));
  for (std::size_t n = 1; n < s.exits.size(); ++n) {
    std::printf("  %s: %llu\n",
                std::string(translate::exit_name(static_cast<translate::Exit>(n))).c_str(),
                static_cast<unsigned long long>(s.exits[n]));
  }
  for (const auto& [row, calls] : translate::most_called_rows(s, 40)) {
    std::printf("  %s %llu\n", row.c_str(), static_cast<unsigned long long>(calls));
  }
}
