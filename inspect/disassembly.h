// Owns the text of an instruction, for people. Knows no machine. Any thread.
#pragma once

#include <cstddef>
#include <string>

#include "timetravel/lockstep.h"

namespace chronovisor {

/// "mov eax, dword ptr [rbx]", or "(bytes that are no instruction)".
[[nodiscard]] std::string disassemble(const CodePoint& code);
/// Lower-case hexadecimal digits, two a byte, with `separator` between bytes.
[[nodiscard]] std::string hex_bytes(ByteView bytes, const char* separator = " ");

enum class AssemblySyntax : std::uint8_t { intel, att };

/// A disassembler for one mode.
class Disassembler {
 public:
  struct Line {
    std::string mnemonic;
    std::string operands;
    std::size_t length = 0;  ///< bytes; 0: no instruction begins so
  };
  /// @param bits 16, 32 or 64. Throws Error{host}.
  Disassembler(unsigned bits, AssemblySyntax syntax);
  ~Disassembler();
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  [[nodiscard]] Line one(ByteView bytes, std::uint64_t address) const;

 private:
  std::size_t handle_ = 0;
};

}  // namespace chronovisor
