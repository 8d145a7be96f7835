// Owns the one shape every device has: what it declares, named state, reset,
// time. A device sees offsets within its own range, never bus addresses; it never sees the CPU,
// the host, or whether the run is a replay. One thread a machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/section.h"
#include "base/state.h"
#include "base/units.h"
#include "vmm/devices/core/deadline_queue.h"

namespace chronovisor {

/// The guest's clock, exact to the step that is executing.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual VirtualTime now() const = 0;
  /// How many steps have retired. It tells people what began a request; what a guest
  /// sees must not follow from it.
  [[nodiscard]] virtual Position position() const { return {}; }
};

class Declaration;

class Device {
 public:
  Device() = default;
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  /// States what the device asks of its board, once, before the first reset.
  virtual void declare(Declaration& declaration) = 0;
  /// Name of its state section, unique in the machine ("pic", "uart0").
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// The versions of that section which visit_state() knows.
  [[nodiscard]] virtual StateVersions state_versions() const { return {}; }
  /// For the machine: the version in which it keeps the section, one of those.
  void set_state_version(std::uint32_t version) { state_version_ = version; }
  /// Shows every field that can influence the future, outputs included; the fields
  /// of state_version(). What was loaded may be any bytes: a number that serves as an
  /// index or a choice is bounded here (base/section.h).
  /// Restoring must not drive outputs: the sinks restore their own inputs.
  virtual void visit_state(StateVisitor& visitor) = 0;
  /// Power-on state (also what the reset line does, where that differs not).
  virtual void reset() = 0;
  /// After a reset, what firmware does to it before it starts an operating system: for
  /// guests that are loaded without any.
  virtual void set_up_by_firmware() {}
  /// All devices were restored: works out again what follows from state and is
  /// none (where windows are). Drives nothing.
  virtual void state_restored() {}
  /// Its state is what reset() leaves and need not be saved: a device that older
  /// recordings do not have. Its section is then missing.
  [[nodiscard]] virtual bool as_after_reset() const { return false; }
  /// Virtual time in ns of the next thing it will do by itself; kNever if none.
  [[nodiscard]] virtual std::uint64_t next_deadline_ns() const { return kNever; }
  /// Does everything that is due at or before `now`. Called at the first
  /// position whose virtual time reaches next_deadline_ns(), and never early.
  virtual void advance(VirtualTime /*now*/) {}
  /// For the board: where deadline_changed() is to be said.
  void join(DeadlineQueue& queue) {
    queue_ = &queue;
    place_ = queue.add(*this);
  }

 protected:
  [[nodiscard]] std::uint32_t state_version() const { return state_version_; }
  /// next_deadline_ns() may give something else than before. To be said after
  /// every change but a reset and a restore, which the board knows of.
  void deadline_changed() {
    if (queue_ != nullptr) queue_->changed(place_);
  }

 private:
  std::uint32_t state_version_ = 1;
  DeadlineQueue* queue_ = nullptr;
  unsigned place_ = 0;
};

/// A device with ports. Widths are 1, 2 or 4 bytes. The bus splits an access
/// that is wider than a range, so offset + width never exceeds it.
class PortDevice {
 public:
  virtual ~PortDevice() = default;
  virtual std::uint32_t read_port(std::uint16_t offset, unsigned width) = 0;
  virtual void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) = 0;
};

/// A device with memory-mapped registers. Widths are 1, 2, 4 or 8 bytes.
class MmioDevice {
 public:
  virtual ~MmioDevice() = default;
  virtual std::uint64_t read_mmio(std::uint64_t offset, unsigned width) = 0;
  virtual void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) = 0;
  /// What one byte reads as, where that is memory: for whoever looks from outside, and
  /// nothing changes. Nothing where a read could do something.
  [[nodiscard]] virtual std::optional<std::uint8_t> peek_mmio(std::uint64_t /*offset*/) const {
    return std::nullopt;
  }
};

}  // namespace chronovisor
