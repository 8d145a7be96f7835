#include "vmm/engine/kvm/self_test.h"

#include <sys/mman.h>

#include <array>
#include <chrono>
#include <cstring>
#include <initializer_list>
#include <map>
#include <mutex>

#include "base/bytes.h"
#include "base/error.h"
#include "vmm/engine/kvm/kvm_device.h"
#include "vmm/engine/kvm/state_transfer.h"
#include "vmm/engine/kvm/step_probe.h"

namespace chronovisor::kvm {
namespace {

constexpr std::uint64_t kMemoryBytes = 2ULL << 20;
constexpr std::uint64_t kGdt = 0x1000, kTss = 0x3000, kCode = 0x8000, kData = 0x9000,
                        kStack = 0x7000;
constexpr std::uint64_t kTables = 0x10000, kIdt = 0x2000, kHandler = 0xb000;

/// Guest memory of one trial.
class TrialMemory {
 public:
  TrialMemory() {
    void* mapping =
        ::mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) throw Error(ErrorCode::host, "no memory for the KVM self-test");
    bytes_ = static_cast<std::uint8_t*>(mapping);
  }
  ~TrialMemory() { ::munmap(bytes_, kMemoryBytes); }
  TrialMemory(const TrialMemory&) = delete;
  TrialMemory& operator=(const TrialMemory&) = delete;
  [[nodiscard]] std::uint8_t* host() { return bytes_; }
  void put(std::uint64_t at, std::uint64_t value) { std::memcpy(bytes_ + at, &value, 8); }
  [[nodiscard]] std::uint64_t get(std::uint64_t at) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_ + at, 8);
    return value;
  }

 private:
  std::uint8_t* bytes_ = nullptr;
};

/// A guest in 64-bit mode, the low 2 MiB mapped to themselves, without an IDT.
class Trial {
 public:
  Trial(const Device& device, std::initializer_list<std::uint8_t> code, unsigned cpl = 0)
      : vm_(device) {
    vm_.set_memory({0, 0, kMemoryBytes, memory_.host()});
    vm_.set_cpuid(guest_cpuid(device.supported_cpuid()));
    memory_.put(kTables, (kTables + 0x1000) | 7);
    memory_.put(kTables + 0x1000, (kTables + 0x2000) | 7);
    memory_.put(kTables + 0x2000, 0x87);
    memory_.put(kGdt + 0x08, 0x00af9b000000ffff);
    memory_.put(kGdt + 0x10, 0x00cf93000000ffff);
    std::uint64_t at = kCode;
    for (const std::uint8_t byte : code) memory_.host()[at++] = byte;
    set_up(cpl);
    vm_.set_guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
  }

  [[nodiscard]] Vm& vm() { return vm_; }
  [[nodiscard]] TrialMemory& memory() { return memory_; }
  /// One entry. @return whether it was a step to `rip`
  [[nodiscard]] bool steps_to(std::uint64_t rip) {
    run();
    return reason() == KVM_EXIT_DEBUG && vm_.regs().rip == rip;
  }
  void run() {
    while (vm_.run() != 0) {
    }
  }
  [[nodiscard]] std::uint32_t reason() { return vm_.shared().exit_reason; }

 private:
  void set_up(unsigned cpl) {
    kvm_sregs s = vm_.sregs();
    const auto flat = [&](kvm_segment& segment, unsigned selector, unsigned type, bool code) {
      segment = {};
      segment.selector = static_cast<__u16>(selector | cpl);
      segment.limit = 0xffffffff;
      segment.type = static_cast<__u8>(type);
      segment.s = segment.present = segment.g = 1;
      segment.dpl = static_cast<__u8>(cpl);
      segment.l = code ? 1 : 0;
      segment.db = code ? 0 : 1;
    };
    flat(s.cs, 0x08, 11, true);
    for (kvm_segment* segment : {&s.ss, &s.ds, &s.es, &s.fs, &s.gs}) flat(*segment, 0x10, 3, false);
    s.tr = {};
    s.tr.type = 11;
    s.tr.present = 1;
    s.tr.selector = 0x30;
    s.tr.base = kTss;
    s.tr.limit = 0x67;
    s.gdt.base = kGdt;
    s.gdt.limit = 0x7f;
    s.idt.base = 0;
    s.idt.limit = 0;
    s.cr0 = 0x80010033;
    s.cr3 = kTables;
    s.cr4 = 0x620;
    s.efer = 0x500;
    if (!vm_.set_sregs(s)) throw Error(ErrorCode::host, "KVM refuses a 64-bit guest");
    kvm_regs regs{};
    regs.rip = kCode;
    regs.rsp = kStack;
    regs.rflags = 2;
    regs.rsi = kData;
    regs.rcx = 50;
    vm_.set_regs(regs);
  }

  TrialMemory memory_;
  Vm vm_;
};

/// dec rcx; jnz: 100 steps for rcx = 50, every one of them where it must be.
bool counts_exactly(const Device& device, unsigned cpl) {
  Trial trial(device, {0x48, 0xff, 0xc9, 0x75, 0xfb, 0x90, 0x90}, cpl);
  for (int turn = 0; turn < 50; ++turn) {
    if (!trial.steps_to(kCode + 3)) return false;
    if (!trial.steps_to(turn == 49 ? kCode + 5 : kCode)) return false;
  }
  return trial.vm().regs().rcx == 0 && trial.steps_to(kCode + 6);
}

bool reaches_user_space_for_msrs(const Device& device) {
  Trial trial(device, {0x0f, 0x32, 0x90});
  if (!trial.vm().filter_all_msrs()) return false;
  kvm_regs regs = trial.vm().regs();
  regs.rcx = 0xc0000081;
  trial.vm().set_regs(regs);
  trial.run();
  return trial.reason() == KVM_EXIT_X86_RDMSR;
}

bool logs_writes(const Device& device) {
  Trial trial(device, {0x88, 0x06, 0x90});  // mov [rsi], al
  std::vector<std::uint64_t> bitmap(kMemoryBytes / 4096 / 64);
  trial.vm().dirty_log(0, bitmap);
  if (!trial.steps_to(kCode + 2)) return false;
  trial.vm().dirty_log(0, bitmap);
  if ((bitmap[0] >> (kData / 4096) & 1) == 0) return false;
  trial.vm().dirty_log(0, bitmap);
  return (bitmap[0] >> (kData / 4096) & 1) == 0;
}

bool shows_no_trap_flag(const Device& device) {
  Trial trial(device, {0x9c, 0x90});
  return trial.steps_to(kCode + 1) && (trial.memory().get(kStack - 8) & 0x100) == 0;
}

bool keeps_granularity(const Device& device) {
  Trial trial(device, {0x90, 0x90});
  kvm_sregs sregs = trial.vm().sregs();
  sregs.es.limit = 0xfff;
  sregs.es.g = 1;
  sregs.fs.g = 0;
  sregs.fs.limit = 0xfffff;
  return trial.vm().set_sregs(sregs) && trial.steps_to(kCode + 1) && trial.vm().sregs().es.g == 1 &&
         trial.vm().sregs().fs.g == 0;
}

/// The vCPU can be loaded and used again after a fault.
bool recovers_from_faults(const Device& device) {
  Trial trial(device, {0x0f, 0x0b, 0x90, 0x90});
  const kvm_sregs sregs = trial.vm().sregs();
  for (int round = 0; round < 3; ++round) {
    trial.run();
    if (trial.reason() != KVM_EXIT_SHUTDOWN) return false;
    kvm_vcpu_events none{};
    none.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    trial.vm().set_events(none);
    if (!trial.vm().set_sregs(sregs)) return false;
    kvm_regs regs{};
    regs.rip = kCode + 2;
    regs.rsp = kStack;
    regs.rflags = 2;
    trial.vm().set_regs(regs);
    trial.vm().set_guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
    if (!trial.steps_to(kCode + 3)) return false;
    regs.rip = kCode;
    trial.vm().set_regs(regs);
    trial.vm().set_guest_debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
  }
  return true;
}

/// UD2 with its gate not present must come to the handler of #NP.
bool checks_gates(const Device& device) {
  constexpr std::uint64_t kUndefined = 0xb000, kNotPresent = 0xb100;
  Trial trial(device, {0x0f, 0x0b, 0x90});
  const auto gate = [&](unsigned vector, std::uint64_t handler, std::uint64_t access) {
    trial.memory().put(kIdt + vector * 16ULL, handler | (0x08ULL << 16) | (access << 40));
    trial.memory().host()[handler] = 0xf4;
  };
  gate(6, kUndefined, 0x0e);
  gate(11, kNotPresent, 0x8e);
  kvm_sregs sregs = trial.vm().sregs();
  sregs.idt.base = kIdt;
  sregs.idt.limit = 0xfff;
  if (!trial.vm().set_sregs(sregs)) return false;
  trial.run();
  return trial.vm().regs().rip == kNotPresent + 1;
}

/// Gives `trial` an IDT of 64-bit gates to HLTs, 0x100 bytes apart.
bool set_gates(Trial& trial) {
  for (unsigned vector = 0; vector < 32; ++vector) {
    const std::uint64_t handler = kHandler + vector * 0x100ULL;
    trial.memory().put(kIdt + vector * 16ULL, handler | (0x08ULL << 16) | (0x8eULL << 40));
    trial.memory().host()[handler] = 0xf4;
  }
  kvm_sregs sregs = trial.vm().sregs();
  sregs.idt.base = kIdt;
  sregs.idt.limit = 0xfff;
  sregs.efer |= 1;
  return trial.vm().set_sregs(sregs);
}

/// IRET to a data segment: #GP with its selector.
bool checks_iret(const Device& device) {
  Trial trial(device, {0x48, 0xcf});
  if (!set_gates(trial)) return false;
  trial.memory().put(kStack, kCode);
  trial.memory().put(kStack + 8, 0x10);
  trial.memory().put(kStack + 16, 2);
  trial.memory().put(kStack + 24, kStack);
  trial.memory().put(kStack + 32, 0x10);
  trial.run();
  const kvm_regs regs = trial.vm().regs();
  return regs.rip == kHandler + 13 * 0x100 + 1 && trial.memory().get(regs.rsp) == 0x10;
}

/// The frame of #DE, which no KVM intercepts, holds RF.
bool pushes_resume_flag(const Device& device) {
  Trial trial(device, {0xf7, 0xf7});  // div edi
  if (!set_gates(trial)) return false;
  trial.run();
  const kvm_regs regs = trial.vm().regs();
  return regs.rip == kHandler + 1 && (trial.memory().get(regs.rsp + 16) & 0x10000) != 0;
}

bool delivers_software_interrupts(const Device& device) {
  Trial trial(device, {0xcd, 0x14});
  if (!set_gates(trial)) return false;
  trial.run();
  const kvm_regs regs = trial.vm().regs();
  return (regs.rip == kHandler + 0x14 * 0x100 || regs.rip == kHandler + 0x14 * 0x100 + 1) &&
         trial.memory().get(regs.rsp) == kCode + 2;
}

bool steps_base_access(const Device& device) {
  Trial trial(device, {0xf3, 0x48, 0x0f, 0xae, 0xc0, 0x90, 0x90});
  kvm_sregs sregs = trial.vm().sregs();
  sregs.cr4 |= 1U << 16;
  return trial.vm().set_sregs(sregs) && trial.steps_to(kCode + 5) && trial.steps_to(kCode + 6);
}

/// SYSRET to compatibility mode takes ECX, not RCX.
bool makes_fast_calls(const Device& device) {
  Trial trial(device, {0x0f, 0x07});
  if (!set_gates(trial)) return false;
  kvm_regs regs = trial.vm().regs();
  regs.rcx = 0x1234500000000ULL | (kCode + 0x10);
  regs.r11 = 2;
  trial.vm().set_regs(regs);
  trial.run();
  return trial.vm().regs().rip == kCode + 0x10;
}

/// One step of 32-bit code under a page directory of 4-MiB pages.
bool runs_paged32(const Device& device) {
  Trial trial(device, {0x90, 0x90});
  trial.memory().put(kTables, 0x83);
  kvm_sregs sregs = trial.vm().sregs();
  sregs.cs.l = 0;
  sregs.cs.db = 1;
  sregs.efer = 0;
  sregs.cr4 = 0x610;
  return trial.vm().set_sregs(sregs) && trial.steps_to(kCode + 1);
}

/// One step of PAE code that reads memory: the pointer it used stays as it was.
bool leaves_pdptes_alone(const Device& device) {
  Trial trial(device, {0x8a, 0x06, 0x90});
  trial.memory().put(kTables, (kTables + 0x2000) | 1);
  kvm_sregs sregs = trial.vm().sregs();
  sregs.cs.l = 0;
  sregs.cs.db = 1;
  sregs.efer = 0;
  return trial.vm().set_sregs(sregs) && trial.steps_to(kCode + 2) &&
         trial.memory().get(kTables) == ((kTables + 0x2000) | 1);
}

/// JMP RAX to a non-canonical address: a fault, so that nothing is left of it.
bool refuses_wild_branches(const Device& device) {
  Trial trial(device, {0xff, 0xe0, 0x90});
  kvm_regs regs = trial.vm().regs();
  regs.rax = 0x1234567812345678;
  trial.vm().set_regs(regs);
  trial.run();
  return trial.reason() == KVM_EXIT_SHUTDOWN;
}

/// A load past a limit, by compatibility-mode code: a fault.
bool refuses_past_limits(const Device& device) {
  Trial trial(device, {0x8a, 0x06, 0x90});  // mov al, [esi]
  kvm_sregs sregs = trial.vm().sregs();
  sregs.cs.l = 0;
  sregs.cs.db = 1;
  sregs.ds.limit = 0xfff;
  sregs.ds.g = 0;
  if (!trial.vm().set_sregs(sregs)) return false;
  trial.run();
  return trial.reason() == KVM_EXIT_SHUTDOWN;
}

bool hlt_exits(const Device& device) {
  Trial trial(device, {0xf4, 0x90});
  trial.run();
  return trial.reason() == KVM_EXIT_HLT;
}

double step_cost(const Device& device) {
  Trial trial(device, {0xeb, 0xfe});
  constexpr int kSteps = 2000;
  const auto began = std::chrono::steady_clock::now();
  for (int n = 0; n < kSteps; ++n) trial.run();
  const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - began;
  return spent.count() / kSteps;
}

}  // namespace

std::string Capabilities::why_not() const {
  if (!usable) return "KVM cannot be used";
  if (!step_ring0) return "this KVM does not single-step supervisor code exactly";
  if (!faults_shut_down)
    return "this KVM does not survive a guest's fault without an interrupt table";
  if (!dirty_log) return "this KVM does not log which pages the guest writes";
  return {};
}

namespace {

Capabilities try_everything(const std::string& path) {
  Capabilities result;
  result.device = path;
  if (!availability(path).usable) return result;
  const auto tried = [](auto&& trial) {
    try {
      return trial();
    } catch (const Error&) {
      return false;
    }
  };
  try {
    const Device device(path);
    result.usable = true;
    result.step_ring0 = tried([&] { return counts_exactly(device, 0); });
    result.step_ring3 = tried([&] { return counts_exactly(device, 3); });
    result.hlt_exits_while_stepping = tried([&] { return hlt_exits(device); });
    result.cmpxchg16b = tried([&] {
      return Trial(device, {0xf0, 0x48, 0x0f, 0xc7, 0x0e, 0x90}).steps_to(kCode + 5);
    });
    result.sse_in_ring0 = tried([&] {
      return Trial(device, {0x0f, 0x58, 0xc1, 0x90}).steps_to(kCode + 3);
    });
    result.hides_trap_flag = tried([&] { return shows_no_trap_flag(device); });
    result.steps_mov_ss = tried([&] {
      Trial trial(device, {0xb8, 0x10, 0, 0, 0, 0x8e, 0xd0, 0x90, 0x90});
      return trial.steps_to(kCode + 5) && trial.steps_to(kCode + 7) && trial.steps_to(kCode + 8);
    });
    result.keeps_granularity = tried([&] { return keeps_granularity(device); });
    result.faults_shut_down = tried([&] {
      Trial trial(device, {0x0f, 0x0b, 0x90});
      trial.run();
      return trial.reason() == KVM_EXIT_SHUTDOWN;
    });
    result.checks_gates = tried([&] { return checks_gates(device); });
    result.checks_iret = tried([&] { return checks_iret(device); });
    result.software_interrupts = tried([&] { return delivers_software_interrupts(device); });
    result.steps_base_access = tried([&] { return steps_base_access(device); });
    result.fast_calls = tried([&] { return makes_fast_calls(device); });
    result.paged32 = tried([&] { return runs_paged32(device); });
    result.steps_sti = tried([&] {
      Trial trial(device, {0xfb, 0x90, 0x90});
      return trial.steps_to(kCode + 1) && trial.steps_to(kCode + 2);
    });
    result.keeps_pdptes = tried([&] { return leaves_pdptes_alone(device); });
    result.pushes_resume_flag = tried([&] { return pushes_resume_flag(device); });
    result.checks_branch_targets = tried([&] { return refuses_wild_branches(device); });
    result.checks_segments = tried([&] { return refuses_past_limits(device); });
    result.reusable_after_fault =
        result.faults_shut_down && tried([&] { return recovers_from_faults(device); });
    result.msr_filter = tried([&] { return reaches_user_space_for_msrs(device); });
    result.dirty_log = tried([&] { return logs_writes(device); });
    result.synchronised_registers = Vm(device).synchronises_registers();
    result.missing_features = kvm::missing_features(device.supported_cpuid());
    result.microseconds_per_step = step_cost(device);
    if (result.engine_possible()) {
      result.exact_steps = std::make_shared<const ExactSteps>(step_trial(result));
    }
  } catch (const Error&) {
    result.usable = false;
  }
  return result;
}

}  // namespace

Capabilities self_test(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, Capabilities> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(path); found != known.end()) return found->second;
  Capabilities result = try_everything(path);
  if (result.usable) known.emplace(path, result);
  return result;
}

}  // namespace chronovisor::kvm
