#include "inspect/export/vmcore.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/error.h"

namespace chronovisor {
namespace {

/// x86-64 Linux: where the kernel image is linked, and up to where it and its
/// modules reach. Source: Documentation/arch/x86/x86_64/mm.rst
constexpr std::uint64_t kKernelImage = 0xffffffff80000000;
constexpr std::uint64_t kKernelImageEnd = 0xffffffffc0000000;
constexpr std::uint64_t kPhysicalMask = 0x000ffffffffff000;
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kLarge = 1U << 7;
/// Page tables looked at; a guest can make its tables refer to each other.
constexpr std::uint64_t kMostTables = 1U << 16;

std::optional<std::uint64_t> read_u64(const Ram& ram, std::uint64_t physical) {
  std::array<std::uint8_t, 8> raw{};
  if (ram.read({physical}, raw) != raw.size()) return std::nullopt;
  std::uint64_t value = 0;
  std::memcpy(&value, raw.data(), raw.size());
  return value;
}

/// The kernel's VMCOREINFO: a page of "KEY=value" lines that begins with its
/// release. Source: Documentation/admin-guide/kdump/vmcoreinfo.rst
std::string find_vmcoreinfo(const Ram& ram) {
  static constexpr std::string_view kFirst = "OSRELEASE=";
  for (std::uint64_t offset = 0; offset + kPageSize <= ram.size(); offset += kPageSize) {
    const char* page = reinterpret_cast<const char*>(ram.host(offset));
    if (std::memcmp(page, kFirst.data(), kFirst.size()) != 0) continue;
    const std::string_view text(page, ::strnlen(page, kPageSize));
    if (text.find("\nPAGESIZE=") == std::string_view::npos) continue;
    return std::string(text);
  }
  return {};
}

/// The value of "KEY=" in VMCOREINFO, in the base given.
std::optional<std::uint64_t> info_value(const std::string& info, const std::string& key, int base) {
  const std::size_t at = info.find("\n" + key + "=");
  if (at == std::string::npos) return std::nullopt;
  const char* begin = info.data() + at + key.size() + 2;
  const bool negative = *begin == '-';
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(begin + (negative ? 1 : 0), info.data() + info.size(), value, base);
  if (error != std::errc{}) return std::nullopt;
  return negative ? ~value + 1 : value;
}

/// How far apart linear and physical addresses are, in the kernel's half of an
/// address space, and how much memory and which range each distance has.
class KernelMap {
 public:
  struct Extent {
    std::uint64_t bytes = 0;
    std::uint64_t first = kNever;
    std::uint64_t end = 0;
  };

  explicit KernelMap(const Ram& ram) : ram_(ram) {}

  void walk(std::uint64_t root) { walk_table(root & kPhysicalMask, 3, 0); }

  /// The distance of most memory that is mapped at [from, to).
  [[nodiscard]] std::optional<std::pair<std::uint64_t, Extent>> widest(bool image) const {
    const auto& extents = image ? image_ : other_;
    const auto best = std::max_element(
        extents.begin(), extents.end(),
        [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
    if (best == extents.end()) return std::nullopt;
    return *best;
  }

 private:
  void walk_table(std::uint64_t table, unsigned level, std::uint64_t linear) {
    if (++tables_ > kMostTables) return;
    for (std::uint64_t index = level == 3 ? 256 : 0; index < 512; ++index) {
      const auto entry = read_u64(ram_, table + index * 8);
      if (!entry || (*entry & kPresent) == 0) continue;
      const unsigned shift = 12 + 9 * level;
      std::uint64_t address = linear | (index << shift);
      if (level == 3) address |= 0xffff000000000000;
      const bool leaf = level == 0 || ((level == 1 || level == 2) && (*entry & kLarge) != 0);
      if (!leaf) {
        walk_table(*entry & kPhysicalMask, level - 1, address);
        continue;
      }
      const std::uint64_t size = std::uint64_t{1} << shift;
      add(address, *entry & kPhysicalMask & ~(size - 1), size);
    }
  }

  void add(std::uint64_t linear, std::uint64_t physical, std::uint64_t size) {
    if (!ram_.offset_of({physical})) return;
    const bool image = linear >= kKernelImage && linear < kKernelImageEnd;
    Extent& extent = (image ? image_ : other_)[linear - physical];
    extent.bytes += size;
    extent.first = std::min(extent.first, linear);
    extent.end = std::max(extent.end, linear + size);
  }

  const Ram& ram_;
  std::uint64_t tables_ = 0;
  std::map<std::uint64_t, Extent> image_;
  std::map<std::uint64_t, Extent> other_;
};

/// The top page table of the kernel: its own, when it says where that is, since
/// the present one may be a user's that hides most of the kernel.
std::optional<std::uint64_t> kernel_root(const Cpu& cpu, const std::string& info) {
  const auto symbol = info_value(info, "SYMBOL(swapper_pg_dir)", 16);
  const auto base = info_value(info, "NUMBER(phys_base)", 10);
  if (symbol && base && *symbol >= kKernelImage) return *symbol - kKernelImage + *base;
  if (!cpu.long64() || (cpu.state.cr0 & kCr0Pg) == 0) return std::nullopt;
  return cpu.state.cr3;
}

std::vector<CoreSegment> segments_of(Machine& machine, const std::string& info) {
  const Ram& ram = machine.ram();
  KernelMap map(ram);
  if (const auto root = kernel_root(machine.cpu(), info)) map.walk(*root);
  std::vector<CoreSegment> segments;
  if (const auto image = map.widest(true)) {
    const auto& [distance, extent] = *image;
    const std::uint64_t physical = extent.first - distance;
    const std::uint64_t bytes =
        std::min(extent.end - extent.first, ram.low_end() - std::min(ram.low_end(), physical));
    if (bytes != 0 && physical >= Ram::kHoleEnd)
      segments.push_back({extent.first, physical, bytes});
  }
  const auto direct = map.widest(false);
  const std::uint64_t distance = direct ? direct->first : 0;
  const auto add = [&](std::uint64_t from, std::uint64_t to) {
    if (from < to) segments.push_back({from + distance, from, to - from});
  };
  add(0, std::min(Ram::kHoleBegin, ram.low_end()));
  add(Ram::kHoleEnd, ram.low_end());
  add(Ram::kHighBase, ram.high_end());
  return segments;
}

/// struct elf_prstatus of x86-64: 112 bytes about the process, of which its
/// number at byte 32 is all that is known here, the registers in the order of
/// struct user_regs_struct, and whether there is FPU state.
/// Source: Linux include/uapi/linux/elfcore.h, arch/x86/include/asm/user_64.h
Bytes prstatus(const Cpu& cpu, std::uint32_t pid) {
  const CpuState& s = cpu.state;
  const auto selector = [&](SegmentIndex index) -> std::uint64_t {
    return s.segment[index].selector;
  };
  ByteWriter out;
  out.bytes(Bytes(32));
  out.integer(pid);
  out.bytes(Bytes(76));
  const std::array<std::uint64_t, 27> registers{
      s.gpr[kR15],   s.gpr[kR14],         s.gpr[kR13],         s.gpr[kR12],       s.gpr[kRbp],
      s.gpr[kRbx],   s.gpr[kR11],         s.gpr[kR10],         s.gpr[kR9],        s.gpr[kR8],
      s.gpr[kRax],   s.gpr[kRcx],         s.gpr[kRdx],         s.gpr[kRsi],       s.gpr[kRdi],
      kNever,        s.gpr[kGprRip],      selector(kCs),       cpu.flags.value(), s.gpr[kRsp],
      selector(kSs), s.segment[kFs].base, s.segment[kGs].base, selector(kDs),     selector(kEs),
      selector(kFs), selector(kGs)};
  for (const std::uint64_t value : registers) out.integer(value);
  out.integer(std::uint64_t{0});
  return out.take();
}

/// The control registers and descriptor tables, in the layout that QEMU's memory
/// dumps have, and in which crash shows them (help -r).
/// Source: QEMU, target/i386/arch_dump.c, struct QEMUCPUState, version 1.
Bytes machine_state(const Cpu& cpu) {
  const CpuState& s = cpu.state;
  constexpr std::uint32_t kVersion = 1;
  constexpr std::uint32_t kBytes = 440;
  ByteWriter out;
  out.integer(kVersion);
  out.integer(kBytes);
  for (const auto index : {kRax, kRbx, kRcx, kRdx, kRsi, kRdi, kRsp, kRbp, kR8, kR9, kR10, kR11,
                           kR12, kR13, kR14, kR15}) {
    out.integer(s.gpr[index]);
  }
  out.integer(s.gpr[kGprRip]);
  out.integer(std::uint64_t{cpu.flags.value()});
  const auto segment = [&](std::uint32_t selector, std::uint32_t limit, std::uint32_t flags,
                           std::uint64_t base) {
    out.integer(selector);
    out.integer(limit);
    out.integer(flags);
    out.integer(std::uint32_t{0});
    out.integer(base);
  };
  const auto descriptor = [&](const SegmentRegister& reg) {
    // As in the upper half of a descriptor.
    segment(reg.selector, reg.limit, std::uint32_t{reg.attributes} << 8, reg.base);
  };
  for (const SegmentIndex index : {kCs, kDs, kEs, kFs, kGs, kSs}) descriptor(s.segment[index]);
  descriptor(s.ldtr);
  descriptor(s.tr);
  segment(0, s.gdtr.limit, 0, s.gdtr.base);
  segment(0, s.idtr.limit, 0, s.idtr.base);
  for (const std::uint64_t control : {s.cr0, std::uint64_t{0}, s.cr2, s.cr3, s.cr4}) {
    out.integer(control);
  }
  out.integer(s.msr.kernel_gs_base);
  CHECK_THAT(out.size() == kBytes, "QEMUCPUState");
  return out.take();
}

void add_note(ByteWriter& out, std::string_view name, std::uint32_t type, ByteView description) {
  const auto pad = [&] {
    while (out.size() % 4 != 0) out.integer(std::uint8_t{0});
  };
  out.integer(static_cast<std::uint32_t>(name.size() + 1));
  out.integer(static_cast<std::uint32_t>(description.size()));
  out.integer(type);
  out.bytes(as_bytes(name));
  out.integer(std::uint8_t{0});
  pad();
  out.bytes(description);
  pad();
}

template <class T>
ByteView raw(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof(value)};
}

Elf64_Ehdr elf_header(std::size_t program_headers) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(program_headers);
  return header;
}

}  // namespace

VmcoreFacts export_vmcore(Machine& machine, std::uint32_t pid, OutputFile& file) {
  const Ram& ram = machine.ram();
  VmcoreFacts facts;
  facts.vmcoreinfo = find_vmcoreinfo(ram);
  facts.segments = segments_of(machine, facts.vmcoreinfo);
  ByteWriter notes;
  add_note(notes, "CORE", NT_PRSTATUS, prstatus(machine.cpu(), pid));
  add_note(notes, "QEMU", 0, machine_state(machine.cpu()));
  if (!facts.vmcoreinfo.empty()) add_note(notes, "VMCOREINFO", 0, as_bytes(facts.vmcoreinfo));

  const std::size_t headers = facts.segments.size() + 1;
  const std::uint64_t notes_at = sizeof(Elf64_Ehdr) + headers * sizeof(Elf64_Phdr);
  // RAM lies in the file once, by its offset; segments may share it.
  const std::uint64_t memory_at = (notes_at + notes.size() + kPageSize - 1) & kPageMask;
  ByteWriter out;
  out.bytes(raw(elf_header(headers)));
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = notes_at;
  note.p_filesz = note.p_memsz = notes.size();
  note.p_align = 4;
  out.bytes(raw(note));
  for (const CoreSegment& segment : facts.segments) {
    Elf64_Phdr load{};
    load.p_type = PT_LOAD;
    load.p_flags = PF_R | PF_W | PF_X;
    load.p_offset = memory_at + ram.offset_of({segment.physical}).value_or(0);
    load.p_vaddr = segment.linear;
    load.p_paddr = segment.physical;
    load.p_filesz = load.p_memsz = segment.bytes;
    // As Linux writes it: crash takes a core with an alignment for one of another
    // kind, and then does not look at VMCOREINFO for where the kernel is.
    load.p_align = 0;
    out.bytes(raw(load));
  }
  out.bytes(notes.data());
  out.bytes(Bytes(memory_at - out.size()));
  file.append(out.data());
  constexpr std::uint64_t kPiece = 1U << 22;
  for (std::uint64_t offset = 0; offset < ram.size(); offset += kPiece) {
    file.append({ram.host(offset), std::min(kPiece, ram.size() - offset)});
  }
  facts.bytes = file.size();
  return facts;
}

}  // namespace chronovisor
