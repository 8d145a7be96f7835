#include "vmm/devices/network/e1000.h"

#include <algorithm>
#include <utility>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"
#include "vmm/devices/network/e1000_registers.h"

namespace chronovisor {
namespace {

using namespace e1000;

constexpr PciDevice::Identity kIdentity{.vendor = 0x8086,
                                        .device = 0x100e,
                                        .class_code = 0x020000,
                                        .revision = 3,
                                        .subsystem_vendor = 0x8086,
                                        .subsystem = 0x001e};
constexpr std::uint64_t kRegisterBytes = 0x20000;
constexpr std::uint32_t kPortBytes = 8;
constexpr std::uint32_t kPortAddressBits = kRegisterBytes - 4;

/// Registers without a meaning of their own here, or that are read where they mean
/// something: what is written is kept under a mask.
struct PlainRegister {
  std::uint32_t offset;
  std::uint32_t writable;
  std::uint32_t after_reset;
};
constexpr std::uint32_t kWholeRegister = 0xffffffff;
constexpr std::array kPlain{
    PlainRegister{kCtrlExt, 0x00ffffff, 0},
    PlainRegister{kFcal, kWholeRegister, 0},
    PlainRegister{kFcah, 0xffff, 0},
    PlainRegister{kFct, 0xffff, 0},
    PlainRegister{kVet, 0xffff, 0x8100},
    PlainRegister{kItr, 0xffff, 0},
    PlainRegister{kRctl, 0x06dfb3fe, 0},
    PlainRegister{kFcttv, 0xffff, 0},
    PlainRegister{kTxcw, kWholeRegister, 0},
    PlainRegister{kRxcw, 0, 0},
    PlainRegister{kTctl, 0x037fffff, 0},
    PlainRegister{kTipg, 0x3fffffff, 0},
    PlainRegister{kAit, 0xffff, 0},
    PlainRegister{kLedctl, 0xcfcfcfcf, 0x07068302},
    PlainRegister{kPba, 0xffff, 0x00100030},
    PlainRegister{kFcrtl, 0x8000fff8, 0},
    PlainRegister{kFcrth, 0x0000fff8, 0},
    PlainRegister{kRdbal, 0xfffffff0, 0},
    PlainRegister{kRdbah, kWholeRegister, 0},
    PlainRegister{kRdlen, 0x000fff80, 0},
    PlainRegister{kRdh, 0xffff, 0},
    PlainRegister{kRdt, 0xffff, 0},
    PlainRegister{kRdtr, 0xffff, 0},
    PlainRegister{kRxdctl, 0x013f3f3f, 0x00010000},
    PlainRegister{kRadv, 0xffff, 0},
    PlainRegister{kRsrpd, 0x0fff, 0},
    PlainRegister{kTxdmac, 1, 0},
    PlainRegister{kTdbal, 0xfffffff0, 0},
    PlainRegister{kTdbah, kWholeRegister, 0},
    PlainRegister{kTdlen, 0x000fff80, 0},
    PlainRegister{kTdh, 0xffff, 0},
    PlainRegister{kTdt, 0xffff, 0},
    PlainRegister{kTidv, 0xffff, 0},
    PlainRegister{kTxdctl, 0xff3f3f3f, 0},
    PlainRegister{kTadv, 0xffff, 0},
    PlainRegister{kTspmt, kWholeRegister, 0x01000400},
    PlainRegister{kRxcsum, 0x07ff, 0},
    PlainRegister{kWuc, 0x0f, 0},
    PlainRegister{kWufc, 0x000f00ff, 0},
    PlainRegister{kManc, kWholeRegister, 0},
};

constexpr std::size_t place_of(std::uint32_t offset) {
  for (std::size_t n = 0; n < kPlain.size(); ++n) {
    if (kPlain[n].offset == offset) return n;
  }
  return kPlain.size();
}

/// The 82542 had some registers elsewhere, and they still answer there.
constexpr std::uint32_t modern(std::uint32_t offset) {
  constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 11> kAliases{{{0x0108, kRdtr},
                                                                              {0x0110, kRdbal},
                                                                              {0x0114, kRdbah},
                                                                              {0x0118, kRdlen},
                                                                              {0x0120, kRdh},
                                                                              {0x0128, kRdt},
                                                                              {0x0420, kTdbal},
                                                                              {0x0424, kTdbah},
                                                                              {0x0428, kTdlen},
                                                                              {0x0430, kTdh},
                                                                              {0x0438, kTdt}}};
  for (const auto& [old, now] : kAliases) {
    if (offset == old) return now;
  }
  if (offset == 0x0440) return kTidv;
  if (offset >= 0x0040 && offset < 0x00c0) return kRa + (offset - 0x0040);
  if (offset >= 0x0200 && offset < 0x0400) return kMta + (offset - 0x0200);
  if (offset >= 0x0600 && offset < 0x0800) return kVfta + (offset - 0x0600);
  return offset;
}

constexpr std::uint32_t kControlKept = ~(ctrl::kReset | ctrl::kPhyReset);
constexpr std::uint32_t kAddressValid = 1U << 31;
constexpr unsigned kInterruptUnitNs = 256;
constexpr unsigned kDelayUnitNs = 1024;

constexpr std::uint32_t kMdicRead = 2U << 26;
constexpr std::uint32_t kMdicWrite = 1U << 26;
constexpr std::uint32_t kMdicReady = 1U << 28;
constexpr std::uint32_t kMdicInterrupt = 1U << 29;
constexpr std::uint32_t kMdicError = 1U << 30;
constexpr unsigned kPhyAddress = 1;

}  // namespace

E1000::E1000(std::uint16_t number, PciAddress usual, const MacAddress& address,
             MessageInterrupts& messages, const Clock& clock, DmaBus& dma, OutputSink& outputs)
    : PciDevice(kIdentity, usual, messages),
      ReceivedFrame(clock),
      number_(number),
      name_("net" + std::to_string(number)),
      address_(address),
      clock_(clock),
      dma_(dma, name_),
      outputs_(outputs),
      eeprom_(address) {
  static_assert(kPlain.size() == kPlainRegisters);
  add_memory_bar(0, kRegisterBytes, MemoryBar::bits32, *this);
  add_io_bar(2, kPortBytes, ports_);
  add_intx(1);
}

void E1000::declare(Declaration& declaration) {
  PciDevice::declare(declaration);
  declaration.receives(InputKind::network_frame, *this);
  declaration.deadlines();
}

void E1000::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  eeprom_.visit_state(visitor);
  phy_.visit_state(visitor);
  assembler_.visit_state(visitor);
  visitor.field("received", received_);
  visitor.field("registers", plain_);
  visitor.field("multicast", multicast_);
  visitor.field("addresses", addresses_);
  visitor.field("vlans", vlans_);
  visitor.field("statistics", statistics_);
  visitor.field("control", control_);
  visitor.field("mdic", mdic_);
  visitor.field("causes", causes_);
  visitor.field("mask", mask_);
  visitor.field("asserted", asserted_);
  visitor.field("port_address", port_address_);
  visitor.field("vlan_tag", vlan_tag_);
  visitor.field("insert_vlan", insert_vlan_);
  visitor.field("line_free_ns", line_free_ns_);
  visitor.field("transmit_due_ns", transmit_due_ns_);
  visitor.field("quiet_until_ns", quiet_until_ns_);
  visitor.field("interrupt_due_ns", interrupt_due_ns_);
  visitor.field("receive_timer_ns", receive_timer_ns_);
  visitor.field("receive_limit_ns", receive_limit_ns_);
  visitor.field("transmit_timer_ns", transmit_timer_ns_);
  visitor.field("transmit_limit_ns", transmit_limit_ns_);
  port_address_ &= kPortAddressBits;
  // Registers are as their masks allow, whatever was loaded.
  for (unsigned n = 0; n < kPlainRegisters; ++n) {
    plain_[n] = (plain_[n] & kPlain[n].writable) | (kPlain[n].after_reset & ~kPlain[n].writable);
  }
}

void E1000::reset() {
  PciDevice::reset();
  phy_.reset();
  received_ = 0;
  port_address_ = 0;
  reset_card();
}

/// What CTRL.RST does, too: everything but the PHY, PCI's registers and the ports.
void E1000::reset_card() {
  eeprom_.reset();
  assembler_.reset();
  for (unsigned n = 0; n < kPlainRegisters; ++n) plain_[n] = kPlain[n].after_reset;
  multicast_ = {};
  addresses_ = {};
  vlans_ = {};
  statistics_ = {};
  for (unsigned n = 0; n < 4; ++n) addresses_[0] |= std::uint32_t{address_[n]} << (8 * n);
  addresses_[1] = kAddressValid | std::uint32_t{address_[5]} << 8 | address_[4];
  control_ = ctrl::kAfterReset;
  mdic_ = kMdicReady;
  causes_ = 0;
  mask_ = 0;
  asserted_ = false;
  vlan_tag_ = 0;
  insert_vlan_ = false;
  line_free_ns_ = 0;
  transmit_due_ns_ = interrupt_due_ns_ = kNever;
  receive_timer_ns_ = receive_limit_ns_ = transmit_timer_ns_ = transmit_limit_ns_ = kNever;
  quiet_until_ns_ = 0;
  update_interrupt();
}

// ---- registers -----------------------------------------------------------------

std::uint32_t& E1000::plain(std::uint32_t offset) { return plain_[place_of(offset)]; }
std::uint32_t E1000::plain(std::uint32_t offset) const { return plain_[place_of(offset)]; }

/// The tables of addresses, in which everything is kept.
std::uint32_t* E1000::keeper(std::uint32_t offset) {
  if (offset >= kMta && offset < kMta + 512) return &multicast_[(offset - kMta) / 4];
  if (offset >= kRa && offset < kRa + 128) return &addresses_[(offset - kRa) / 4];
  if (offset >= kVfta && offset < kVfta + 512) return &vlans_[(offset - kVfta) / 4];
  return nullptr;
}

std::uint32_t E1000::status() const {
  using namespace chronovisor::e1000::status;
  return kFullDuplex | kSpeed1000 | kDetected1000 | (phy_.link_up() ? kLinkUp : 0);
}

std::uint32_t E1000::read_register(std::uint32_t offset) {
  offset = modern(offset);
  switch (offset) {
    case kCtrl:
    case kCtrl + 4:  // a second place of the same
      return control_;
    case kStatus:
      return status();
    case kEecd:
      return eeprom_.read_control();
    case kEerd:
      return eeprom_.read_word_register();
    case kMdic:
      return mdic_;
    case kIcr: {
      const std::uint32_t causes = std::exchange(causes_, 0);
      update_interrupt();
      return causes;
    }
    case kIms:
      return mask_;
    default:
      break;
  }
  if (offset >= kStatistics && offset < kStatisticsEnd) {
    return std::exchange(statistics_[(offset - kStatistics) / 4], 0);
  }
  if (const std::uint32_t* kept = keeper(offset)) return *kept;
  const std::size_t place = place_of(offset);
  return place < kPlainRegisters ? plain_[place] : 0;
}

void E1000::write_register(std::uint32_t offset, std::uint32_t value) {
  offset = modern(offset);
  switch (offset) {
    case kCtrl:
    case kCtrl + 4:
      write_control(value);
      return;
    case kEecd:
      eeprom_.write_control(value);
      return;
    case kEerd:
      eeprom_.write_word_register(value);
      return;
    case kMdic:
      write_mdic(value);
      return;
    case kIcr:
      causes_ &= ~value;
      update_interrupt();
      return;
    case kIcs:
      cause(value & interrupt::kAll);
      return;
    case kIms:
      mask_ |= value & interrupt::kAll;
      update_interrupt();
      return;
    case kImc:
      mask_ &= ~value;
      update_interrupt();
      return;
    default:
      break;
  }
  if (std::uint32_t* kept = keeper(offset)) {
    *kept = value;
    return;
  }
  const std::size_t place = place_of(offset);
  if (place >= kPlainRegisters) return;
  plain_[place] = (value & kPlain[place].writable) | (plain_[place] & ~kPlain[place].writable);
  constexpr std::uint32_t kFlush = 1U << 31;
  switch (offset) {
    case kTdt:
    case kTctl:
      if (transmit_due_ns_ == kNever) transmit();
      break;
    case kRdtr:
      if ((value & kFlush) != 0 && receive_timer_ns_ != kNever) {
        receive_timer_ns_ = receive_limit_ns_ = kNever;
        cause(interrupt::kRxt0);
      }
      break;
    case kTidv:
      if ((value & kFlush) != 0 && transmit_timer_ns_ != kNever) {
        transmit_timer_ns_ = transmit_limit_ns_ = kNever;
        cause(interrupt::kTxdw);
      }
      break;
    default:
      break;
  }
}

void E1000::write_control(std::uint32_t value) {
  if ((value & ctrl::kReset) != 0) {
    reset_card();
    return;
  }
  control_ = value & kControlKept;
  if ((value & ctrl::kPhyReset) != 0) {
    phy_.reset();
    follow_link(E1000Phy::Change::link);
  }
}

void E1000::write_mdic(std::uint32_t value) {
  const unsigned number = value >> 16 & 31;
  const bool ours = (value >> 21 & 31) == kPhyAddress;
  mdic_ = (value & ~kMdicError) | kMdicReady;
  if (!ours) {
    mdic_ |= kMdicError;
  } else if ((value & kMdicRead) != 0) {
    mdic_ = (mdic_ & 0xffff0000) | phy_.read(number);
  } else if ((value & kMdicWrite) != 0) {
    follow_link(phy_.write(number, static_cast<std::uint16_t>(value)));
  }
  if ((value & kMdicInterrupt) != 0) cause(interrupt::kMdac);
}

void E1000::follow_link(E1000Phy::Change change) {
  if (change == E1000Phy::Change::link) cause(interrupt::kLsc);
}

/// @param base_register kRdbal or kTdbal: the others lie behind it alike
E1000::Ring E1000::ring(std::uint32_t base_register) const {
  return {.base = std::uint64_t{plain(base_register + 4)} << 32 | plain(base_register),
          .count = plain(base_register + 8) / 16,
          .head = plain(base_register + 0x10),
          .tail = plain(base_register + 0x18)};
}

std::uint64_t E1000::read_mmio(std::uint64_t offset, unsigned width) {
  const auto at = static_cast<std::uint32_t>(offset);
  std::uint64_t value = read_register(at & ~3U);
  if (width == 8) value |= std::uint64_t{read_register((at & ~3U) + 4)} << 32;
  deadline_changed();
  return value >> (8 * (at & 3));
}

void E1000::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  if ((offset & 3) != 0 || width < 4) return;
  const auto at = static_cast<std::uint32_t>(offset);
  write_register(at, static_cast<std::uint32_t>(value));
  if (width == 8) write_register(at + 4, static_cast<std::uint32_t>(value >> 32));
  deadline_changed();
}

std::uint32_t E1000::Ports::read_port(std::uint16_t offset, unsigned width) {
  const std::uint32_t value =
      offset < 4 ? card_.port_address_
                 : static_cast<std::uint32_t>(card_.read_mmio(card_.port_address_, 4));
  const std::uint32_t shifted = value >> (8 * (offset & 3U));
  return width == 4 ? shifted : shifted & ((1U << (8 * width)) - 1);
}

void E1000::Ports::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  if ((offset & 3) != 0 || width != 4) return;
  if (offset < 4) {
    card_.port_address_ = value & kPortAddressBits;
  } else {
    card_.write_mmio(card_.port_address_, 4, value);
  }
}

// ---- interrupts ----------------------------------------------------------------

void E1000::cause(std::uint32_t bits) {
  causes_ |= bits;
  update_interrupt();
}

void E1000::update_interrupt() {
  const bool wanted = (causes_ & mask_) != 0;
  if (!wanted) {
    interrupt_due_ns_ = kNever;
    asserted_ = false;
    set_intx(false);
  } else if (!asserted_) {
    const std::uint64_t now = clock_.now().ns;
    if (now < quiet_until_ns_) {
      interrupt_due_ns_ = quiet_until_ns_;
    } else {
      interrupt_due_ns_ = kNever;
      quiet_until_ns_ = saturating_add(now, std::uint64_t{plain(kItr)} * kInterruptUnitNs);
      asserted_ = true;
      set_intx(true);
    }
  }
  deadline_changed();
}

void E1000::start_timer(std::uint64_t& due_ns, std::uint32_t ticks) {
  due_ns = saturating_add(clock_.now().ns, std::uint64_t{ticks} * kDelayUnitNs);
  deadline_changed();
}

std::uint64_t E1000::next_deadline_ns() const {
  return std::min({transmit_due_ns_, interrupt_due_ns_, receive_timer_ns_, receive_limit_ns_,
                   transmit_timer_ns_, transmit_limit_ns_});
}

void E1000::advance(VirtualTime now) {
  if (std::min(receive_timer_ns_, receive_limit_ns_) <= now.ns) {
    receive_timer_ns_ = receive_limit_ns_ = kNever;
    cause(interrupt::kRxt0);
  }
  if (std::min(transmit_timer_ns_, transmit_limit_ns_) <= now.ns) {
    transmit_timer_ns_ = transmit_limit_ns_ = kNever;
    cause(interrupt::kTxdw);
  }
  if (transmit_due_ns_ <= now.ns) {
    transmit_due_ns_ = kNever;
    transmit();
  }
  if (interrupt_due_ns_ <= now.ns) update_interrupt();
  deadline_changed();
}

// ---- statistics ----------------------------------------------------------------

void E1000::count(std::uint32_t statistic, std::uint64_t by) {
  std::uint32_t& word = statistics_[(statistic - kStatistics) / 4];
  word = static_cast<std::uint32_t>(std::min<std::uint64_t>(word + by, 0xffffffff));
}

void E1000::count_wide(std::uint32_t low, std::uint64_t by) {
  const std::size_t at = (low - kStatistics) / 4;
  const std::uint64_t sum = (std::uint64_t{statistics_[at + 1]} << 32 | statistics_[at]) + by;
  statistics_[at] = static_cast<std::uint32_t>(sum);
  statistics_[at + 1] = static_cast<std::uint32_t>(sum >> 32);
}

/// @param bytes with the frame check sequence
void E1000::count_size(std::uint32_t first, std::size_t bytes) {
  constexpr std::array<std::size_t, 5> kUpTo{64, 127, 255, 511, 1023};
  std::uint32_t at = first;
  for (const std::size_t limit : kUpTo) {
    if (bytes <= limit) break;
    at += 4;
  }
  count(at);
}

}  // namespace chronovisor
