#include "vmm/engine/kvm/counted_engine.h"

#include "base/error.h"

namespace chronovisor::kvm {

CountedEngine::CountedEngine(CountedGuest& guest, const CounterTrust& trust,
                             const CountedEngineOptions& options)
    : guest_(guest), trust_(trust), options_(options) {
  if (!trust_.usable()) {
    throw Error(ErrorCode::host,
                "counting by hardware: neither of this host's counters is exact by its self-test; "
                "chronovisor doctor says more; --engine soft works everywhere");
  }
  guest_.restart_counts();
}

void CountedEngine::restart_counts() {
  guest_.restart_counts();
  recordable_ = guest_.on_arrival();
  settling_ = false;
}

CpuStop CountedEngine::run(Position /*until*/, std::uint32_t /*deliveries*/) {
  if (held_) return CpuStop::recheck;
  recordable_ = false;
  if (!settling_) {
    const CpuStop stop = guest_.run_about(options_.slice_branches);
    // Also a guest that is always at some device must come to rest now and then.
    settling_ = true;
    behind_branch_ = false;
    settling_steps_ = 0;
    if (stop != CpuStop::budget) return stop;
  }
  for (; settling_steps_ != options_.limits.most_steps; ++settling_steps_) {
    if (recordable_here(guest_, trust_, behind_branch_)) {
      settling_ = false;
      recordable_ = true;
      return CpuStop::recheck;
    }
    const std::uint64_t before = guest_.place().branches;
    const CpuStop stop = guest_.step();
    behind_branch_ = guest_.place().branches != before;
    if (stop != CpuStop::budget) return stop;
  }
  settling_ = false;  // it spins: nothing can be recorded before something else happens
  return CpuStop::recheck;
}

}  // namespace chronovisor::kvm
