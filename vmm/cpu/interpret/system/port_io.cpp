// IN, OUT, INS and OUTS, with the I/O permission check.
#include "vmm/cpu/interpret/system/descriptors.h"
#include "vmm/cpu/interpret/system/system_handlers.h"

namespace chronovisor::system_handlers {
namespace {

/// Raises #GP(0) unless IOPL or the I/O permission bitmap allows the ports.
/// Source: SDM vol. 1, "I/O Permission Bit Map".
void check_port_permission(Cpu& cpu, std::uint16_t port, unsigned width) {
  if (!cpu.protected_mode()) return;
  if (cpu.cpl() <= cpu.flags.iopl() && !cpu.virtual8086()) return;
  constexpr std::uint32_t kBitmapOffsetField = 0x66;
  const SegmentRegister& tr = cpu.state.tr;
  const bool tss32 = tr.type() == kTss32Available || tr.type() == kTss32Busy;
  if (!tr.present() || !tss32 || tr.limit < kBitmapOffsetField + 1) cpu.raise_gp0();
  const std::uint32_t bitmap = cpu.load_system<std::uint16_t>(tr.base + kBitmapOffsetField);
  const std::uint32_t first = bitmap + port / 8U;
  // Two bytes are always read, so that any four ports are covered.
  if (first + 1 > tr.limit) cpu.raise_gp0();
  const unsigned bits = cpu.load_system<std::uint16_t>(tr.base + first) >> (port & 7U);
  if ((bits & ((1U << width) - 1)) != 0) cpu.raise_gp0();
}

std::uint16_t dx(const Cpu& cpu) { return cpu.reg<std::uint16_t>(kRdx); }

template <class T>
void input(Cpu& cpu, std::uint16_t port) {
  check_port_permission(cpu, port, sizeof(T));
  const std::uint32_t value = cpu.environment().port_read(port, sizeof(T));
  cpu.set_reg<T>(kRax, static_cast<T>(value));
  cpu.note_port_access(port, sizeof(T));
  cpu.request_recheck();
}

template <class T>
void output(Cpu& cpu, std::uint16_t port) {
  check_port_permission(cpu, port, sizeof(T));
  cpu.environment().port_write(port, sizeof(T), cpu.reg<T>(kRax));
  cpu.note_port_access(port, sizeof(T));
  cpu.request_recheck();
}

/// True when a REP prefix is there and its count is 0: nothing to do.
bool repeated_no_times(Cpu& cpu, const Instruction& i) {
  return i.repeat != 0 && Cpu::cut(cpu.gpr(kRcx), i.address_size) == 0;
}

/// Ends one iteration: moves the index register and the count. A device was
/// touched, so the step boundary after it is a place to stop.
void finish_iteration(Cpu& cpu, const Instruction& i, unsigned index, unsigned width) {
  const std::uint64_t step = cpu.flags.test(kDf) ? std::uint64_t{0} - width : width;
  set_reg_sized(cpu, index, i.address_size, cpu.gpr(index) + step);
  if (i.repeat != 0) {
    const std::uint64_t left = Cpu::cut(cpu.gpr(kRcx) - 1, i.address_size);
    set_reg_sized(cpu, kRcx, i.address_size, left);
    cpu.count_iterations(1);
    if (left != 0) cpu.repeat_unfinished();
  }
  cpu.request_recheck();
}

}  // namespace

template <class T>
void in_port(Cpu& cpu, const Instruction& /*i*/) {
  input<T>(cpu, dx(cpu));
}
template <class T>
void in_immediate(Cpu& cpu, const Instruction& i) {
  input<T>(cpu, static_cast<std::uint16_t>(i.immediate));
}
template <class T>
void out_port(Cpu& cpu, const Instruction& /*i*/) {
  output<T>(cpu, dx(cpu));
}
template <class T>
void out_immediate(Cpu& cpu, const Instruction& i) {
  output<T>(cpu, static_cast<std::uint16_t>(i.immediate));
}

template <class T>
void ins(Cpu& cpu, const Instruction& i) {
  if (repeated_no_times(cpu, i)) return;
  check_port_permission(cpu, dx(cpu), sizeof(T));
  const std::uint64_t offset = Cpu::cut(cpu.gpr(kRdi), i.address_size);
  cpu.probe(kEs, offset, sizeof(T), Access::write);  // before the device notices anything
  const std::uint32_t value = cpu.environment().port_read(dx(cpu), sizeof(T));
  cpu.store<T>(kEs, offset, static_cast<T>(value));
  cpu.note_port_access(dx(cpu), sizeof(T));
  finish_iteration(cpu, i, kRdi, sizeof(T));
}

template <class T>
void outs(Cpu& cpu, const Instruction& i) {
  if (repeated_no_times(cpu, i)) return;
  check_port_permission(cpu, dx(cpu), sizeof(T));
  const T value = cpu.load<T>(i.segment, Cpu::cut(cpu.gpr(kRsi), i.address_size));
  cpu.environment().port_write(dx(cpu), sizeof(T), value);
  cpu.note_port_access(dx(cpu), sizeof(T));
  finish_iteration(cpu, i, kRsi, sizeof(T));
}

template void in_port<std::uint8_t>(Cpu&, const Instruction&);
template void in_port<std::uint16_t>(Cpu&, const Instruction&);
template void in_port<std::uint32_t>(Cpu&, const Instruction&);
template void in_immediate<std::uint8_t>(Cpu&, const Instruction&);
template void in_immediate<std::uint16_t>(Cpu&, const Instruction&);
template void in_immediate<std::uint32_t>(Cpu&, const Instruction&);
template void out_port<std::uint8_t>(Cpu&, const Instruction&);
template void out_port<std::uint16_t>(Cpu&, const Instruction&);
template void out_port<std::uint32_t>(Cpu&, const Instruction&);
template void out_immediate<std::uint8_t>(Cpu&, const Instruction&);
template void out_immediate<std::uint16_t>(Cpu&, const Instruction&);
template void out_immediate<std::uint32_t>(Cpu&, const Instruction&);
template void ins<std::uint8_t>(Cpu&, const Instruction&);
template void ins<std::uint16_t>(Cpu&, const Instruction&);
template void ins<std::uint32_t>(Cpu&, const Instruction&);
template void outs<std::uint8_t>(Cpu&, const Instruction&);
template void outs<std::uint16_t>(Cpu&, const Instruction&);
template void outs<std::uint32_t>(Cpu&, const Instruction&);

}  // namespace chronovisor::system_handlers
