// Monitor commands that show memory as the CPU sees it.
#include <capstone/capstone.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "cli/interrupt_stepping.h"
#include "cli/monitor.h"
#include "host/host.h"
#include "vmm/cpu/mmu/page_walk.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kLongestInstruction = 15;
constexpr std::uint64_t kMostInstructions = 10'000;

std::string entry_flags(std::uint64_t entry, bool wide) {
  static constexpr std::array<std::pair<unsigned, const char*>, 9> kFlags{{{0, "present"},
                                                                           {1, "writable"},
                                                                           {2, "user"},
                                                                           {3, "write-through"},
                                                                           {4, "uncached"},
                                                                           {5, "accessed"},
                                                                           {6, "dirty"},
                                                                           {7, "large"},
                                                                           {8, "global"}}};
  std::string out;
  for (const auto& [bit, name] : kFlags) {
    if ((entry >> bit & 1) != 0) out += fmt::format(" {}", name);
  }
  if (wide && (entry >> 63) != 0) out += " no-execute";
  return out;
}

std::string_view level_name(PagingKind kind, unsigned level) {
  static constexpr std::array<std::string_view, 5> kNames{"", "PT", "PD", "PDPT", "PML4"};
  return kind == PagingKind::two_levels && level == 2 ? "PD" : kNames[level];
}

class Disassembler {
 public:
  explicit Disassembler(const Cpu& cpu) {
    const cs_mode mode = cpu.long64()            ? CS_MODE_64
                         : cpu.code_width() == 4 ? CS_MODE_32
                                                 : CS_MODE_16;
    if (cs_open(CS_ARCH_X86, mode, &handle_) != CS_ERR_OK) {
      throw Error(ErrorCode::host, "disassemble: capstone cannot be used");
    }
    cs_option(handle_, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
  }
  ~Disassembler() { cs_close(&handle_); }
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  /// One instruction as text and its length; length 0 when there is none.
  std::pair<std::string, std::size_t> one(ByteView bytes, std::uint64_t address) const {
    cs_insn* found = nullptr;
    if (cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &found) == 0) return {"", 0};
    std::pair<std::string, std::size_t> out{fmt::format("{:<7} {}", found->mnemonic, found->op_str),
                                            found->size};
    cs_free(found, 1);
    return out;
  }

 private:
  csh handle_ = 0;
};

}  // namespace

void MonitorCommands::translate(const Words& arguments, const Output& output,
                                const gdb::CancelFlag&) {
  if (arguments.size() != 1) throw Error(ErrorCode::usage, "translate ADDRESS");
  const std::uint64_t address = parse_number(arguments[0], "translate");
  const auto physical = timeline_.machine().cpu().translate_for_debugger({address});
  output(physical ? fmt::format("linear {:#x} is physical {:#x}\n", address, physical->value)
                  : fmt::format("linear {:#x} is not mapped\n", address));
}

void MonitorCommands::walk(const Words& arguments, const Output& output, const gdb::CancelFlag&) {
  if (arguments.size() != 1) throw Error(ErrorCode::usage, "walk ADDRESS");
  const std::uint64_t address = parse_number(arguments[0], "walk");
  Machine& machine = timeline_.machine();
  const Cpu& cpu = machine.cpu();
  if ((cpu.state.cr0 & kCr0Pg) == 0) {
    output(fmt::format("paging is off: linear {0:#x} is physical {0:#x}\n", address));
    return;
  }
  const PagingKind kind = Paging::of(cpu.state).kind;
  const bool wide = kind != PagingKind::two_levels;
  output(fmt::format("CR3  {:#018x}\n", cpu.state.cr3));
  PageTableEntry last;
  const Walk walk = cpu.mmu().look({address}, [&](const PageTableEntry& entry) {
    last = entry;
    output(fmt::format("{:<4} entry {:3} {} {:#x}: {:#018x}{}\n", level_name(kind, entry.level),
                       entry.slot, entry.in_register ? "in a register, of" : "at physical",
                       entry.place, entry.value, entry_flags(entry.value, wide)));
  });
  switch (walk.end) {
    case WalkEnd::mapped:
      output(fmt::format("linear {:#x} is physical {:#x}\n", address, walk.physical.value));
      return;
    case WalkEnd::not_present:
      output(fmt::format("linear {:#x} is not mapped\n", address));
      return;
    case WalkEnd::not_canonical:
      output(fmt::format("linear {:#x} is not canonical\n", address));
      return;
    case WalkEnd::unreadable:
      output(fmt::format("{:<4} lies outside memory: linear {:#x} is not mapped\n",
                         level_name(kind, walk.level), address));
      return;
    case WalkEnd::reserved:
      output(fmt::format("{:<4} entry {:3} has a reserved bit set: linear {:#x} is not mapped\n",
                         level_name(kind, walk.level), last.slot, address));
      return;
  }
}

void MonitorCommands::disassemble(const Words& arguments, const Output& output,
                                  const gdb::CancelFlag& cancel) {
  if (arguments.size() > 2) throw Error(ErrorCode::usage, "disassemble [ADDRESS [COUNT]]");
  Machine& machine = timeline_.machine();
  const std::uint64_t here = machine.cpu().linear_rip();
  std::uint64_t address = arguments.empty() ? here : parse_number(arguments[0], "disassemble");
  std::uint64_t count = arguments.size() > 1 ? parse_number(arguments[1], "disassemble") : 10;
  count = std::min(count, kMostInstructions);
  const Disassembler disassembler(machine.cpu());
  for (; count > 0 && !cancel; --count) {
    std::array<std::uint8_t, kLongestInstruction> bytes{};
    const std::size_t got = read_linear_memory(machine, address, bytes);
    if (got == 0) {
      output(fmt::format("   {:#x}: not mapped\n", address));
      return;
    }
    auto [text, length] = disassembler.one(ByteView(bytes).first(got), address);
    if (length == 0) {
      text = fmt::format(".byte   {:#04x}", bytes[0]);
      length = 1;
    }
    output(fmt::format("{} {:#x}: {}\n", address == here ? "=>" : "  ", address, text));
    address += length;
  }
}

}  // namespace chronovisor::cli
