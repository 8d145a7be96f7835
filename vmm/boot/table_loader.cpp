#include "vmm/boot/table_loader.h"

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "vmm/boot/tables.h"
#include "vmm/devices/core/firmware_items.h"

namespace chronovisor {
namespace {

constexpr std::string_view kTables = "etc/acpi/tables";
constexpr std::string_view kRsdp = "etc/acpi/rsdp";
constexpr std::size_t kNameBytes = 56;
constexpr std::size_t kCommandBytes = 128;

enum class Command : std::uint32_t { allocate = 1, add_pointer = 2, add_checksum = 3 };
/// Where a file may lie: anywhere below 4 GiB, or from F0000H to FFFFFH.
enum class Zone : std::uint8_t { high = 1, f_segment = 2 };

class Script {
 public:
  void allocate(std::string_view file, std::uint32_t alignment, Zone zone) {
    begin(Command::allocate);
    name(file);
    out_.integer(alignment);
    out_.integer(static_cast<std::uint8_t>(zone));
    end();
  }
  /// Adds the place of `source` to the number at `offset` of `file`.
  void add_pointer(std::string_view file, std::string_view source, std::uint32_t offset,
                   std::uint8_t width) {
    begin(Command::add_pointer);
    name(file);
    name(source);
    out_.integer(offset);
    out_.integer(width);
    end();
  }
  /// Makes the bytes from `start` on sum up to nothing, by the one at `offset`.
  void add_checksum(std::string_view file, std::uint32_t offset, std::uint32_t start,
                    std::uint32_t length) {
    begin(Command::add_checksum);
    name(file);
    out_.integer(offset);
    out_.integer(start);
    out_.integer(length);
    end();
  }
  [[nodiscard]] Bytes take() { return std::move(done_); }

 private:
  void begin(Command command) {
    out_ = {};
    out_.integer(static_cast<std::uint32_t>(command));
  }
  void name(std::string_view text) {
    out_.bytes(as_bytes(text));
    for (std::size_t n = text.size(); n < kNameBytes; ++n) out_.integer(std::uint8_t{0});
  }
  void end() {
    Bytes bytes = out_.take();
    bytes.resize(kCommandBytes, 0);
    done_.insert(done_.end(), bytes.begin(), bytes.end());
  }

  ByteWriter out_;
  Bytes done_;
};

}  // namespace

AcpiFiles acpi_files(const FirmwareFacts& facts) {
  AcpiPlacing placed = place_acpi_tables(facts, 0, 0);
  constexpr std::uint32_t kChecksum = 9;
  constexpr std::uint32_t kRsdpChecksum = 8;
  constexpr std::uint32_t kRsdpWholeChecksum = 32;
  if (facts.fixed.pm1a_event_port == kUefiPowerBase) {
    // UEFI takes the byte of a sum for zero before it makes the sum, where SeaBIOS takes off
    // what the sum is. Machines for SeaBIOS keep what they had, so that recordings replay.
    for (const auto& [offset, size] : placed.checked) placed.area[offset + kChecksum] = 0;
    placed.rsdp[kRsdpChecksum] = placed.rsdp[kRsdpWholeChecksum] = 0;
  }
  Script script;
  script.allocate(kRsdp, 16, Zone::f_segment);
  script.allocate(kTables, 64, Zone::high);
  for (const auto& [offset, width] : placed.pointers) {
    script.add_pointer(kTables, kTables, offset, width);
  }
  for (const auto& [offset, size] : placed.checked) {
    script.add_checksum(kTables, offset + kChecksum, offset, size);
  }
  constexpr std::uint32_t kRsdtPointer = 16;
  constexpr std::uint32_t kXsdtPointer = 24;
  script.add_pointer(kRsdp, kTables, kRsdtPointer, 4);
  script.add_pointer(kRsdp, kTables, kXsdtPointer, 8);
  script.add_checksum(kRsdp, kRsdpChecksum, 0, 20);
  script.add_checksum(kRsdp, kRsdpWholeChecksum, 0, static_cast<std::uint32_t>(placed.rsdp.size()));
  return {std::move(placed.area), std::move(placed.rsdp), script.take()};
}

}  // namespace chronovisor
