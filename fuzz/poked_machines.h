// Owns the machines whose states sections_fuzz changes: small ones with a guest that
// pokes every port, both APICs and, on a pc-2, its PCI functions and the screen; and
// sound states of them. Any thread, once they are made.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

class PokedMachine {
 public:
  explicit PokedMachine(std::string_view model);
  /// A machine with the guest in its memory, at reset.
  [[nodiscard]] std::unique_ptr<Machine> fresh() const;
  /// Sections of a sound machine: at reset; in 64-bit mode about to poke; having poked.
  [[nodiscard]] const std::vector<Section>& sound(unsigned which) const {
    return sound_[which % sound_.size()];
  }

 private:
  void fill_memory(Machine& machine) const;

  MachineConfig config_;
  std::array<std::vector<Section>, 3> sound_;
};

namespace poking {

/// What the drives read: blocks that differ, and now and then none.
class Media final : public MediaSource {
 public:
  [[nodiscard]] bool read_block(std::uint32_t medium, std::uint64_t block, Block out) override {
    for (std::size_t n = 0; n < out.size(); ++n) {
      out[n] = static_cast<std::uint8_t>(n * 3 + block * 7 + medium);
    }
    return block % 13 != 12;
  }
};

// Where the guest's parts lie.
constexpr std::uint64_t kStart = 0x8000, kHandler = 0x8f00, kPortTable = 0x9000;
constexpr std::uint64_t kGdt = 0xa000, kConfigTable = 0xb000;

/// Writes the PCI configuration of kConfigTable, and readies the multiplier.
constexpr std::array<std::uint8_t, 33> kPrelude{
    0xbe, 0x00, 0xb0, 0x00, 0x00,                                // mov esi, kConfigTable
    0xad,                                                        // again: lodsd
    0x85, 0xc0,                                                  // test eax, eax
    0x74, 0x0d,                                                  // jz done
    0x66, 0xba, 0xf8, 0x0c,                                      // mov dx, 0xcf8
    0xef,                                                        // out dx, eax
    0xad,                                                        // lodsd
    0x66, 0xba, 0xfc, 0x0c,                                      // mov dx, 0xcfc
    0xef,                                                        // out dx, eax
    0xeb, 0xee,                                                  // jmp again
    0x48, 0xb9, 0x2d, 0x7f, 0x95, 0x4c, 0x2d, 0xf4, 0x51, 0x58,  // done: mov rcx, multiplier
};

/// Writes a random value to a random port of 64, and to registers of both APICs.
constexpr std::array<std::uint8_t, 72> kPokePorts{
    0x48, 0x0f, 0xaf, 0xd9,                          // imul rbx, rcx
    0x48, 0x81, 0xc3, 0x4f, 0x5d, 0x1d, 0x14,        // add rbx, odd
    0x48, 0x89, 0xde,                                // mov rsi, rbx
    0x48, 0xc1, 0xee, 0x28,                          // shr rsi, 40
    0x83, 0xe6, 0x3f,                                // and esi, 63
    0x0f, 0xb7, 0x14, 0x75, 0x00, 0x90, 0x00, 0x00,  // movzx edx, word [kPortTable+rsi*2]
    0x48, 0x89, 0xd8,                                // mov rax, rbx
    0x48, 0xc1, 0xe8, 0x14,                          // shr rax, 20
    0xee,                                            // out dx, al
    0xec,                                            // in al, dx
    0xef,                                            // out dx, eax
    0xed,                                            // in eax, dx
    0x48, 0x89, 0xdf,                                // mov rdi, rbx
    0x81, 0xe7, 0xf0, 0x03, 0x00, 0x00,              // and edi, 0x3f0
    0x8d, 0xbf, 0x00, 0x00, 0xe0, 0xfe,              // lea edi, [rdi+0xfee00000]
    0x89, 0x1f,                                      // mov [rdi], ebx
    0x8b, 0x07,                                      // mov eax, [rdi]
    0x83, 0xe6, 0x10,                                // and esi, 0x10
    0x8d, 0xb6, 0x00, 0x00, 0xc0, 0xfe,              // lea esi, [rsi+0xfec00000]
    0x89, 0x1e,                                      // mov [rsi], ebx
    0x8b, 0x06,                                      // mov eax, [rsi]
};

/// Moves a random dword to and from `bytes` (a power of two) at `base`, where a device is.
inline void append_poke(Bytes& code, std::uint32_t base, std::uint32_t bytes) {
  const auto word = [&](std::uint32_t value) {
    for (int n = 0; n < 4; ++n) code.push_back(static_cast<std::uint8_t>(value >> (8 * n)));
  };
  const auto put = [&](std::initializer_list<std::uint8_t> more) { code.insert(code.end(), more); };
  put({0x48, 0x89, 0xdf});        // mov rdi, rbx
  put({0x48, 0xc1, 0xef, 0x21});  // shr rdi, 33
  put({0x81, 0xe7});              // and edi, mask
  word((bytes - 1) & ~3U);
  put({0x8d, 0xbf});  // lea edi, [rdi+base]
  word(base);
  put({0x89, 0x1f, 0x8b, 0x07});  // mov [rdi], ebx; mov eax, [rdi]
}

constexpr std::array<std::uint16_t, 64> kPc1Ports{
    0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x61,  0x70,  0x71,
    0x60,  0x64,  0x80,  0x92,  0xe9,  0xcf8, 0xcf9, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0x3f8, 0x3f9,
    0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x600, 0x601, 0x602, 0x603, 0x604, 0x608, 0x609,
    0x60a, 0x60b, 0xb2,  0xb3,  0x620, 0x621, 0x622, 0x623, 0x20,  0x21,  0xa0,  0x40,  0x43,
    0x70,  0x71,  0x60,  0x64,  0x3f8, 0x3f9, 0x3fa, 0x3fc, 0x600, 0x602, 0x604, 0xcfc};

/// The keyboard's controller, both IDE channels and their bus master, the screen, the
/// firmware's items, power management, and virtio's older registers.
constexpr std::array<std::uint16_t, 64> kPc2Ports{
    0x60,   0x64,   0x60,   0x64,   0x1f0,  0x1f1,  0x1f2,  0x1f3,  0x1f4,  0x1f5,  0x1f6,
    0x1f7,  0x3f6,  0x170,  0x171,  0x172,  0x173,  0x174,  0x175,  0x176,  0x177,  0x376,
    0xc000, 0xc002, 0xc004, 0xc008, 0xc00a, 0xc00c, 0x1ce,  0x1cf,  0x1d0,  0x3c0,  0x3c1,
    0x3c2,  0x3c4,  0x3c5,  0x3c7,  0x3c8,  0x3c9,  0x3ce,  0x3cf,  0x3d4,  0x3d5,  0x3da,
    0x510,  0x511,  0x514,  0x518,  0xc100, 0xc104, 0xc108, 0xc10c, 0xc10e, 0xc110, 0xc112,
    0xc113, 0x600,  0x602,  0x604,  0x404,  0xb2,   0x4d0,  0xcf8,  0xcfc};

struct ConfigWrite {
  std::uint32_t address = 0;
  std::uint32_t value = 0;
};
constexpr std::uint32_t config_address(unsigned device, unsigned function, unsigned offset) {
  return 0x80000000U | device << 11 | function << 8 | offset;
}
constexpr std::uint32_t kScreen = 0xe0000000, kAhci = 0xe2000000, kVirtio = 0xe2100000;
/// Places for the functions of the board and its drives, which then answer and may master.
constexpr std::array<ConfigWrite, 9> kPc2Config{{
    {config_address(1, 1, 0x20), 0xc001},  // IDE: the bus master's ports
    {config_address(1, 1, 0x04), 5},
    {config_address(2, 0, 0x10), kScreen},
    {config_address(2, 0, 0x04), 3},
    {config_address(4, 0, 0x24), kAhci},
    {config_address(4, 0, 0x04), 6},
    {config_address(5, 0, 0x10), 0xc101},  // virtio: the older registers, and the newer ones
    {config_address(5, 0, 0x20), kVirtio},
    {config_address(5, 0, 0x04), 7},
}};

inline void put(Machine& machine, std::uint64_t at, ByteView bytes) {
  (void)machine.ram().write({at}, bytes);
}
template <class Value>
void put_value(Machine& machine, std::uint64_t at, Value value) {
  std::array<std::uint8_t, sizeof(Value)> bytes{};
  std::memcpy(bytes.data(), &value, sizeof(value));
  put(machine, at, bytes);
}

}  // namespace poking

inline PokedMachine::PokedMachine(std::string_view model) {
  config_.memory_bytes = 1U << 20;
  config_.model = model;
  if (model != kFirstModel) {
    using Interface = DriveConfig::Interface;
    constexpr std::uint64_t kDriveBytes = 1U << 18;
    config_.drives = {{Interface::ide, DriveConfig::Kind::disk, false, kDriveBytes},
                      {Interface::ide, DriveConfig::Kind::cdrom, true, kDriveBytes},
                      {Interface::ahci, DriveConfig::Kind::disk, false, kDriveBytes},
                      {Interface::virtio, DriveConfig::Kind::disk, false, kDriveBytes}};
    config_.media = std::make_shared<poking::Media>();
  }
  const auto machine = fresh();
  sound_[0] = machine->save_sections();
  machine->change_cpu([](Cpu& cpu) {
    cpu.state.cr0 = kCr0Pe | kCr0Pg | kCr0Et;
    cpu.state.cr3 = 0x1000;
    cpu.state.cr4 = kCr4Pae;
    cpu.state.msr.efer = kEferLme | kEferLma;
    for (SegmentRegister& segment : cpu.state.segment) segment = {0x10, 0xc093, 0xffffffff, 0};
    cpu.state.segment[kCs] = {0x08, 0xa09b, 0xffffffff, 0};
    cpu.state.idtr = {0x7000, 0xfff};
    cpu.state.gdtr = {poking::kGdt, 0x17};
    cpu.gpr(kRsp) = 0x20000;
    cpu.rip() = poking::kStart;
    cpu.set_flags(kIf);
  });
  sound_[1] = machine->save_sections();
  (void)machine->run({{100'000}, 0});
  sound_[2] = machine->save_sections();
}

inline std::unique_ptr<Machine> PokedMachine::fresh() const {
  auto machine = std::make_unique<Machine>(config_);
  fill_memory(*machine);
  return machine;
}

/// The first 4 GiB mapped where they lie, a gate for every vector to an IRETQ, the code
/// and its tables.
inline void PokedMachine::fill_memory(Machine& machine) const {
  using namespace poking;
  put_value(machine, 0x1000, std::uint64_t{0x2003});
  for (std::uint64_t gib = 0; gib < 4; ++gib) {
    put_value(machine, 0x2000 + 8 * gib, 0x3003 + (gib << 12));
  }
  for (std::uint64_t n = 0; n < 2048; ++n) put_value(machine, 0x3000 + 8 * n, n << 21 | 0x83);
  for (std::uint64_t vector = 0; vector < 256; ++vector) {
    put_value(machine, 0x7000 + 16 * vector, 0x00008e0000080000 | kHandler);
  }
  put_value(machine, kGdt + 0x08, std::uint64_t{0x00af9b000000ffff});  // code, then data
  put_value(machine, kGdt + 0x10, std::uint64_t{0x00cf93000000ffff});
  put(machine, kHandler, std::array<std::uint8_t, 2>{0x48, 0xcf});
  const bool first = config_.model == kFirstModel;
  std::uint64_t at = kPortTable;
  for (const std::uint16_t port : first ? kPc1Ports : kPc2Ports) {
    put_value(machine, at, port);
    at += sizeof(port);
  }
  Bytes code(kPrelude.begin(), kPrelude.end());
  code.insert(code.end(), kPokePorts.begin(), kPokePorts.end());
  if (!first) {
    at = kConfigTable;
    for (const ConfigWrite& write : kPc2Config) {
      put_value(machine, at, write);
      at += sizeof(write);
    }
    append_poke(code, 0xa0000, 0x20000);
    append_poke(code, kScreen, 0x10000);
    append_poke(code, kAhci, 0x1000);
    append_poke(code, kVirtio, 0x4000);
  }
  code.push_back(0xe9);  // jmp to what is behind the prelude
  const auto back = static_cast<std::int32_t>(kPrelude.size()) - static_cast<int>(code.size() + 4);
  for (int n = 0; n < 4; ++n) code.push_back(static_cast<std::uint8_t>(back >> (8 * n)));
  put(machine, kStart, code);
}

/// The one of this model, made when it is first asked for.
inline const PokedMachine& poked_machine(std::string_view model) {
  static const PokedMachine pc1(kFirstModel);
  if (model == kFirstModel) return pc1;
  static const PokedMachine pc2(model);
  return pc2;
}

}  // namespace chronovisor
