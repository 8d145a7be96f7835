#include "vmm/model/assembly.h"

#include <algorithm>

#include "base/error.h"

namespace chronovisor {

Assembly::Assembly(const Model& model, const Surroundings& surroundings) {
  PartContext context{surroundings.clock,
                      surroundings.outputs,
                      surroundings.control,
                      surroundings.dma,
                      surroundings.memory,
                      surroundings.upper,
                      interrupts_,
                      surroundings.media,
                      surroundings.ram_below_4g_bytes,
                      surroundings.ram_above_4g_bytes,
                      surroundings.rtc_start_unix_seconds,
                      surroundings.ram,
                      surroundings.flash,
                      surroundings.floppy_drives,
                      surroundings.entropy_seed,
                      surroundings.power_base};
  std::vector<Declaration> declarations;
  for (const Part& part : model.parts) {
    Device& device = *devices_.emplace_back(part.make(context));
    device.declare(declarations.emplace_back(part.placement, facts_));
    if (declarations.back().has_deadlines()) device.join(deadlines_);
  }
  for (std::size_t n = 0; n < declarations.size(); ++n) {
    const Declaration& declaration = declarations[n];
    map(declaration, devices_[n]->name());
    wire(model, declaration);
    for (const auto& [kind, number, receiver] : declaration.receivers()) {
      inputs_.add(kind, number, *receiver);
    }
  }
  wire_pci(declarations);
  std::sort(facts_.isa_interrupts.begin(), facts_.isa_interrupts.end(),
            [](const auto& a, const auto& b) { return a.irq < b.irq; });
  std::stable_sort(facts_.devices.begin(), facts_.devices.end(),
                   [](const auto& a, const auto& b) { return a.name < b.name; });
}

void Assembly::map(const Declaration& declaration, std::string_view name) {
  for (const auto& [first, count, device, offset] : declaration.all_ports()) {
    ports_.map(first, count, *device, offset);
    port_owners_.emplace(device, name);
  }
  for (const auto& [first, size, device] : declaration.all_memory()) {
    memory_.map({first}, size, *device);
    memory_owners_.emplace(device, name);
  }
  for (const auto& [window, device] : declaration.port_windows()) {
    ports_.add(*window, *device);
    port_owners_.emplace(device, name);
  }
  for (const auto& [window, device, precedence] : declaration.memory_windows()) {
    memory_.add(*window, *device, precedence);
    memory_owners_.emplace(device, name);
  }
}

std::string_view Assembly::device_at_port(std::uint16_t port) const {
  const auto owner = port_owners_.find(ports_.device_at(port));
  return owner == port_owners_.end() ? std::string_view{} : owner->second;
}

std::string_view Assembly::device_at_memory(GuestPhysical address) const {
  const auto owner = memory_owners_.find(memory_.device_at(address));
  return owner == memory_owners_.end() ? std::string_view{} : owner->second;
}

std::uint8_t Assembly::gsi_of(const Model& model, std::uint8_t irq) {
  const auto placed = model.isa_pins.find(irq);
  return placed == model.isa_pins.end() ? irq : placed->second;
}

InterruptLine& Assembly::line_of(const Model& model, std::uint8_t irq) {
  const auto [line, is_new] = isa_lines_.try_emplace(irq);
  if (is_new) {
    line->second.add_sink(interrupts_.pic(), irq);
    line->second.add_sink(interrupts_.io_apic(), gsi_of(model, irq));
  }
  return line->second;
}

void Assembly::wire(const Model& model, const Declaration& declaration) {
  for (const auto& [pin, irq, trigger] : declaration.interrupts()) {
    line_of(model, irq).add_pin(*pin);
    const auto known = std::find_if(facts_.isa_interrupts.begin(), facts_.isa_interrupts.end(),
                                    [irq = irq](const auto& fact) { return fact.irq == irq; });
    if (known == facts_.isa_interrupts.end()) {
      facts_.isa_interrupts.push_back({irq, gsi_of(model, irq), trigger});
    } else if (trigger == Trigger::level) {
      // A line that is shared with a level is a level for all.
      known->trigger = trigger;
    }
  }
  for (const auto& [pin, irq, trigger] : declaration.routed_interrupts()) {
    line_of(model, irq).add_pin(*pin);
  }
}

void Assembly::wire_pci(const std::vector<Declaration>& declarations) {
  PciBus* bus = nullptr;
  for (unsigned line = 0; line < kPciLines; ++line) {
    pci_lines_[line].add_sink(interrupts_.io_apic(), kFirstPciPin + line);
  }
  for (const Declaration& declaration : declarations) {
    if (declaration.provided_pci_bus() != nullptr) bus = declaration.provided_pci_bus();
    if (InterruptSink* router = declaration.pci_router()) {
      for (unsigned line = 0; line < kPciLines; ++line) pci_lines_[line].add_sink(*router, line);
    }
  }
  for (const Declaration& declaration : declarations) {
    for (const auto& [pin, line] : declaration.pci_interrupts()) pci_lines_[line].add_pin(*pin);
    for (const auto& [address, function] : declaration.functions()) {
      CHECK_THAT(bus != nullptr, "a PCI function in a model without a PCI bus");
      bus->add(address, *function);
    }
  }
}

void Assembly::reset() {
  for (const auto& device : devices_) device->reset();
  deadlines_.all_changed();
  interrupts_.set_virtual_wire();
  interrupts_.update();
}

void Assembly::set_up_by_firmware() {
  for (const auto& device : devices_) device->set_up_by_firmware();
  deadlines_.all_changed();
  interrupts_.update();
}

void Assembly::state_restored() {
  for (auto& [irq, line] : isa_lines_) line.state_restored();
  for (InterruptLine& line : pci_lines_) line.state_restored();
  for (const auto& device : devices_) device->state_restored();
  deadlines_.all_changed();
  interrupts_.update();
}

}  // namespace chronovisor
