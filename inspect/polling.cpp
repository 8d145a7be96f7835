#include "inspect/polling.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "timetravel/linear_memory.h"

namespace chronovisor {
namespace {

constexpr std::size_t kMostShown = 8;
constexpr std::size_t kMostMemory = 4;
constexpr std::size_t kLongestInstruction = 15;

std::string hex(std::uint64_t value) {
  std::array<char, 20> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

/// A register that an address is made of, and how many bits of it count.
std::optional<std::uint64_t> address_register(x86_reg reg, const LoopStep& step,
                                              std::uint64_t next_rip) {
  static const std::map<x86_reg, std::pair<unsigned, unsigned>> kRegisters{
      {X86_REG_RAX, {0, 64}},  {X86_REG_RCX, {1, 64}},  {X86_REG_RDX, {2, 64}},
      {X86_REG_RBX, {3, 64}},  {X86_REG_RSP, {4, 64}},  {X86_REG_RBP, {5, 64}},
      {X86_REG_RSI, {6, 64}},  {X86_REG_RDI, {7, 64}},  {X86_REG_R8, {8, 64}},
      {X86_REG_R9, {9, 64}},   {X86_REG_R10, {10, 64}}, {X86_REG_R11, {11, 64}},
      {X86_REG_R12, {12, 64}}, {X86_REG_R13, {13, 64}}, {X86_REG_R14, {14, 64}},
      {X86_REG_R15, {15, 64}}, {X86_REG_EAX, {0, 32}},  {X86_REG_ECX, {1, 32}},
      {X86_REG_EDX, {2, 32}},  {X86_REG_EBX, {3, 32}},  {X86_REG_ESP, {4, 32}},
      {X86_REG_EBP, {5, 32}},  {X86_REG_ESI, {6, 32}},  {X86_REG_EDI, {7, 32}},
      {X86_REG_BX, {3, 16}},   {X86_REG_BP, {5, 16}},   {X86_REG_SI, {6, 16}},
      {X86_REG_DI, {7, 16}}};
  if (reg == X86_REG_INVALID) return 0;
  if (reg == X86_REG_RIP) return next_rip;
  const auto found = kRegisters.find(reg);
  if (found == kRegisters.end()) return std::nullopt;
  const auto [index, bits] = found->second;
  return step.gpr[index] & (~std::uint64_t{0} >> (64 - bits));
}

std::uint64_t segment_base(const x86_op_mem& mem, const LoopStep& step) {
  switch (mem.segment) {
    case X86_REG_FS:
      return step.segment_base[kFs];
    case X86_REG_GS:
      return step.segment_base[kGs];
    case X86_REG_CS:
      return step.code_bits == 64 ? 0 : step.segment_base[kCs];
    case X86_REG_SS:
      return step.code_bits == 64 ? 0 : step.segment_base[kSs];
    case X86_REG_ES:
      return step.code_bits == 64 ? 0 : step.segment_base[kEs];
    default:
      break;
  }
  if (step.code_bits == 64) return 0;
  const bool stack = mem.base == X86_REG_BP || mem.base == X86_REG_EBP || mem.base == X86_REG_ESP ||
                     mem.base == X86_REG_RSP;
  return step.segment_base[stack ? kSs : kDs];
}

/// Decodes the instructions of a loop.
class LoopReader {
 public:
  LoopReader(Machine& machine, Polling& polling) : machine_(machine), polling_(polling) {}

  void add(const LoopStep& step) {
    std::array<std::uint8_t, kLongestInstruction> bytes{};
    const std::size_t count = read_linear_memory(machine_, step.linear_rip, bytes);
    const cs_mode mode =
        step.code_bits == 64 ? CS_MODE_64 : (step.code_bits == 32 ? CS_MODE_32 : CS_MODE_16);
    csh handle = 0;
    if (cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK) return;
    cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
    cs_insn* found = nullptr;
    if (cs_disasm(handle, bytes.data(), count, step.rip, 1, &found) == 1) {
      add(step, *found);
      cs_free(found, 1);
    }
    cs_close(&handle);
  }

 private:
  void add(const LoopStep& step, const cs_insn& instruction) {
    if (polling_.instructions.size() < kMostShown) {
      std::string text = instruction.mnemonic;
      if (instruction.op_str[0] != '\0') text += std::string(" ") + instruction.op_str;
      polling_.instructions.push_back(text);
    } else if (polling_.instructions.size() == kMostShown) {
      polling_.instructions.emplace_back("...");
    }
    if (instruction.id == X86_INS_LEA || instruction.id == X86_INS_NOP) return;
    const cs_x86& detail = instruction.detail->x86;
    for (unsigned n = 0; n < detail.op_count; ++n) {
      const cs_x86_op& operand = detail.operands[n];
      if (operand.type == X86_OP_MEM && (operand.access & CS_AC_READ) != 0) {
        note(step, operand, instruction.address + instruction.size);
      }
    }
  }

  void note(const LoopStep& step, const cs_x86_op& operand, std::uint64_t next_rip) {
    const auto base = address_register(operand.mem.base, step, next_rip);
    const auto index = address_register(operand.mem.index, step, next_rip);
    if (!base || !index || polling_.memory.size() == kMostMemory) return;
    std::uint64_t offset = *base + *index * static_cast<unsigned>(operand.mem.scale) +
                           static_cast<std::uint64_t>(operand.mem.disp);
    if (step.code_bits != 64) offset &= step.code_bits == 32 ? 0xffffffff : 0xffff;
    std::uint64_t address = segment_base(operand.mem, step) + offset;
    if (step.code_bits != 64) address &= 0xffffffff;
    for (const PolledMemory& known : polling_.memory) {
      if (known.address == address) return;
    }
    polling_.memory.push_back(
        {address, operand.size,
         operand.size <= 8 ? read_linear_value(machine_, address, operand.size) : std::nullopt});
  }

  Machine& machine_;
  Polling& polling_;
};

}  // namespace

Polling polling_of(Machine& machine, const StuckGuest& guest) {
  Polling polling;
  if (guest.loop.empty()) return polling;
  polling.rip = guest.loop.front().rip;
  LoopReader reader(machine, polling);
  for (const LoopStep& step : guest.loop) {
    if (step.port && !polling.port) polling.port = step.port;
    reader.add(step);
  }
  return polling;
}

std::string polling_text(const Polling& polling, const StuckGuest& guest) {
  std::string text;
  if (polling.port) {
    text = "it polls port " + hex(*polling.port);
  } else if (guest.panicked) {
    text = "the kernel has panicked and waits";
  } else if (!polling.memory.empty() && guest.whole_turn) {
    text = "it polls memory at ";
    for (const PolledMemory& word : polling.memory) {
      if (&word != &polling.memory.front()) text += ", ";
      text += hex(word.address) + " (" + std::to_string(word.bytes) + " bytes" +
              (word.value ? ": " + hex(*word.value) : "") + ")";
    }
  } else {
    text = "it waits for nothing that could come but an interrupt";
  }
  text += ", at " + hex(polling.rip) + ":";
  for (const std::string& instruction : polling.instructions) {
    text += (&instruction == &polling.instructions.front() ? " " : "; ") + instruction;
  }
  return text;
}

}  // namespace chronovisor
