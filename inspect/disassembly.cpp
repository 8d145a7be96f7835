#include "inspect/disassembly.h"

#include <capstone/capstone.h>

#include <array>
#include <cstdio>
#include <memory>

#include "base/error.h"

namespace chronovisor {

Disassembler::Disassembler(unsigned bits, AssemblySyntax syntax) {
  static_assert(sizeof(csh) == sizeof(handle_));
  const cs_mode mode = bits == 64 ? CS_MODE_64 : (bits == 32 ? CS_MODE_32 : CS_MODE_16);
  csh handle = 0;
  if (cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK) {
    throw Error(ErrorCode::host, "the disassembler cannot be opened");
  }
  if (syntax == AssemblySyntax::att) cs_option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
  handle_ = handle;
}

Disassembler::~Disassembler() {
  csh handle = handle_;
  cs_close(&handle);
}

Disassembler::Line Disassembler::one(ByteView bytes, std::uint64_t address) const {
  cs_insn* found = nullptr;
  const std::size_t count = cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &found);
  if (count == 0) return {};
  Line line{found->mnemonic, found->op_str, found->size};
  cs_free(found, count);
  return line;
}

std::string disassemble(const CodePoint& code) {
  if (code.bytes.empty()) return "(no memory there)";
  const Disassembler disassembler(code.bits, AssemblySyntax::intel);
  const Disassembler::Line line = disassembler.one(code.bytes, code.rip);
  if (line.length == 0) return "(bytes that are no instruction)";
  return line.operands.empty() ? line.mnemonic : line.mnemonic + " " + line.operands;
}

std::string hex_bytes(ByteView bytes, const char* separator) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", byte);
    if (!text.empty()) text += separator;
    text += digits.data();
  }
  return text;
}

}  // namespace chronovisor
