#include "vmm/engine/kvm/kvm_device.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace chronovisor::kvm {
namespace {

/// Below the top of 4 GiB, where no machine of ours has RAM; Intel's KVM needs
/// room for a TSS and an identity page table of its own.
constexpr std::uint64_t kTssAddress = 0xfffbd000;
constexpr std::uint64_t kIdentityMapAddress = 0xfffbc000;

// The kernel's list structures end in flexible arrays that C++ lays out another
// way than C, so their heads are written here, and with them the requests that
// encode their size.
struct ListHead {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(ListHead) == 8);
constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, ListHead);
constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, ListHead);
constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, ListHead);
constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, Vm::FloatingPointImage);
constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, Vm::FloatingPointImage);
constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, ListHead);

/// A list head with room for `room` entries behind it.
template <class Entry>
class List {
 public:
  explicit List(std::size_t room) : bytes_(sizeof(ListHead) + room * sizeof(Entry)) {
    set_count(room);
  }
  explicit List(const std::vector<Entry>& entries) : List(entries.size()) {
    std::memcpy(bytes_.data() + sizeof(ListHead), entries.data(), entries.size() * sizeof(Entry));
  }
  [[nodiscard]] void* data() { return bytes_.data(); }
  void set_count(std::size_t count) {
    const ListHead head{static_cast<std::uint32_t>(count), 0};
    std::memcpy(bytes_.data(), &head, sizeof(head));
  }
  [[nodiscard]] std::vector<Entry> entries() const {
    ListHead head;
    std::memcpy(&head, bytes_.data(), sizeof(head));
    std::vector<Entry> out(
        std::min<std::size_t>(head.count, (bytes_.size() - sizeof(head)) / sizeof(Entry)));
    std::memcpy(out.data(), bytes_.data() + sizeof(head), out.size() * sizeof(Entry));
    return out;
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::host, std::string("KVM: ") + what + ": " + std::strerror(errno));
}

/// An ioctl that is made again when a signal interrupts it, as one may the creation of a
/// virtual machine.
template <class Argument>
int request_again(int fd, unsigned long request, Argument argument) {
  while (true) {
    const int result = ::ioctl(fd, request, argument);
    if (result >= 0 || errno != EINTR) return result;
  }
}

template <class T>
void get(int fd, unsigned long request, T& value, const char* what) {
  if (request_again(fd, request, &value) != 0) fail(what);
}
template <class T>
void set(int fd, unsigned long request, const T& value, const char* what) {
  if (request_again(fd, request, &value) != 0) fail(what);
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}
FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}
FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Availability availability(const std::string& path) {
  Availability result;
  const FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.get() < 0) {
    const int error = errno;
    result.present = error != ENOENT && error != ENODEV && error != ENXIO;
    result.problem = path + ": " + std::strerror(error);
    if (error == EACCES || error == EPERM) {
      result.remedy =
          "run as root, or join the group that owns it: sudo usermod -aG kvm $USER, then log in "
          "again";
    } else if (!result.present) {
      result.remedy =
          "load the module (sudo modprobe kvm_intel or kvm_amd); in a virtual machine, ask its "
          "host for "
          "nested virtualisation; in a container, pass the device in (--device /dev/kvm)";
    } else if (error == EBUSY) {
      result.remedy = "another hypervisor holds the processor's virtualisation; end it";
    }
    return result;
  }
  result.present = true;
  result.api_version = ::ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (result.api_version < 0) {
    result.problem = path + ": not a KVM device (" + std::strerror(errno) + ")";
    result.remedy = "the device of the kernel's KVM is character device 10, 232 at /dev/kvm";
    return result;
  }
  if (result.api_version != KVM_API_VERSION) {
    result.problem = path + ": API version " + std::to_string(result.api_version) + ", not " +
                     std::to_string(KVM_API_VERSION);
    return result;
  }
  const FileDescriptor vm(request_again(fd.get(), KVM_CREATE_VM, 0));
  if (vm.get() < 0) {
    result.problem = path + ": cannot create a virtual machine: " + std::strerror(errno);
    result.remedy =
        "the processor's virtualisation may be off in the firmware, or held by another hypervisor";
    return result;
  }
  result.usable = true;
  return result;
}

Device::Device(const std::string& path) {
  const Availability state = availability(path);
  if (!state.usable) {
    throw Error(ErrorCode::host, state.problem + (state.remedy.empty() ? "" : "; " + state.remedy) +
                                     "; --engine soft needs nothing of the host");
  }
  fd_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd_.get() < 0) fail(path.c_str());
}

int Device::capability(int number) const {
  const int value = ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, number);
  return value < 0 ? 0 : value;
}

std::vector<kvm_cpuid_entry2> Device::supported_cpuid() const {
  for (std::size_t room = 128; room <= 4096; room *= 2) {
    List<kvm_cpuid_entry2> list(room);
    if (::ioctl(fd_.get(), kGetSupportedCpuid, list.data()) == 0) return list.entries();
    if (errno != E2BIG) fail("KVM_GET_SUPPORTED_CPUID");
  }
  throw Error(ErrorCode::host, "KVM: KVM_GET_SUPPORTED_CPUID: no end of entries");
}

std::size_t Device::run_bytes() const {
  const int size = ::ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < static_cast<int>(sizeof(kvm_run))) fail("KVM_GET_VCPU_MMAP_SIZE");
  return static_cast<std::size_t>(size);
}

FileDescriptor Device::create_vm() const {
  FileDescriptor vm(request_again(fd_.get(), KVM_CREATE_VM, 0));
  if (vm.get() < 0) fail("KVM_CREATE_VM");
  return vm;
}

Vm::Vm(const Device& device) : vm_(device.create_vm()), run_bytes_(device.run_bytes()) {
  // Only Intel's KVM knows these two; the others ignore or refuse them.
  std::uint64_t identity = kIdentityMapAddress;
  (void)::ioctl(vm_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity);
  (void)::ioctl(vm_.get(), KVM_SET_TSS_ADDR, kTssAddress);
  vcpu_ = FileDescriptor(request_again(vm_.get(), KVM_CREATE_VCPU, 0));
  if (vcpu_.get() < 0) fail("KVM_CREATE_VCPU");
  void* mapping = ::mmap(nullptr, run_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);
  if (mapping == MAP_FAILED) fail("the vCPU's shared page");
  run_ = static_cast<kvm_run*>(mapping);
  constexpr int kWanted = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
  sync_ = (device.capability(KVM_CAP_SYNC_REGS) & kWanted) == kWanted;
  if (sync_) run_->kvm_valid_regs = kWanted;
}

Vm::~Vm() {
  if (run_ != nullptr) ::munmap(run_, run_bytes_);
}

void Vm::set_memory(const MemorySlot& slot) {
  kvm_userspace_memory_region region{};
  region.slot = slot.slot;
  region.flags = slot.bytes == 0 ? 0 : KVM_MEM_LOG_DIRTY_PAGES;
  region.guest_phys_addr = slot.guest_physical;
  region.memory_size = slot.bytes;
  region.userspace_addr = reinterpret_cast<std::uint64_t>(slot.host);
  set(vm_.get(), KVM_SET_USER_MEMORY_REGION, region, "KVM_SET_USER_MEMORY_REGION");
}

void Vm::dirty_log(std::uint32_t slot, std::vector<std::uint64_t>& bitmap) {
  kvm_dirty_log log{};
  log.slot = slot;
  log.dirty_bitmap = bitmap.data();
  get(vm_.get(), KVM_GET_DIRTY_LOG, log, "KVM_GET_DIRTY_LOG");
}

void Vm::set_cpuid(const std::vector<kvm_cpuid_entry2>& entries) {
  List<kvm_cpuid_entry2> list(entries);
  if (::ioctl(vcpu_.get(), kSetCpuid2, list.data()) != 0) fail("KVM_SET_CPUID2");
}

bool Vm::filter_all_msrs() {
  kvm_enable_cap enable{};
  enable.cap = KVM_CAP_X86_USER_SPACE_MSR;
  enable.args[0] =
      KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL;
  if (::ioctl(vm_.get(), KVM_ENABLE_CAP, &enable) != 0) return false;
  // Default deny needs at least one range; its bitmap of zeros denies as well.
  std::array<std::uint8_t, 8> none{};
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
  filter.ranges[0].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
  filter.ranges[0].nmsrs = 64;
  filter.ranges[0].base = 0;
  filter.ranges[0].bitmap = none.data();
  return ::ioctl(vm_.get(), KVM_X86_SET_MSR_FILTER, &filter) == 0;
}

kvm_regs Vm::regs() const {
  kvm_regs value{};
  get(vcpu_.get(), KVM_GET_REGS, value, "KVM_GET_REGS");
  return value;
}
void Vm::set_regs(const kvm_regs& value) { set(vcpu_.get(), KVM_SET_REGS, value, "KVM_SET_REGS"); }
kvm_sregs Vm::sregs() const {
  kvm_sregs value{};
  get(vcpu_.get(), KVM_GET_SREGS, value, "KVM_GET_SREGS");
  return value;
}
bool Vm::set_sregs(const kvm_sregs& value) {
  return ::ioctl(vcpu_.get(), KVM_SET_SREGS, &value) == 0;
}
Vm::FloatingPointImage Vm::floating_point() const {
  FloatingPointImage value{};
  get(vcpu_.get(), kGetXsave, value, "KVM_GET_XSAVE");
  return value;
}
void Vm::set_floating_point(const FloatingPointImage& value) {
  set(vcpu_.get(), kSetXsave, value, "KVM_SET_XSAVE");
}
kvm_vcpu_events Vm::events() const {
  kvm_vcpu_events value{};
  get(vcpu_.get(), KVM_GET_VCPU_EVENTS, value, "KVM_GET_VCPU_EVENTS");
  return value;
}
void Vm::set_events(const kvm_vcpu_events& value) {
  set(vcpu_.get(), KVM_SET_VCPU_EVENTS, value, "KVM_SET_VCPU_EVENTS");
}
kvm_debugregs Vm::debug_registers() const {
  kvm_debugregs value{};
  get(vcpu_.get(), KVM_GET_DEBUGREGS, value, "KVM_GET_DEBUGREGS");
  return value;
}
void Vm::set_debug_registers(const kvm_debugregs& value) {
  set(vcpu_.get(), KVM_SET_DEBUGREGS, value, "KVM_SET_DEBUGREGS");
}

std::size_t Vm::set_msrs(const std::vector<kvm_msr_entry>& entries) {
  List<kvm_msr_entry> list(entries);
  const int taken = ::ioctl(vcpu_.get(), kSetMsrs, list.data());
  if (taken < 0) fail("KVM_SET_MSRS");
  return static_cast<std::size_t>(taken);
}

std::optional<std::uint64_t> Vm::msr(std::uint32_t index) const {
  kvm_msr_entry wanted{};
  wanted.index = index;
  List<kvm_msr_entry> list(std::vector<kvm_msr_entry>{wanted});
  if (::ioctl(vcpu_.get(), kGetMsrs, list.data()) != 1) return std::nullopt;
  return list.entries().front().data;
}

void Vm::set_guest_debug(std::uint32_t control) {
  kvm_guest_debug debug{};
  debug.control = control;
  set(vcpu_.get(), KVM_SET_GUEST_DEBUG, debug, "KVM_SET_GUEST_DEBUG");
}

int Vm::run() {
  if (::ioctl(vcpu_.get(), KVM_RUN, 0) == 0) return 0;
  if (errno == EINTR || errno == EAGAIN) return errno;
  fail("KVM_RUN");
}

std::string exit_name(std::uint32_t exit_reason) {
  switch (exit_reason) {
    case KVM_EXIT_EXCEPTION:
      return "exception";
    case KVM_EXIT_IO:
      return "port";
    case KVM_EXIT_DEBUG:
      return "debug";
    case KVM_EXIT_HLT:
      return "hlt";
    case KVM_EXIT_MMIO:
      return "mmio";
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return "interrupt window";
    case KVM_EXIT_SHUTDOWN:
      return "shutdown";
    case KVM_EXIT_FAIL_ENTRY:
      return "entry failed";
    case KVM_EXIT_INTR:
      return "signal";
    case KVM_EXIT_INTERNAL_ERROR:
      return "internal error";
    case KVM_EXIT_X86_RDMSR:
      return "rdmsr";
    case KVM_EXIT_X86_WRMSR:
      return "wrmsr";
    default:
      return "exit " + std::to_string(exit_reason);
  }
}

}  // namespace chronovisor::kvm
