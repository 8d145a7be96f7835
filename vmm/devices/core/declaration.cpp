#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

/// The model's choice for the declaration that comes next, or the usual place.
template <class T>
T placed(const std::vector<T>& choices, std::size_t index, T usual) {
  return index < choices.size() ? choices[index] : usual;
}

}  // namespace

std::uint16_t Declaration::ports(std::uint16_t usual, std::uint32_t count, PortDevice& device,
                                 std::uint16_t first_offset) {
  const std::uint16_t first = placed(placement_.ports, ports_.size(), usual);
  ports_.push_back({first, count, &device, first_offset});
  return first;
}

std::uint64_t Declaration::memory(std::uint64_t usual, std::uint64_t size, MmioDevice& device) {
  const std::uint64_t first = placed(placement_.memory, memory_.size(), usual);
  memory_.push_back({first, size, &device});
  return first;
}

std::uint8_t Declaration::interrupt(InterruptPin& pin, std::uint8_t usual_irq, Trigger trigger) {
  const std::uint8_t irq = placed(placement_.interrupts, interrupts_.size(), usual_irq);
  interrupts_.push_back({&pin, irq, trigger});
  return irq;
}

/// Source: PCI Local Bus Specification 3.0, 2.2.6: boards spread the lines of
/// devices over the bus's four by rotation.
void Declaration::pci_interrupt(InterruptPin& pin, PciAddress address, unsigned pin_number) {
  pci_interrupts_.push_back({&pin, (address.device + pin_number) & 3U});
}

PciAddress Declaration::pci_function(PciAddress usual, PciFunction& function) {
  const PciAddress address = placed(placement_.pci, functions_.size(), usual);
  functions_.push_back({address, &function});
  return address;
}

}  // namespace chronovisor
