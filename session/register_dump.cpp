// Registers as QEMU's monitor shows them, for the scripts that read it.
// Source: QEMU, target/i386/cpu-dump.c (formats only).
#include <fmt/format.h>

#include <array>

#include "session/guest_dump.h"

namespace chronovisor::session {
namespace {

/// "DPL=0 CS64 [-RA]"; empty where there is no segment to describe.
std::string segment_kind(const SegmentRegister& segment, bool long_mode) {
  static constexpr std::array<const char*, 16> kSystem32{
      "Reserved",   "TSS16-avl",  "LDT",       "TSS16-busy", "CallGate16", "TaskGate",
      "IntGate16",  "TrapGate16", "Reserved",  "TSS32-avl",  "Reserved",   "TSS32-busy",
      "CallGate32", "Reserved",   "IntGate32", "TrapGate32"};
  static constexpr std::array<const char*, 16> kSystem64{
      "<hiword>",   "Reserved", "LDT",       "Reserved",  "Reserved", "Reserved",
      "Reserved",   "Reserved", "Reserved",  "TSS64-avl", "Reserved", "TSS64-busy",
      "CallGate64", "Reserved", "IntGate64", "TrapGate64"};
  std::string out = fmt::format(" DPL={} ", segment.dpl());
  const unsigned type = segment.type();
  if (!segment.code_or_data()) return out + (long_mode ? kSystem64 : kSystem32)[type];
  if ((type & 8) != 0) {
    out += segment.long_mode() ? "CS64" : (segment.big() ? "CS32" : "CS16");
    out += fmt::format(" [{}{}", (type & 4) != 0 ? 'C' : '-', (type & 2) != 0 ? 'R' : '-');
  } else {
    out += segment.big() || long_mode ? "DS  " : "DS16";
    out += fmt::format(" [{}{}", (type & 4) != 0 ? 'E' : '-', (type & 2) != 0 ? 'W' : '-');
  }
  return out + ((type & 1) != 0 ? "A]" : "-]");
}

std::string segment_line(const char* name, const SegmentRegister& segment, const CpuDump& dump) {
  const std::uint32_t flags = std::uint32_t{segment.attributes} << 8;
  std::string out = fmt::format("{:<3}={:04x} ", name, segment.selector);
  out += dump.long_mode ? fmt::format("{:016x}", segment.base)
                        : fmt::format("{:08x}", static_cast<std::uint32_t>(segment.base));
  out += fmt::format(" {:08x} {:08x}", segment.limit, flags & 0x00ffff00U);
  if (dump.protected_mode && segment.present()) out += segment_kind(segment, dump.long_mode);
  return out + "\n";
}

std::string table_line(const char* name, const DescriptorTableRegister& table, bool long_mode) {
  return long_mode ? fmt::format("{}=     {:016x} {:08x}\n", name, table.base, table.limit)
                   : fmt::format("{}=     {:08x} {:08x}\n", name,
                                 static_cast<std::uint32_t>(table.base), table.limit);
}

std::string general_registers(const CpuDump& dump) {
  const auto& gpr = dump.state.gpr;
  std::string out;
  const auto flags = [&](char wide) {
    const std::uint32_t f = dump.rflags;
    const auto flag = [&](unsigned bit, char letter) { return (f >> bit & 1) != 0 ? letter : '-'; };
    return fmt::format("{}FL={:08x} [{}{}{}{}{}{}{}] CPL={} II={} A20=1 SMM=0 HLT={}\n", wide, f,
                       flag(10, 'D'), flag(11, 'O'), flag(7, 'S'), flag(6, 'Z'), flag(4, 'A'),
                       flag(2, 'P'), flag(0, 'C'), dump.cpl, dump.state.shadow != 0 ? 1 : 0,
                       dump.state.halted ? 1 : 0);
  };
  if (dump.code64) {
    static constexpr std::array<std::pair<const char*, unsigned>, 16> kNames{{{"RAX", kRax},
                                                                              {"RBX", kRbx},
                                                                              {"RCX", kRcx},
                                                                              {"RDX", kRdx},
                                                                              {"RSI", kRsi},
                                                                              {"RDI", kRdi},
                                                                              {"RBP", kRbp},
                                                                              {"RSP", kRsp},
                                                                              {"R8 ", 8},
                                                                              {"R9 ", 9},
                                                                              {"R10", 10},
                                                                              {"R11", 11},
                                                                              {"R12", 12},
                                                                              {"R13", 13},
                                                                              {"R14", 14},
                                                                              {"R15", 15}}};
    for (std::size_t n = 0; n < kNames.size(); ++n) {
      out += fmt::format("{}={:016x}{}", kNames[n].first, gpr[kNames[n].second],
                         n % 4 == 3 ? "\n" : " ");
    }
    return out + fmt::format("RIP={:016x} ", gpr[kGprRip]) + flags('R');
  }
  static constexpr std::array<std::pair<const char*, unsigned>, 8> kNames{{{"EAX", kRax},
                                                                           {"EBX", kRbx},
                                                                           {"ECX", kRcx},
                                                                           {"EDX", kRdx},
                                                                           {"ESI", kRsi},
                                                                           {"EDI", kRdi},
                                                                           {"EBP", kRbp},
                                                                           {"ESP", kRsp}}};
  for (std::size_t n = 0; n < kNames.size(); ++n) {
    out += fmt::format("{}={:08x}{}", kNames[n].first,
                       static_cast<std::uint32_t>(gpr[kNames[n].second]), n % 4 == 3 ? "\n" : " ");
  }
  return out + fmt::format("EIP={:08x} ", static_cast<std::uint32_t>(gpr[kGprRip])) + flags('E');
}

std::string control_registers(const CpuDump& dump) {
  const CpuState& s = dump.state;
  std::string out = dump.long_mode ? fmt::format("CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x}\n",
                                                 s.cr0, s.cr2, s.cr3, s.cr4)
                                   : fmt::format("CR0={:08x} CR2={:08x} CR3={:08x} CR4={:08x}\n",
                                                 s.cr0, s.cr2, s.cr3, s.cr4);
  for (std::size_t n = 0; n < s.dr.size(); ++n) out += fmt::format("DR{}={:016x} ", n, s.dr[n]);
  return out + fmt::format("\nDR6={:016x} DR7={:016x}\nEFER={:016x}\n", s.dr6, s.dr7, s.msr.efer);
}

std::string floating_registers(const CpuDump& dump) {
  const X87State& x87 = dump.state.x87;
  const unsigned top = x87.status >> 11 & 7U;
  unsigned valid = 0;
  for (unsigned n = 0; n < 8; ++n) valid |= ((x87.tag >> (2 * n) & 3U) != 3 ? 1U : 0U) << n;
  std::string out = fmt::format("FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}\n",
                                x87.control, x87.status, top, valid, dump.state.mxcsr);
  for (std::size_t n = 0; n < x87.st.size(); ++n) {
    out += fmt::format("FPR{}={:016x} {:04x}{}", n, x87.st[n].significand, x87.st[n].sign_exponent,
                       n % 2 == 1 ? "\n" : " ");
  }
  for (std::size_t n = 0; n < (dump.code64 ? 16U : 8U); ++n) {
    out += fmt::format("XMM{:02}={:016x}{:016x}{}", n, dump.state.xmm[n].high,
                       dump.state.xmm[n].low, n % 2 == 1 ? "\n" : " ");
  }
  return out;
}

}  // namespace

std::string text_of(const CpuDump& dump) {
  std::string out = general_registers(dump);
  static constexpr std::array<std::pair<const char*, SegmentIndex>, 6> kSegments{
      {{"ES", kEs}, {"CS", kCs}, {"SS", kSs}, {"DS", kDs}, {"FS", kFs}, {"GS", kGs}}};
  for (const auto& [name, index] : kSegments) {
    out += segment_line(name, dump.state.segment[index], dump);
  }
  out += segment_line("LDT", dump.state.ldtr, dump) + segment_line("TR", dump.state.tr, dump);
  out += table_line("GDT", dump.state.gdtr, dump.long_mode);
  out += table_line("IDT", dump.state.idtr, dump.long_mode);
  return out + control_registers(dump) + floating_registers(dump);
}

}  // namespace chronovisor::session
