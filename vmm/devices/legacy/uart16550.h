// Owns one 16550A serial port. Knows neither who reads its output nor where its
// input comes from: the machine calls receive() at recorded positions. One
// thread a machine.
//
// Ports: 8, at offset 0.
// Source: National Semiconductor PC16550D data sheet.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/interrupt_line.h"

namespace chronovisor {

/// A byte written is transmitted at once: THRE and TEMT are always set, and
/// every write makes a new THRE interrupt (the line falls and rises, so an
/// edge-triggered controller sees it). The interrupt pin is wired to the line
/// directly, not gated by OUT2. CTS, DSR and DCD are asserted. Breaks are not
/// transmitted (but come back in loopback).
class Uart16550 final : public Device, public BytePortDevice, public InputReceiver {
 public:
  /// @param number of the port, 0 = COM1; its state section is "uart0"
  Uart16550(std::uint16_t number, const Clock& clock, OutputSink& output);

  /// A byte arrives on the line. Without room it is lost and overrun is shown,
  /// so ask can_receive() first. In loopback the line is disconnected.
  void receive(std::uint8_t byte);
  /// A break condition arrives on the line.
  void receive_break();
  [[nodiscard]] bool can_receive() const;
  /// RTS is asserted: the guest asks for input. A guest that never touched the
  /// modem control register knows no handshake and is always ready.
  [[nodiscard]] bool ready_to_receive() const { return (mcr_ & 2) != 0 || !mcr_written_; }

  [[nodiscard]] std::string_view name() const override { return name_; }
  void declare(Declaration& declaration) override;
  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  static constexpr unsigned kFifoBytes = 16;

  [[nodiscard]] bool fifo_enabled() const;
  [[nodiscard]] bool loopback() const;
  [[nodiscard]] unsigned capacity() const;
  [[nodiscard]] unsigned trigger() const;
  [[nodiscard]] std::uint8_t interrupt_id() const;
  [[nodiscard]] std::uint8_t line_status() const;
  [[nodiscard]] std::uint64_t timeout_at_ns() const;
  void settle_timeout(std::uint64_t now_ns);
  void update_line();
  void push(std::uint8_t byte, std::uint8_t errors);
  void reveal_errors();
  void clear_receiver();
  std::uint8_t read_received();
  void transmit(std::uint8_t byte);
  void write_fifo_control(std::uint8_t value);
  void write_modem_control(std::uint8_t value);
  void write_line_control(std::uint8_t value);

  const std::uint16_t number_;
  const std::string name_;
  const Clock& clock_;
  OutputSink& output_;

  std::uint16_t divisor_ = 0;
  std::uint8_t ier_ = 0;
  std::uint8_t fcr_ = 0;
  std::uint8_t lcr_ = 0;
  std::uint8_t mcr_ = 0;
  bool mcr_written_ = false;  ///< since reset
  std::uint8_t msr_ = 0;
  std::uint8_t scratch_ = 0;
  std::uint8_t lsr_errors_ = 0;  ///< OE, PE, FE, BI until LSR is read
  std::array<std::uint8_t, kFifoBytes> fifo_{};
  std::array<std::uint8_t, kFifoBytes> fifo_errors_{};
  std::uint8_t fifo_head_ = 0;
  std::uint8_t fifo_count_ = 0;
  std::uint8_t last_received_ = 0;  ///< what an empty RBR still shows
  bool thre_pending_ = false;
  bool timeout_pending_ = false;
  std::uint64_t last_activity_ns_ = 0;  ///< of the receive FIFO
  InterruptPin irq_;
};

}  // namespace chronovisor
