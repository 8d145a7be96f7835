// Runs tiny guests that need no options on machines alone: once through, then in
// pieces, with the state saved and loaded again between them. Both runs must end as
// guests do that found nothing wrong, at the same step and in the same state.
//
//   guests_in_pieces IMAGE...
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "base/error.h"
#include "vmm/machine/machine.h"

namespace {

using namespace chronovisor;

constexpr std::uint64_t kLimit = 50'000'000;
constexpr std::uint64_t kPiece = 997;

std::unique_ptr<Machine> started(const std::string& name, const Bytes& image) {
  auto machine = std::make_unique<Machine>(MachineConfig{});
  BootRequest request;
  const bool elf = image.size() > 4 && image[0] == 0x7f && image[1] == 'E';
  request.kind = elf ? BootKind::multiboot : BootKind::flat;
  request.kernel_name = name;
  request.kernel = image;
  machine->boot(request);
  return machine;
}

void require_good_end(const Machine& machine, const char* how) {
  const Ending& ending = machine.ending();
  if (ending.reason == EndReason::debug_exit && ending.code == 0) return;
  throw Error(ErrorCode::bad_input, std::string(how) + ": ended by " + describe(ending) + " at " +
                                        std::to_string(machine.position().steps));
}

void run(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  const Bytes image{std::istreambuf_iterator<char>(file), {}};
  const auto whole = started(name, image);
  (void)whole->run({{kLimit}, 0});
  require_good_end(*whole, "in one run");

  const auto pieces = started(name, image);
  MachineStop stop = MachineStop::reached;
  while (stop == MachineStop::reached && pieces->position().steps < kLimit) {
    stop = pieces->run({{pieces->position().steps + kPiece}, 0});
    if (stop == MachineStop::reached && pieces->at_arrival())
      pieces->load_sections(pieces->save_sections());
  }
  require_good_end(*pieces, "in pieces");
  if (pieces->position() != whole->position() || pieces->digest() != whole->digest()) {
    throw Error(ErrorCode::divergence, "the run in pieces is another one");
  }
  std::printf("%s: %llu steps\n", name.c_str(),
              static_cast<unsigned long long>(whole->position().steps));
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  for (int n = 1; n < argc; ++n) {
    try {
      run(argv[n]);
    } catch (const Error& error) {
      std::printf("FAILED: %s: %s\n", argv[n], error.what());
      status = 1;
    }
  }
  return argc > 1 ? status : 2;
}
