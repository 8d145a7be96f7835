#include "vmm/machine/behaviour.h"

#include "base/error.h"

namespace chronovisor {

void require_replayable(std::uint32_t version, const std::string& what,
                        std::span<const BehaviourVersion> known) {
  const std::string begin =
      what + ": its machine has behaviour version " + std::to_string(version) + ", ";
  const std::string end =
      "; info, the console of export and export of memory at a checkpoint's position still work";
  for (const BehaviourVersion& entry : known) {
    if (entry.number != version) continue;
    if (entry.replayable) return;
    throw Error(ErrorCode::bad_input, begin + "which this program no longer has: replay it with " +
                                          "chronovisor " + std::string(entry.release) + end);
  }
  throw Error(ErrorCode::bad_input,
              begin + "and this program knows those up to " + std::to_string(known.back().number) +
                  ": replay it with the release that recorded it, or a later one" + end);
}

}  // namespace chronovisor
