#include "inspect/export/vmcore.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <type_traits>

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

template <class T>
std::optional<T> read_integer(const Ram& ram, std::uint64_t physical) {
  std::array<std::uint8_t, sizeof(T)> raw{};
  if (ram.read({physical}, raw) != raw.size()) return std::nullopt;
  T value = 0;
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
  /// The tables of a guest outside long mode, with and without PAE.
  void walk32(std::uint64_t root, bool pae) {
    if (pae) {
      for (std::uint64_t index = 0; index < 4; ++index) {
        const auto entry = read_integer<std::uint64_t>(ram_, (root & ~31ULL) + index * 8);
        if (!entry || (*entry & kPresent) == 0) continue;
        walk_table(*entry & kPhysicalMask, 1, index << 30);
      }
      return;
    }
    walk_two_levels(root & 0xfffff000);
  }

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
      const auto entry = read_integer<std::uint64_t>(ram_, table + index * 8);
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

  void walk_two_levels(std::uint64_t directory) {
    for (std::uint64_t index = 0; index < 1024; ++index) {
      const auto entry = read_integer<std::uint32_t>(ram_, directory + index * 4);
      if (!entry || (*entry & kPresent) == 0) continue;
      if ((*entry & kLarge) != 0) {
        add(index << 22, *entry & 0xffc00000, 1U << 22);
        continue;
      }
      for (std::uint64_t page = 0; page < 1024; ++page) {
        const auto leaf = read_integer<std::uint32_t>(ram_, (*entry & 0xfffff000) + page * 4);
        if (leaf && (*leaf & kPresent) != 0) {
          add((index << 22) | (page << 12), *leaf & 0xfffff000, kPageSize);
        }
      }
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

/// Where 32-bit Linux has physical address 0, unless it was built otherwise.
constexpr std::uint64_t kPageOffset32 = 0xc0000000;
/// What kdump says of memory that the kernel has no address for.
constexpr std::uint64_t kNoAddress32 = 0xffffffff;

std::vector<CoreSegment> segments32_of(Machine& machine, const std::string& info) {
  const Ram& ram = machine.ram();
  const CpuState& state = machine.cpu().state;
  if (ram.high_end() > Ram::kHighBase) {
    throw Error(ErrorCode::usage,
                "the guest is a 32-bit one with memory above 4 GiB, which an ELF32 core cannot "
                "hold");
  }
  std::vector<CoreSegment> segments;
  const auto add = [&](std::uint64_t linear, std::uint64_t from, std::uint64_t to) {
    if (from < to) segments.push_back({linear, from, to - from});
  };
  std::optional<std::pair<std::uint64_t, KernelMap::Extent>> kernel;
  if ((state.cr0 & kCr0Pg) != 0) {
    KernelMap map(ram);
    const auto symbol = info_value(info, "SYMBOL(swapper_pg_dir)", 16);
    map.walk32(symbol && *symbol >= kPageOffset32 ? *symbol - kPageOffset32 : state.cr3,
               (state.cr4 & kCr4Pae) != 0);
    kernel = map.widest(false);
  }
  // By a distance each: up to where the kernel's mapping reaches, and the rest.
  const auto split = [&](std::uint64_t from, std::uint64_t to) {
    if ((state.cr0 & kCr0Pg) == 0) return add(from, from, to);
    if (!kernel) return add(kNoAddress32, from, to);
    const auto& [distance, extent] = *kernel;
    const std::uint64_t first = std::clamp(extent.first - distance, from, to);
    const std::uint64_t end = std::clamp(extent.end - distance, first, to);
    add(kNoAddress32, from, first);
    add(first + distance, first, end);
    add(kNoAddress32, end, to);
  };
  split(0, std::min(Ram::kHoleBegin, ram.low_end()));
  split(Ram::kHoleEnd, ram.low_end());
  return segments;
}

/// struct elf_prstatus of i386: 72 bytes about the process, its number at byte 24, then
/// struct user_regs_struct. Source: Linux arch/x86/include/asm/user_32.h
Bytes prstatus32(const Cpu& cpu, std::uint32_t pid) {
  const CpuState& s = cpu.state;
  ByteWriter out;
  out.bytes(Bytes(24));
  out.integer(pid);
  out.bytes(Bytes(44));
  const auto general = [&](unsigned index) {
    out.integer(static_cast<std::uint32_t>(s.gpr[index]));
  };
  const auto selector = [&](SegmentIndex index) {
    out.integer(std::uint32_t{s.segment[index].selector});
  };
  for (const unsigned index : {kRbx, kRcx, kRdx, kRsi, kRdi, kRbp, kRax}) general(index);
  for (const SegmentIndex index : {kDs, kEs, kFs, kGs}) selector(index);
  out.integer(~std::uint32_t{0});
  general(kGprRip);
  selector(kCs);
  out.integer(static_cast<std::uint32_t>(cpu.flags.value()));
  general(kRsp);
  selector(kSs);
  out.integer(std::uint32_t{0});
  CHECK_THAT(out.size() == 144, "elf_prstatus of i386");
  return out.take();
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

struct Elf32 {
  using Header = Elf32_Ehdr;
  using Segment = Elf32_Phdr;
  static constexpr unsigned char kClass = ELFCLASS32;
  static constexpr Elf32_Half kMachine = EM_386;
};
struct Elf64 {
  using Header = Elf64_Ehdr;
  using Segment = Elf64_Phdr;
  static constexpr unsigned char kClass = ELFCLASS64;
  static constexpr Elf64_Half kMachine = EM_X86_64;
};

template <class Elf>
typename Elf::Header elf_header(std::size_t program_headers) {
  typename Elf::Header header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = Elf::kClass;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = Elf::kMachine;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(typename Elf::Header);
  header.e_ehsize = sizeof(typename Elf::Header);
  header.e_phentsize = sizeof(typename Elf::Segment);
  header.e_phnum = static_cast<Elf64_Half>(program_headers);
  return header;
}

/// Everything before the memory.
template <class Elf>
Bytes core_head(const std::vector<CoreSegment>& segments, ByteView notes, const Ram& ram) {
  using Segment = typename Elf::Segment;
  const auto field = [](auto& into, std::uint64_t value) {
    into = static_cast<std::remove_reference_t<decltype(into)>>(value);
  };
  const std::size_t headers = segments.size() + 1;
  const std::uint64_t notes_at = sizeof(typename Elf::Header) + headers * sizeof(Segment);
  // RAM lies in the file once, by its offset; segments may share it.
  const std::uint64_t memory_at = (notes_at + notes.size() + kPageSize - 1) & kPageMask;
  ByteWriter out;
  out.bytes(raw(elf_header<Elf>(headers)));
  Segment note{};
  note.p_type = PT_NOTE;
  field(note.p_offset, notes_at);
  field(note.p_filesz, notes.size());
  note.p_memsz = note.p_filesz;
  note.p_align = 4;
  out.bytes(raw(note));
  for (const CoreSegment& segment : segments) {
    Segment load{};
    load.p_type = PT_LOAD;
    load.p_flags = PF_R | PF_W | PF_X;
    field(load.p_offset, memory_at + ram.offset_of({segment.physical}).value_or(0));
    field(load.p_vaddr, segment.linear);
    field(load.p_paddr, segment.physical);
    field(load.p_filesz, segment.bytes);
    load.p_memsz = load.p_filesz;
    // As Linux writes it: crash takes a core with an alignment for one of another
    // kind, and then does not look at VMCOREINFO for where the kernel is.
    load.p_align = 0;
    out.bytes(raw(load));
  }
  out.bytes(notes);
  out.bytes(Bytes(memory_at - out.size()));
  return out.take();
}

}  // namespace

VmcoreFacts export_vmcore(Machine& machine, std::uint32_t pid, OutputFile& file) {
  const Ram& ram = machine.ram();
  const bool wide = machine.cpu().long_mode_active();
  VmcoreFacts facts;
  facts.bits = wide ? 64 : 32;
  facts.vmcoreinfo = find_vmcoreinfo(ram);
  facts.segments =
      wide ? segments_of(machine, facts.vmcoreinfo) : segments32_of(machine, facts.vmcoreinfo);
  ByteWriter notes;
  add_note(notes, "CORE", NT_PRSTATUS,
           wide ? prstatus(machine.cpu(), pid) : prstatus32(machine.cpu(), pid));
  add_note(notes, "QEMU", 0, machine_state(machine.cpu()));
  if (!facts.vmcoreinfo.empty()) add_note(notes, "VMCOREINFO", 0, as_bytes(facts.vmcoreinfo));
  file.append(wide ? core_head<Elf64>(facts.segments, notes.data(), ram)
                   : core_head<Elf32>(facts.segments, notes.data(), ram));
  constexpr std::uint64_t kPiece = 1U << 22;
  for (std::uint64_t offset = 0; offset < ram.size(); offset += kPiece) {
    file.append(ram.view(offset, std::min(kPiece, ram.size() - offset)));
  }
  facts.bytes = file.size();
  return facts;
}

}  // namespace chronovisor
