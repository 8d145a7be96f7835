#include "session/guest_dump.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "base/section.h"
#include "inspect/physical_memory.h"

namespace chronovisor::session {
namespace {

/// Page tables that map a terabyte by 4 KiB are somebody's joke.
constexpr std::size_t kMostPages = 1'000'000;

/// Every page that the processor's tables map, as far as they are listed.
void for_each_page(Machine& machine, const std::function<bool(const MappedPage&)>& see) {
  TableBudget budget;
  for_each_mapped_page(machine, Paging::of(machine.cpu().state), budget, see);
}

constexpr std::uint32_t kApicBaseMsr = 0x1b;
constexpr std::uint64_t kApicEnabled = 1ULL << 11;
constexpr std::uint64_t kX2Apic = 1ULL << 10;
constexpr std::size_t kApicRegisters = 64;

/// Catches the fields of a section by name.
class FieldFinder {
 public:
  explicit FieldFinder(ByteView section) : reader_(section, "section") {
    while (!reader_.at_end()) {
      const std::uint64_t name_length = reader_.varint();
      const ByteView name = reader_.bytes(name_length);
      const std::uint64_t size = reader_.varint();
      fields_.emplace_back(std::string(name.begin(), name.end()), reader_.bytes(size));
    }
  }
  [[nodiscard]] unsigned byte(std::string_view name) const {
    for (const auto& [field, bytes] : fields_) {
      if (field == name && !bytes.empty()) return bytes[0];
    }
    throw Error(ErrorCode::host, "the machine's state has no field " + std::string(name));
  }

 private:
  ByteReader reader_;
  std::vector<std::pair<std::string, ByteView>> fields_;
};

std::string set_bits(const LapicDump& dump, std::size_t first) {
  std::string out;
  for (unsigned n = 0; n < 256; ++n) {
    if ((dump.registers[first + n / 32] >> (n % 32) & 1U) != 0) out += fmt::format("{} ", n);
  }
  return out.empty() ? "(none)" : out;
}

std::string lvt_line(const char* name, std::uint32_t lvt, bool timer) {
  static constexpr std::array<const char*, 8> kModes{"Fixed", "...",  "SMI", "...",
                                                     "NMI",   "INIT", "...", "ExtINT"};
  static constexpr std::array<const char*, 4> kTimer{"one-shot", "periodic", "tsc-deadline", "..."};
  const unsigned mode = lvt >> 8 & 7U;
  std::string out = fmt::format(
      "{}\t 0x{:08x} {} {:<5} {:<6} {:<8} {:<12} {:<6}", name, lvt,
      (lvt >> 13 & 1U) != 0 ? "active-lo" : "active-hi", (lvt >> 15 & 1U) != 0 ? "level" : "edge",
      (lvt >> 16 & 1U) != 0 ? "masked" : "", (lvt >> 12 & 1U) != 0 ? "pending" : "",
      timer ? kTimer[lvt >> 17 & 3U] : "", kModes[timer ? 0 : mode]);
  if (timer || mode == 0) out += fmt::format(" (vec {})", lvt & 0xffU);
  while (out.ends_with(' ')) out.pop_back();
  return out + "\n";
}

}  // namespace

CpuDump dump_cpu(Machine& machine) {
  const Cpu& cpu = machine.cpu();
  return {cpu.state,
          static_cast<std::uint32_t>(cpu.flags.value()),
          cpu.cpl(),
          cpu.long64(),
          cpu.long_mode_active(),
          cpu.protected_mode()};
}

std::vector<MappedRange> mapped_ranges(Machine& machine) {
  std::vector<MappedRange> ranges;
  for_each_page(machine, [&](const MappedPage& page) {
    if (!ranges.empty()) {
      MappedRange& last = ranges.back();
      if (last.first + last.size == page.linear && last.user == page.user &&
          last.writable == page.writable) {
        last.size += page.size;
        return true;
      }
    }
    ranges.push_back({page.linear, page.size, page.user, page.writable});
    return ranges.size() < kMostPages;
  });
  return ranges;
}

std::vector<MappedPage> mapped_pages(Machine& machine) {
  std::vector<MappedPage> pages;
  for_each_page(machine, [&](const MappedPage& page) {
    pages.push_back(page);
    return pages.size() < kMostPages;
  });
  return pages;
}

LapicDump dump_lapic(Machine& machine) {
  CpuEnvironment& environment = machine.cpu().environment();
  LapicDump dump;
  std::uint64_t base = 0;
  environment.read_apic_msr(kApicBaseMsr, base);
  dump.enabled = (base & kApicEnabled) != 0;
  dump.x2apic = dump.enabled && (base & kX2Apic) != 0;
  dump.registers.assign(kApicRegisters, 0);
  for (std::uint32_t n = 0; dump.enabled && n < kApicRegisters; ++n) {
    if (!has_lapic_register(n)) continue;
    std::uint64_t value = 0;
    if (!dump.x2apic) {
      value = environment.mmio_read({(base & 0x000ffffffffff000ULL) + 16ULL * n}, 4);
    } else if (!environment.read_apic_msr(0x800 + n, value)) {
      value = 0;  // not there in this mode
    }
    dump.registers[n] = static_cast<std::uint32_t>(value);
  }
  return dump;
}

PicDump dump_pic(Machine& machine) {
  PicDump dump;
  for (const Section& section : machine.save_sections()) {
    if (parse_section_name(section.name).name != "pic") continue;
    const FieldFinder fields(section.bytes);
    for (const std::string chip : {"master.", "slave."}) {
      dump.chips.push_back(
          {fields.byte(chip + "irr"), fields.byte(chip + "imr"), fields.byte(chip + "isr"),
           (fields.byte(chip + "lowest_priority") + 1) & 7U, fields.byte(chip + "vector_base"),
           fields.byte(chip + "elcr"), fields.byte(chip + "read_isr") != 0,
           fields.byte(chip + "special_fully_nested") != 0});
    }
  }
  return dump;
}

std::string text_of(const std::vector<MappedRange>& ranges) {
  if (ranges.empty()) return "PG disabled\n";
  std::string out;
  for (const MappedRange& range : ranges) {
    out += fmt::format("{:016x}-{:016x} {:016x} {}r{}\n", range.first, range.first + range.size,
                       range.size, range.user ? 'u' : '-', range.writable ? 'w' : '-');
  }
  return out;
}

std::string text_of(const std::vector<MappedPage>& pages) {
  if (pages.empty()) return "PG disabled\n";
  std::string out;
  for (const MappedPage& page : pages) {
    const auto flag = [&](unsigned bit, char letter) {
      return (page.entry >> bit & 1) != 0 ? letter : '-';
    };
    out += fmt::format("{:016x}: {:016x} {}{}{}{}{}{}{}{}{}\n", page.linear, page.physical,
                       flag(63, 'X'), flag(8, 'G'), page.size > kPageSize ? 'P' : '-', flag(6, 'D'),
                       flag(5, 'A'), flag(4, 'C'), flag(3, 'T'), flag(2, 'U'), flag(1, 'W'));
  }
  return out;
}

std::string text_of(const LapicDump& dump) {
  if (!dump.enabled) return "the local APIC is disabled\n";
  const auto& r = dump.registers;
  static constexpr std::array<unsigned, 8> kDivide{2, 4, 8, 16, 32, 64, 128, 1};
  std::string out = "dumping local APIC state for CPU 0\n\n";
  out += lvt_line("LVT0", r[0x35], false) + lvt_line("LVT1", r[0x36], false) +
         lvt_line("LVTPC", r[0x34], false) + lvt_line("LVTERR", r[0x37], false) +
         lvt_line("LVTTHMR", r[0x33], false) + lvt_line("LVTT", r[0x32], true);
  const unsigned divide = (r[0x3e] & 3U) | (r[0x3e] >> 1 & 4U);
  out += fmt::format("Timer\t DCR=0x{:x} (divide by {}) initial_count = {} current_count = {}\n",
                     r[0x3e], kDivide[divide], r[0x38], r[0x39]);
  out += fmt::format("SPIV\t 0x{:08x} APIC {}, focus={}, spurious vec {}\n", r[0x0f],
                     (r[0x0f] >> 8 & 1U) != 0 ? "enabled" : "disabled",
                     (r[0x0f] >> 9 & 1U) != 0 ? "on" : "off", r[0x0f] & 0xffU);
  out +=
      fmt::format("ICR\t 0x{:08x}\nICR2\t 0x{:08x}\nESR\t 0x{:08x}\n", r[0x30], r[0x31], r[0x28]);
  out += fmt::format("ISR\t {}\nIRR\t {}\n\n", set_bits(dump, 0x10), set_bits(dump, 0x20));
  return out + fmt::format("APR 0x{:02x} TPR 0x{:02x} DFR 0x{:02x} LDR 0x{:02x} PPR 0x{:02x}\n",
                           r[0x09] & 0xffU, r[0x08] & 0xffU, r[0x0e] >> 28, r[0x0d] >> 24,
                           r[0x0a] & 0xffU);
}

std::string text_of(const PicDump& dump) {
  std::string out;
  for (std::size_t n = dump.chips.size(); n-- > 0;) {
    const PicDump::Chip& chip = dump.chips[n];
    out += fmt::format(
        "pic{}: irr={:02x} imr={:02x} isr={:02x} hprio={} irq_base={:02x} rr_sel={} elcr={:02x} "
        "fnm={}\n",
        n, chip.irr, chip.imr, chip.isr, chip.priority_add, chip.vector_base, chip.read_isr ? 1 : 0,
        chip.elcr, chip.special_fully_nested ? 1 : 0);
  }
  return out;
}

}  // namespace chronovisor::session
