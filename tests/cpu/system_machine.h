// Owns a processor with a little RAM and an environment that records port
// accesses, for tests of system behaviour. State is set up directly; code is
// given as bytes. One thread a machine.
#pragma once

#include <initializer_list>
#include <map>
#include <vector>

#include "vmm/cpu/cpu.h"
#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor::test {

class SystemEnvironment : public CpuEnvironment {
 public:
  std::uint32_t port_read(std::uint16_t port, unsigned /*width*/) override { return ports[port]; }
  void port_write(std::uint16_t port, unsigned /*width*/, std::uint32_t value) override {
    ports[port] = value;
  }
  std::uint64_t mmio_read(GuestPhysical /*a*/, unsigned /*width*/) override { return ~0ULL; }
  void mmio_write(GuestPhysical /*a*/, unsigned /*width*/, std::uint64_t /*v*/) override {}
  [[nodiscard]] VirtualTime now() const override { return {time_ns}; }
  std::uint8_t acknowledge_interrupt() override { return 0x20; }
  [[nodiscard]] std::uint8_t task_priority() const override { return priority; }
  void set_task_priority(std::uint8_t cr8) override { priority = cr8; }
  bool read_apic_msr(std::uint32_t index, std::uint64_t& value) override {
    value = 0xfee00900;
    return index == 0x1b;
  }
  bool write_apic_msr(std::uint32_t index, std::uint64_t /*value*/) override {
    return index == 0x1b;
  }
  [[nodiscard]] bool apic_enabled() const override { return true; }
  [[nodiscard]] std::uint32_t apic_id() const override { return 0; }
  void tsc_offset_changed(std::uint64_t offset) override { told_offset = offset; }
  [[nodiscard]] std::uint64_t entropy(std::uint64_t index) const override {
    return 0x1111 * (index + 1);
  }

  std::map<std::uint16_t, std::uint32_t> ports;
  std::uint64_t time_ns = 1000;
  std::uint64_t told_offset = 0;
  std::uint8_t priority = 0;
};

class SystemMachine {
 public:
  static constexpr std::uint64_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kTss2 = 0x3800;
  static constexpr std::uint64_t kCode = 0x8000, kHandler = 0x9000;
  static constexpr std::uint64_t kStack0 = 0x20000, kStack3 = 0x30000, kTables = 0x40000;
  static constexpr std::uint16_t kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23;
  static constexpr std::uint16_t kLong0 = 0x28, kTssSelector = 0x30, kTss2Selector = 0x40;
  static constexpr std::uint16_t kCallGateSelector = 0x53, kLong3 = 0x5b;

  SystemMachine() : ram(1 << 21), cpu(ram, environment) {}

  template <class T>
  void put(std::uint64_t address, T value) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    std::memcpy(bytes.data(), &value, sizeof(T));
    ram.write({address}, bytes);
  }
  template <class T>
  T get(std::uint64_t address) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    ram.read({address}, bytes);
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  void code(std::uint64_t address, std::initializer_list<std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) put<std::uint8_t>(address++, byte);
  }
  /// One step, with all it causes.
  void step() { cpu.run({cpu.position().steps + 1}); }
  /// One step that does not retire: its exception is delivered.
  void fault() { cpu.run(cpu.position(), 1); }

  void real_mode() {
    for (SegmentRegister& s : cpu.state.segment) s = {0, 0x93, 0xffff, 0};
    cpu.state.segment[kCs] = {0, 0x9b, 0xffff, 0};
    cpu.state.idtr = {0, 0x3ff};
    cpu.rip() = kCode;
    cpu.gpr(kRsp) = 0x7000;
    cpu.state_replaced();
  }

  /// Flat 32-bit protected mode at `cpl`; a TSS whose ring 0 stack is kStack0.
  void protected_mode(unsigned cpl) {
    write_gdt();
    put<std::uint32_t>(kTss + 4, kStack0);
    put<std::uint16_t>(kTss + 8, kData0);
    put<std::uint16_t>(kTss + 0x66, 0x68);
    cpu.state.gdtr = {kGdt, 0x7f};
    cpu.state.idtr = {kIdt, 0x7ff};
    cpu.state.tr = {kTssSelector, 0x8b, 0x67 + 0x40, kTss};
    cpu.state.cr0 = kCr0Pe | kCr0Et;
    flat(cpl, false);
  }

  /// 64-bit mode at `cpl`, the low 2 MiB mapped to themselves for everyone.
  void long_mode(unsigned cpl) {
    write_gdt();
    put<std::uint64_t>(kTss + 4, kStack0);
    put<std::uint64_t>(kTss + 0x24, kStack0 + 0x1000);  // IST 1
    put<std::uint64_t>(kTables, (kTables + 0x1000) | 7);
    put<std::uint64_t>(kTables + 0x1000, (kTables + 0x2000) | 7);
    put<std::uint64_t>(kTables + 0x2000, 0x87);
    cpu.state.gdtr = {kGdt, 0x7f};
    cpu.state.idtr = {kIdt, 0xfff};
    cpu.state.tr = {kTssSelector, 0x8b, 0x67, kTss};
    cpu.state.cr3 = kTables;
    cpu.state.cr4 = kCr4Pae;
    cpu.state.msr.efer = kEferLme | kEferLma | kEferSce;
    cpu.state.cr0 = kCr0Pe | kCr0Et | kCr0Pg | kCr0Wp;
    flat(cpl, true);
  }

  void gate32(unsigned vector, std::uint16_t selector, std::uint32_t offset, unsigned type,
              unsigned dpl) {
    put<std::uint64_t>(kIdt + vector * 8, gate_low(selector, offset, 0x80 | (dpl << 5) | type, 0));
  }
  void gate64(unsigned vector, std::uint64_t offset, unsigned type, unsigned dpl, unsigned ist) {
    put<std::uint64_t>(kIdt + vector * 16, gate_low(kLong0, static_cast<std::uint32_t>(offset),
                                                    0x80 | (dpl << 5) | type, ist));
    put<std::uint64_t>(kIdt + vector * 16 + 8, offset >> 32);
  }
  static std::uint64_t gate_low(std::uint16_t selector, std::uint32_t offset, unsigned access,
                                unsigned parameters) {
    return (offset & 0xffffU) | (std::uint64_t{selector} << 16) |
           (std::uint64_t{parameters} << 32) | (std::uint64_t{access} << 40) |
           (std::uint64_t{offset >> 16} << 48);
  }
  void flat(unsigned cpl, bool long_mode) {
    const auto cs = static_cast<std::uint16_t>(long_mode ? (cpl == 0 ? kLong0 : kLong3)
                                                         : (cpl == 0 ? kCode0 : kCode3));
    const auto ss = static_cast<std::uint16_t>(cpl == 0 ? kData0 : kData3);
    for (SegmentRegister& s : cpu.state.segment) s = flat_stack(ss, cpl);
    cpu.state.segment[kCs] = flat_code(cs, cpl, long_mode);
    cpu.rip() = kCode;
    cpu.gpr(kRsp) = cpl == 0 ? kStack0 : kStack3;
    cpu.state_replaced();
    cpu.set_cpl(cpl);
  }

  SystemEnvironment environment;
  Ram ram;
  Cpu cpu;

 private:
  void write_gdt() {
    put<std::uint64_t>(kGdt + 0x08, 0x00cf9b000000ffff);
    put<std::uint64_t>(kGdt + 0x10, 0x00cf93000000ffff);
    put<std::uint64_t>(kGdt + 0x18, 0x00cffb000000ffff);
    put<std::uint64_t>(kGdt + 0x20, 0x00cff3000000ffff);
    put<std::uint64_t>(kGdt + 0x28, 0x00af9b000000ffff);
    put<std::uint64_t>(kGdt + 0x30, 0x00008b00000000a7 | (kTss << 16));
    put<std::uint64_t>(kGdt + 0x40, 0x0000890000000067 | (kTss2 << 16));
    put<std::uint64_t>(kGdt + 0x50, gate_low(kCode0, kHandler, 0xec, 2));
    put<std::uint64_t>(kGdt + 0x58, 0x00affb000000ffff);
  }
};

}  // namespace chronovisor::test
