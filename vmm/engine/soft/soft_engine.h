// Owns nothing: the engine of a machine whose instructions the soft processor
// executes by itself, which works everywhere. One thread a machine.
#pragma once

#include "vmm/engine/engine.h"

namespace chronovisor {

class SoftEngine final : public CpuEngine {
 public:
  explicit SoftEngine(Cpu& cpu) : cpu_(cpu) {}

  [[nodiscard]] std::string_view name() const override { return "soft"; }
  [[nodiscard]] bool tells_observers() const override { return true; }
  CpuStop run(Position until, std::uint32_t deliveries) override {
    return cpu_.run(until, deliveries);
  }
  void collect_dirty_pages() override {}  // the Cpu marks them itself
  void state_replaced() override {}       // there is no copy

 private:
  Cpu& cpu_;
};

}  // namespace chronovisor
