// Owns the file descriptors of the host's KVM: the device, one virtual machine
// and its one vCPU, and every ioctl made on them. Knows the kernel's structures
// and nothing of the project's machine. Throws Error{host} with what the host
// said. One thread a machine.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace chronovisor::kvm {

/// A file descriptor that is closed with its owner.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

/// Whether this process may use the host's KVM, and if not, what to do.
struct Availability {
  bool present = false;  ///< the device file exists
  bool usable = false;   ///< it opened, and speaks the stable API
  int api_version = 0;
  std::string problem;  ///< empty when usable
  std::string remedy;   ///< what the user can do about it; may be empty
};
inline constexpr const char* kDevicePath = "/dev/kvm";
[[nodiscard]] Availability availability(const std::string& path = kDevicePath);

/// One entry of host memory that the guest sees.
struct MemorySlot {
  std::uint32_t slot = 0;
  std::uint64_t guest_physical = 0;
  std::uint64_t bytes = 0;
  void* host = nullptr;
};

class Device {
 public:
  /// Opens the device. Throws Error{host} with the remedy.
  explicit Device(const std::string& path = kDevicePath);
  /// The value of a capability; 0 when the host lacks it.
  [[nodiscard]] int capability(int number) const;
  [[nodiscard]] std::vector<kvm_cpuid_entry2> supported_cpuid() const;
  [[nodiscard]] std::size_t run_bytes() const;
  [[nodiscard]] FileDescriptor create_vm() const;

 private:
  FileDescriptor fd_;
};

/// A virtual machine with one vCPU and no interrupt controller in the kernel.
class Vm {
 public:
  /// An XSAVE area in the standard format. Source: SDM vol. 1, "XSAVE Area".
  using FloatingPointImage = std::array<std::uint8_t, 4096>;

  explicit Vm(const Device& device);
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  /// Adds, replaces or (with 0 bytes) removes memory; writes to it are logged.
  void set_memory(const MemorySlot& slot);
  /// Pages of a slot written since the last call, as a bitmap.
  void dirty_log(std::uint32_t slot, std::vector<std::uint64_t>& bitmap);
  void set_cpuid(const std::vector<kvm_cpuid_entry2>& entries);
  /// Sends every RDMSR and WRMSR to user space. @return false when the host cannot
  [[nodiscard]] bool filter_all_msrs();

  [[nodiscard]] kvm_regs regs() const;
  void set_regs(const kvm_regs& regs);
  [[nodiscard]] kvm_sregs sregs() const;
  /// @return false when the host refuses the state
  [[nodiscard]] bool set_sregs(const kvm_sregs& sregs);
  /// x87 and SSE registers. (KVM_GET_FPU leaves MXCSR out.)
  [[nodiscard]] FloatingPointImage floating_point() const;
  void set_floating_point(const FloatingPointImage& image);
  [[nodiscard]] kvm_vcpu_events events() const;
  void set_events(const kvm_vcpu_events& events);
  [[nodiscard]] kvm_debugregs debug_registers() const;
  void set_debug_registers(const kvm_debugregs& registers);
  /// @return how many were taken, from the start
  std::size_t set_msrs(const std::vector<kvm_msr_entry>& entries);
  [[nodiscard]] std::optional<std::uint64_t> msr(std::uint32_t index) const;
  void set_guest_debug(std::uint32_t control);

  /// Enters the guest. @return 0, or an errno that the caller must judge (EINTR)
  [[nodiscard]] int run();
  [[nodiscard]] kvm_run& shared() { return *run_; }
  [[nodiscard]] const kvm_run& shared() const { return *run_; }
  [[nodiscard]] int vcpu_fd() const { return vcpu_.get(); }
  /// Registers are exchanged through the shared page: no ioctl a step.
  [[nodiscard]] bool synchronises_registers() const { return sync_; }

 private:
  FileDescriptor vm_;
  FileDescriptor vcpu_;
  kvm_run* run_ = nullptr;
  std::size_t run_bytes_ = 0;
  bool sync_ = false;
};

[[nodiscard]] std::string exit_name(std::uint32_t exit_reason);

}  // namespace chronovisor::kvm
