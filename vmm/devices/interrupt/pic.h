// Owns the two 8259A interrupt controllers of a PC, master and slave, and their
// edge/level control registers (ELCR). Knows no CPU: output() is the INTR pin,
// acknowledge() the INTA cycles. One thread a machine.
//
// Ports: master at offset 0, slave at offset 2, ELCR at offset 4, two each.
// Source: Intel 8259A data sheet; Intel 82371SB (PIIX3) data sheet for ELCR.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/interrupt_line.h"

namespace chronovisor {

/// Power-on masks all lines, so nothing happens until ICW1-4 and OCW1 are
/// written. A line that falls before it is acknowledged takes its request back,
/// as on the chip; if the CPU is already in its INTA cycle it gets IRQ7 or 15.
class Pic final : public Device, public BytePortDevice, public InterruptSink {
 public:
  Pic();
  /// Called with the new level whenever INTR changes.
  void on_output_changed(std::function<void(bool level)> callback);

  /// @param line IRQ 0-15; 2 (the cascade) and anything above are ignored
  void set_line(unsigned line, bool level) override;
  [[nodiscard]] bool output() const;
  /// The interrupt in service that is delivered as `vector`, if one is. Another event may
  /// have the same vector.
  [[nodiscard]] std::optional<unsigned> serviced_as(std::uint8_t vector) const;
  /// Runs both INTA cycles: puts the request in service and returns its vector
  /// (the spurious vector when the request has gone away).
  std::uint8_t acknowledge();

  [[nodiscard]] std::string_view name() const override { return "pic"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  /// Which initialisation word the data port expects.
  enum class Expects : std::uint8_t { ocw1 = 0, icw2 = 1, icw3 = 2, icw4 = 3 };
  static constexpr unsigned kNoRequest = 8;

  struct Chip {
    std::uint8_t lines = 0;  ///< input pins
    std::uint8_t irr = 0;
    std::uint8_t imr = 0xff;
    std::uint8_t isr = 0;
    std::uint8_t elcr = 0;
    std::uint8_t vector_base = 0;
    std::uint8_t icw3 = 0;
    std::uint8_t lowest_priority = 7;
    Expects expects = Expects::ocw1;
    bool needs_icw4 = false;
    bool single = false;
    bool level_triggered = false;  ///< ICW1 LTIM
    bool auto_eoi = false;
    bool rotate_in_auto_eoi = false;
    bool special_fully_nested = false;
    bool special_mask = false;
    bool poll = false;
    bool read_isr = false;

    void visit(StateVisitor& visitor, const std::string& prefix);
    [[nodiscard]] std::uint8_t level_mask() const;
    void set_pin(unsigned pin, bool level);
    /// Highest priority set bit of `bits`, or kNoRequest.
    [[nodiscard]] unsigned highest(std::uint8_t bits) const;
    /// The pin that INT is raised for, or kNoRequest. `cascade` has the bit of
    /// the slave's pin on a master.
    [[nodiscard]] unsigned request(std::uint8_t cascade) const;
    void start_service(unsigned pin);
    void finish_auto_eoi(unsigned pin);
    void write_icw1(std::uint8_t value);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);
    void write_data(std::uint8_t value);
  };

  void update();
  unsigned acknowledge_chip(unsigned index);
  [[nodiscard]] unsigned request_of(unsigned index) const;

  std::array<Chip, 2> chips_;  ///< master, slave
  bool output_ = false;
  std::function<void(bool)> output_changed_;
};

}  // namespace chronovisor
