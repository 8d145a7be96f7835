// Runs arbitrary bytes as a guest for a while. Whatever a guest does is the
// guest's affair: the machine must neither crash nor hang, and a second run
// must arrive in the same state. The first byte chooses the mode it starts in,
// the next three seed the registers.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "vmm/machine/machine.h"

namespace {

using namespace chronovisor;

constexpr std::uint64_t kSteps = 2'000;
constexpr std::uint64_t kCodeAddress = 0x8000;
constexpr std::size_t kMostCode = 8192;
constexpr std::uint64_t kPml4 = 0x20000;
constexpr std::uint64_t kPdpt = 0x21000;
constexpr std::uint64_t kPageDirectory = 0x22000;

void write64(Machine& machine, std::uint64_t address, std::uint64_t value) {
  ByteWriter bytes;
  bytes.integer(value);
  machine.ram().write({address}, bytes.data());
}

/// Flat 32-bit or 64-bit mode as a boot loader leaves it.
void enter_flat(Machine& machine, CpuState& state, bool wide) {
  state.cr0 |= kCr0Pe;
  for (SegmentRegister& segment : state.segment) segment = {0x10, 0xc093, 0xffffffff, 0};
  state.segment[kCs] = {0x08, static_cast<std::uint16_t>(wide ? 0xa09b : 0xc09b), 0xffffffff, 0};
  if (!wide) return;
  write64(machine, kPml4, kPdpt | 7);
  write64(machine, kPdpt, kPageDirectory | 7);
  for (std::uint64_t n = 0; n < 512; ++n) write64(machine, kPageDirectory + 8 * n, n << 21 | 0x87);
  state.cr3 = kPml4;
  state.cr4 |= kCr4Pae | kCr4Osfxsr | kCr4Osxmmexcpt;
  state.msr.efer |= kEferLme | kEferLma | kEferSce;
  state.cr0 |= kCr0Pg;
}

Hash128 run(const std::uint8_t* data, std::size_t size) {
  MachineConfig config;
  config.memory_bytes = 1ULL << 20;
  Machine machine(config);
  BootRequest request;
  request.kind = BootKind::flat;
  request.kernel_name = "fuzz";
  request.kernel = ByteView(data + 4, std::min(size - 4, kMostCode));
  request.flat_address = kCodeAddress;
  machine.boot(request);
  const unsigned mode = data[0] % 3;
  machine.change_cpu([&](Cpu& cpu) {
    if (mode != 0) enter_flat(machine, cpu.state, mode == 2);
    for (unsigned n = 0; n < 16; ++n) {
      cpu.gpr(n) = n == kRsp ? 0x7000 : std::uint64_t{data[1 + n % 3]} << (n * 3);
    }
    if ((data[0] & 0x80) != 0) cpu.state.cr0 &= ~std::uint64_t{kCr0Em | kCr0Ts};
  });
  static_cast<void>(machine.run({{kSteps}, 0}));
  return machine.digest();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  if (run(data, size) != run(data, size)) std::abort();
  return 0;
}
