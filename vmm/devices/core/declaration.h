// Owns what a device asks of its board: ports, memory, interrupt lines, inputs,
// PCI functions, and what firmware tables must say about it. A device states
// its needs once, in Device::declare(), with the places that are usual for it;
// the model may place it elsewhere. Knows no bus and no model. Lives while a
// machine is assembled; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "vmm/devices/core/device.h"
#include "vmm/devices/core/firmware_facts.h"
#include "vmm/devices/core/input_output.h"
#include "vmm/devices/core/interrupt_line.h"
#include "vmm/devices/core/pci_function.h"
#include "vmm/devices/core/window.h"

namespace chronovisor {

/// Where a model puts a device. What is not given here is where the device
/// usually is; the lists are in the order of the device's declarations.
struct Placement {
  std::uint16_t number = 0;  ///< of the device among those of its kind
  std::vector<std::uint16_t> ports{};
  std::vector<std::uint64_t> memory{};
  std::vector<std::uint8_t> interrupts{};
  std::vector<PciAddress> pci{};
};

class Declaration {
 public:
  /// @param facts the firmware tables' facts, to which the device adds its own
  Declaration(const Placement& placement, FirmwareFacts& facts)
      : placement_(placement), facts_(facts) {}

  struct Ports {
    std::uint16_t first;
    std::uint32_t count;
    PortDevice* device;
    std::uint16_t first_offset;
  };
  struct Memory {
    std::uint64_t first;
    std::uint64_t size;
    MmioDevice* device;
  };
  struct PortWindow {
    Window* window;
    PortDevice* device;
  };
  struct MemoryWindow {
    Window* window;
    MmioDevice* device;
    Precedence precedence;
  };
  struct IsaInterrupt {
    InterruptPin* pin;
    std::uint8_t irq;
    Trigger trigger;
  };
  struct PciInterrupt {
    InterruptPin* pin;
    unsigned line;  ///< 0-3 after the bus's rotation by device number
  };
  struct Receiver {
    InputKind kind;
    std::uint16_t device;
    InputReceiver* receiver;
  };
  struct Function {
    PciAddress address;
    PciFunction* function;
  };

  [[nodiscard]] std::uint16_t number() const { return placement_.number; }

  /// `count` ports, the first of which the device sees at `first_offset`.
  /// @return the first port as placed
  std::uint16_t ports(std::uint16_t usual, std::uint32_t count, PortDevice& device,
                      std::uint16_t first_offset = 0);
  /// @return the first address as placed
  std::uint64_t memory(std::uint64_t usual, std::uint64_t size, MmioDevice& device);
  /// Ranges that the device moves while the machine runs.
  void port_window(Window& window, PortDevice& device) {
    port_windows_.push_back({&window, &device});
  }
  void memory_window(Window& window, MmioDevice& device, Precedence precedence = Precedence::bus) {
    memory_windows_.push_back({&window, &device, precedence});
  }
  /// An ISA interrupt. Several devices may share one.
  /// @return its number as placed
  std::uint8_t interrupt(InterruptPin& pin, std::uint8_t usual_irq, Trigger trigger);
  /// A pin on an ISA interrupt's line that is used only if the guest has a device's
  /// interrupt routed there: firmware tables say nothing of it.
  void routed_interrupt(InterruptPin& pin, std::uint8_t irq) {
    routed_interrupts_.push_back({&pin, irq, Trigger::level});
  }
  /// INTA# to INTD# (0 to 3) of a function at `address`.
  void pci_interrupt(InterruptPin& pin, PciAddress address, unsigned pin_number);
  /// Lets PCI's four interrupt lines (0 to 3) arrive here too.
  void routes_pci_interrupts(InterruptSink& router) { router_ = &router; }
  /// @return the function's address as placed
  PciAddress pci_function(PciAddress usual, PciFunction& function);
  void pci_bus(PciBus& bus) { bus_ = &bus; }
  /// Inputs of `kind` with the device's own number come to `receiver`.
  void receives(InputKind kind, InputReceiver& receiver) {
    receivers_.push_back({kind, number(), &receiver});
  }
  /// The same for one of several things behind the device, with a number of its own.
  void receives(InputKind kind, std::uint16_t device, InputReceiver& receiver) {
    receivers_.push_back({kind, device, &receiver});
  }
  /// The device has deadlines: next_deadline_ns() and advance() are used.
  void deadlines() { has_deadlines_ = true; }
  /// A Device of the ACPI namespace, below the host bridge if there is one.
  void acpi_device(std::string name, Bytes terms) {
    facts_.devices.push_back({std::move(name), std::move(terms)});
  }
  /// What firmware tables say beyond that.
  [[nodiscard]] FirmwareFacts& firmware() { return facts_; }

  // For the board.
  [[nodiscard]] const std::vector<Ports>& all_ports() const { return ports_; }
  [[nodiscard]] const std::vector<Memory>& all_memory() const { return memory_; }
  [[nodiscard]] const std::vector<PortWindow>& port_windows() const { return port_windows_; }
  [[nodiscard]] const std::vector<MemoryWindow>& memory_windows() const { return memory_windows_; }
  [[nodiscard]] const std::vector<IsaInterrupt>& interrupts() const { return interrupts_; }
  [[nodiscard]] const std::vector<IsaInterrupt>& routed_interrupts() const {
    return routed_interrupts_;
  }
  [[nodiscard]] const std::vector<PciInterrupt>& pci_interrupts() const { return pci_interrupts_; }
  [[nodiscard]] const std::vector<Receiver>& receivers() const { return receivers_; }
  [[nodiscard]] const std::vector<Function>& functions() const { return functions_; }
  [[nodiscard]] InterruptSink* pci_router() const { return router_; }
  [[nodiscard]] PciBus* provided_pci_bus() const { return bus_; }
  [[nodiscard]] bool has_deadlines() const { return has_deadlines_; }

 private:
  const Placement& placement_;
  FirmwareFacts& facts_;
  std::vector<Ports> ports_;
  std::vector<Memory> memory_;
  std::vector<PortWindow> port_windows_;
  std::vector<MemoryWindow> memory_windows_;
  std::vector<IsaInterrupt> interrupts_;
  std::vector<IsaInterrupt> routed_interrupts_;
  std::vector<PciInterrupt> pci_interrupts_;
  std::vector<Receiver> receivers_;
  std::vector<Function> functions_;
  InterruptSink* router_ = nullptr;
  PciBus* bus_ = nullptr;
  bool has_deadlines_ = false;
};

}  // namespace chronovisor
