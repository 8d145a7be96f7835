// Owns a VGA with Bochs' VBE extension: its ports, the window at A0000H and the
// linear frame buffer, and the retrace as a function of virtual time. What it
// shows is drawn elsewhere (vga_screen.h) from its state; nobody has to watch.
// Knows no CPU and no host. One thread a machine.
//
// Ports: 3B0H to 3DFH; 1CEH and 1D0H (VBE index and data, the data also at 1CFH).
// Source: IBM PS/2 Video Subsystem Technical Reference; Bochs VBE extensions
// (index and data ports, registers 0 to 10, ID B0C5H).
#pragma once

#include <cstdint>

#include "vmm/devices/core/byte_port_device.h"
#include "vmm/devices/core/device.h"
#include "vmm/devices/display/vga_state.h"
#include "vmm/devices/pci/pci_device.h"
#include "vmm/memory/paged_region.h"

namespace chronovisor {

/// Planes hold 64 KiB each. Byte n of plane p lies at 4n + p in video memory, so
/// that the linear frame buffer of a VBE mode of 4 bits and the planes are one. The
/// vertical interrupt is not wired, as on most cards. Light pen and feature
/// connector are not there.
class Vga final : public PciDevice {
 public:
  static constexpr std::uint64_t kMemoryBytes = 16ULL << 20;
  static constexpr const char* kMemoryName = "vga.memory";

  static constexpr std::uint64_t kRomBytes = 64 * 1024;

  /// @param memory of kMemoryBytes, a region of the machine
  /// @param rom of kRomBytes, likewise: the video BIOS; null: there is none
  Vga(PciAddress usual, MessageInterrupts& messages, const Clock& clock, PagedRegion& memory,
      const PagedRegion* rom = nullptr);

  [[nodiscard]] const VgaState& registers() const { return state_; }
  [[nodiscard]] const PagedRegion& video_memory() const { return memory_; }
  /// Where the linear frame buffer is, as a physical address: what its base address says.
  [[nodiscard]] std::uint32_t linear_base() const;
  static constexpr std::uint32_t kWindowBase = 0xa0000;
  /// As the video BIOS leaves it: 80 × 25 characters, and `font`, 256 characters of
  /// `rows` bytes each, in plane 2.
  void set_text_mode(ByteView font, unsigned rows);

  [[nodiscard]] std::string_view name() const override { return "vga"; }
  [[nodiscard]] StateVersions state_versions() const override { return {1, 3}; }
  void declare(Declaration& declaration) override;
  void visit_state(StateVisitor& visitor) override;
  void reset() override;
  /// Sets the text mode, with the font that its ROM has. Machines of older recordings are
  /// left as they were at power-on.
  void set_up_by_firmware() override;

 private:
  class Registers final : public BytePortDevice {
   public:
    explicit Registers(Vga& vga) : vga_(vga) {}

   protected:
    std::uint8_t read_byte(std::uint16_t offset) override { return vga_.read_register(offset); }
    void write_byte(std::uint16_t offset, std::uint8_t value) override {
      vga_.write_register(offset, value);
    }

   private:
    Vga& vga_;
  };
  class VbePorts final : public PortDevice {
   public:
    explicit VbePorts(Vga& vga) : vga_(vga) {}
    std::uint32_t read_port(std::uint16_t offset, unsigned width) override;
    void write_port(std::uint16_t offset, unsigned width, std::uint32_t value) override;

   private:
    static constexpr std::uint16_t kSecondData = 2;  ///< 1D0H
    /// Machines of older recordings had half a register there, which took no words.
    [[nodiscard]] bool is_half(std::uint16_t offset) const;
    Vga& vga_;
  };
  /// A0000H to BFFFFH.
  class Aperture final : public MmioDevice {
   public:
    explicit Aperture(Vga& vga) : vga_(vga) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;
    [[nodiscard]] std::optional<std::uint8_t> peek_mmio(std::uint64_t offset) const override;

   private:
    Vga& vga_;
  };
  class FrameBuffer final : public MmioDevice {
   public:
    explicit FrameBuffer(PagedRegion& memory) : memory_(memory) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;
    [[nodiscard]] std::optional<std::uint8_t> peek_mmio(std::uint64_t offset) const override;

   private:
    PagedRegion& memory_;
  };
  /// BAR 2: the ports 3C0H to 3DFH at 400H, the VBE registers at 500H.
  class RegisterWindow final : public MmioDevice {
   public:
    explicit RegisterWindow(Vga& vga) : vga_(vga) {}
    std::uint64_t read_mmio(std::uint64_t offset, unsigned width) override;
    void write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) override;

   private:
    Vga& vga_;
  };

  [[nodiscard]] bool color_ports() const { return (state_.miscellaneous & 1) != 0; }
  [[nodiscard]] std::uint8_t read_register(std::uint16_t offset);
  void write_register(std::uint16_t offset, std::uint8_t value);
  [[nodiscard]] std::uint8_t read_attribute() const;
  void write_attribute(std::uint8_t value);
  void write_sequencer(std::uint8_t value);
  void write_graphics(std::uint8_t value);
  void write_crtc(std::uint8_t value);
  [[nodiscard]] std::uint8_t read_dac_data();
  void write_dac_data(std::uint8_t value);
  [[nodiscard]] std::uint8_t input_status() const;
  [[nodiscard]] std::uint16_t read_vbe() const;
  void write_vbe(std::uint16_t value);
  void enable_vbe(std::uint16_t value);
  void leave_text_mode();
  [[nodiscard]] unsigned vbe_pitch_bytes() const;
  void fit_vbe_virtual_height();

  /// Where an address within the aperture lies; false: not in the mapped part.
  [[nodiscard]] bool aperture_offset(std::uint64_t& offset) const;
  /// A byte that the processor reads, and what comes into the latches by that.
  struct ApertureRead {
    std::uint8_t value = 0xff;
    std::array<std::uint8_t, 4> latch{};
  };
  [[nodiscard]] ApertureRead look_at_aperture(std::uint64_t offset) const;
  void write_aperture(std::uint64_t offset, std::uint8_t value);
  void write_planes(std::uint32_t plane_offset, std::uint8_t planes, std::uint8_t value);
  [[nodiscard]] Bytes font_in_rom() const;
  [[nodiscard]] std::uint8_t memory_byte(std::uint64_t at) const;
  void set_memory_byte(std::uint64_t at, std::uint8_t value);

  const Clock& clock_;
  PagedRegion& memory_;
  const PagedRegion* video_bios_;  ///< may be null
  Registers registers_{*this};
  VbePorts vbe_ports_{*this};
  Aperture aperture_{*this};
  FrameBuffer frame_buffer_{memory_};
  RegisterWindow register_window_{*this};
  VgaState state_;
};

}  // namespace chronovisor
