#include "vmm/cpu/interpret/system/cpuid.h"

#include <array>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "vmm/cpu/state/msr.h"
#include "vmm/cpu/state/registers.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kHighestBasic = 0x16;
constexpr std::uint32_t kFirstExtended = 0x80000000;
constexpr std::uint32_t kHighestExtended = 0x80000008;
constexpr std::uint32_t kTscHz = 1'000'000'000;
constexpr std::uint32_t kMegahertz = 1000;
constexpr std::uint32_t kBusMegahertz = 100;
constexpr std::uint32_t kLinearAddressBits = 48;
constexpr std::uint32_t kXsaveBytes = 576;  // legacy region and header
constexpr std::string_view kBrand = "Chronovisor virtual CPU @ 1.00GHz";
static_assert(kBrand.size() < 48);

constexpr std::uint32_t bits(std::initializer_list<unsigned> numbers) {
  std::uint32_t value = 0;
  for (const unsigned n : numbers) value |= 1U << n;
  return value;
}

// SSE3 PCLMULQDQ SSSE3 CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES XSAVE RDRAND
constexpr std::uint32_t kLeaf1Ecx = bits({0, 1, 9, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 30});
constexpr unsigned kLeaf1EcxOsxsave = 27;
// FPU DE PSE TSC MSR PAE MCE CX8 SEP MTRR PGE MCA CMOV PAT PSE-36 CLFSH MMX FXSR SSE SSE2
constexpr std::uint32_t kLeaf1Edx =
    bits({0, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26});
constexpr unsigned kLeaf1EdxApic = 9;
// FSGSBASE TSC_ADJUST SMEP INVPCID FCS/FDS-deprecated RDSEED SMAP
constexpr std::uint32_t kLeaf7Ebx = bits({0, 1, 7, 10, 13, 18, 20});
constexpr std::uint32_t kLeaf7Ecx = bits({2});      // UMIP
constexpr std::uint32_t kLeaf6Eax = bits({2});      // ARAT
constexpr std::uint32_t kExtended1Ecx = bits({0});  // LAHF in 64-bit mode
// SYSCALL NX 1-GiB pages RDTSCP long mode
constexpr std::uint32_t kExtended1Edx = bits({11, 20, 26, 27, 29});
constexpr std::uint32_t kExtended7Edx = bits({8});  // invariant TSC

CpuidResult vendor(std::uint32_t highest) {
  CpuidResult result{highest, 0, 0, 0};
  std::memcpy(&result.ebx, "Genu", 4);
  std::memcpy(&result.edx, "ineI", 4);
  std::memcpy(&result.ecx, "ntel", 4);
  return result;
}

CpuidResult features(const CpuidState& state) {
  constexpr std::uint32_t kClflushLine = (64 / 8) << 8;
  constexpr std::uint32_t kOneProcessor = 1U << 16;
  CpuidResult result{kCpuSignature, kClflushLine | kOneProcessor | (state.apic_id << 24), kLeaf1Ecx,
                     kLeaf1Edx};
  if ((state.cr4 & kCr4Osxsave) != 0) result.ecx |= 1U << kLeaf1EcxOsxsave;
  if (state.apic_enabled) result.edx |= 1U << kLeaf1EdxApic;
  return result;
}

/// One cache of leaf 4: 64-byte lines, 8 ways.
CpuidResult cache(std::uint32_t type, std::uint32_t level, std::uint32_t sets) {
  constexpr std::uint32_t kSelfInitializing = 1U << 8;
  constexpr std::uint32_t kGeometry = (7U << 22) | 63U;
  return {type | (level << 5) | kSelfInitializing, kGeometry, sets - 1, 0};
}

CpuidResult caches(std::uint32_t subleaf) {
  constexpr std::uint32_t kData = 1;
  constexpr std::uint32_t kInstruction = 2;
  constexpr std::uint32_t kUnified = 3;
  switch (subleaf) {
    case 0:
      return cache(kData, 1, 64);
    case 1:
      return cache(kInstruction, 1, 64);
    case 2:
      return cache(kUnified, 2, 1024);
    default:
      return {};
  }
}

CpuidResult topology(std::uint32_t subleaf, const CpuidState& state) {
  CpuidResult result{0, 0, subleaf & 0xff, state.apic_id};
  if (subleaf < 2) {
    result.ebx = 1;
    result.ecx |= (subleaf + 1) << 8;  // 1: thread level, 2: core level
  }
  return result;
}

CpuidResult xsave(std::uint32_t subleaf) {
  if (subleaf != 0) return {};
  return {3, kXsaveBytes, kXsaveBytes, 0};
}

CpuidResult brand(std::uint32_t part) {
  std::array<char, 48> text{};
  kBrand.copy(text.data(), kBrand.size());
  CpuidResult result;
  const char* at = text.data() + std::size_t{part} * 16;
  std::memcpy(&result.eax, at, 4);
  std::memcpy(&result.ebx, at + 4, 4);
  std::memcpy(&result.ecx, at + 8, 4);
  std::memcpy(&result.edx, at + 12, 4);
  return result;
}

CpuidResult basic_leaf(std::uint32_t leaf, std::uint32_t subleaf, const CpuidState& state) {
  switch (leaf) {
    case 0x0:
      return vendor(kHighestBasic);
    case 0x1:
      return features(state);
    case 0x2:
      return {0x0000ff01, 0, 0, 0};  // "see leaf 4"
    case 0x4:
      return caches(subleaf);
    case 0x6:
      return {kLeaf6Eax, 0, 0, 0};
    case 0x7:
      return subleaf == 0 ? CpuidResult{0, kLeaf7Ebx, kLeaf7Ecx, 0} : CpuidResult{};
    case 0xb:
      return topology(subleaf, state);
    case 0xd:
      return xsave(subleaf);
    case 0x15:
      return {1, 1, kTscHz, 0};
    case 0x16:
      return {kMegahertz, kMegahertz, kBusMegahertz, 0};
    default:
      return {};
  }
}

CpuidResult extended_leaf(std::uint32_t leaf) {
  constexpr std::uint32_t kL2 = (512U << 16) | (6U << 12) | 64U;  // 512 KiB, 8 ways
  switch (leaf) {
    case 0x80000000:
      return {kHighestExtended, 0, 0, 0};
    case 0x80000001:
      return {0, 0, kExtended1Ecx, kExtended1Edx};
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
      return brand(leaf - 0x80000002);
    case 0x80000006:
      return {0, 0, kL2, 0};
    case 0x80000007:
      return {0, 0, 0, kExtended7Edx};
    case 0x80000008:
      return {kPhysicalAddressBits | (kLinearAddressBits << 8), 0, 0, 0};
    default:
      return {};
  }
}

}  // namespace

CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf, const CpuidState& state) {
  if (leaf >= kFirstExtended && leaf <= kHighestExtended) return extended_leaf(leaf);
  return basic_leaf(leaf > kHighestBasic ? kHighestBasic : leaf, subleaf, state);
}

}  // namespace chronovisor
