// The handlers of bytes that are no instruction.
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor {

void undefined_instruction(Cpu& cpu, const Instruction& /*i*/) { cpu.raise_ud(); }
void instruction_too_long(Cpu& cpu, const Instruction& /*i*/) { cpu.raise_gp0(); }

}  // namespace chronovisor
