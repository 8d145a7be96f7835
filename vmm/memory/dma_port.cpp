#include "vmm/memory/dma_port.h"

#include <algorithm>

namespace chronovisor {
namespace {

/// Calls `visit(where, first byte, count)` for each piece of the range within one page;
/// `where` is nothing where it is not RAM.
template <class Visit>
void for_each_piece(const Ram& ram, GuestPhysical address, std::uint64_t size, Visit&& visit) {
  for (std::uint64_t done = 0; done < size;) {
    const GuestPhysical here{address.value + done};
    const std::uint64_t count = std::min(size - done, kPageSize - (here.value & ~kPageMask));
    // What goes past the end of the address space does not begin again at its start.
    const bool wrapped = here.value < address.value;
    auto offset = wrapped ? std::nullopt : ram.offset_of(here);
    if (offset && *offset >= ram.size()) offset.reset();  // ROM
    visit(offset, done, count);
    done += count;
  }
}

}  // namespace

bool DmaPort::fails(DmaDirection direction, GuestPhysical address, std::uint64_t size_bytes) const {
  return bus_.faults_ != nullptr && bus_.faults_->fails({device_, direction, address, size_bytes});
}

DmaStatus DmaPort::read(GuestPhysical address, std::span<std::uint8_t> out) const {
  const bool failed = fails(DmaDirection::from_memory, address, out.size());
  for_each_piece(
      bus_.ram_, address, out.size(),
      [&](std::optional<std::uint64_t> ram_offset, std::uint64_t at, std::uint64_t count) {
        if (ram_offset && !failed) {
          std::memcpy(out.data() + at, bus_.ram_.host(*ram_offset), count);
        } else {
          std::memset(out.data() + at, 0xff, count);
        }
      });
  return failed ? DmaStatus::failed : DmaStatus::done;
}

DmaStatus DmaPort::write(GuestPhysical address, ByteView data) {
  if (fails(DmaDirection::to_memory, address, data.size())) return DmaStatus::failed;
  for_each_piece(
      bus_.ram_, address, data.size(),
      [&](std::optional<std::uint64_t> ram_offset, std::uint64_t at, std::uint64_t count) {
        if (!ram_offset) return;
        const GuestPhysical here{address.value + at};
        (void)bus_.ram_.write(here, data.subspan(at, count));
        if (bus_.observer_ != nullptr) {
          bus_.observer_->device_wrote({device_, cause_, address}, here, count);
        }
      });
  return DmaStatus::done;
}

}  // namespace chronovisor
