// Owns the 8254 interval timer and the system control port 0x61 that gates its
// counter 2. Knows no interrupt controller: counter 0's output is a line. One
// thread a machine.
//
// Ports: the counters at offset 0, port 61H at offset 4.
// Source: Intel 8254 data sheet; Intel 82371SB (PIIX3) data sheet, "NMI Status
// and Control Register".
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {

/// Counts are functions of virtual time on a tick grid of 14.31818/12 MHz that
/// starts at power-on; a written count is loaded at the next tick, and reads as
/// loaded until then. The fall of counter 0's output is not an event of its
/// own: the line falls just before it rises again. Periods that nobody could
/// see in between (an idle warp) become one edge. Power-on: mode 0, no count.
class Pit final : public Device, public BytePortDevice {
 public:
  explicit Pit(const Clock& clock);

  [[nodiscard]] std::string_view name() const override { return "pit"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  /// A stretch of counting with one count, from the tick at which it was loaded.
  struct Segment {
    std::uint64_t start_tick = 0;
    std::uint32_t count = 1;
    bool starts_low = false;  ///< mode 3 only: a half cycle that begins low
    [[nodiscard]] std::uint64_t first_rise_after(unsigned mode, std::uint64_t tick) const;
    [[nodiscard]] bool out(unsigned mode, std::uint64_t elapsed) const;
    [[nodiscard]] std::uint32_t value(unsigned mode, std::uint64_t elapsed, bool bcd) const;
  };
  struct Counter {
    std::uint8_t mode = 0;
    std::uint8_t access = 3;  ///< 1 low byte, 2 high byte, 3 low then high
    bool bcd = false;
    std::uint8_t write_low = 0;
    bool write_high_next = false;
    bool read_high_next = false;
    bool count_latched = false;
    std::uint16_t latched_count = 0;
    bool status_latched = false;
    std::uint8_t latched_status = 0;
    std::uint16_t reload = 0;    ///< as written
    bool count_written = false;  ///< since the mode was set
    bool counting = false;       ///< `segment` is valid
    bool gate = true;
    bool frozen = false;  ///< the gate is low: `frozen_elapsed` ticks done
    std::uint64_t frozen_elapsed = 0;
    Segment segment;
    bool has_next = false;  ///< `next` takes over at its start tick
    Segment next;

    void visit(StateVisitor& visitor, const std::string& prefix);
    [[nodiscard]] std::uint32_t full_count() const;
    [[nodiscard]] const Segment& segment_at(std::uint64_t tick) const;
    [[nodiscard]] std::uint64_t elapsed_at(std::uint64_t tick) const;
    [[nodiscard]] bool out(std::uint64_t tick) const;
    [[nodiscard]] bool null_count(std::uint64_t tick) const;
    [[nodiscard]] std::uint16_t value(std::uint64_t tick) const;
    [[nodiscard]] std::uint8_t status(std::uint64_t tick) const;
    [[nodiscard]] std::uint64_t first_rise_after(std::uint64_t tick) const;
    void adopt_next(std::uint64_t tick);
    void load(std::uint64_t tick);
    void set_mode(std::uint8_t control);
    void write(std::uint64_t tick, std::uint8_t value);
    void set_count(std::uint64_t tick, std::uint16_t value);
    void set_gate(std::uint64_t tick, bool level);
    void latch_count(std::uint64_t tick);
    [[nodiscard]] std::uint8_t read(std::uint64_t tick);
  };

  void write_control(std::uint64_t tick, std::uint8_t value);
  void drive(bool level);
  void follow_output(std::uint64_t tick);

  const Clock& clock_;
  std::array<Counter, 3> counters_;
  std::uint8_t control_b_ = 0;        ///< port 0x61 bits 0-3
  InterruptPin irq_;                  ///< OUT0
  std::uint64_t delivered_tick_ = 0;  ///< edges up to here are delivered
};

}  // namespace chronovisor
