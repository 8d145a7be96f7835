#include "vmm/machine/board.h"

namespace chronovisor {
namespace {

/// SplitMix64: value `index` of the stream that begins at `seed`.
std::uint64_t stream_value(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

Machine::Board::Board(Machine& machine, const Model& model)
    : machine_(machine),
      upper_(machine.ram_,
             [this] {
               if (cpu_ != nullptr) cpu_->drop_write_tags();
             }),
      assembly_(model, {*this, *this, *this, machine.dma_, machine.pages_, upper_, machine.media_,
                        machine.ram_.low_end(), machine.ram_.size() - machine.ram_.low_end(),
                        machine.config_.rtc_start_unix_seconds, machine.ram_, machine.config_.flash,
                        floppy_drive_types(machine.config_.drives), machine.config_.entropy_seed,
                        machine.config_.power_base}),
      interrupts_(assembly_.interrupts()),
      local_apic_(interrupts_.local_apic()) {}

void Machine::Board::attach(Cpu& cpu) {
  cpu_ = &cpu;
  interrupts_.connect(this);
}

void Machine::Board::reset() {
  assembly_.reset();
  ending_request_ = {};
}

void Machine::Board::set_up_by_firmware() { assembly_.set_up_by_firmware(); }

void Machine::Board::show_firmware() {
  for (std::uint64_t at = UpperMemory::kBegin; at < UpperMemory::kEnd;
       at += UpperMemory::kSegmentBytes) {
    upper_.show_rom(at);
    upper_.set_rules(at, {false, false});
  }
}

void Machine::Board::state_restored() {
  ending_request_ = {};
  assembly_.state_restored();
}

void Machine::Board::request_end(EndReason reason, std::uint32_t code, std::uint16_t port) {
  if (ending_request_.reason == EndReason::none) ending_request_ = {reason, code, port};
}

void Machine::Board::put(const Output& output) { outputs_.put(machine_.position(), output); }

// Who is there is looked up before the access, which may move it.

std::uint32_t Machine::Board::port_read(std::uint16_t port, unsigned width) {
  if (port_observer_ != nullptr) port_observer_->port_was_read(machine_.position(), port);
  if (io_observer_ == nullptr) return assembly_.ports().read(port, width);
  IoAccess access{machine_.position(),           IoAccess::Space::port, false, port, width, 0,
                  assembly_.device_at_port(port)};
  access.value = assembly_.ports().read(port, width);
  io_observer_->accessed(access);
  return static_cast<std::uint32_t>(access.value);
}
void Machine::Board::port_write(std::uint16_t port, unsigned width, std::uint32_t value) {
  if (port_observer_ != nullptr) {
    port_observer_->port_was_written(machine_.position(), port, width, value);
  }
  if (io_observer_ != nullptr) {
    io_observer_->accessed({machine_.position(), IoAccess::Space::port, true, port, width, value,
                            assembly_.device_at_port(port)});
  }
  assembly_.ports().write(port, width, value);
}
std::uint64_t Machine::Board::mmio_read(GuestPhysical address, unsigned width) {
  if (io_observer_ == nullptr) return assembly_.memory().read(address, width);
  IoAccess access{machine_.position(),
                  IoAccess::Space::memory,
                  false,
                  address.value,
                  width,
                  0,
                  assembly_.device_at_memory(address)};
  access.value = assembly_.memory().read(address, width);
  io_observer_->accessed(access);
  return access.value;
}
void Machine::Board::mmio_write(GuestPhysical address, unsigned width, std::uint64_t value) {
  if (io_observer_ != nullptr) {
    io_observer_->accessed({machine_.position(), IoAccess::Space::memory, true, address.value,
                            width, value, assembly_.device_at_memory(address)});
  }
  assembly_.memory().write(address, width, value);
}

bool Machine::Board::read_apic_msr(std::uint32_t index, std::uint64_t& value) {
  return LocalApic::owns_msr(index) && local_apic_.read_msr(index, value);
}
bool Machine::Board::write_apic_msr(std::uint32_t index, std::uint64_t value) {
  return LocalApic::owns_msr(index) && local_apic_.write_msr(index, value);
}

std::uint64_t Machine::Board::entropy(std::uint64_t index) const {
  return stream_value(machine_.config_.entropy_seed, index);
}

}  // namespace chronovisor
