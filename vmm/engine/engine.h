// Owns the contract between a machine and whatever executes its instructions:
// the soft processor (soft/) or the host's KVM (kvm/). The architectural state always
// lies in the machine's Cpu between two calls; an engine may keep copies
// elsewhere and must be told when the originals change. An engine knows no
// recording. One thread a machine.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/units.h"
#include "vmm/cpu/cpu.h"

namespace chronovisor {

class CpuEngine {
 public:
  virtual ~CpuEngine() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Whether the Cpu's observers are told of all that executes and is accessed.
  [[nodiscard]] virtual bool tells_observers() const = 0;
  /// As Cpu::run(): the same positions, the same order of events at each, the
  /// same stops. Throws Error{host} when the host fails.
  virtual CpuStop run(Position until, std::uint32_t deliveries) = 0;
  /// Marks dirty in Ram whatever pages the engine's own execution changed, and
  /// drops what the Cpu derived from them. Before pages are hashed or read
  /// through the Cpu.
  virtual void collect_dirty_pages() = 0;
  /// The Cpu's registers or RAM were replaced from outside: by booting, a restore,
  /// a debugger's write. Called by the Machine alone.
  virtual void state_replaced() = 0;
};

}  // namespace chronovisor
