// Owns how parts that several models have are made: wired to the interrupt
// controllers, or able to reset the machine. Knows no model. Any thread.
#pragma once

#include <memory>
#include <utility>

#include "vmm/model/model.h"

namespace chronovisor::parts {

inline constexpr unsigned kPhysicalAddressBits = 40;

/// A controller that is wired to the others.
template <class Controller, class... Arguments>
std::unique_ptr<Device> attached(PartContext& context, Arguments&&... arguments) {
  auto controller = std::make_unique<Controller>(std::forward<Arguments>(arguments)...);
  context.interrupts.attach(*controller);
  return controller;
}

/// A device that can reset the machine.
template <class Resetter>
std::unique_ptr<Device> resetter(PartContext& context) {
  auto device = std::make_unique<Resetter>();
  device->on_reset_request([&control = context.control] { control.reset_machine(); });
  return device;
}

}  // namespace chronovisor::parts
