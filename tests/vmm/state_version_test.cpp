// The layout of the saved state, pinned: whoever changes it must raise the
// version, or recordings made before would be read wrongly.
#include <doctest/doctest.h>

#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

/// "cpu: steps 8, rax 8 ...": every section, with its fields and their sizes.
std::string layout_of(Machine& machine) {
  std::string text;
  for (const Section& section : machine.save_sections()) {
    text += section.name + ":";
    for (ByteReader in(section.bytes, section.name); !in.at_end();) {
      const std::string field = in.sized_text(256);
      const std::size_t size = in.sized_bytes(1U << 20).size();
      text += " " + field + " " + std::to_string(size);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("the layout of the saved state is that of its version") {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  Machine machine(config);
  const std::string layout = layout_of(machine);
  INFO("The saved state has changed. Raise kMachineStateVersion in vmm/machine/machine.h, and ");
  INFO("put the new version and hash here; docs/FORMATS.md says what that means for recordings.");
  INFO("The layout is now:\n" << layout);
  CHECK(kMachineStateVersion == 1);
  CHECK(hash128(as_bytes(layout)).hex() == "a0810b5fc3b1b278b9fb93b754fa15d5");
}

}  // namespace chronovisor
