// Owns the MC146818 real-time clock and its CMOS memory. The date is a function
// of virtual time and of what the guest set; the host clock is never read. One
// thread a machine.
//
// Ports: index at offset 0, data at offset 1.
// Source: Motorola MC146818 data sheet; Intel 82371SB (PIIX3) data sheet; the
// memory-size bytes are what PC firmware leaves there.
#pragma once

#include <array>
#include <cstdint>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/interrupt_line.h"

namespace chronovisor {

/// While SET or the divider reset holds the clock, the time registers are plain
/// bytes; when it runs again they are read as a date, in the format of register
/// B at that moment. Out-of-range fields carry over (second 75 is 1:15). A
/// format change while running shows the same date in the new format.
/// An update occupies the last 2228 us of each second (UIP), and the registers
/// keep their old values until it ends.
class RtcCmos final : public Device, public BytePortDevice {
 public:
  struct Memory {
    std::uint64_t below_4g_bytes;
    std::uint64_t above_4g_bytes;
    std::uint8_t floppy_drives = 0;  ///< types of the first and, in the low half, the second
  };
  /// @param start_unix_seconds UTC date at virtual time 0
  RtcCmos(const Clock& clock, Memory memory, std::int64_t start_unix_seconds);

  /// Port 0x70 bit 7.
  [[nodiscard]] bool nmi_masked() const { return (index_ & 0x80) != 0; }

  [[nodiscard]] std::string_view name() const override { return "rtc_cmos"; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  /// The reset line: the date and the memory are on the battery.
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

 protected:
  std::uint8_t read_byte(std::uint16_t offset) override;
  void write_byte(std::uint16_t offset, std::uint8_t value) override;

 private:
  [[nodiscard]] bool held() const;
  [[nodiscard]] bool divider_held() const;
  [[nodiscard]] std::int64_t seconds_at(std::uint64_t now_ns) const;
  [[nodiscard]] bool updating_at(std::uint64_t now_ns) const;
  [[nodiscard]] std::uint64_t next_update_ns(std::uint64_t after_ns) const;
  [[nodiscard]] std::uint64_t next_alarm_ns(std::uint64_t after_ns) const;
  [[nodiscard]] std::uint64_t next_periodic_ns(std::uint64_t after_ns) const;
  [[nodiscard]] std::uint8_t encode(unsigned value) const;
  [[nodiscard]] unsigned decode(std::uint8_t value) const;
  [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const;
  [[nodiscard]] unsigned decode_hour(std::uint8_t value) const;
  void fill_memory_sizes(Memory memory);
  void store_date(std::uint64_t now_ns);
  void load_date(std::uint64_t now_ns);
  [[nodiscard]] std::uint8_t read_register(unsigned index, std::uint64_t now_ns);
  void write_register(unsigned index, std::uint8_t value, std::uint64_t now_ns);
  void write_control(unsigned index, std::uint8_t value, std::uint64_t now_ns);
  void settle(std::uint64_t now_ns);
  void update_line();

  const Clock& clock_;

  std::uint8_t index_ = 0;
  /// Registers and memory by index. The date bytes count only while held.
  std::array<std::uint8_t, 128> cmos_{};
  std::int64_t divider_origin_ns_ = 0;  ///< where the divider chain was zero; may be negative
  std::int64_t origin_seconds_ = 0;     ///< the date then, as Unix seconds
  std::uint8_t weekday_shift_ = 0;      ///< what the guest set beyond the real weekday
  std::uint64_t settled_ns_ = 0;        ///< register C accounts for events up to here
  InterruptPin irq_;
};

}  // namespace chronovisor
