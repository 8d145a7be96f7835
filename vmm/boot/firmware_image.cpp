#include "vmm/boot/firmware_image.h"

#include <string>
#include <string_view>

#include "base/error.h"
#include "vmm/boot/image.h"
#include "vmm/boot/smbios.h"
#include "vmm/boot/table_loader.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kSmallestRom = 64 * 1024;
constexpr std::uint64_t kMostVideoBiosBytes = 64 * 1024;

// Keys of items without a name.
constexpr std::uint16_t kSignature = 0x00;
constexpr std::uint16_t kInterface = 0x01;
constexpr std::uint16_t kRamSize = 0x03;
constexpr std::uint16_t kPresentProcessors = 0x05;
constexpr std::uint16_t kBootMenu = 0x0e;
constexpr std::uint16_t kMostProcessors = 0x0f;
constexpr std::uint16_t kIrq0Override = 0x8002;

constexpr std::uint32_t kHasDma = 3;  // bit 0: the ports; bit 1: DMA

template <class T>
Bytes number(T value) {
  ByteWriter out;
  out.integer(value);
  return out.take();
}

Bytes text(std::string_view characters) { return {characters.begin(), characters.end()}; }

/// RAM as it is fitted; firmware takes its own places out of it.
Bytes memory_map(const Ram& ram) {
  ByteWriter out;
  const auto add = [&](std::uint64_t begin, std::uint64_t end) {
    out.integer(begin);
    out.integer(end - begin);
    out.integer(E820Entry::kUsable);
  };
  add(0, ram.low_end());
  if (ram.high_end() > Ram::kHighBase) add(Ram::kHighBase, ram.high_end());
  return out.take();
}

/// Where firmware finds option ROMs that are on no card.
constexpr std::string_view kOptionRoms = "genroms/";
constexpr std::size_t kMostOptionRomBytes = 128 * 1024;
constexpr char kNetworkLetter = 'n';

std::string rom_name(const BootModule& rom) {
  const std::size_t slash = rom.name.rfind('/');
  return std::string(kOptionRoms) + rom.name.substr(slash == std::string::npos ? 0 : slash + 1);
}

/// Paths by letter, one a line; devices whose letter is not named come not. What starts
/// from the network are the option ROMs.
Bytes boot_order(const FirmwareFacts& facts, const BootRequest& request) {
  std::string lines;
  const auto add = [&](const std::string& path) { lines += (lines.empty() ? "" : "\n") + path; };
  for (const char letter : request.boot_order) {
    for (const FirmwareFacts::BootDevice& device : facts.boot_devices) {
      if (device.letter == letter) add(device.path);
    }
    if (letter != kNetworkLetter) continue;
    for (const BootModule& rom : request.modules) add("/rom@" + rom_name(rom));
  }
  lines += '\0';
  return text(lines);
}

}  // namespace

void check_video_bios(const BootRequest& request) {
  if (request.video_bios.size() > kMostVideoBiosBytes) {
    throw Error(ErrorCode::bad_input, "a video BIOS of " +
                                          std::to_string(request.video_bios.size()) +
                                          " bytes; there is room for 64 KiB");
  }
}

void check_firmware(const BootRequest& request) {
  const Image image(request.kernel_name, request.kernel);
  if (image.size() < kSmallestRom || image.size() > kFirmwareRomBytes) {
    image.fail("has " + std::to_string(image.size()) +
               " bytes; a firmware ROM has 64 KiB to 16 MiB");
  }
  const std::uint64_t flash = request.variables.size();
  if (flash % kPageSize != 0 || (flash != 0 && image.size() % kPageSize != 0) ||
      flash > kFirmwareRomBytes - image.size()) {
    image.fail("and variables of " + std::to_string(flash) +
               " bytes below it: both are whole pages of 4 KiB, and 16 MiB at most together");
  }
  check_video_bios(request);
  std::size_t option_roms = 0;
  for (const BootModule& rom : request.modules) option_roms += rom.bytes.size();
  if (option_roms > kMostOptionRomBytes) {
    throw Error(ErrorCode::bad_input, "option ROMs of " + std::to_string(option_roms) +
                                          " bytes; there is room for 128 KiB");
  }
}

std::vector<FirmwareItem> firmware_items(const Ram& ram, const FirmwareFacts& facts,
                                         const BootRequest& request) {
  const auto processors = static_cast<std::uint16_t>(facts.processors.size());
  std::vector<FirmwareItem> items{
      {kSignature, "", text("QEMU")},
      {kInterface, "", number(kHasDma)},
      {kRamSize, "", number(ram.size())},
      {kPresentProcessors, "", number(processors)},
      {kMostProcessors, "", number(processors)},
      {kBootMenu, "", number(std::uint16_t{0})},
      {kIrq0Override, "", number(std::uint8_t{1})},
      {0, "etc/e820", memory_map(ram)},
      {0, "bootorder", boot_order(facts, request)},
      {0, "etc/smbios/smbios-tables", smbios_tables(ram.size())},
      {0, "etc/smbios/smbios-anchor", smbios_anchor(ram.size())},
  };
  AcpiFiles acpi = acpi_files(facts);
  items.push_back({0, "etc/acpi/tables", std::move(acpi.tables)});
  items.push_back({0, "etc/acpi/rsdp", std::move(acpi.rsdp)});
  items.push_back({0, "etc/table-loader", std::move(acpi.script)});
  for (const BootModule& rom : request.modules) {
    items.push_back({0, rom_name(rom), Bytes(rom.bytes.begin(), rom.bytes.end())});
  }
  return items;
}

}  // namespace chronovisor
