#include "inspect/linux/kernel_memory.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/error.h"

namespace chronovisor::linux_guest {
namespace {

// Source: Linux, Documentation/arch/x86/x86_64/mm.rst: the kernel is mapped
// somewhere in the 1 GiB from here.
constexpr std::uint64_t kTextMapping = 0xffffffff80000000ULL;
constexpr std::uint64_t kTextMappingBytes = 1ULL << 30;
constexpr std::uint64_t kLargestImage = 512ULL << 20;
constexpr std::uint64_t kLargePage = 2ULL << 20;
// With page-table isolation the kernel's PML4 and the user's are neighbours.
constexpr std::uint64_t kUserTableBit = 1ULL << 12;

}  // namespace

std::optional<KernelMemory::Mapping> KernelMemory::translate(GuestPhysical root,
                                                             GuestLinear address) const {
  Paging paging;
  paging.kind = PagingKind::four_levels;
  paging.no_execute = true;
  paging.cr3 = root.value;
  const Walk walk = walk_pages(
      paging, address,
      [this](GuestPhysical place, unsigned bytes, std::uint64_t& entry) {
        return Mmu::read_ram_entry(machine_.ram(), place, bytes, entry);
      },
      [](const PageTableEntry&) {});
  if (walk.end != WalkEnd::mapped) return std::nullopt;
  return Mapping{walk.physical, walk.page_bytes - (address.value & (walk.page_bytes - 1))};
}

KernelMemory::KernelMemory(Machine& machine) : machine_(machine) {
  const CpuState& state = machine.cpu().state;
  const char* const advice = "; give a later position, after the kernel has begun";
  if (!machine.cpu().long_mode_active()) {
    throw Error(
        ErrorCode::bad_input,
        std::string("the guest is not in 64-bit mode here: a 32-bit kernel's tables cannot be "
                    "read, and a 64-bit one has not begun") +
            advice);
  }
  const std::uint64_t cr3 = state.cr3 & kPhysicalPageMask;
  for (const std::uint64_t root : {cr3 & ~kUserTableBit, cr3}) {
    root_ = {root};
    base_ = first_mapped();
    // The user's tables map a few pages of entry code only; the kernel's map
    // megabytes in one piece.
    if (base_ != 0 && translate(root_, {base_ + kLargePage}) &&
        translate(root_, {base_ + 2 * kLargePage}))
      return;
  }
  throw Error(ErrorCode::bad_input, std::string("no Linux kernel is mapped here") + advice);
}

std::uint64_t KernelMemory::first_mapped() const {
  // The kernel is placed at a multiple of 2 MiB.
  for (std::uint64_t offset = 0; offset < kTextMappingBytes; offset += kLargePage) {
    if (translate(root_, {kTextMapping + offset})) return kTextMapping + offset;
  }
  return 0;
}

KernelImage KernelMemory::image() const {
  KernelImage image{base_, {}};
  const std::uint64_t most = std::min(kLargestImage, kTextMapping + kTextMappingBytes - base_);
  std::uint64_t gap = 0;
  for (std::uint64_t offset = 0; offset < most;) {
    const auto mapping = translate(root_, {base_ + offset});
    const std::uint64_t size = mapping ? std::min(mapping->bytes, most - offset) : kPageSize;
    if (mapping) {
      image.bytes.resize(offset + size);
      machine_.ram().read(mapping->physical, std::span(image.bytes).subspan(offset));
      gap = 0;
    } else {
      // Freed pieces inside the image are small; a long gap is its end.
      gap += size;
      if (gap > 16 * kLargePage) break;
    }
    offset += size;
  }
  return image;
}

std::optional<std::uint64_t> KernelMemory::physical(std::uint64_t address) const {
  const std::optional<Mapping> mapping = translate(root_, {address});
  return mapping ? std::optional(mapping->physical.value) : std::nullopt;
}

std::size_t KernelMemory::read(std::uint64_t address, std::span<std::uint8_t> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto mapping = translate(root_, {address + done});
    if (!mapping) break;
    const std::size_t chunk = std::min<std::uint64_t>(out.size() - done, mapping->bytes);
    const std::size_t got = machine_.ram().read(mapping->physical, out.subspan(done, chunk));
    done += got;
    if (got < chunk) break;
  }
  return done;
}

std::uint64_t KernelMemory::integer(std::uint64_t address, std::size_t size) const {
  std::array<std::uint8_t, 8> raw{};
  if (size > raw.size() || read(address, std::span(raw).first(size)) < size) {
    char text[64];
    std::snprintf(text, sizeof(text), "kernel memory at 0x%llx cannot be read",
                  static_cast<unsigned long long>(address));
    throw Error(ErrorCode::bad_input, text);
  }
  std::uint64_t value = 0;
  for (std::size_t n = size; n-- > 0;) value = value << 8 | raw[n];
  return value;
}

std::string KernelMemory::text(std::uint64_t address, std::size_t limit) const {
  Bytes raw(limit);
  raw.resize(read(address, raw));
  std::string out;
  for (const std::uint8_t byte : raw) {
    if (byte == 0) break;
    const bool shown = (byte >= 0x20 && byte < 0x7f) || byte == '\t' || byte == '\n';
    out.push_back(shown ? static_cast<char>(byte) : '?');
  }
  return out;
}

}  // namespace chronovisor::linux_guest
