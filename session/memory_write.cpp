#include "session/memory_write.h"

#include <algorithm>
#include <optional>

namespace chronovisor::session {

std::size_t write_memory(Timeline& timeline, std::uint64_t address, ByteView bytes, bool physical) {
  Machine& machine = timeline.machine();
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::uint64_t at = address + done;
    const auto there = physical ? std::optional<GuestPhysical>(GuestPhysical{at})
                                : machine.cpu().translate_for_debugger({at});
    const auto offset = there ? machine.ram().offset_of(*there) : std::nullopt;
    if (!offset || !machine.ram().takes_writes(*offset / kPageSize)) break;
    const std::size_t chunk =
        std::min<std::size_t>(bytes.size() - done, kPageSize - (at & ~kPageMask));
    timeline.note_change();
    done += machine.ram().write(*there, bytes.subspan(done, chunk));
  }
  return done;
}

}  // namespace chronovisor::session
