// Owns the one shape every device has: named state, reset, time. A device sees
// offsets within its own range, never bus addresses; it never sees the CPU,
// the host, or whether the run is a replay. One thread a machine.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/section.h"
#include "base/state.h"
#include "base/units.h"

namespace chronovisor {

/// The guest's clock, exact to the step that is executing.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual VirtualTime now() const = 0;
};

/// Where a device's interrupt output goes. `line` is an ISA IRQ or GSI number
/// on the sink that the device was given.
class InterruptSink {
 public:
  virtual ~InterruptSink() = default;
  virtual void set_line(unsigned line, bool level) = 0;
};

class Device {
 public:
  virtual ~Device() = default;
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
  /// Virtual time in ns of the next thing it will do by itself; kNever if none.
  [[nodiscard]] virtual std::uint64_t next_deadline_ns() const { return kNever; }
  /// Does everything that is due at or before `now`. Called at the first
  /// position whose virtual time reaches next_deadline_ns(), and never early.
  virtual void advance(VirtualTime /*now*/) {}

 protected:
  [[nodiscard]] std::uint32_t state_version() const { return state_version_; }

 private:
  std::uint32_t state_version_ = 1;
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
};

}  // namespace chronovisor
