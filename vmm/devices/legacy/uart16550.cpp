#include "vmm/devices/legacy/uart16550.h"

#include <algorithm>
#include <utility>

#include "vmm/devices/core/aml.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr std::uint8_t kIerReceived = 0x01;
constexpr std::uint8_t kIerThre = 0x02;
constexpr std::uint8_t kIerLineStatus = 0x04;
constexpr std::uint8_t kIerModem = 0x08;

constexpr std::uint8_t kIirNone = 0x01;
constexpr std::uint8_t kIirModem = 0x00;
constexpr std::uint8_t kIirThre = 0x02;
constexpr std::uint8_t kIirReceived = 0x04;
constexpr std::uint8_t kIirLineStatus = 0x06;
constexpr std::uint8_t kIirTimeout = 0x0c;

constexpr std::uint8_t kLsrDataReady = 0x01;
constexpr std::uint8_t kLsrOverrun = 0x02;
constexpr std::uint8_t kLsrBreak = 0x10;
constexpr std::uint8_t kLsrThre = 0x20;
constexpr std::uint8_t kLsrTemt = 0x40;
constexpr std::uint8_t kLsrFifoError = 0x80;

constexpr std::uint8_t kLcrBreak = 0x40;
constexpr std::uint8_t kLcrDlab = 0x80;
constexpr std::uint8_t kMcrLoop = 0x10;

constexpr std::uint8_t kMsrLinePresent = 0xb0;  // CTS, DSR, DCD
constexpr std::uint8_t kMsrRing = 0x40;

constexpr std::uint16_t kPowerOnDivisor = 12;  // 9600 baud
constexpr std::uint64_t kBaudClock = 1'843'200;

}  // namespace

Uart16550::Uart16550(std::uint16_t number, const Clock& clock, OutputSink& output)
    : number_(number), name_("uart" + std::to_string(number)), clock_(clock), output_(output) {
  divisor_ = kPowerOnDivisor;
  msr_ = kMsrLinePresent;
}

void Uart16550::declare(Declaration& declaration) {
  // COM1 to COM4, as PC firmware places them.
  constexpr std::array<std::uint16_t, 4> kPorts = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
  constexpr std::uint64_t kPresentEnabledShown = 0x0f;
  const std::uint16_t base = declaration.ports(kPorts[number_ % 4U], 8, *this);
  const std::uint8_t irq = declaration.interrupt(
      irq_, number_ % 2 == 0 ? std::uint8_t{4} : std::uint8_t{3}, Trigger::edge);
  declaration.receives(InputKind::serial_byte, *this);
  declaration.receives(InputKind::serial_closed, *this);
  declaration.deadlines();
  declaration.firmware().serial_ports.push_back(base);
  declaration.acpi_device(
      "COM" + std::to_string(number_ + 1),
      aml::sequence({aml::name("_HID", aml::eisa_id("PNP0501")),
                     aml::name("_UID", aml::integer(number_ + 1U)),
                     aml::name("_STA", aml::integer(kPresentEnabledShown)),
                     aml::name("_CRS", aml::resources({aml::io_ports(base, 8), aml::irq(irq)}))}));
}

void Uart16550::receive(const Input& input) {
  if (input.kind != InputKind::serial_byte) return;  // a closed line just stays quiet
  for (const std::uint8_t byte : input.payload) receive(byte);
}

bool Uart16550::has_room(InputKind /*kind*/) const { return can_receive() && ready_to_receive(); }

void Uart16550::reset() {
  divisor_ = kPowerOnDivisor;
  ier_ = 0;
  fcr_ = 0;
  lcr_ = 0;
  mcr_ = 0;
  mcr_written_ = false;
  msr_ = kMsrLinePresent;
  scratch_ = 0;
  last_received_ = 0;
  thre_pending_ = false;
  last_activity_ns_ = 0;
  clear_receiver();
  lsr_errors_ = 0;
  update_line();
}

void Uart16550::visit_state(StateVisitor& visitor) {
  visitor.field("divisor", divisor_);
  visitor.field("ier", ier_);
  visitor.field("fcr", fcr_);
  visitor.field("lcr", lcr_);
  visitor.field("mcr", mcr_);
  visitor.field("mcr_written", mcr_written_);
  visitor.field("msr", msr_);
  visitor.field("scratch", scratch_);
  visitor.field("lsr_errors", lsr_errors_);
  visitor.field("fifo", fifo_);
  visitor.field("fifo_errors", fifo_errors_);
  visitor.field("fifo_head", fifo_head_);
  visitor.field("fifo_count", fifo_count_);
  visitor.field("last_received", last_received_);
  visitor.field("thre_pending", thre_pending_);
  visitor.field("timeout_pending", timeout_pending_);
  visitor.field("last_activity_ns", last_activity_ns_);
  irq_.visit_state(visitor, "level");
  // A file may say anything; the indices must stay inside the FIFO.
  fifo_head_ %= kFifoBytes;
  fifo_count_ = std::min<std::uint8_t>(fifo_count_, kFifoBytes);
}

bool Uart16550::fifo_enabled() const { return (fcr_ & 1) != 0; }
bool Uart16550::loopback() const { return (mcr_ & kMcrLoop) != 0; }
unsigned Uart16550::capacity() const { return fifo_enabled() ? kFifoBytes : 1; }

unsigned Uart16550::trigger() const {
  constexpr std::array<std::uint8_t, 4> kLevels = {1, 4, 8, 14};
  return fifo_enabled() ? kLevels[fcr_ >> 6] : 1;
}

/// Four character times after the FIFO was last touched. A divisor of zero
/// stops the baud generator, and with it the timeout.
std::uint64_t Uart16550::timeout_at_ns() const {
  if (divisor_ == 0) return kNever;
  const std::uint64_t stop_bits = (lcr_ & 4) != 0 ? 2 : 1;
  const std::uint64_t bits = 1 + 5 + (lcr_ & 3U) + ((lcr_ & 8) != 0 ? 1 : 0) + stop_bits;
  const std::uint64_t clocks = 4 * bits * 16 * divisor_;
  return saturating_add(last_activity_ns_, (clocks * 1'000'000'000 + kBaudClock - 1) / kBaudClock);
}

std::uint64_t Uart16550::next_deadline_ns() const {
  const bool observable = fifo_enabled() && (ier_ & kIerReceived) != 0 && fifo_count_ != 0 &&
                          fifo_count_ < trigger() && !timeout_pending_;
  return observable ? timeout_at_ns() : kNever;
}

void Uart16550::advance(VirtualTime now) {
  if (now.ns < next_deadline_ns()) return;
  timeout_pending_ = true;
  update_line();
}

/// What the clock has done while nobody could see it.
void Uart16550::settle_timeout(std::uint64_t now_ns) {
  if (fifo_enabled() && fifo_count_ != 0 && now_ns >= timeout_at_ns()) timeout_pending_ = true;
}

std::uint8_t Uart16550::interrupt_id() const {
  if ((ier_ & kIerLineStatus) != 0 && lsr_errors_ != 0) return kIirLineStatus;
  if ((ier_ & kIerReceived) != 0) {
    if (fifo_count_ >= trigger()) return kIirReceived;
    if (timeout_pending_) return kIirTimeout;
  }
  if ((ier_ & kIerThre) != 0 && thre_pending_) return kIirThre;
  if ((ier_ & kIerModem) != 0 && (msr_ & 0x0f) != 0) return kIirModem;
  return kIirNone;
}

void Uart16550::update_line() {
  const bool level = interrupt_id() != kIirNone;
  irq_.set(level);
  deadline_changed();
}

bool Uart16550::can_receive() const { return !loopback() && fifo_count_ < capacity(); }

void Uart16550::receive(std::uint8_t byte) {
  if (!loopback()) push(byte, 0);
}

void Uart16550::receive_break() {
  if (!loopback()) push(0, kLsrBreak);
}

void Uart16550::push(std::uint8_t byte, std::uint8_t errors) {
  const std::uint64_t now_ns = clock_.now().ns;
  settle_timeout(now_ns);
  if (fifo_count_ == capacity()) {
    lsr_errors_ |= kLsrOverrun;
    if (!fifo_enabled()) {  // the holding register is overwritten, a FIFO is not
      fifo_[fifo_head_] = byte;
      fifo_errors_[fifo_head_] = errors;
    }
  } else {
    const unsigned tail = (fifo_head_ + fifo_count_) % kFifoBytes;
    fifo_[tail] = byte;
    fifo_errors_[tail] = errors;
    ++fifo_count_;
    last_activity_ns_ = now_ns;
    timeout_pending_ = false;
  }
  reveal_errors();
  update_line();
}

/// Errors show when their character reaches the top of the FIFO.
void Uart16550::reveal_errors() {
  if (fifo_count_ == 0) return;
  lsr_errors_ |= fifo_errors_[fifo_head_];
  fifo_errors_[fifo_head_] = 0;
}

void Uart16550::clear_receiver() {
  fifo_.fill(0);
  fifo_errors_.fill(0);
  fifo_head_ = 0;
  fifo_count_ = 0;
  timeout_pending_ = false;
}

std::uint8_t Uart16550::read_received() {
  if (fifo_count_ == 0) return last_received_;
  last_received_ = fifo_[fifo_head_];
  fifo_head_ = static_cast<std::uint8_t>((fifo_head_ + 1) % kFifoBytes);
  --fifo_count_;
  last_activity_ns_ = clock_.now().ns;
  timeout_pending_ = false;
  reveal_errors();
  return last_received_;
}

std::uint8_t Uart16550::line_status() const {
  std::uint8_t status = kLsrThre | kLsrTemt | lsr_errors_;
  if (fifo_count_ != 0) status |= kLsrDataReady;
  if (fifo_enabled()) {
    const bool waiting = std::any_of(fifo_errors_.begin(), fifo_errors_.end(),
                                     [](std::uint8_t errors) { return errors != 0; });
    if (waiting || (lsr_errors_ & ~kLsrOverrun) != 0) status |= kLsrFifoError;
  }
  return status;
}

std::uint8_t Uart16550::read_byte(std::uint16_t offset) {
  settle_timeout(clock_.now().ns);
  const bool dlab = (lcr_ & kLcrDlab) != 0;
  std::uint8_t value = 0;
  switch (offset & 7) {
    case 0:
      value = dlab ? static_cast<std::uint8_t>(divisor_) : read_received();
      break;
    case 1:
      value = dlab ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_;
      break;
    case 2: {
      const std::uint8_t id = interrupt_id();
      if (id == kIirThre) thre_pending_ = false;
      value = static_cast<std::uint8_t>(id | (fifo_enabled() ? 0xc0 : 0));
      break;
    }
    case 3:
      value = lcr_;
      break;
    case 4:
      value = mcr_;
      break;
    case 5:
      value = line_status();
      lsr_errors_ = 0;
      break;
    case 6:
      value = msr_;
      msr_ &= 0xf0;
      break;
    default:
      value = scratch_;
      break;
  }
  update_line();
  return value;
}

void Uart16550::transmit(std::uint8_t byte) {
  thre_pending_ = false;
  update_line();
  if (loopback()) {
    push(byte, 0);
  } else {
    output_.put({OutputKind::serial, number_, {&byte, 1}});
  }
  thre_pending_ = true;
}

void Uart16550::write_fifo_control(std::uint8_t value) {
  if (((value ^ fcr_) & 1) != 0) clear_receiver();
  if ((value & 1) == 0) {
    fcr_ = 0;
    return;
  }
  if ((value & 2) != 0) clear_receiver();
  fcr_ = value & 0xc9;
}

void Uart16550::write_modem_control(std::uint8_t value) {
  mcr_ = value & 0x1f;
  mcr_written_ = true;
  std::uint8_t status = kMsrLinePresent;
  if (loopback()) {  // CTS = RTS, DSR = DTR, RI = OUT1, DCD = OUT2
    status = static_cast<std::uint8_t>(((mcr_ & 2) << 3) | ((mcr_ & 1) << 5) | ((mcr_ & 4) << 4) |
                                       ((mcr_ & 8) << 4));
  }
  const auto changed = static_cast<std::uint8_t>((msr_ ^ status) & 0xf0);
  std::uint8_t delta = (changed >> 4) & 0x0b;
  if ((changed & kMsrRing) != 0 && (status & kMsrRing) == 0) delta |= 0x04;  // trailing edge only
  msr_ = static_cast<std::uint8_t>(status | (msr_ & 0x0f) | delta);
}

void Uart16550::write_line_control(std::uint8_t value) {
  const bool break_starts = (value & ~lcr_ & kLcrBreak) != 0;
  lcr_ = value;
  if (break_starts && loopback()) push(0, kLsrBreak);
}

void Uart16550::write_byte(std::uint16_t offset, std::uint8_t value) {
  settle_timeout(clock_.now().ns);
  const bool dlab = (lcr_ & kLcrDlab) != 0;
  switch (offset & 7) {
    case 0:
      if (dlab) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
      } else {
        transmit(value);
      }
      break;
    case 1:
      if (dlab) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | (value << 8));
      } else {
        // Enabling the interrupt while the register is empty raises it.
        if ((value & ~ier_ & kIerThre) != 0) thre_pending_ = true;
        ier_ = value & 0x0f;
      }
      break;
    case 2:
      write_fifo_control(value);
      break;
    case 3:
      write_line_control(value);
      break;
    case 4:
      write_modem_control(value);
      break;
    case 7:
      scratch_ = value;
      break;
    default:
      break;  // LSR and MSR are read-only
  }
  update_line();
}

}  // namespace chronovisor
