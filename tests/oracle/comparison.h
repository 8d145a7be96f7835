// Owns the comparison of what both sides of a case ended with, and saying so
// to a reader. Masks what the table and the manuals leave undefined. Stateless.
#pragma once

#include <string>
#include <vector>

#include "tests/oracle/case.h"
#include "vmm/cpu/code/instruction.h"

namespace chronovisor::oracle {

/// One line for each difference; empty when both agree.
std::vector<std::string> differences(const Case& c, const Row& row, const Outcome& engine,
                                     const Outcome& host);

/// The bytes in hexadecimal and what Zydis reads in them.
std::string disassembly(const Case& c);

/// The state a case starts from.
std::string describe_start(const Case& c);

}  // namespace chronovisor::oracle
