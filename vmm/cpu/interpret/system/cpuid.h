// Owns the CPUID leaves of the one processor model this project has: fixed,
// the same on every host. docs/CPU.md explains the choices. Pure but for the
// few bits CPUID derives from present state. One thread a machine.
#pragma once

#include <cstdint>

namespace chronovisor {

struct CpuidResult {
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
};

/// The part of CPUID that depends on the processor's present state.
struct CpuidState {
  std::uint64_t cr4 = 0;
  std::uint64_t xcr0 = 1;
  bool apic_enabled = true;
  std::uint32_t apic_id = 0;
};

/// Family 6, model 0x1c, stepping 10; also EDX after reset.
inline constexpr std::uint32_t kCpuSignature = 0x000106ca;
/// IA32_BIOS_SIGN_ID after CPUID leaf 1.
inline constexpr std::uint64_t kMicrocodeRevision = 0x107ULL << 32;

/// @param leaf EAX, @param subleaf ECX. A leaf above the highest gives the
/// highest basic leaf, as on Intel processors.
[[nodiscard]] CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf, const CpuidState& state);

}  // namespace chronovisor
