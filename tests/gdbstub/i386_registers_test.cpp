#include <doctest/doctest.h>

#include <set>
#include <string>

#include "gdbstub/documents.h"
#include "gdbstub/x86_registers.h"

using namespace chronovisor::gdb;

TEST_CASE("the 32-bit layout is gdb's order, with the program counter as number 8") {
  const TargetDescription& description = i386_target_description();
  const char* const core[] = {"eax", "ecx",    "edx", "ebx", "esp", "ebp", "esi", "edi",
                              "eip", "eflags", "cs",  "ss",  "ds",  "es",  "fs",  "gs"};
  for (std::size_t n = 0; n < std::size(core); ++n) {
    CHECK(description.registers[n].name == core[n]);
    CHECK(description.registers[n].bit_size == 32);
  }
  CHECK(description.architecture == "i386");
  CHECK(description.program_counter == 8);
  CHECK(description.registers[16].name == "st0");
  CHECK(description.registers[32].name == "xmm0");
  CHECK(description.registers[40].name == "mxcsr");
}

TEST_CASE("each register of the 32-bit layout shows the 64-bit register of its kind") {
  const auto registers = i386_target_description().registers;
  const auto all = x86_target_description().registers;
  CHECK(i386_register(0) == X86Register::rax);
  CHECK(i386_register(1) == X86Register::rcx);
  CHECK(i386_register(3) == X86Register::rbx);
  CHECK(i386_register(4) == X86Register::rsp);
  CHECK(i386_register(8) == X86Register::rip);
  CHECK(i386_register(9) == X86Register::eflags);
  std::set<X86Register> seen;
  for (std::size_t n = 0; n < registers.size(); ++n) {
    const X86Register source = i386_register(n);
    REQUIRE(source != X86Register::count);
    CHECK(seen.insert(source).second);
    if (n >= 16) CHECK(registers[n].name == all[static_cast<std::size_t>(source)].name);
  }
  CHECK(i386_register(registers.size()) == X86Register::count);
  // Left out are r8 to r15 and xmm8 to xmm15.
  CHECK(registers.size() == all.size() - 16);
}

TEST_CASE("the 32-bit description says each feature once") {
  const std::string xml = target_xml(i386_target_description());
  for (const char* feature : {"org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse",
                              "org.chronovisor.system", "org.chronovisor.time"}) {
    const std::string tag = std::string("<feature name=\"") + feature + "\">";
    const std::size_t first = xml.find(tag);
    CHECK(first != std::string::npos);
    CHECK(xml.find(tag, first + 1) == std::string::npos);
  }
}
