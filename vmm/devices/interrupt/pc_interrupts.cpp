#include "vmm/devices/interrupt/pc_interrupts.h"

namespace chronovisor {

std::optional<ApicMessage> message_of(std::uint64_t address, std::uint32_t data) {
  constexpr std::uint64_t kApicAddresses = 0xfee;  // bits 31-20
  if ((address >> 20) != kApicAddresses) return std::nullopt;
  const bool level = ((data >> 15) & 1) != 0;
  const bool asserts = ((data >> 14) & 1) != 0;
  if (level && !asserts) return std::nullopt;
  ApicMessage message;
  message.vector = static_cast<std::uint8_t>(data);
  message.delivery_mode = static_cast<ApicDeliveryMode>((data >> 8) & 7);
  message.destination = static_cast<std::uint32_t>((address >> 12) & 0xff);
  // Bit 2 is the destination mode, whatever the redirection hint in bit 3 says: Linux sets
  // the one without the other, and processors take it so.
  const bool logical = (address & 0x04) != 0;
  message.destination_mode = logical ? ApicDestinationMode::logical : ApicDestinationMode::physical;
  message.trigger = level ? ApicTrigger::level : ApicTrigger::edge;
  return message;
}

void PcInterrupts::attach(Pic& pic) {
  pic_ = &pic;
  pic.on_output_changed([this](bool level) {
    local_apic_->set_lint0(level);
    update();
  });
}

void PcInterrupts::attach(LocalApic& local_apic) {
  local_apic_ = &local_apic;
  local_apic.on_output_changed([this] { update(); });
  local_apic.on_nmi([this] {
    if (processor_ != nullptr) processor_->request_nmi();
  });
}

void PcInterrupts::set_virtual_wire() { local_apic_->set_virtual_wire(); }

void PcInterrupts::update() {
  if (processor_ == nullptr) return;
  processor_->set_interrupt_request(local_apic_->pending() ||
                                    (pic_->output() && local_apic_->accepts_external()));
}

std::uint8_t PcInterrupts::acknowledge() {
  const std::uint8_t vector =
      local_apic_->pending() ? local_apic_->acknowledge() : pic_->acknowledge();
  update();
  return vector;
}

void PcInterrupts::send_message_interrupt(std::uint64_t address, std::uint32_t data) {
  if (const auto message = message_of(address, data)) deliver(*message);
}

}  // namespace chronovisor
