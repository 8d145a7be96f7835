#include "vmm/devices/power/acpi_pm.h"

#include <utility>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kTimer = 1U << 0;
constexpr std::uint16_t kGlobal = 1U << 5;
constexpr std::uint16_t kPowerButton = 1U << 8;
constexpr std::uint16_t kSleepButton = 1U << 9;
constexpr std::uint16_t kRtc = 1U << 10;
constexpr std::uint16_t kWake = 1U << 15;
constexpr std::uint16_t kEnableWritable = kTimer | kGlobal | kPowerButton | kSleepButton | kRtc;
constexpr std::uint16_t kStatusClearable = kEnableWritable | kWake | 1U << 4;

/// SLP_EN with type 5 in the sleep control register of hardware-reduced ACPI, which
/// Cloud Hypervisor has at the port where this machine has its PM1 status. As a status
/// to clear it names bit 2, which is reserved: ACPI code never writes it.
constexpr std::uint32_t kForeignSleepValue = 0x34;

constexpr std::uint16_t kSciEnable = 1U << 0;
constexpr std::uint16_t kControlLowWritable = 0x03;   // SCI_EN, BM_RLD
constexpr std::uint16_t kControlHighWritable = 0x1c;  // SLP_TYP
constexpr std::uint8_t kSleepEnableHigh = 0x20;

}  // namespace

AcpiPm::AcpiPm(const Clock& clock, TimerWidth timer_width)
    : clock_(clock), timer_bits_(static_cast<unsigned>(timer_width)) {}

void AcpiPm::on_power_off(std::function<void()> callback) { power_off_ = std::move(callback); }

void AcpiPm::declare(Declaration& declaration) {
  declare_registers(declaration, declaration.ports(0x600, kBlockPorts, *this));
  FirmwareFacts::FixedHardware& fixed = declaration.firmware().fixed;
  fixed.gpe0_port = declaration.ports(0x620, fixed.gpe0_length, *this, kGpe0Offset);
  fixed.smi_command_port = declaration.ports(0xb2, 2, *this, kSmiCommandOffset);
  declaration.receives(InputKind::power_button, *this);
  declaration.deadlines();
}

void AcpiPm::declare_registers(Declaration& declaration, std::uint16_t block) {
  block_ = block;
  FirmwareFacts::FixedHardware& fixed = declaration.firmware().fixed;
  fixed.pm1a_event_port = static_cast<std::uint16_t>(block_ + kPm1EventOffset);
  fixed.pm1a_control_port = static_cast<std::uint16_t>(block_ + kPm1ControlOffset);
  fixed.pm_timer_port = static_cast<std::uint16_t>(block_ + kPmTimerOffset);
  fixed.gpe0_port = static_cast<std::uint16_t>(block_ + kGpe0Offset);
  fixed.gpe0_length = 4;
  fixed.acpi_enable = kSmiAcpiEnable;
  fixed.acpi_disable = kSmiAcpiDisable;
  fixed.sleep_type_s5 = kSleepTypeS5;
  fixed.sci_irq = declaration.interrupt(sci_, 9, Trigger::level);
}

void AcpiPm::receive(const Input& /*input*/) { press_power_button(); }

void AcpiPm::on_sleep_register_write(std::function<void(std::uint16_t)> callback) {
  sleep_register_write_ = std::move(callback);
}

void AcpiPm::reset() {
  pm1_status_ = 0;
  pm1_enable_ = 0;
  pm1_control_ = 0;
  gpe_status_ = 0;
  gpe_enable_ = 0;
  smi_command_ = 0;
  smi_status_ = 0;
  settled_tick_ = kPmTimerRate.ticks_at(clock_.now().ns);
  update_line();
}

void AcpiPm::visit_state(StateVisitor& visitor) {
  visitor.field("pm1_status", pm1_status_);
  visitor.field("pm1_enable", pm1_enable_);
  visitor.field("pm1_control", pm1_control_);
  visitor.field("gpe_status", gpe_status_);
  visitor.field("gpe_enable", gpe_enable_);
  visitor.field("smi_command", smi_command_);
  visitor.field("smi_status", smi_status_);
  visitor.field("settled_tick", settled_tick_);
  sci_.visit_state(visitor, "level");
}

void AcpiPm::press_power_button() {
  pm1_status_ |= kPowerButton;
  update_line();
}

void AcpiPm::raise_gpe(unsigned event) {
  if (event > 15) return;
  gpe_status_ |= static_cast<std::uint16_t>(1U << event);
  update_line();
}

/// TMR_STS is set whenever the timer's top bit changes.
std::uint64_t AcpiPm::next_overflow_ns() const {
  const std::uint64_t half = std::uint64_t{1} << (timer_bits_ - 1);
  return kPmTimerRate.first_ns_of((settled_tick_ / half + 1) * half);
}

std::uint64_t AcpiPm::next_deadline_ns() const {
  const bool observable = (pm1_enable_ & kTimer) != 0 && (pm1_status_ & kTimer) == 0 &&
                          (pm1_control_ & kSciEnable) != 0 && !sci_.level();
  return observable ? next_overflow_ns() : kNever;
}

void AcpiPm::advance(VirtualTime now) {
  if (now.ns >= next_deadline_ns()) settle(now.ns);
}

void AcpiPm::settle(std::uint64_t now_ns) {
  if (next_overflow_ns() <= now_ns) pm1_status_ |= kTimer;
  settled_tick_ = kPmTimerRate.ticks_at(now_ns);
  update_line();
}

void AcpiPm::update_line() {
  const bool event =
      (pm1_status_ & pm1_enable_ & kEnableWritable) != 0 || (gpe_status_ & gpe_enable_) != 0;
  const bool level = event && (pm1_control_ & kSciEnable) != 0;
  sci_.set(level);
  deadline_changed();
}

std::uint8_t AcpiPm::read_byte(std::uint16_t offset, std::uint32_t timer) const {
  const auto byte_of = [offset](std::uint32_t value, unsigned first) {
    return static_cast<std::uint8_t>(value >> (8 * (offset - first)));
  };
  switch (offset) {
    case 0x00:
    case 0x01:
      return byte_of(pm1_status_, 0x00);
    case 0x02:
    case 0x03:
      return byte_of(pm1_enable_, 0x02);
    case 0x04:
    case 0x05:
      return byte_of(pm1_control_, 0x04);
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x0b:
      return byte_of(timer, 0x08);
    case 0x0c:
    case 0x0d:
      return byte_of(gpe_status_, 0x0c);
    case 0x0e:
    case 0x0f:
      return byte_of(gpe_enable_, 0x0e);
    case 0x10:
      return smi_command_;
    case 0x11:
      return smi_status_;
    default:
      return 0;
  }
}

std::uint32_t AcpiPm::read_port(std::uint16_t offset, unsigned width) {
  const std::uint64_t now_ns = clock_.now().ns;
  // Only what shows TMR_STS needs it worked out.
  if (offset < 2) settle(now_ns);
  const std::uint64_t mask = (std::uint64_t{1} << timer_bits_) - 1;
  const auto timer = static_cast<std::uint32_t>(kPmTimerRate.ticks_at(now_ns) & mask);
  std::uint32_t value = 0;
  for (unsigned i = 0; i < width; ++i) {
    value |= std::uint32_t{read_byte(static_cast<std::uint16_t>(offset + i), timer)} << (8 * i);
  }
  return value;
}

void AcpiPm::write_port(std::uint16_t offset, unsigned width, std::uint32_t value) {
  settle(clock_.now().ns);
  if (offset == 0 && value == kForeignSleepValue && sleep_register_write_) {
    sleep_register_write_(block_);
  }
  for (unsigned i = 0; i < width; ++i) {
    write_byte(static_cast<std::uint16_t>(offset + i), static_cast<std::uint8_t>(value >> (8 * i)));
  }
  update_line();
}

void AcpiPm::write_byte(std::uint16_t offset, std::uint8_t value) {
  const auto high = static_cast<std::uint16_t>(value << 8);
  switch (offset) {
    case 0x00:
      pm1_status_ &= static_cast<std::uint16_t>(~(value & kStatusClearable));
      break;
    case 0x01:
      pm1_status_ &= static_cast<std::uint16_t>(~(high & kStatusClearable));
      break;
    case 0x02:
      pm1_enable_ =
          static_cast<std::uint16_t>((pm1_enable_ & 0xff00) | (value & kEnableWritable & 0xff));
      break;
    case 0x03:
      pm1_enable_ = static_cast<std::uint16_t>((pm1_enable_ & 0xff) | (high & kEnableWritable));
      break;
    case 0x04:
      pm1_control_ =
          static_cast<std::uint16_t>((pm1_control_ & 0xff00) | (value & kControlLowWritable));
      break;
    case 0x05:
      write_control_high(value);
      break;
    case 0x0c:
      gpe_status_ &= static_cast<std::uint16_t>(~value);
      break;
    case 0x0d:
      gpe_status_ &= static_cast<std::uint16_t>(~high);
      break;
    case 0x0e:
      gpe_enable_ = static_cast<std::uint16_t>((gpe_enable_ & 0xff00) | value);
      break;
    case 0x0f:
      gpe_enable_ = static_cast<std::uint16_t>((gpe_enable_ & 0xff) | high);
      break;
    case 0x10:
      smi_command_ = value;
      if (value == kSmiAcpiEnable) pm1_control_ |= kSciEnable;
      if (value == kSmiAcpiDisable) pm1_control_ &= static_cast<std::uint16_t>(~kSciEnable);
      break;
    case 0x11:
      smi_status_ = value;
      break;
    default:
      break;
  }
}

void AcpiPm::write_control_high(std::uint8_t value) {
  pm1_control_ =
      static_cast<std::uint16_t>((pm1_control_ & 0xff) | ((value & kControlHighWritable) << 8));
  if ((value & kSleepEnableHigh) == 0) return;  // SLP_EN reads as zero
  const unsigned type = (value & kControlHighWritable) >> 2;
  if (type == kSleepTypeS5 || type == kSleepTypeUnread) {
    if (power_off_) power_off_();
  } else {
    pm1_status_ |= kWake;
  }
}

}  // namespace chronovisor
