// Owns where firmware keeps its things in memory. Where devices are is said by
// the devices (Device::declare) and by the model. Constants.
#pragma once

#include <cstdint>

namespace chronovisor::platform {

// Firmware's places in memory.
inline constexpr std::uint32_t kEbdaBegin = 0x9fc00;
inline constexpr std::uint32_t kEbdaEnd = 0xa0000;
inline constexpr std::uint32_t kFirmwareBegin = 0xf0000;
inline constexpr std::uint32_t kFirmwareEnd = 0x100000;
inline constexpr std::uint32_t kRsdpAddress = 0xf0000;
inline constexpr std::uint32_t kAcpiTables = 0xf0040;  ///< FACS first: 64-byte aligned
inline constexpr std::uint32_t kMpTables = 0xf8000;
/// An IRET, where PC firmware keeps its dummy interrupt handler.
inline constexpr std::uint32_t kDummyInterruptHandler = 0xfff53;

}  // namespace chronovisor::platform
