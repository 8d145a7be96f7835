// The cold halves of the processor's memory access: segments that need a look, and
// accesses that the TLB does not answer. Here a fault of the MMU, a value, becomes
// the exception that handlers are left by, or stays a value for translated code.
#include "vmm/cpu/cpu.h"

namespace chronovisor {

/// Limit, type and presence. Source: SDM vol. 3A, "Limit Checking", "Type Checking".
bool Cpu::within_segment_rules(const SegmentRegister& s, std::uint64_t offset, unsigned size,
                               Access access) const {
  const std::uint64_t last = offset + (size - 1);
  if (mode_.typed()) {
    if (!s.present()) return false;
    const bool code = (s.type() & 8) != 0;
    if (access == Access::write && (code || (s.type() & 2) == 0)) return false;
    if (access == Access::read && code && (s.type() & 2) == 0) return false;
  }
  const bool expand_down = s.code_or_data() && (s.type() & 0xc) == 4;
  if (expand_down) {
    const std::uint64_t top = s.big() ? 0xffffffffU : 0xffffU;
    return offset > s.limit && last <= top && last >= offset;
  }
  return last <= s.limit && last >= offset;
}

std::uint64_t Cpu::linear_checked(unsigned segment, std::uint64_t offset, unsigned size,
                                  Access access) const {
  const SegmentRegister& s = state.segment[segment];
  const std::uint64_t last = offset + (size - 1);
  const bool plain =
      access == Access::write ? mode_.plainly_writable(segment) : mode_.plainly_readable(segment);
  if (!(plain && last <= s.limit && last >= offset)) [[unlikely]] {
    if (!within_segment_rules(s, offset, size, access)) {
      raise(segment == kSs ? kStackFault : kGeneralProtection, 0);
    }
  }
  return static_cast<std::uint32_t>(s.base + offset);
}

template <class T>
T Cpu::load_slow(std::uint64_t address, unsigned segment, Access access) {
  T value;
  if (!mmu_.read({{address}, sizeof(T), access, Privilege::current, segment}, &value)) {
    throw mmu_.fault();
  }
  return value;
}

template <class T>
void Cpu::store_slow(std::uint64_t address, unsigned segment, T value) {
  if (!mmu_.write({{address}, sizeof(T), Access::write, Privilege::current, segment}, &value)) {
    throw mmu_.fault();
  }
}

template <class T>
T Cpu::load_system(std::uint64_t address) {
  T value;
  if (!mmu_.read({{address}, sizeof(T), Access::read, Privilege::supervisor, kDs}, &value)) {
    throw mmu_.fault();
  }
  return value;
}

template <class T>
void Cpu::store_system(std::uint64_t address, T value) {
  if (!mmu_.write({{address}, sizeof(T), Access::write, Privilege::supervisor, kDs}, &value)) {
    throw mmu_.fault();
  }
}

template <class T>
bool Cpu::try_load(std::uint64_t linear, unsigned segment, Access access, T& out) noexcept {
  try {
    if (mmu_.read({{linear}, sizeof(T), access, Privilege::current, segment}, &out)) return true;
    pending_ = mmu_.fault();
  } catch (...) {
    pending_error_ = std::current_exception();
  }
  return false;
}

template <class T>
bool Cpu::try_store(std::uint64_t linear, unsigned segment, T value) noexcept {
  try {
    if (mmu_.write({{linear}, sizeof(T), Access::write, Privilege::current, segment}, &value)) {
      return true;
    }
    pending_ = mmu_.fault();
  } catch (...) {
    pending_error_ = std::current_exception();
  }
  return false;
}

#define CHRONOVISOR_DATA_ACCESS(T)                                              \
  template T Cpu::load_slow<T>(std::uint64_t, unsigned, Access);                \
  template void Cpu::store_slow<T>(std::uint64_t, unsigned, T);                 \
  template bool Cpu::try_load<T>(std::uint64_t, unsigned, Access, T&) noexcept; \
  template bool Cpu::try_store<T>(std::uint64_t, unsigned, T) noexcept;
CHRONOVISOR_DATA_ACCESS(std::uint8_t)
CHRONOVISOR_DATA_ACCESS(std::uint16_t)
CHRONOVISOR_DATA_ACCESS(std::uint32_t)
CHRONOVISOR_DATA_ACCESS(std::uint64_t)
CHRONOVISOR_DATA_ACCESS(Xmm)
#undef CHRONOVISOR_DATA_ACCESS

#define CHRONOVISOR_SYSTEM_ACCESS(T)             \
  template T Cpu::load_system<T>(std::uint64_t); \
  template void Cpu::store_system<T>(std::uint64_t, T);
CHRONOVISOR_SYSTEM_ACCESS(std::uint8_t)
CHRONOVISOR_SYSTEM_ACCESS(std::uint16_t)
CHRONOVISOR_SYSTEM_ACCESS(std::uint32_t)
CHRONOVISOR_SYSTEM_ACCESS(std::uint64_t)
#undef CHRONOVISOR_SYSTEM_ACCESS

void Cpu::probe(unsigned segment, std::uint64_t offset, unsigned size, Access access) {
  const std::uint64_t address = access == Access::write
                                    ? linear<Access::write>(segment, offset, size)
                                    : linear<Access::read>(segment, offset, size);
  if (!mmu_.probe({{address}, size, access, Privilege::current, segment})) throw mmu_.fault();
}

void Cpu::probe_system(std::uint64_t address, unsigned size, Access access) {
  if (!mmu_.probe({{address}, size, access, Privilege::supervisor, kDs})) throw mmu_.fault();
}

}  // namespace chronovisor
