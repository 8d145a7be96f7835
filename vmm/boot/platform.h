// Owns the addresses and numbers of the machine that firmware tables and
// devices must agree on. Knows no device and no table. Constants.
#pragma once

#include <cstdint>

namespace chronovisor::platform {

inline constexpr std::uint32_t kLocalApicBase = 0xfee00000;
inline constexpr std::uint8_t kLocalApicId = 0;
inline constexpr std::uint8_t kLocalApicVersion = 0x14;
inline constexpr std::uint32_t kIoApicBase = 0xfec00000;
inline constexpr std::uint8_t kIoApicId = 0;
inline constexpr std::uint8_t kIoApicVersion = 0x11;
inline constexpr std::uint8_t kIoApicPins = 24;

// ACPI fixed hardware, I/O ports.
inline constexpr std::uint16_t kPm1aEventPort = 0x600;    ///< 2 bytes status, 2 bytes enable
inline constexpr std::uint16_t kPm1aControlPort = 0x604;  ///< 2 bytes
inline constexpr std::uint16_t kPmTimerPort = 0x608;      ///< 4 bytes, 24 bits count
inline constexpr std::uint16_t kGpe0Port = 0x620;         ///< 2 bytes status, 2 bytes enable
inline constexpr std::uint8_t kGpe0Length = 4;
inline constexpr std::uint16_t kSmiCommandPort = 0xb2;
inline constexpr std::uint8_t kSmiAcpiEnable = 0xf1;   ///< written there: SCI_EN becomes 1
inline constexpr std::uint8_t kSmiAcpiDisable = 0xf0;  ///< written there: SCI_EN becomes 0
inline constexpr std::uint16_t kResetPort = 0xcf9;
inline constexpr std::uint8_t kResetValue = 0x06;
/// SLP_TYP of the soft-off state, written with SLP_EN to PM1a control.
inline constexpr std::uint8_t kSleepTypeS5 = 5;

// Interrupts: ISA IRQ numbers are GSI numbers, but for the timer.
inline constexpr std::uint8_t kSciIrq = 9;  ///< level, active high
inline constexpr std::uint8_t kTimerGsi = 2;
inline constexpr std::uint8_t kTimerIrq = 0;
inline constexpr std::uint8_t kCom1Irq = 4;
inline constexpr std::uint8_t kRtcIrq = 8;
inline constexpr std::uint8_t kCoprocessorIrq = 13;

// Ports of other machines by which small guests end a run.
inline constexpr std::uint16_t kIsaDebugExitPort = 0x501;  ///< QEMU's isa-debug-exit
inline constexpr std::uint16_t kBochsSleepPort = 0xb004;   ///< PM1 control there
inline constexpr std::uint16_t kVirtualBoxSleepPort = 0x4004;
inline constexpr std::uint16_t kShutdownWordPort = 0x8900;

inline constexpr std::uint16_t kCom1Port = 0x3f8;
inline constexpr std::uint16_t kRtcPort = 0x70;
inline constexpr std::uint8_t kRtcCenturyRegister = 0x32;
inline constexpr std::uint16_t kPitPort = 0x40;
inline constexpr std::uint16_t kPciConfigPort = 0xcf8;

// Bus windows that the PCI host bridge forwards.
inline constexpr std::uint32_t kPciWindowBegin = 0xc0000000;
inline constexpr std::uint32_t kPciWindowEnd = 0xfec00000;  ///< first byte past it

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
