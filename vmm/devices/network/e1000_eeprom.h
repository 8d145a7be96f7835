// Owns the 82540EM's configuration memory: 64 words behind a Microwire line that
// drivers drive bit by bit, and behind a register that reads a word at once. It is
// read-only: commands that would write are taken and change nothing. Knows no card.
// One thread a machine.
// Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual, chapter 5; the instructions of a 93C46.
#pragma once

#include <array>
#include <cstdint>

#include "base/state.h"
#include "vmm/devices/network/ethernet.h"

namespace chronovisor {

class E1000Eeprom {
 public:
  static constexpr unsigned kWords = 64;

  explicit E1000Eeprom(const MacAddress& address);

  void reset();
  /// Its wires and their state. The content is fixed by how it was made.
  void visit_state(StateVisitor& visitor);

  /// EECD: clock, chip select, data in and out, the grant.
  [[nodiscard]] std::uint32_t read_control() const;
  void write_control(std::uint32_t value);
  /// EERD: a word by its address, done at once.
  [[nodiscard]] std::uint32_t read_word_register() const { return word_register_; }
  void write_word_register(std::uint32_t value);

 private:
  [[nodiscard]] bool data_out() const;
  void clock_rises(bool data_in);

  std::array<std::uint16_t, kWords> words_{};
  std::uint32_t wires_ = 0;
  std::uint32_t word_register_ = 0;
  std::uint16_t shifted_in_ = 0;
  std::uint8_t bits_in_ = 0;
  bool reading_ = false;
  std::uint16_t next_bit_ = 0;  ///< of all words' bits, from the first word's highest on
};

}  // namespace chronovisor
