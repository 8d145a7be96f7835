// The net under the decoder: an RDMSR or WRMSR that reaches the vCPU, which
// StepPolicy never lets happen, comes back to user space with nothing done.
// Needs a usable KVM with the MSR filter; ends with 77 where there is none.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <string>

#include "tests/cpu/system_machine.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/engine/kvm/step_policy.h"
#include "vmm/engine/kvm/stepper.h"

namespace {

using namespace chronovisor;
using test::SystemMachine;

constexpr std::uint32_t kStar = 0xc0000081;
constexpr std::uint64_t kHostStar = 0x0018000800001234;

const kvm::Capabilities& capabilities() {
  static const kvm::Capabilities found = kvm::self_test();
  return found;
}

/// Why nothing of this can be tested here; empty when it can.
std::string why_not() {
  const kvm::Availability device = kvm::availability();
  if (!device.usable) return device.problem;
  if (!capabilities().engine_possible()) return capabilities().why_not();
  return capabilities().msr_filter ? "" : "this KVM has no MSR filter";
}

using Code = std::array<std::uint8_t, 2>;
constexpr Code kRdmsr{0x0f, 0x32}, kWrmsr{0x0f, 0x30};

/// A 64-bit supervisor about to access the MSR STAR.
void prepare(SystemMachine& machine, const Code& code) {
  machine.long_mode(0);
  machine.code(SystemMachine::kCode, {code[0], code[1], 0x90});
  CpuState& s = machine.cpu.state;
  s.msr.star = kHostStar;
  s.gpr[kRax] = 0x1111;
  s.gpr[kRdx] = 0x2222;
  s.gpr[kRcx] = kStar;
}

/// Single-steps `code` on a vCPU, with no decoder in between.
kvm_run run_on_vcpu(const Code& code) {
  SystemMachine machine;
  prepare(machine, code);
  const kvm::Device device;
  kvm::Vm vm(device);
  vm.set_memory({0, 0, Ram::kHoleBegin, machine.ram.host(0)});
  vm.set_cpuid(kvm::guest_cpuid(device.supported_cpuid()));
  REQUIRE(vm.filter_all_msrs());
  REQUIRE(vm.set_sregs(kvm::to_kvm_sregs(machine.cpu, vm.sregs())));
  vm.set_regs(kvm::to_kvm_regs(machine.cpu));
  vm.set_guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
  while (vm.run() != 0) {
  }
  return vm.shared();
}

void check_step_refused(const Code& code) {
  SystemMachine machine;
  prepare(machine, code);
  Instruction instruction;
  REQUIRE(decode({true, true, 4}, code, instruction) == DecodeStatus::ok);
  CHECK(kvm::StepPolicy(capabilities()).rule(instruction, code) == kvm::StepRule::soft);
  kvm::Stepper stepper(machine.cpu, machine.ram, capabilities());
  REQUIRE(stepper.msrs_filtered());
  CHECK(stepper.step(instruction) == kvm::StepOutcome::not_taken);
  const CpuState& s = machine.cpu.state;
  CHECK(s.gpr[kRax] == 0x1111);
  CHECK(s.gpr[kRdx] == 0x2222);
  CHECK(s.gpr[kGprRip] == SystemMachine::kCode);
  CHECK(s.msr.star == kHostStar);
  CHECK(stepper.vm().msr(kStar) == kHostStar);
  // The vCPU goes on to work: the soft processor executes the access, KVM what follows.
  machine.step();
  CHECK(s.gpr[kGprRip] == SystemMachine::kCode + 2);
  const std::array<std::uint8_t, 1> nop{0x90};
  REQUIRE(decode({true, true, 4}, nop, instruction) == DecodeStatus::ok);
  CHECK(stepper.step(instruction) == kvm::StepOutcome::retired);
  CHECK(s.gpr[kGprRip] == SystemMachine::kCode + 3);
}

}  // namespace

TEST_CASE("an RDMSR on the vCPU is an exit that names the MSR") {
  const kvm_run exit = run_on_vcpu(kRdmsr);
  REQUIRE(exit.exit_reason == KVM_EXIT_X86_RDMSR);
  CHECK(exit.msr.index == kStar);
  CHECK(exit.msr.reason == KVM_MSR_EXIT_REASON_FILTER);
}

TEST_CASE("a WRMSR on the vCPU is an exit that names the MSR and the value") {
  const kvm_run exit = run_on_vcpu(kWrmsr);
  REQUIRE(exit.exit_reason == KVM_EXIT_X86_WRMSR);
  CHECK(exit.msr.index == kStar);
  CHECK(exit.msr.data == 0x0000222200001111);
}

TEST_CASE("MSR accesses that are stepped all the same change nothing and are ours to execute") {
  check_step_refused(kRdmsr);
  check_step_refused(kWrmsr);
}

int main(int count, char** arguments) {
  const std::string why = why_not();
  if (!why.empty()) {
    std::printf("SKIPPED: %s\n", why.c_str());
    return 77;
  }
  return doctest::Context(count, arguments).run();
}
