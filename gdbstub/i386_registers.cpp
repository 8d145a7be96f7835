// The 32-bit layout, for guests that stay in 32-bit mode with 32-bit symbols.
// Source: gdb's features/i386/32bit-{core,sse}.xml as described in the manual's
// "i386 Features"; DWARF numbers: System V psABI, Intel386 supplement.
#include <array>
#include <vector>

#include "gdbstub/x86_registers.h"

namespace chronovisor::gdb {

namespace {

constexpr std::string_view kCore = "org.gnu.gdb.i386.core";
constexpr std::string_view kSse = "org.gnu.gdb.i386.sse";
constexpr std::string_view kSystem = "org.chronovisor.system";

struct Row {
  RegisterDescription description;
  X86Register source;
};

X86Register after(X86Register first, int n) {
  return static_cast<X86Register>(static_cast<int>(first) + n);
}

void add_general(std::vector<Row>& rows) {
  const auto add = [&](std::string_view name, X86Register source, std::string_view generic = {},
                       std::string_view type = "int32") {
    const int dwarf = static_cast<int>(rows.size());  // core order is DWARF order up to eflags
    rows.push_back({{name, 32, type, kCore, "general", generic, dwarf}, source});
  };
  add("eax", X86Register::rax);
  add("ecx", X86Register::rcx);
  add("edx", X86Register::rdx);
  add("ebx", X86Register::rbx);
  add("esp", X86Register::rsp, "sp", "data_ptr");
  add("ebp", X86Register::rbp, "fp", "data_ptr");
  add("esi", X86Register::rsi);
  add("edi", X86Register::rdi);
  add("eip", X86Register::rip, "pc", "code_ptr");
  add("eflags", X86Register::eflags, "flags", "i386_eflags");
  constexpr std::array<std::pair<std::string_view, int>, 6> kSegments{
      {{"cs", 41}, {"ss", 42}, {"ds", 43}, {"es", 40}, {"fs", 44}, {"gs", 45}}};
  for (int n = 0; n < 6; ++n) {
    const auto& [name, dwarf] = kSegments[static_cast<std::size_t>(n)];
    rows.push_back({{name, 32, "int32", kCore, "general", {}, dwarf}, after(X86Register::cs, n)});
  }
}

void add_floating(std::vector<Row>& rows) {
  const auto all = x86_target_description().registers;
  const auto copy = [&](X86Register source, int dwarf) {
    RegisterDescription description = all[static_cast<std::size_t>(source)];
    description.dwarf = dwarf;
    rows.push_back({description, source});
  };
  for (int n = 0; n < 8; ++n) copy(after(X86Register::st0, n), 11 + n);
  for (int n = 0; n < 8; ++n) copy(after(X86Register::fctrl, n), n == 0 ? 37 : n == 1 ? 38 : -1);
  for (int n = 0; n < 8; ++n) copy(after(X86Register::xmm0, n), 21 + n);
  rows.push_back({{"mxcsr", 32, "i386_mxcsr", kSse, "vector", {}, 39}, X86Register::mxcsr});
}

void add_system(std::vector<Row>& rows) {
  const auto all = x86_target_description().registers;
  for (std::size_t n = static_cast<std::size_t>(X86Register::fs_base); n < all.size(); ++n) {
    RegisterDescription description = all[n];
    // The segment bases are no part of gdb's 32-bit features.
    if (description.type == "int") {
      description.type = "uint64";
      description.feature = kSystem;
      description.group = "system";
    }
    description.dwarf = -1;
    rows.push_back({description, static_cast<X86Register>(n)});
  }
}

struct Layout {
  std::vector<RegisterDescription> descriptions;
  std::vector<X86Register> sources;
  std::array<std::size_t, 5> expedited{5, 4, 8, 9, 10};  // ebp, esp, eip, eflags, cs
};

const Layout& layout() {
  static const Layout built = [] {
    std::vector<Row> rows;
    add_general(rows);
    add_floating(rows);
    add_system(rows);
    Layout out;
    for (const Row& row : rows) {
      out.descriptions.push_back(row.description);
      out.sources.push_back(row.source);
    }
    return out;
  }();
  return built;
}

}  // namespace

const TargetDescription& i386_target_description() {
  static const TargetDescription description = {
      "i386", "i386-unknown-none", layout().descriptions, x86_target_description().types,
      8,      layout().expedited};
  return description;
}

X86Register i386_register(std::size_t index) {
  return index < layout().sources.size() ? layout().sources[index] : X86Register::count;
}

}  // namespace chronovisor::gdb
