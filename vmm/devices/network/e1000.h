// Owns a network card: Intel's 82540EM with its rings, filters, interrupts and
// statistics. A received frame is an input, a sent one an output, and there is nothing
// else between the card and whatever it is plugged into. Knows no backend, no
// recording and no host clock. One thread a machine.
//
// Registers: BAR 0 of 128 KiB, and through the address and data ports of BAR 2. INTA#.
// Source: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
// Manual (8254x), revision 4.0.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmm/devices/core/input_output.h"
#include "vmm/devices/network/e1000_assembler.h"
#include "vmm/devices/network/e1000_eeprom.h"
#include "vmm/devices/network/e1000_phy.h"
#include "vmm/devices/network/ethernet.h"
#include "vmm/devices/network/received_frame.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/memory/dma_port.h"

namespace chronovisor {

/// Choices where the manual leaves room: the link is up and negotiated in no time
/// unless the PHY is powered down. Frames leave at 1000 Mb/s of virtual time, in bursts
/// of up to 16 KiB that leave at once, after which the line is busy for as long as they
/// take. A ring whose head or tail lies outside of it stands still. A frame that comes
/// while the receiver is off, or is for somebody else, is gone; while there is no room
/// for a longest frame, the card says so, and the frame waits outside. An access that is
/// not of a whole register reads its part of it and writes nothing.
class E1000 final : public PciDevice,
                    public MmioDevice,
                    public InputReceiver,
                    private E1000FrameSink,
                    private ReceivedFrame {
 public:
  /// @param number of the card among those of a machine; its section is "net0"
  E1000(std::uint16_t number, PciAddress usual, const MacAddress& address,
        MessageInterrupts& messages, const Clock& clock, DmaBus& dma, OutputSink& outputs);

  [[nodiscard]] std::string_view name() const override { return name_; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  [[nodiscard]] std::uint64_t next_deadline_ns() const override;
  void advance(VirtualTime now) override;

  void receive(const Input& input) override;
  [[nodiscard]] bool has_room(InputKind kind) const override;

  std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
  void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

 private:
  /// The address and data ports.
  class Ports final : public PortDevice {
   public:
    explicit Ports(E1000& card) : card_(card) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    E1000& card_;
  };
  /// Registers that keep what is written, and no more.
  static constexpr unsigned kPlainRegisters = 40;
  static constexpr unsigned kStatisticWords = 64;
  /// A ring of 16-byte descriptors, as its registers say.
  struct Ring {
    std::uint64_t base;
    std::uint32_t count;
    std::uint32_t head;
    std::uint32_t tail;
    /// Head and tail are within it.
    [[nodiscard]] bool sound() const { return head < count && tail < count; }
    /// Descriptors that are the card's.
    [[nodiscard]] std::uint32_t ready() const {
      return !sound() ? 0 : (tail + count - head) % count;
    }
  };

  // Registers.
  [[nodiscard]] std::uint32_t& plain(std::uint32_t offset);
  [[nodiscard]] std::uint32_t plain(std::uint32_t offset) const;
  [[nodiscard]] std::uint32_t* keeper(std::uint32_t offset);
  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset);
  void write_register(std::uint32_t offset, std::uint32_t value);
  void write_control(std::uint32_t value);
  void write_mdic(std::uint32_t value);
  [[nodiscard]] std::uint32_t status() const;
  void reset_card();
  void follow_link(E1000Phy::Change change);
  [[nodiscard]] Ring ring(std::uint32_t base_register) const;

  // Interrupts.
  void cause(std::uint32_t bits);
  void update_interrupt();
  void start_timer(std::uint64_t& due_ns, std::uint32_t ticks);

  // Statistics.
  void count(std::uint32_t statistic, std::uint64_t by = 1);
  void count_wide(std::uint32_t low, std::uint64_t by);
  void count_size(std::uint32_t first, std::size_t bytes);

  // Transmitting.
  void transmit();
  void take_descriptor(const Ring& ring);
  void gather(std::uint64_t address, std::size_t bytes);
  void assembled(Bytes& frame) override;

  // Receiving.
  /// What stands in the last descriptor of a received frame.
  struct WriteBack {
    std::uint16_t checksum;
    std::uint8_t status;
    std::uint8_t errors;
    std::uint16_t tag;
  };
  /// Whether a frame is for this card, and whether the driver must look itself.
  enum class Match : std::uint8_t { none, exact, inexact };

  [[nodiscard]] bool listens() const;
  void take_in(ByteView incoming);
  [[nodiscard]] Match match(ByteView frame) const;
  [[nodiscard]] bool is_tagged(ByteView frame) const;
  [[nodiscard]] bool vlan_allowed(ByteView frame) const;
  [[nodiscard]] std::size_t buffer_bytes() const;
  [[nodiscard]] std::uint64_t room_bytes(const Ring& ring) const;
  void judge_checksums(ByteView frame, std::uint8_t& status, std::uint8_t& errors) const;
  void store(ByteView bytes, const WriteBack& last);
  void announce();

  const std::uint16_t number_;
  const std::string name_;
  const MacAddress address_;
  const Clock& clock_;
  DmaPort dma_;
  OutputSink& outputs_;
  Ports ports_{*this};
  E1000Eeprom eeprom_;
  E1000Phy phy_;
  E1000Assembler assembler_{*this};

  std::array<std::uint32_t, kPlainRegisters> plain_{};
  std::array<std::uint32_t, 128> multicast_{};
  std::array<std::uint32_t, 32> addresses_{};
  std::array<std::uint32_t, 128> vlans_{};
  std::array<std::uint32_t, kStatisticWords> statistics_{};
  std::uint32_t control_ = 0;
  std::uint32_t mdic_ = 0;
  std::uint32_t causes_ = 0;
  std::uint32_t mask_ = 0;
  bool asserted_ = false;  ///< the interrupt that the causes ask for
  std::uint32_t port_address_ = 0;
  std::uint16_t vlan_tag_ = 0;               ///< of the frame that is being gathered
  bool insert_vlan_ = false;                 ///< it gets one
  std::uint64_t line_free_ns_ = 0;           ///< what was sent is gone then
  std::uint64_t transmit_due_ns_ = kNever;   ///< descriptors wait for the line
  std::uint64_t quiet_until_ns_ = 0;         ///< no interrupt before (ITR)
  std::uint64_t interrupt_due_ns_ = kNever;  ///< one waits for that
  std::uint64_t receive_timer_ns_ = kNever;
  std::uint64_t receive_limit_ns_ = kNever;
  std::uint64_t transmit_timer_ns_ = kNever;
  std::uint64_t transmit_limit_ns_ = kNever;
};

}  // namespace chronovisor
