// Owns the shape of one case of the instruction oracle: the state both sides
// start from, what they end with, and where its memory lies. The same linear
// addresses are mapped in the native child and in the engine's guest. Plain
// data, shared between processes.
#pragma once

#include <array>
#include <cstdint>

namespace chronovisor::oracle {

// Everything lies below 2 GiB, so that 32-bit addresses and displacements reach it.
inline constexpr std::uint64_t kWindow = 0x20001000;   ///< two pages, read and write
inline constexpr std::uint64_t kWindowBytes = 0x2000;  ///< the page below is not mapped
inline constexpr std::uint64_t kReadOnly = kWindow + kWindowBytes;  ///< one page, read only
inline constexpr std::uint64_t kReadOnlyBytes = 0x1000;  ///< the page above is not mapped
inline constexpr std::uint64_t kCode = 0x20010000;       ///< two pages, read and execute
inline constexpr std::uint64_t kCodeBytes = 0x2000;
inline constexpr std::uint64_t kGsBase = 0x12340000;  ///< nothing is mapped there
inline constexpr std::size_t kPoolBytes = 0x10000;    ///< of random bytes for the window

/// Bytes behind the instruction are INT3.
inline constexpr std::size_t kCodePatch = 32;
inline constexpr std::uint8_t kBreakpointByte = 0xcc;

/// An FXSAVE64 image; the fields the oracle compares.
struct alignas(16) FpImage {
  std::uint16_t control = 0x37f;
  std::uint16_t status = 0;
  std::uint8_t tags = 0;  ///< bit n: physical register n is not empty
  std::uint8_t reserved = 0;
  std::uint16_t last_opcode = 0;
  std::uint64_t last_ip = 0;
  std::uint64_t last_dp = 0;
  std::uint32_t mxcsr = 0x1f80;
  std::uint32_t mxcsr_mask = 0;
  struct St {
    std::uint64_t significand = 0;
    std::uint16_t sign_exponent = 0;
    std::array<std::uint8_t, 6> zero{};
  };
  std::array<St, 8> st{};  ///< by distance from TOP
  std::array<std::array<std::uint64_t, 2>, 16> xmm{};
  std::array<std::uint8_t, 96> rest{};
};
static_assert(sizeof(FpImage) == 512);

enum class End : std::uint8_t {
  step,        ///< one instruction: the host by TF, the engine by its budget
  breakpoint,  ///< until the INT3 behind it: repeated string instructions
};

struct Patch {
  std::uint32_t offset = 0;  ///< in the window
  std::uint32_t size = 0;
  std::array<std::uint8_t, 128> bytes{};
};

struct Case {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 16> gpr{};
  std::uint64_t rip = 0;
  std::uint32_t rflags = 0;
  std::uint32_t pool_offset = 0;  ///< the window's contents
  std::uint16_t row = 0;
  bool compatibility = false;  ///< 32-bit code segment, flat data segments
  End end = End::step;
  std::uint8_t length = 0;
  std::uint8_t patch_count = 0;
  std::array<std::uint8_t, kCodePatch> code{};
  std::array<Patch, 2> patches{};
  FpImage fp;
};

inline constexpr std::uint32_t kNoFault = 0xff;

struct Outcome {
  std::array<std::uint64_t, 16> gpr{};
  std::uint64_t rip = 0;
  std::uint64_t cr2 = 0;  ///< for #PF
  std::uint32_t rflags = 0;
  std::uint32_t vector = kNoFault;
  std::uint32_t error_code = 0;
  bool done = false;
  FpImage fp;
  std::array<std::uint8_t, kWindowBytes> window{};
};

}  // namespace chronovisor::oracle
