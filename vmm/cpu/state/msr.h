// Owns the numbers of model-specific registers, and bits of them, that more than
// one part of the machine names. Source: SDM vol. 4.
#pragma once

#include <cstdint>

namespace chronovisor {

inline constexpr std::uint32_t kMsrApicBase = 0x1b;
inline constexpr std::uint32_t kMsrTscDeadline = 0x6e0;
inline constexpr std::uint32_t kMsrX2apicFirst = 0x800;
inline constexpr std::uint32_t kMsrX2apicLast = 0x8ff;

/// The registers of the local APIC.
constexpr bool is_apic_msr(std::uint32_t index) {
  return index == kMsrApicBase || index == kMsrTscDeadline ||
         (index >= kMsrX2apicFirst && index <= kMsrX2apicLast);
}

/// Bits of IA32_APIC_BASE.
inline constexpr std::uint64_t kApicBaseBsp = 1U << 8;
inline constexpr std::uint64_t kApicBaseX2apic = 1U << 10;
inline constexpr std::uint64_t kApicBaseEnable = 1U << 11;

/// MAXPHYADDR, as CPUID tells it.
inline constexpr unsigned kPhysicalAddressBits = 40;
/// Bits that a physical address may not have.
inline constexpr std::uint64_t kReservedPhysical = ~((1ULL << kPhysicalAddressBits) - 1);

}  // namespace chronovisor
