#include "vmm/devices/interrupt/pic.h"

#include <utility>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr unsigned kMaster = 0;
constexpr unsigned kSlave = 1;
constexpr unsigned kCascadePin = 2;
constexpr std::uint8_t kCascadeBit = 1U << kCascadePin;
/// IRQ 0, 1, 2, 8 and 13 are edge-triggered for ever (PIIX3, ELCR1 and ELCR2).
constexpr std::array<std::uint8_t, 2> kElcrWritable = {0xf8, 0xde};

constexpr std::uint8_t bit(unsigned pin) { return static_cast<std::uint8_t>(1U << pin); }

}  // namespace

void Pic::Chip::visit(StateVisitor& visitor, const std::string& prefix) {
  visitor.field(prefix + "lines", lines);
  visitor.field(prefix + "irr", irr);
  visitor.field(prefix + "imr", imr);
  visitor.field(prefix + "isr", isr);
  visitor.field(prefix + "elcr", elcr);
  visitor.field(prefix + "vector_base", vector_base);
  visitor.field(prefix + "icw3", icw3);
  visitor.field(prefix + "lowest_priority", lowest_priority);
  visitor.field(prefix + "expects", expects);
  visitor.field(prefix + "needs_icw4", needs_icw4);
  visitor.field(prefix + "single", single);
  visitor.field(prefix + "level_triggered", level_triggered);
  visitor.field(prefix + "auto_eoi", auto_eoi);
  visitor.field(prefix + "rotate_in_auto_eoi", rotate_in_auto_eoi);
  visitor.field(prefix + "special_fully_nested", special_fully_nested);
  visitor.field(prefix + "special_mask", special_mask);
  visitor.field(prefix + "poll", poll);
  visitor.field(prefix + "read_isr", read_isr);
}

std::uint8_t Pic::Chip::level_mask() const { return level_triggered ? 0xff : elcr; }

void Pic::Chip::set_pin(unsigned pin, bool level) {
  const std::uint8_t mask = bit(pin);
  const bool was = (lines & mask) != 0;
  if (level) {
    lines |= mask;
    if (!was || (level_mask() & mask) != 0) irr |= mask;
  } else {
    lines &= static_cast<std::uint8_t>(~mask);
    irr &= static_cast<std::uint8_t>(~mask);
  }
}

unsigned Pic::Chip::highest(std::uint8_t bits) const {
  for (unsigned i = 1; i <= 8; ++i) {
    const unsigned pin = (lowest_priority + i) & 7;
    if ((bits & bit(pin)) != 0) return pin;
  }
  return kNoRequest;
}

unsigned Pic::Chip::request(std::uint8_t cascade) const {
  if (expects != Expects::ocw1) return kNoRequest;
  const unsigned candidate = highest(irr & static_cast<std::uint8_t>(~imr));
  if (candidate == kNoRequest) return kNoRequest;
  std::uint8_t serving = isr;
  if (special_mask) serving &= static_cast<std::uint8_t>(~imr);
  if (special_fully_nested) serving &= static_cast<std::uint8_t>(~cascade);
  const unsigned current = highest(serving);
  if (current == kNoRequest) return candidate;
  const auto rank = [this](unsigned pin) { return (pin - lowest_priority - 1U) & 7U; };
  return rank(candidate) < rank(current) ? candidate : kNoRequest;
}

void Pic::Chip::start_service(unsigned pin) {
  isr |= bit(pin);
  // An edge request is used up; a level request lasts as long as its line.
  if ((level_mask() & bit(pin)) == 0) irr &= static_cast<std::uint8_t>(~bit(pin));
}

void Pic::Chip::finish_auto_eoi(unsigned pin) {
  if (!auto_eoi) return;
  isr &= static_cast<std::uint8_t>(~bit(pin));
  if (rotate_in_auto_eoi) lowest_priority = static_cast<std::uint8_t>(pin);
}

void Pic::Chip::write_icw1(std::uint8_t value) {
  needs_icw4 = (value & 0x01) != 0;
  single = (value & 0x02) != 0;
  level_triggered = (value & 0x08) != 0;
  imr = 0;
  isr = 0;
  // The edge sense circuit is reset: a line that is already high must fall first.
  irr = lines & level_mask();
  lowest_priority = 7;
  special_mask = false;
  poll = false;
  read_isr = false;
  if (!needs_icw4) {
    auto_eoi = false;
    special_fully_nested = false;
  }
  rotate_in_auto_eoi = false;
  expects = Expects::icw2;
}

void Pic::Chip::write_ocw2(std::uint8_t value) {
  const bool rotate = (value & 0x80) != 0;
  const bool specific = (value & 0x40) != 0;
  const bool eoi = (value & 0x20) != 0;
  if (!eoi && !specific) {
    rotate_in_auto_eoi = rotate;
    return;
  }
  unsigned pin = value & 7U;
  if (eoi && !specific) {
    // In special mask mode a masked level is not ended by a non-specific EOI.
    pin = highest(special_mask ? static_cast<std::uint8_t>(isr & ~imr) : isr);
    if (pin == kNoRequest) return;
  }
  if (eoi) isr &= static_cast<std::uint8_t>(~bit(pin));
  if (rotate) lowest_priority = static_cast<std::uint8_t>(pin);
}

void Pic::Chip::write_ocw3(std::uint8_t value) {
  if ((value & 0x40) != 0) special_mask = (value & 0x20) != 0;
  if ((value & 0x04) != 0) {
    poll = true;
  } else if ((value & 0x02) != 0) {
    read_isr = (value & 0x01) != 0;
  }
}

void Pic::Chip::write_data(std::uint8_t value) {
  switch (expects) {
    case Expects::icw2:
      vector_base = value & 0xf8;
      expects = !single ? Expects::icw3 : needs_icw4 ? Expects::icw4 : Expects::ocw1;
      return;
    case Expects::icw3:
      icw3 = value;
      expects = needs_icw4 ? Expects::icw4 : Expects::ocw1;
      return;
    case Expects::icw4:
      auto_eoi = (value & 0x02) != 0;
      special_fully_nested = (value & 0x10) != 0;
      expects = Expects::ocw1;
      return;
    case Expects::ocw1:
      break;
  }
  imr = value;
}

Pic::Pic() = default;

void Pic::on_output_changed(std::function<void(bool)> callback) {
  output_changed_ = std::move(callback);
}

void Pic::declare(Declaration& declaration) {
  declaration.ports(0x20, 2, *this, 0);
  declaration.ports(0xa0, 2, *this, 2);
  declaration.ports(0x4d0, 2, *this, 4);
}

void Pic::reset() {
  for (Chip& chip : chips_) {
    const std::uint8_t lines = chip.lines;
    chip = Chip{};
    chip.lines = lines;  // the pins belong to the devices
  }
  chips_[kMaster].lines &= static_cast<std::uint8_t>(~kCascadeBit);
  update();
}

void Pic::visit_state(StateVisitor& visitor) {
  chips_[kMaster].visit(visitor, "master.");
  chips_[kSlave].visit(visitor, "slave.");
  visitor.field("output", output_);
  // What was loaded may be anything; a rotation outside 0-7 is none.
  for (Chip& chip : chips_) chip.lowest_priority &= 7;
}

unsigned Pic::request_of(unsigned index) const {
  return chips_[index].request(index == kMaster ? kCascadeBit : 0);
}

void Pic::update() {
  chips_[kMaster].set_pin(kCascadePin, request_of(kSlave) != kNoRequest);
  const bool level = request_of(kMaster) != kNoRequest;
  if (level == output_) return;
  output_ = level;
  if (output_changed_) output_changed_(level);
}

std::optional<unsigned> Pic::serviced_as(std::uint8_t vector) const {
  for (unsigned index = 0; index < chips_.size(); ++index) {
    const Chip& chip = chips_[index];
    const unsigned pin = vector - chip.vector_base;
    if (vector >= chip.vector_base && pin < 8 && (chip.isr >> pin & 1) != 0) {
      return 8 * index + pin;
    }
  }
  return std::nullopt;
}

bool Pic::output() const { return output_; }

void Pic::set_line(unsigned line, bool level) {
  if (line > 15 || line == kCascadePin) return;
  chips_[line >> 3].set_pin(line & 7, level);
  update();
}

unsigned Pic::acknowledge_chip(unsigned index) {
  const unsigned pin = request_of(index);
  if (pin != kNoRequest) chips_[index].start_service(pin);
  return pin;
}

std::uint8_t Pic::acknowledge() {
  Chip& master = chips_[kMaster];
  Chip& slave = chips_[kSlave];
  const unsigned pin = acknowledge_chip(kMaster);
  std::uint8_t vector = 0;
  if (pin == kCascadePin && !master.single) {
    const unsigned slave_pin = acknowledge_chip(kSlave);
    vector = static_cast<std::uint8_t>(slave.vector_base + (slave_pin & 7));
    if (slave_pin == kNoRequest) {
      vector = static_cast<std::uint8_t>(slave.vector_base + 7);
    } else {
      slave.finish_auto_eoi(slave_pin);
    }
    // The slave's INT falls during INTA, so what it still has is a new edge.
    master.set_pin(kCascadePin, false);
  } else {
    vector = static_cast<std::uint8_t>(master.vector_base + (pin == kNoRequest ? 7 : pin));
  }
  if (pin != kNoRequest) master.finish_auto_eoi(pin);
  update();
  return vector;
}

std::uint8_t Pic::read_byte(std::uint16_t offset) {
  if (offset >= 4) return offset < 6 ? chips_[offset - 4U].elcr : 0xff;
  const unsigned index = offset >> 1;
  Chip& chip = chips_[index];
  if (chip.poll) {
    chip.poll = false;
    const unsigned pin = acknowledge_chip(index);
    if (pin == kNoRequest) return 0;
    chip.finish_auto_eoi(pin);
    if (index == kSlave) chips_[kMaster].set_pin(kCascadePin, false);
    update();
    return static_cast<std::uint8_t>(0x80 | pin);
  }
  if ((offset & 1) != 0) return chip.imr;
  return chip.read_isr ? chip.isr : chip.irr;
}

void Pic::write_byte(std::uint16_t offset, std::uint8_t value) {
  if (offset >= 6) return;
  if (offset >= 4) {
    Chip& chip = chips_[offset - 4U];
    chip.elcr = static_cast<std::uint8_t>(value & kElcrWritable[offset - 4U]);
    chip.irr = static_cast<std::uint8_t>(chip.irr | (chip.lines & chip.level_mask()));
  } else {
    Chip& chip = chips_[offset >> 1];
    if ((offset & 1) != 0) {
      chip.write_data(value);
    } else if ((value & 0x10) != 0) {
      chip.write_icw1(value);
    } else if ((value & 0x08) != 0) {
      chip.write_ocw3(value);
    } else {
      chip.write_ocw2(value);
    }
  }
  update();
}

}  // namespace chronovisor
