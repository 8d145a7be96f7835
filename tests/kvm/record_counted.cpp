// Writes a recording with counted places, by the simulated counter, for tests that
// need one as a file: record_counted IMAGE OUTPUT SEED EVENTS [killed]
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "tests/kvm/counted_run.h"

using namespace chronovisor;

int main(int count, char** arguments) {
  if (count < 5) {
    std::fprintf(stderr, "record_counted IMAGE OUTPUT SEED EVENTS [killed]\n");
    return 2;
  }
  try {
    const PosixInputFile image(arguments[1]);
    test::Guest guest;
    guest.start.kind = BootKind::multiboot;
    guest.start.kernel_name = arguments[1];
    guest.start.machine.memory_bytes = 16 << 20;
    guest.start.machine.ns_per_step = 0;
    guest.start.engine = "simulated counter";
    guest.image.resize(image.size());
    (void)image.read(0, guest.image);
    const std::uint64_t seed = std::strtoull(arguments[3], nullptr, 10);
    const std::uint64_t events = std::strtoull(arguments[4], nullptr, 10);
    const bool killed = count > 5 && std::strcmp(arguments[5], "killed") == 0;
    const test::CountedRun run = test::record_counted_into(
        std::make_unique<PosixOutputFile>(arguments[2], ExistingFile::replace), guest,
        {{100, 20, 0, 30}, {true, false}, seed, events},
        killed ? test::Ending::killed : test::Ending::finished);
    std::printf("%llu %llu\n", static_cast<unsigned long long>(run.end.steps),
                static_cast<unsigned long long>(run.truth.size()));
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
