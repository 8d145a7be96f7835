#include "vmm/boot/bzimage.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "vmm/boot/entry_state.h"
#include "vmm/boot/platform.h"

namespace chronovisor {

namespace {

// Offsets in the setup header, which are the same in the file and in the zero
// page ("boot_params").
namespace header {
constexpr std::uint64_t kBegin = 0x1f1;
constexpr std::uint64_t kSetupSectors = 0x1f1;
constexpr std::uint64_t kSystemParagraphs = 0x1f4;
constexpr std::uint64_t kVideoMode = 0x1fa;
constexpr std::uint64_t kBootFlag = 0x1fe;
constexpr std::uint64_t kJumpLength = 0x201;
constexpr std::uint64_t kMagic = 0x202;
constexpr std::uint64_t kVersion = 0x206;
constexpr std::uint64_t kTypeOfLoader = 0x210;
constexpr std::uint64_t kLoadFlags = 0x211;
constexpr std::uint64_t kRamdiskImage = 0x218;
constexpr std::uint64_t kRamdiskSize = 0x21c;
constexpr std::uint64_t kCommandLinePointer = 0x228;
constexpr std::uint64_t kInitrdMaximum = 0x22c;
constexpr std::uint64_t kKernelAlignment = 0x230;
constexpr std::uint64_t kRelocatable = 0x234;
constexpr std::uint64_t kExtendedLoadFlags = 0x236;
constexpr std::uint64_t kCommandLineSize = 0x238;
constexpr std::uint64_t kSetupData = 0x250;
constexpr std::uint64_t kPreferredAddress = 0x258;
constexpr std::uint64_t kInitSize = 0x260;
constexpr std::uint64_t kEnd = 0x290;  // where the zero page has other things again
}  // namespace header

// Offsets in the zero page outside the setup header.
namespace zero_page {
constexpr std::uint64_t kRsdpAddress = 0x70;
constexpr std::uint64_t kAlternativeMemoryKib = 0x1e0;
constexpr std::uint64_t kE820Count = 0x1e8;
constexpr std::uint64_t kE820Table = 0x2d0;
}  // namespace zero_page

constexpr std::uint16_t kOldestVersion = 0x20a;         // the first with pref_address, init_size
constexpr std::uint16_t kExtendedFlagsVersion = 0x20c;  // the first with xloadflags
constexpr std::uint8_t kLoadedHigh = 0x01;
constexpr std::uint16_t kKernel64 = 0x01;
constexpr std::uint64_t kEntry64 = 0x200;
constexpr std::uint64_t kEntryEnd = 1ULL << 32;  // both entry states reach memory below it
constexpr std::uint64_t kParagraph = 16;         // bytes, the unit of syssize
constexpr std::uint64_t kLoadMinimum = 0x100000;
constexpr std::uint32_t kSetupRngSeed = 9;

/// The fields of the setup header that decide where things go.
struct SetupHeader {
  std::uint64_t end = 0;  ///< in the file, of the part the zero page gets
  std::uint64_t payload_offset = 0;
  std::uint64_t payload_size = 0;
  std::uint64_t preferred_address = 0;
  std::uint64_t init_size = 0;
  std::uint64_t initrd_maximum = 0;
  std::uint64_t command_line_size = 0;
  bool entry64 = false;  ///< has a 64-bit entry point besides the 32-bit one
};

void check_kind(const Image& image) {
  if (image.at<std::uint16_t>(header::kBootFlag, "the boot flag") != 0xaa55) {
    image.fail("has no boot flag 0xaa55 at 0x1fe; the bzImage is corrupt: fetch or build it again");
  }
  const auto version = image.at<std::uint16_t>(header::kVersion, "the protocol version");
  if (version < kOldestVersion) {
    image.fail("speaks boot protocol " + std::to_string(version >> 8) + "." +
               std::to_string(version & 0xff) +
               " (at 0x206); 2.10 is needed, that is Linux 2.6.31 or newer");
  }
  if ((image.at<std::uint8_t>(header::kLoadFlags, "the load flags") & kLoadedHigh) == 0) {
    image.fail("is a zImage (load flags at 0x211); build a bzImage");
  }
}

bool has_entry64(const Image& image) {
  if (image.at<std::uint16_t>(header::kVersion, "the protocol version") < kExtendedFlagsVersion) {
    return false;
  }
  return (image.at<std::uint16_t>(header::kExtendedLoadFlags, "the xloadflags") & kKernel64) != 0;
}

SetupHeader parse(const Image& image) {
  check_kind(image);
  SetupHeader setup;
  const auto jump = image.at<std::uint8_t>(header::kJumpLength, "the setup header's length");
  setup.end = std::min(header::kMagic + jump, header::kEnd);
  if (setup.end < header::kInitSize + 4) {
    image.fail("the setup header ends at " + hex_text(setup.end) +
               ", before init_size at 0x260; the bzImage is corrupt: fetch or build it again");
  }
  static_cast<void>(image.slice(header::kBegin, setup.end - header::kBegin, "the setup header"));

  std::uint64_t sectors = image.at<std::uint8_t>(header::kSetupSectors, "setup_sects");
  if (sectors == 0) sectors = 4;
  setup.payload_offset = (sectors + 1) * 512;
  const std::uint64_t size =
      std::uint64_t{image.at<std::uint32_t>(header::kSystemParagraphs, "syssize")} * kParagraph;
  if (size <= kEntry64) {
    image.fail("syssize at 0x1f4 says the kernel has " + std::to_string(size) +
               " bytes; the bzImage is corrupt: fetch or build it again");
  }
  // syssize counts whole paragraphs; not every builder fills the last one up.
  const std::uint64_t present = image.size() - std::min(image.size(), setup.payload_offset);
  setup.payload_size = present < size && present + kParagraph > size ? present : size;
  static_cast<void>(
      image.slice(setup.payload_offset, setup.payload_size, "the protected-mode kernel"));

  setup.preferred_address = image.at<std::uint64_t>(header::kPreferredAddress, "pref_address");
  setup.init_size = image.at<std::uint32_t>(header::kInitSize, "init_size");
  setup.initrd_maximum = image.at<std::uint32_t>(header::kInitrdMaximum, "initrd_addr_max");
  setup.entry64 = has_entry64(image);
  setup.command_line_size = image.at<std::uint32_t>(header::kCommandLineSize, "cmdline_size");
  if (image.at<std::uint8_t>(header::kRelocatable, "relocatable_kernel") != 0) {
    const auto alignment = image.at<std::uint32_t>(header::kKernelAlignment, "kernel_alignment");
    if (!std::has_single_bit(alignment) || setup.preferred_address % alignment != 0) {
      image.fail("pref_address " + hex_text(setup.preferred_address) +
                 " at 0x258 is not a multiple of kernel_alignment " + hex_text(alignment) +
                 "; the bzImage is corrupt: fetch or build it again");
    }
  }
  return setup;
}

template <class T>
void put(Bytes& page, std::uint64_t offset, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    page[offset + i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

void put_memory_map(Bytes& page, const MemoryPlan& plan) {
  std::uint64_t at = zero_page::kE820Table;
  for (const E820Entry& entry : plan.map()) {
    put(page, at, entry.base);
    put(page, at + 8, entry.size);
    put(page, at + 16, entry.type);
    at += 20;
  }
  put(page, zero_page::kE820Count, static_cast<std::uint8_t>(plan.map().size()));
  const std::uint64_t above_1_mib = plan.ram().low_end() - kLoadMinimum;
  put(page, zero_page::kAlternativeMemoryKib, static_cast<std::uint32_t>(above_1_mib / 1024));
}

/// @return the address of the setup_data node with the seed
std::uint64_t place_rng_seed(MemoryPlan& plan, ByteView seed) {
  ByteWriter node;
  node.integer(std::uint64_t{0});  // the last node
  node.integer(kSetupRngSeed);
  node.integer(static_cast<std::uint32_t>(seed.size()));
  node.bytes(seed);
  return plan.place_structure(node.data(), "the rng seed");
}

void put_initrd(MemoryPlan& plan, Bytes& page, const SetupHeader& setup,
                const BootRequest& request) {
  if (request.initrd.empty()) return;
  const std::uint64_t address =
      plan.allocate_highest(request.initrd.size(), kPageSize, kLoadMinimum,
                            setup.initrd_maximum + 1, "the initrd " + request.initrd_name);
  plan.write(address, request.initrd);
  put(page, header::kRamdiskImage, static_cast<std::uint32_t>(address));
  put(page, header::kRamdiskSize, static_cast<std::uint32_t>(request.initrd.size()));
}

}  // namespace

bool is_bzimage(const Image& image) { return image.matches(header::kMagic, "HdrS"); }

BootCpuState load_bzimage(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  const SetupHeader setup = parse(image);
  if (request.command_line.size() > setup.command_line_size) {
    image.fail("the command line has " + std::to_string(request.command_line.size()) +
               " bytes, this kernel takes " + std::to_string(setup.command_line_size) +
               " (cmdline_size at 0x238); shorten it");
  }
  // A relocatable kernel below its preferred address moves itself there, so the
  // preferred address is right for every kernel and nothing is gained elsewhere.
  const std::uint64_t load = setup.preferred_address;
  if (load >= kEntryEnd) {
    image.fail("pref_address " + hex_text(load) +
               " at 0x258 is not in usable memory below 4 GiB; the bzImage is corrupt: fetch or "
               "build it again");
  }
  plan.claim(load, std::max(setup.init_size, setup.payload_size), "the kernel");
  plan.write(load, image.slice(setup.payload_offset, setup.payload_size, "the kernel"));

  BootCpuState state = setup.entry64 ? identity_long_state(plan) : flat_protected_state(plan);
  Bytes page(kPageSize, 0);
  const ByteView raw = image.slice(header::kBegin, setup.end - header::kBegin, "the setup header");
  std::copy(raw.begin(), raw.end(), page.begin() + header::kBegin);
  put(page, header::kVideoMode, std::uint16_t{0xffff});  // "normal"
  put(page, header::kTypeOfLoader, std::uint8_t{0xff});  // no assigned number
  put(page, header::kRamdiskImage, std::uint32_t{0});
  put(page, header::kRamdiskSize, std::uint32_t{0});
  put(page, zero_page::kRsdpAddress, std::uint64_t{platform::kRsdpAddress});
  put_memory_map(page, plan);

  const std::string text = request.command_line + '\0';
  put(page, header::kCommandLinePointer,
      static_cast<std::uint32_t>(plan.place_structure(as_bytes(text), "the command line")));
  put_initrd(plan, page, setup, request);
  put(page, header::kSetupData,
      request.rng_seed.empty() ? std::uint64_t{0} : place_rng_seed(plan, request.rng_seed));

  state.rip = setup.entry64 ? load + kEntry64 : load;
  state.gpr[kBootRsi] = plan.place_structure(page, "the zero page");
  state.gpr[kBootRsp] = plan.allocate_structure(kPageSize, "the boot stack") + kPageSize;
  return state;
}

}  // namespace chronovisor
