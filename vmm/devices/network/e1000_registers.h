// Owns the numbers of the 82540EM's registers and their bits. Values; any thread.
// Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual, chapter 13.
#pragma once

#include <cstdint>

namespace chronovisor::e1000 {

// Offsets in bytes.
enum Offset : std::uint32_t {
  kCtrl = 0x0000,
  kStatus = 0x0008,
  kEecd = 0x0010,
  kEerd = 0x0014,
  kCtrlExt = 0x0018,
  kMdic = 0x0020,
  kFcal = 0x0028,
  kFcah = 0x002c,
  kFct = 0x0030,
  kVet = 0x0038,
  kIcr = 0x00c0,
  kItr = 0x00c4,
  kIcs = 0x00c8,
  kIms = 0x00d0,
  kImc = 0x00d8,
  kRctl = 0x0100,
  kFcttv = 0x0170,
  kTxcw = 0x0178,
  kRxcw = 0x0180,
  kTctl = 0x0400,
  kTipg = 0x0410,
  kAit = 0x0458,
  kLedctl = 0x0e00,
  kPba = 0x1000,
  kFcrtl = 0x2160,
  kFcrth = 0x2168,
  kRdbal = 0x2800,
  kRdbah = 0x2804,
  kRdlen = 0x2808,
  kRdh = 0x2810,
  kRdt = 0x2818,
  kRdtr = 0x2820,
  kRxdctl = 0x2828,
  kRadv = 0x282c,
  kRsrpd = 0x2c00,
  kTxdmac = 0x3000,
  kTdbal = 0x3800,
  kTdbah = 0x3804,
  kTdlen = 0x3808,
  kTdh = 0x3810,
  kTdt = 0x3818,
  kTidv = 0x3820,
  kTxdctl = 0x3828,
  kTadv = 0x382c,
  kTspmt = 0x3830,
  kStatistics = 0x4000,
  kStatisticsEnd = 0x4100,
  kRxcsum = 0x5000,
  kMta = 0x5200,
  kRa = 0x5400,
  kVfta = 0x5600,
  kWuc = 0x5800,
  kWufc = 0x5808,
  kIpav = 0x5838,
  kManc = 0x5820,
};

// The words of `Statistics`.
enum Statistic : std::uint32_t {
  kMpc = 0x4010,
  kPrc64 = 0x405c,  ///< six of them, by size
  kGprc = 0x4074,
  kBprc = 0x4078,
  kMprc = 0x407c,
  kGptc = 0x4080,
  kGorcl = 0x4088,
  kGotcl = 0x4090,
  kRnbc = 0x40a0,
  kRuc = 0x40a4,
  kRoc = 0x40ac,
  kTorl = 0x40c0,
  kTotl = 0x40c8,
  kTpr = 0x40d0,
  kTpt = 0x40d4,
  kPtc64 = 0x40d8,  ///< likewise
  kMptc = 0x40f0,
  kBptc = 0x40f4,
  kTsctc = 0x40f8,
};

namespace ctrl {
inline constexpr std::uint32_t kReset = 1U << 26;
inline constexpr std::uint32_t kVlanMode = 1U << 30;
inline constexpr std::uint32_t kPhyReset = 1U << 31;
inline constexpr std::uint32_t kAfterReset = 0x00000201;  // full duplex, 1000 Mb/s
}  // namespace ctrl

namespace status {
inline constexpr std::uint32_t kFullDuplex = 1U << 0;
inline constexpr std::uint32_t kLinkUp = 1U << 1;
inline constexpr std::uint32_t kSpeed1000 = 1U << 7;
inline constexpr std::uint32_t kDetected1000 = 1U << 9;
}  // namespace status

namespace interrupt {
inline constexpr std::uint32_t kTxdw = 1U << 0;    ///< a descriptor was written back
inline constexpr std::uint32_t kTxqe = 1U << 1;    ///< the transmit ring is empty
inline constexpr std::uint32_t kLsc = 1U << 2;     ///< link status changed
inline constexpr std::uint32_t kRxdmt0 = 1U << 4;  ///< few receive descriptors are left
inline constexpr std::uint32_t kRxo = 1U << 6;     ///< a frame found no room
inline constexpr std::uint32_t kRxt0 = 1U << 7;    ///< a frame was received
inline constexpr std::uint32_t kMdac = 1U << 9;    ///< MDIO access complete
inline constexpr std::uint32_t kAll = 0x0001ffff;
}  // namespace interrupt

namespace rctl {
inline constexpr std::uint32_t kEnable = 1U << 1;
inline constexpr std::uint32_t kUnicastPromiscuous = 1U << 3;
inline constexpr std::uint32_t kMulticastPromiscuous = 1U << 4;
inline constexpr std::uint32_t kLongPackets = 1U << 5;
inline constexpr std::uint32_t kLoopback = 1U << 6;
inline constexpr unsigned kThresholdShift = 8;
inline constexpr unsigned kMulticastShift = 12;
inline constexpr std::uint32_t kBroadcast = 1U << 15;
inline constexpr unsigned kSizeShift = 16;
inline constexpr std::uint32_t kVlanFilter = 1U << 18;
inline constexpr std::uint32_t kSizeExtension = 1U << 25;
inline constexpr std::uint32_t kStripCrc = 1U << 26;
}  // namespace rctl

namespace tctl {
inline constexpr std::uint32_t kEnable = 1U << 1;
}  // namespace tctl

namespace rxcsum {
inline constexpr std::uint32_t kIp = 1U << 8;
inline constexpr std::uint32_t kTransport = 1U << 9;
}  // namespace rxcsum

}  // namespace chronovisor::e1000
