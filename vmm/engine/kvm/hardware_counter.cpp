#include "vmm/engine/kvm/hardware_counter.h"

#include <cpuid.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "vmm/engine/kvm/kvm_device.h"

namespace chronovisor::kvm {
namespace {

constexpr unsigned kRuns = 100;
constexpr std::uint64_t kLoopTurns = 10'000;
constexpr std::size_t kGuestBytes = 1U << 20;
constexpr std::uint64_t kCode = 0x8000;

/// The raw event "retired conditional branches" of the host's processor.
/// Sources: Intel SDM vol. 3B, BR_INST_RETIRED.CONDITIONAL; AMD PPR for family
/// 17h, PMCx0D1 "Retired Conditional Branch Instructions".
std::optional<std::uint64_t> conditional_branch_event() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return std::nullopt;
  std::array<char, 12> vendor{};
  std::memcpy(vendor.data(), &ebx, 4);
  std::memcpy(vendor.data() + 4, &edx, 4);
  std::memcpy(vendor.data() + 8, &ecx, 4);
  const std::string_view name(vendor.data(), vendor.size());
  if (name == "GenuineIntel") return 0x01c4;
  if (name == "AuthenticAMD" || name == "HygonGenuine") return 0x00d1;
  return std::nullopt;
}

FileDescriptor open_counter(std::uint64_t event) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_RAW;
  attributes.size = sizeof(attributes);
  attributes.config = event;
  attributes.disabled = 1;
  attributes.pinned = 1;
  attributes.exclude_host = 1;  // count in the guest only
  attributes.exclude_hv = 1;
  return FileDescriptor(static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

std::uint64_t read_count(const FileDescriptor& counter) {
  std::uint64_t value = 0;
  if (::read(counter.get(), &value, sizeof(value)) != sizeof(value)) {
    throw Error(ErrorCode::host,
                std::string("the branch counter cannot be read: ") + std::strerror(errno));
  }
  return value;
}

/// mov cx, turns; 1: dec cx; jnz 1b; hlt, in real mode.
std::uint64_t count_loop(Vm& vm, const kvm_sregs& sregs, const FileDescriptor& counter) {
  if (!vm.set_sregs(sregs)) throw Error(ErrorCode::host, "KVM refuses a real-mode guest");
  kvm_regs regs{};
  regs.rip = kCode;
  regs.rflags = 2;
  regs.rcx = kLoopTurns;
  vm.set_regs(regs);
  ::ioctl(counter.get(), PERF_EVENT_IOC_RESET, 0);
  ::ioctl(counter.get(), PERF_EVENT_IOC_ENABLE, 0);
  while (vm.run() != 0) {
  }
  ::ioctl(counter.get(), PERF_EVENT_IOC_DISABLE, 0);
  return read_count(counter);
}

void count_runs(const FileDescriptor& counter, const std::string& path, CounterReport& report) {
  void* memory =
      ::mmap(nullptr, kGuestBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Error(ErrorCode::host, "no memory for the counter's test");
  try {
    constexpr std::array<std::uint8_t, 4> kLoop{0x49, 0x75, 0xfd, 0xf4};
    std::memcpy(static_cast<std::uint8_t*>(memory) + kCode, kLoop.data(), kLoop.size());
    const Device device(path);
    Vm vm(device);
    vm.set_memory({0, 0, kGuestBytes, memory});
    kvm_sregs sregs = vm.sregs();
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    report.deterministic = true;
    for (report.runs = 0; report.runs < kRuns; ++report.runs) {
      const std::uint64_t count = count_loop(vm, sregs, counter);
      if (count == kLoopTurns) continue;
      report.deterministic = false;
      report.problem = "a loop of " + std::to_string(kLoopTurns) + " branches was counted as " +
                       std::to_string(count) + " in run " + std::to_string(report.runs + 1);
      break;
    }
  } catch (...) {
    ::munmap(memory, kGuestBytes);
    throw;
  }
  ::munmap(memory, kGuestBytes);
}

}  // namespace

CounterTrust judge_counters(std::span<const CountedPlace> measured, const CountedPlace& truth) {
  CounterTrust trust{!measured.empty(), !measured.empty()};
  for (const CountedPlace& place : measured) {
    if (place.branches != truth.branches) trust.branches_exact = false;
    if (place.instructions != truth.instructions) trust.instructions_exact = false;
  }
  return trust;
}

bool recordable_here(const CountedGuest& guest, const CounterTrust& trust, bool behind_branch) {
  if (!guest.on_arrival() || guest.spins_in_place()) return false;
  return trust.instructions_exact || (trust.branches_exact && behind_branch);
}

std::optional<CountedPlace> recordable_place(CountedGuest& guest, const CounterTrust& trust,
                                             const SearchLimits& limits) {
  bool behind_branch = false;
  for (std::uint64_t steps = 0; !recordable_here(guest, trust, behind_branch); ++steps) {
    if (steps == limits.most_steps) return std::nullopt;
    const std::uint64_t before = guest.place().branches;
    if (guest.step() != CpuStop::budget) return std::nullopt;
    behind_branch = guest.place().branches != before;
  }
  return guest.place();
}

Arrival run_to_place(CountedGuest& guest, const CountedPlace& target, const SearchLimits& limits) {
  while (true) {
    const std::uint64_t here = guest.place().branches;
    if (here + limits.margin_branches >= target.branches) break;
    // A lost overflow, or an early return, only makes another turn of this loop.
    const CpuStop stop = guest.run_about(target.branches - limits.margin_branches - here);
    if (stop == CpuStop::halted || stop == CpuStop::shutdown) return Arrival::not_there;
  }
  if (guest.place().branches > target.branches) return Arrival::overshot;
  for (std::uint64_t steps = 0; steps < limits.most_steps;) {
    const CountedPlace here = guest.place();
    if (here == target) return Arrival::exact;
    if (here.branches > target.branches) return Arrival::not_there;
    const CpuStop stop = guest.step();
    if (stop == CpuStop::halted || stop == CpuStop::shutdown) {
      return guest.place() == target ? Arrival::exact : Arrival::not_there;
    }
    steps = guest.place().branches == here.branches ? steps + 1 : 0;
  }
  return Arrival::not_there;
}

CounterReport test_hardware_counter(bool kvm_usable, const std::string& device) {
  CounterReport report;
  if (!kvm_usable) {
    report.problem = "needs KVM";
    return report;
  }
  const std::optional<std::uint64_t> event = conditional_branch_event();
  if (!event) {
    report.problem = "no event for retired conditional branches is known for this processor";
    return report;
  }
  const FileDescriptor counter = open_counter(*event);
  if (counter.get() < 0) {
    const int error = errno;
    report.problem = std::string("the event cannot be opened: ") + std::strerror(error);
    if (error == EACCES || error == EPERM) {
      report.remedy = "sudo sysctl kernel.perf_event_paranoid=1, or run as root";
    } else {
      report.remedy =
          "this host has no performance counters to offer; in a virtual machine, ask its host for "
          "a virtual PMU";
    }
    return report;
  }
  report.present = true;
  try {
    count_runs(counter, device, report);
  } catch (const Error& error) {
    report.deterministic = false;
    report.problem = error.what();
  }
  return report;
}

}  // namespace chronovisor::kvm
