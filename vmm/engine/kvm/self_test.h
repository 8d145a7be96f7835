// Owns the trying-out of the host's KVM: small guests that show what it does,
// rather than what it claims. Knows no machine of ours. A second or less. Any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vmm/engine/kvm/kvm_device.h"

namespace chronovisor::kvm {

class ExactSteps;

/// What this host's KVM was seen to do.
struct Capabilities {
  std::string device;       ///< whose KVM this is
  bool usable = false;      ///< a guest ran at all
  bool step_ring0 = false;  ///< single-stepping of supervisor code is exact
  bool step_ring3 = false;  ///< ... of user code
  bool hlt_exits_while_stepping = false;
  bool cmpxchg16b = false;           ///< LOCK CMPXCHG16B in supervisor code
  bool sse_in_ring0 = false;         ///< SSE arithmetic in supervisor code
  bool hides_trap_flag = false;      ///< PUSHF while stepping shows TF = 0
  bool steps_mov_ss = false;         ///< the step after MOV SS is a step of its own
  bool keeps_granularity = false;    ///< segment registers keep G
  bool faults_shut_down = false;     ///< a fault without an IDT is an exit, with nothing lost
  bool paged32 = false;              ///< 32-bit code with paging, but outside long mode, runs
  bool checks_gates = false;         ///< exceptions honour the IDT's gates: presence, type, stack
  bool checks_iret = false;          ///< IRET refuses a bad selector with its error code
  bool software_interrupts = false;  ///< INT n in 64-bit code goes through its gate
  bool steps_base_access = false;    ///< RDFSBASE and its kin in supervisor code are one step each
  bool fast_calls = false;    ///< SYSCALL and SYSRET in supervisor code do what the manual says
  bool steps_sti = false;     ///< the step after STI is a step of its own
  bool keeps_pdptes = false;  ///< PAE page-directory pointers get no A bit
  bool pushes_resume_flag = false;     ///< RF is set in the frame of a fault
  bool checks_branch_targets = false;  ///< a near branch to a non-canonical address faults
  bool checks_segments = false;        ///< limits of segments hold outside 64-bit mode
  bool reusable_after_fault = false;   ///< the vCPU can be loaded again after such an exit
  bool msr_filter = false;             ///< RDMSR and WRMSR reach user space
  bool dirty_log = false;              ///< writes are logged by page
  bool synchronised_registers = false;
  double microseconds_per_step = 0;
  std::vector<std::string> missing_features;  ///< of the machine's CPUID
  /// The kinds of instruction that it steps exactly, each tried when it is first met;
  /// null where no engine is possible.
  std::shared_ptr<const ExactSteps> exact_steps;

  /// The engine needs exact supervisor steps, exits on faults and the dirty log.
  [[nodiscard]] bool engine_possible() const {
    return usable && step_ring0 && faults_shut_down && dirty_log;
  }
  /// Why it is not possible; empty when it is.
  [[nodiscard]] std::string why_not() const;
};

/// Tries the host's KVM, once for each device that can be used. Never throws for
/// what the host lacks.
[[nodiscard]] Capabilities self_test(const std::string& path = kDevicePath);

}  // namespace chronovisor::kvm
