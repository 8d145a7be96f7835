#include "tests/crosscheck/program.h"

#include <array>

namespace chronovisor::crosscheck {
namespace {

using oracle::Random;
using u8 = std::uint8_t;

class Emitter {
 public:
  Emitter(Random& random, const ProgramOptions& options, std::vector<u8>& out)
      : random_(random), options_(options), out_(out) {}

  void instruction() {
    const std::uint64_t kind = random_.below(100);
    if (kind < 14) return segment_load();
    if (kind < 24) return far_transfer();
    if (kind < 31) return software_interrupt();
    if (kind < 43) return descriptor_query();
    if (kind < 49) return control_register();
    if (kind < 61) return string_instruction();
    if (kind < 65) return self_modifying();
    if (kind < 75) return stack_instruction();
    if (kind < 81) return fault();
    if (kind < 85) return fast_call();
    if (options_.more && kind < 87) return debug_register();
    if (options_.more && kind < 91) return x87();
    if (options_.more && kind < 94) return sse();
    ordinary();
  }

 private:
  [[nodiscard]] bool wide() const { return options_.code_bits == 64; }
  void byte(unsigned value) { out_.push_back(static_cast<u8>(value)); }
  void bytes(std::initializer_list<unsigned> values) {
    for (const unsigned value : values) byte(value);
  }
  void random_bytes(unsigned count) {
    for (unsigned n = 0; n < count; ++n) byte(static_cast<unsigned>(random_.below(256)));
  }
  void operand_prefix() {
    if (random_.chance(15)) byte(0x66);
    if (!wide() && random_.chance(8)) byte(0x67);
    if (random_.chance(10))
      byte(random_.pick(std::array<unsigned, 6>{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65}));
    if (wide() && random_.chance(40)) byte(0x48 | static_cast<unsigned>(random_.below(2)));
  }
  /// ModRM naming memory at a base register, most of them pointers.
  void memory(unsigned reg) {
    // In every mode: mod 1, a register that addresses memory without SIB.
    static constexpr std::array<unsigned, 4> kBases{3, 5, 6, 7};  // BX/RBP.. or BP+DI.. in 16 bits
    const unsigned mod = random_.chance(60) ? 1 : 2;
    const bool narrow = options_.code_bits == 16;
    byte(mod << 6 | (reg & 7) << 3 | random_.pick(kBases));
    if (mod == 1) {
      byte(static_cast<unsigned>(random_.below(64)));
    } else {
      byte(static_cast<unsigned>(random_.below(256)));
      byte(static_cast<unsigned>(random_.below(4)));
      if (!narrow) bytes({0, 0});
    }
  }
  void registers(unsigned reg) {
    byte(0xc0 | (reg & 7) << 3 | static_cast<unsigned>(random_.below(8)));
  }
  void either(unsigned reg) { random_.chance(50) ? memory(reg) : registers(reg); }

  void segment_load() {
    operand_prefix();
    switch (random_.below(5)) {
      case 0:
      case 1: {
        static constexpr std::array<unsigned, 6> kWithSs{0, 2, 3, 4, 5, 1};
        unsigned reg = random_.pick(kWithSs);
        if (reg == 2 && !options_.steps_mov_ss) reg = 3;
        byte(0x8e);
        // MOV CS is #UD; with a memory operand, some KVMs look at it first.
        return reg == 1 ? registers(reg) : either(reg);
      }
      case 2:
        if (wide() || random_.chance(50)) return bytes({0x0f, random_.chance(50) ? 0xa1U : 0xa9U});
        return byte(random_.chance(50) ? 0x07 : 0x1f);
      case 3:
        bytes({0x0f, random_.pick(std::array<unsigned, 3>{0xb2, 0xb4, 0xb5})});
        return memory(static_cast<unsigned>(random_.below(8)) | 1);
      default:
        if (wide()) return bytes({0x0f, random_.chance(50) ? 0xa0U : 0xa8U});
        byte(random_.chance(50) ? 0xc4 : 0xc5);
        return memory(static_cast<unsigned>(random_.below(8)) | 1);
    }
  }
  void far_transfer() {
    operand_prefix();
    switch (random_.below(6)) {
      case 0:
        byte(0xff);
        return memory(5);
      case 1:
        byte(0xff);
        return memory(3);
      case 2:
        return byte(0xcb);
      case 3:
        byte(0xca);
        return bytes({static_cast<unsigned>(random_.below(4)) * 4, 0});
      default:
        return byte(0xcf);
    }
  }
  void software_interrupt() {
    switch (random_.below(4)) {
      case 0:
        return byte(0xcc);
      case 1:
        return wide() ? byte(0xf1) : byte(0xce);
      default:
        return bytes({0xcd, static_cast<unsigned>(random_.below(36))});
    }
  }
  void descriptor_query() {
    operand_prefix();
    switch (random_.below(6)) {
      case 0:
        bytes({0x0f, 0x02});
        return either(static_cast<unsigned>(random_.below(8)));
      case 1:
        bytes({0x0f, 0x03});
        return either(static_cast<unsigned>(random_.below(8)));
      case 2:
      case 3:
        bytes({0x0f, 0x00});
        return either(static_cast<unsigned>(random_.below(6)));
      case 4:
        bytes({0x0f, 0x01});
        return memory(static_cast<unsigned>(random_.below(2)));
      default:
        bytes({0x0f, 0x01});
        return memory(2);
    }
  }
  void control_register() {
    switch (random_.below(8)) {
      case 0:
        bytes({0x0f, 0x20});
        return registers(random_.pick(std::array<unsigned, 4>{0, 2, 3, 4}));
      case 1:
        bytes({0x0f, 0x22});
        return registers(random_.pick(std::array<unsigned, 4>{0, 2, 3, 4}));
      case 2:
        return bytes({0x0f, 0x06});
      case 3:
        bytes({0x0f, 0x01});
        return memory(7);
      case 4:
        bytes({0x0f, 0x01});
        return either(4);
      case 5:
        bytes({0x0f, 0x01});
        return registers(6);
      case 6:
        return byte(random_.chance(50) ? 0xfa : 0xfb);
      default:
        return byte(random_.chance(50) ? 0x9c : 0x9d);
    }
  }
  void string_instruction() {
    if (random_.chance(60)) byte(random_.chance(50) ? 0xf3 : 0xf2);
    operand_prefix();
    byte(random_.pick(
        std::array<unsigned, 10>{0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}));
  }
  /// mov byte [near here], imm8: into code that follows.
  void self_modifying() {
    const unsigned ahead = static_cast<unsigned>(random_.below(24));
    if (wide()) {
      bytes({0xc6, 0x05, ahead, 0, 0, 0, random_.chance(50) ? 0x90U : 0x40U});
    } else if (options_.code_bits == 32) {
      bytes({0xc6, 0x05, 0x40 + ahead, 0x80, 0, 0, random_.chance(50) ? 0x90U : 0x40U});
    } else {
      bytes({0xc6, 0x06, 0x40 + ahead, 0x80, random_.chance(50) ? 0x90U : 0x40U});
    }
  }
  void stack_instruction() {
    operand_prefix();
    switch (random_.below(9)) {
      case 0:
        return byte(0x50 + static_cast<unsigned>(random_.below(8)));
      case 1:
        return byte(0x58 + static_cast<unsigned>(random_.below(8)));
      case 2:
        byte(0x6a);
        return random_bytes(1);
      case 3:
        byte(0xff);
        return either(6);
      case 4:
        byte(0x8f);
        return either(0);
      case 5:
        return bytes({0xc8, static_cast<unsigned>(random_.below(64)), 0,
                      static_cast<unsigned>(random_.below(4))});
      case 6:
        return byte(0xc9);
      case 7:
        return wide() ? byte(0x50) : byte(0x60);
      default:
        return wide() ? byte(0x58) : byte(0x61);
    }
  }
  void fault() {
    switch (random_.below(4)) {
      case 0:
        return bytes({0x0f, 0x0b});
      case 1:
        byte(0xf7);
        return either(6 + static_cast<unsigned>(random_.below(2)));  // DIV, IDIV
      case 2:
        if (wide()) return bytes({0x0f, 0x0b});
        byte(0x62);  // BOUND
        return memory(static_cast<unsigned>(random_.below(8)));
      default:
        bytes({0x0f, 0xff});
        return;
    }
  }
  void fast_call() {
    switch (random_.below(5)) {
      case 0:
        return bytes({0x0f, 0x05});
      case 1:
        wide() && random_.chance(50) ? bytes({0x48, 0x0f, 0x07}) : bytes({0x0f, 0x07});
        return;
      case 2:
        return bytes({0x0f, 0x34});
      case 3:
        wide() && random_.chance(50) ? bytes({0x48, 0x0f, 0x35}) : bytes({0x0f, 0x35});
        return;
      default:
        if (!wide()) return byte(0x90);
        byte(0xf3);
        if (random_.chance(50)) byte(0x48);
        bytes({0x0f, 0xae});
        return registers(static_cast<unsigned>(random_.below(4)));
    }
  }
  /// MOV to and from debug registers; DR4 and DR5 are DR6 and DR7, or #UD.
  void debug_register() {
    if (wide() && random_.chance(5)) byte(0x44);  // DR8 to DR15: #UD
    bytes({0x0f, random_.chance(50) ? 0x21U : 0x23U});
    registers(static_cast<unsigned>(random_.below(8)));
  }
  /// Half of them what touches the x87 control state only, which is where
  /// #NM, #MF and the checks of CR0 are.
  void x87() {
    operand_prefix();
    switch (random_.below(10)) {
      case 0:
        return bytes({0xdb, 0xe3});  // FNINIT
      case 1:
        return bytes({0xdb, 0xe2});  // FNCLEX
      case 2:
        byte(0xd9);
        return memory(7);  // FNSTCW
      case 3:
        byte(0xdd);
        return memory(7);  // FNSTSW m16
      case 4:
        return bytes({0xdf, 0xe0});  // FNSTSW AX
      case 5:
        byte(0xd9);
        return memory(5);  // FLDCW
      case 6:
        return byte(0x9b);  // FWAIT
      default:
        byte(0xd8 + static_cast<unsigned>(random_.below(8)));
        return either(static_cast<unsigned>(random_.below(8)));
    }
  }
  /// Moves in all their forms, state images, and some arithmetic.
  void sse() {
    if (random_.chance(30)) {
      if (!wide() && random_.chance(10)) byte(0x67);
      if (wide() && random_.chance(40)) byte(0x48);
      bytes({0x0f, 0xae});
      return memory(static_cast<unsigned>(random_.below(4)));  // FXSAVE to STMXCSR
    }
    const unsigned mandatory = random_.pick(std::array<unsigned, 4>{0, 0x66, 0xf3, 0xf2});
    if (mandatory != 0) byte(mandatory);
    if (wide() && random_.chance(30)) byte(0x40 | static_cast<unsigned>(random_.below(16)));
    static constexpr std::array<unsigned, 20> kMoves{0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x28,
                                                     0x29, 0x2b, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6,
                                                     0xe7, 0xc3, 0x77, 0x50, 0x58, 0xef};
    bytes({0x0f, random_.pick(kMoves)});
    either(static_cast<unsigned>(random_.below(8)));
  }
  /// Prefetches, ENDBR and the other hints, multi-byte NOPs.
  void hint() {
    if (random_.chance(30)) byte(random_.chance(50) ? 0xf3 : 0xf2);
    const auto opcode = static_cast<unsigned>(random_.below(9));
    bytes({0x0f, opcode == 8 ? 0x0dU : 0x18 + opcode});
    if (opcode == 6 && random_.chance(50))
      return bytes({0xfa + static_cast<unsigned>(random_.below(2))});
    either(static_cast<unsigned>(random_.below(8)));
  }
  void ordinary() {
    operand_prefix();
    switch (random_.below(9)) {
      case 8:
        return hint();
      case 0:
      case 1:
        byte(static_cast<unsigned>(random_.below(8)) << 3 |
             static_cast<unsigned>(random_.below(4)));
        return either(static_cast<unsigned>(random_.below(8)));
      case 2:
        byte(random_.pick(std::array<unsigned, 4>{0x88, 0x89, 0x8a, 0x8b}));
        return either(static_cast<unsigned>(random_.below(8)));
      case 3:
        byte(0x83);
        either(static_cast<unsigned>(random_.below(8)));
        return random_bytes(1);
      case 4:
        bytes({0x0f, random_.pick(std::array<unsigned, 4>{0xb6, 0xb7, 0xbe, 0xbf})});
        return either(static_cast<unsigned>(random_.below(8)));
      case 5:
        bytes({0x0f, random_.pick(std::array<unsigned, 4>{0xb0, 0xb1, 0xc0, 0xc1})});
        return either(static_cast<unsigned>(random_.below(8)));
      case 6:
        byte(random_.chance(50) ? 0x86 : 0x87);
        return either(static_cast<unsigned>(random_.below(8)));
      default:
        byte(0x8c);
        return either(static_cast<unsigned>(random_.below(6)));
    }
  }

  Random& random_;
  const ProgramOptions& options_;
  std::vector<u8>& out_;
};

}  // namespace

std::vector<std::uint8_t> random_program(Random& random, const ProgramOptions& options,
                                         unsigned count) {
  std::vector<u8> out;
  Emitter emitter(random, options, out);
  for (unsigned n = 0; n < count; ++n) emitter.instruction();
  return out;
}

}  // namespace chronovisor::crosscheck
