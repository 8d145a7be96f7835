#include "inspect/export/trace.h"

#include <capstone/capstone.h>

#include <array>
#include <cstdio>
#include <string>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::size_t kLongestInstruction = 15;

struct NamedRegister {
  const char* name;
  std::uint64_t value;
};

/// The registers whose changes are shown, in the order they are shown.
struct Snapshot {
  static constexpr std::array<const char*, 16> kGeneral{"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                        "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                        "r12", "r13", "r14", "r15"};
  static constexpr std::array<const char*, kSegmentCount> kSegments{"es", "cs", "ss",
                                                                    "ds", "fs", "gs"};
  std::array<std::uint64_t, 16> general{};
  std::uint64_t flags = 0;
  std::array<std::uint64_t, kSegmentCount> selector{};
  std::array<std::uint64_t, kSegmentCount> base{};
  std::array<std::uint64_t, 5> control{};  ///< CR0, CR2, CR3, CR4, EFER
  std::array<Xmm, 16> xmm{};
  std::array<X87Register, 8> x87{};
  std::uint64_t mxcsr = 0;

  explicit Snapshot(const Cpu& cpu) {
    const CpuState& s = cpu.state;
    for (std::size_t n = 0; n < general.size(); ++n) general[n] = s.gpr[n];
    flags = cpu.flags.value();
    for (std::size_t n = 0; n < selector.size(); ++n) {
      selector[n] = s.segment[n].selector;
      base[n] = s.segment[n].base;
    }
    control = {s.cr0, s.cr2, s.cr3, s.cr4, s.msr.efer};
    xmm = s.xmm;
    x87 = s.x87.st;
    mxcsr = s.mxcsr;
  }
};

void append(std::string& line, const std::string& name, std::uint64_t value) {
  char text[64];
  std::snprintf(text, sizeof(text), " %s=0x%llx", name.c_str(),
                static_cast<unsigned long long>(value));
  line += text;
}

void append_changes(const Snapshot& before, const Snapshot& after, std::string& line) {
  static constexpr std::array<const char*, 5> kControl{"cr0", "cr2", "cr3", "cr4", "efer"};
  for (std::size_t n = 0; n < after.general.size(); ++n) {
    if (before.general[n] != after.general[n])
      append(line, Snapshot::kGeneral[n], after.general[n]);
  }
  if (before.flags != after.flags) append(line, "rflags", after.flags);
  for (std::size_t n = 0; n < after.selector.size(); ++n) {
    if (before.selector[n] != after.selector[n]) {
      append(line, Snapshot::kSegments[n], after.selector[n]);
    }
    if (before.base[n] != after.base[n]) {
      append(line, std::string(Snapshot::kSegments[n]) + "_base", after.base[n]);
    }
  }
  for (std::size_t n = 0; n < after.control.size(); ++n) {
    if (before.control[n] != after.control[n]) append(line, kControl[n], after.control[n]);
  }
  for (std::size_t n = 0; n < after.xmm.size(); ++n) {
    if (before.xmm[n].low == after.xmm[n].low && before.xmm[n].high == after.xmm[n].high) continue;
    char text[64];
    std::snprintf(text, sizeof(text), " xmm%zu=0x%016llx%016llx", n,
                  static_cast<unsigned long long>(after.xmm[n].high),
                  static_cast<unsigned long long>(after.xmm[n].low));
    line += text;
  }
  for (std::size_t n = 0; n < after.x87.size(); ++n) {
    if (before.x87[n].significand == after.x87[n].significand &&
        before.x87[n].sign_exponent == after.x87[n].sign_exponent) {
      continue;
    }
    char text[64];
    std::snprintf(text, sizeof(text), " x87r%zu=0x%04x%016llx", n, after.x87[n].sign_exponent,
                  static_cast<unsigned long long>(after.x87[n].significand));
    line += text;
  }
  if (before.mxcsr != after.mxcsr) append(line, "mxcsr", after.mxcsr);
}

/// Capstone, in whichever mode the CPU is in.
class Disassembler {
 public:
  Disassembler() = default;
  ~Disassembler() {
    for (Handle& handle : handles_) {
      if (handle.open) cs_close(&handle.value);
    }
  }
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  struct Text {
    std::size_t length = 0;
    std::string text;
  };

  Text at(std::uint64_t address, ByteView bytes, const Cpu& cpu) {
    const std::size_t kind = cpu.long64() ? 2 : cpu.code_width() == 4 ? 1 : 0;
    const csh handle = handle_for(kind);
    cs_insn* instruction = nullptr;
    const std::size_t count =
        bytes.empty() ? 0 : cs_disasm(handle, bytes.data(), bytes.size(), address, 1, &instruction);
    if (count == 0) return {bytes.size(), bytes.empty() ? "(not mapped)" : "(bad)"};
    Text result{instruction->size, instruction->mnemonic};
    if (instruction->op_str[0] != '\0') result.text += std::string(" ") + instruction->op_str;
    cs_free(instruction, count);
    return result;
  }

 private:
  struct Handle {
    csh value = 0;
    bool open = false;
  };

  csh handle_for(std::size_t kind) {
    static constexpr std::array<cs_mode, 3> kModes{CS_MODE_16, CS_MODE_32, CS_MODE_64};
    Handle& handle = handles_[kind];
    if (!handle.open) {
      if (cs_open(CS_ARCH_X86, kModes[kind], &handle.value) != CS_ERR_OK) {
        throw Error(ErrorCode::host, "capstone cannot be initialised");
      }
      handle.open = true;
    }
    return handle.value;
  }

  std::array<Handle, 3> handles_;
};

std::size_t code_at(Machine& machine, std::uint64_t address,
                    std::span<std::uint8_t, kLongestInstruction> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto physical = machine.cpu().translate_for_debugger({address + done});
    if (!physical || machine.look(*physical, out.subspan(done, 1)) != 1) break;
    ++done;
  }
  return done;
}

}  // namespace

std::uint64_t export_trace(Machine& machine, Position to, const TextSink& out) {
  Disassembler disassembler;
  std::uint64_t steps = 0;
  Snapshot before(machine.cpu());
  while (machine.position() < to) {
    const Moment here = machine.moment();
    const std::uint64_t address = machine.cpu().linear_rip();
    std::array<std::uint8_t, kLongestInstruction> code{};
    const std::size_t there = code_at(machine, address, code);
    const Disassembler::Text instruction =
        disassembler.at(address, ByteView(code).first(there), machine.cpu());
    // One delivery or one step, whichever comes first.
    const MachineStop stop = machine.run({here.position, here.deliveries + 1});
    const Snapshot after(machine.cpu());
    const bool delivered = machine.position() == here.position;
    if (delivered && machine.moment() == here) break;  // the guest ended here
    char head[64];
    std::snprintf(head, sizeof(head), "%llu %016llx ",
                  static_cast<unsigned long long>(here.position.steps),
                  static_cast<unsigned long long>(address));
    std::string line = head;
    std::string bytes;
    if (delivered) {
      bytes = "-";
    } else {
      for (std::size_t n = 0; n < instruction.length; ++n) {
        char text[4];
        std::snprintf(text, sizeof(text), "%02x", code[n]);
        bytes += text;
      }
    }
    line += bytes + std::string(bytes.size() < 16 ? 16 - bytes.size() : 0, ' ') + " ";
    std::string what = instruction.text;
    if (delivered) {
      std::snprintf(head, sizeof(head), "(delivery to %016llx)",
                    static_cast<unsigned long long>(machine.cpu().linear_rip()));
      what = head;
    }
    line += what;
    std::string changes;
    append_changes(before, after, changes);
    if (!changes.empty()) {
      line += std::string(what.size() < 40 ? 40 - what.size() : 0, ' ') + " ;" + changes;
    }
    out(line + "\n");
    before = after;
    if (!delivered) ++steps;
    if (stop != MachineStop::reached) break;
  }
  return steps;
}

}  // namespace chronovisor
