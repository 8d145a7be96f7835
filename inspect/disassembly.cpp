#include "inspect/disassembly.h"

#include <capstone/capstone.h>

#include <array>
#include <cstdio>
#include <memory>

#include "base/error.h"

namespace chronovisor {
namespace {

/// A disassembler for one mode.
class Disassembler {
 public:
  explicit Disassembler(unsigned bits) {
    const cs_mode mode = bits == 64 ? CS_MODE_64 : (bits == 32 ? CS_MODE_32 : CS_MODE_16);
    if (cs_open(CS_ARCH_X86, mode, &handle_) != CS_ERR_OK) {
      throw Error(ErrorCode::host, "the disassembler cannot be opened");
    }
  }
  ~Disassembler() { cs_close(&handle_); }
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  std::string text(ByteView bytes, std::uint64_t address) {
    cs_insn* found = nullptr;
    const std::size_t count = cs_disasm(handle_, bytes.data(), bytes.size(), address, 1, &found);
    if (count == 0) return "(bytes that are no instruction)";
    std::string text = found->mnemonic;
    if (found->op_str[0] != '\0') text += std::string(" ") + found->op_str;
    cs_free(found, count);
    return text;
  }

 private:
  csh handle_ = 0;
};

}  // namespace

std::string disassemble(const CodePoint& code) {
  if (code.bytes.empty()) return "(no memory there)";
  return Disassembler(code.bits).text(code.bytes, code.rip);
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
