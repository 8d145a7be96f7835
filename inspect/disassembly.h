// Owns the text of an instruction, for people. Knows no machine. Any thread.
#pragma once

#include <string>

#include "timetravel/lockstep.h"

namespace chronovisor {

/// "mov eax, dword ptr [rbx]", or "(bytes that are no instruction)".
[[nodiscard]] std::string disassemble(const CodePoint& code);
/// Lower-case hexadecimal digits, two a byte, with `separator` between bytes.
[[nodiscard]] std::string hex_bytes(ByteView bytes, const char* separator = " ");

}  // namespace chronovisor
