// Writes a recording with counted places, by the simulated counter, for tests that
// need one as a file:
//   record_counted IMAGE OUTPUT SEED EVENTS [killed]       a multiboot guest
//   record_counted KERNEL OUTPUT SEED EVENTS INITRD COMMAND_LINE
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "tests/kvm/counted_run.h"

using namespace chronovisor;

namespace {

Bytes content_of(const std::string& path) {
  const PosixInputFile file(path);
  Bytes content(file.size());
  (void)file.read(0, content);
  return content;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) {
    std::fprintf(stderr,
                 "record_counted IMAGE OUTPUT SEED EVENTS [killed | INITRD COMMAND_LINE]\n");
    return 2;
  }
  try {
    test::GuestToRun guest;
    guest.start.kind = BootKind::multiboot;
    guest.start.kernel_name = arguments[1];
    guest.start.machine.memory_bytes = 16 << 20;
    guest.start.machine.ns_per_step = 0;
    guest.start.engine = "simulated counter";
    guest.image = content_of(arguments[1]);
    test::Way way{{100, 20, 0, 30}, {true, false}};
    way.seed = std::strtoull(arguments[3], nullptr, 10);
    way.most_events = std::strtoull(arguments[4], nullptr, 10);
    const bool killed = count == 6 && std::strcmp(arguments[5], "killed") == 0;
    if (count == 7) {
      guest.start.kind = BootKind::linux_kernel;
      guest.start.machine.memory_bytes = 256 << 20;
      guest.start.initrd_name = arguments[5];
      guest.start.command_line = arguments[6];
      guest.initrd = content_of(arguments[5]);
      way.slice_branches = 20'000;
      way.most_clock_ns = 400'000;
      way.quiet_percent = 80;
    }
    const test::CountedRun run = test::record_counted_into(
        std::make_unique<PosixOutputFile>(arguments[2], ExistingFile::replace), guest, way,
        killed ? test::Ending::killed : test::Ending::finished);
    std::printf("%llu %llu\n", static_cast<unsigned long long>(run.end.steps),
                static_cast<unsigned long long>(run.truth.size()));
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
