#include "tests/oracle/native_runner.h"

#include <asm/prctl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/error.h"

namespace chronovisor::oracle {

struct NativeRunner::Shared {
  std::array<Case, kBatch> cases;
  std::array<Outcome, kBatch> outcomes;
  std::uint64_t count = 0;
  std::uint64_t current = 0;
};

namespace {

constexpr std::uint16_t kCode32 = 0x23;
constexpr std::uint16_t kCode64 = 0x33;
constexpr std::uint16_t kFlatData = 0x2b;
constexpr std::uint32_t kTrapFlag = 0x100;
constexpr std::uint32_t kInterruptFlag = 0x200;
constexpr std::uint32_t kDebugVector = 1;
constexpr std::uint32_t kBreakpointVector = 3;
constexpr int kHangMilliseconds = 20'000;

// How the kernel orders general registers in a signal context, by our number.
constexpr std::array<int, 16> kSlots{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                     REG_R12, REG_R13, REG_R14, REG_R15};

/// What the child's handler works with; one child, so file scope.
struct ChildState {
  std::array<Case, NativeRunner::kBatch>* cases = nullptr;
  std::array<Outcome, NativeRunner::kBatch>* outcomes = nullptr;
  std::uint64_t* current = nullptr;
  std::uint64_t count = 0;
  const std::uint8_t* pool = nullptr;
  bool running = false;
  gregset_t main_registers{};
  FpImage main_fp;
} g_child;

std::uint8_t* at(std::uint64_t address) { return reinterpret_cast<std::uint8_t*>(address); }

/// Only x87 and SSE state are restored by sigreturn; the rest becomes initial.
void drop_extended_state(void* fp) {
  constexpr std::size_t kMagicOffset = 464;
  constexpr std::uint32_t kMagic = 0x46505853;
  std::uint32_t magic = 0;
  std::memcpy(&magic, static_cast<std::uint8_t*>(fp) + kMagicOffset, sizeof magic);
  if (magic != kMagic) return;
  const std::uint64_t components = 3;
  std::memcpy(static_cast<std::uint8_t*>(fp) + 512, &components, sizeof components);
}

void load_fp(void* fp, const FpImage& image) {
  constexpr std::size_t kSoftwareArea = 464;
  std::uint32_t mask = 0;
  std::memcpy(&mask, static_cast<std::uint8_t*>(fp) + 28, sizeof mask);
  std::memcpy(fp, &image, kSoftwareArea);
  std::memcpy(static_cast<std::uint8_t*>(fp) + 28, &mask, sizeof mask);
  drop_extended_state(fp);
}

void begin_case(ucontext_t& context, const Case& c) {
  std::memcpy(at(kWindow), g_child.pool + c.pool_offset, kWindowBytes);
  for (unsigned p = 0; p < c.patch_count; ++p) {
    std::memcpy(at(kWindow + c.patches[p].offset), c.patches[p].bytes.data(), c.patches[p].size);
  }
  std::memcpy(at(c.rip), c.code.data(), c.code.size());
  gregset_t& r = context.uc_mcontext.gregs;
  for (std::size_t n = 0; n < kSlots.size(); ++n) r[kSlots[n]] = static_cast<greg_t>(c.gpr[n]);
  r[REG_RIP] = static_cast<greg_t>(c.rip);
  r[REG_EFL] =
      static_cast<greg_t>(c.rflags | kInterruptFlag | 2 | (c.end == End::step ? kTrapFlag : 0));
  const std::uint64_t selectors = (c.compatibility ? kCode32 : kCode64);
  const std::uint64_t ss = kFlatData;
  r[REG_CSGSFS] = static_cast<greg_t>(selectors | (ss << 48));
  load_fp(context.uc_mcontext.fpregs, c.fp);
}

void end_case(const ucontext_t& context, const Case& c, Outcome& out) {
  const gregset_t& r = context.uc_mcontext.gregs;
  for (std::size_t n = 0; n < kSlots.size(); ++n) {
    out.gpr[n] = static_cast<std::uint64_t>(r[kSlots[n]]);
  }
  out.rip = static_cast<std::uint64_t>(r[REG_RIP]);
  out.rflags = static_cast<std::uint32_t>(r[REG_EFL]);
  out.vector = static_cast<std::uint32_t>(r[REG_TRAPNO]);
  out.error_code = static_cast<std::uint32_t>(r[REG_ERR]);
  out.cr2 = static_cast<std::uint64_t>(r[REG_CR2]);
  if (c.end == End::step && out.vector == kDebugVector) out.vector = kNoFault;
  if (c.end == End::breakpoint && out.vector == kBreakpointVector) {
    out.vector = kNoFault;
    out.rip -= 1;
  }
  std::memcpy(static_cast<void*>(&out.fp), context.uc_mcontext.fpregs, sizeof out.fp);
  std::memcpy(out.window.data(), at(kWindow), kWindowBytes);
  out.done = true;
}

extern "C" void chronovisor_oracle_signal_entry(int number, siginfo_t* info, void* context);
extern "C" __attribute__((used)) void chronovisor_oracle_signal(int /*number*/, siginfo_t* /*info*/,
                                                                void* raw_context) {
  ucontext_t& context = *static_cast<ucontext_t*>(raw_context);
  std::uint64_t& current = *g_child.current;
  if (!g_child.running) {
    std::memcpy(&g_child.main_registers, &context.uc_mcontext.gregs, sizeof(gregset_t));
    std::memcpy(static_cast<void*>(&g_child.main_fp), context.uc_mcontext.fpregs, sizeof(FpImage));
    g_child.running = true;
  } else {
    end_case(context, (*g_child.cases)[current], (*g_child.outcomes)[current]);
    ++current;
  }
  if (current < g_child.count) {
    begin_case(context, (*g_child.cases)[current]);
    return;
  }
  g_child.running = false;
  std::memcpy(&context.uc_mcontext.gregs, &g_child.main_registers, sizeof(gregset_t));
  load_fp(context.uc_mcontext.fpregs, g_child.main_fp);
}

// The kernel leaves AC as the case had it; ours must not fault on our own data.
asm(".text\n"
    "chronovisor_oracle_signal_entry:\n\t"
    "pushfq\n\tandl $0xfffbffff, (%rsp)\n\tpopfq\n\tjmp chronovisor_oracle_signal\n");

void map_fixed(std::uint64_t address, std::uint64_t size, int protection) {
  void* got =
      mmap(at(address), size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != at(address)) {
    throw Error{ErrorCode::host, "instruction oracle: the addresses it needs are taken"};
  }
}

}  // namespace

NativeRunner::NativeRunner(std::span<const std::uint8_t> pool) : pool_(pool) {
  map_memory();
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Error{ErrorCode::host, "instruction oracle: no shared memory"};
  shared_ = ::new (memory) Shared;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base_);
  fork_child();
  has_compatibility_mode_ = probe_compatibility_mode();
}

NativeRunner::~NativeRunner() {
  end_child();
  munmap(shared_, sizeof(Shared));
  munmap(at(kWindow), kWindowBytes + kReadOnlyBytes);
  munmap(at(kCode), kCodeBytes);
}

std::span<Case> NativeRunner::cases() const { return shared_->cases; }
std::span<const Outcome> NativeRunner::outcomes() const { return shared_->outcomes; }

void NativeRunner::map_memory() {
  map_fixed(kWindow, kWindowBytes + kReadOnlyBytes, PROT_READ | PROT_WRITE);
  std::memcpy(at(kReadOnly), pool_.data(), kReadOnlyBytes);
  mprotect(at(kReadOnly), kReadOnlyBytes, PROT_READ);
  map_fixed(kCode, kCodeBytes, PROT_READ | PROT_WRITE | PROT_EXEC);
}

void NativeRunner::fork_child() {
  std::array<int, 2> go_pipe{};
  std::array<int, 2> done_pipe{};
  if (pipe(go_pipe.data()) != 0 || pipe(done_pipe.data()) != 0) {
    throw Error{ErrorCode::host, "instruction oracle: no pipe"};
  }
  child_ = fork();
  if (child_ < 0) throw Error{ErrorCode::host, "instruction oracle: cannot fork"};
  if (child_ == 0) {
    close(go_pipe[1]);
    close(done_pipe[0]);
    go_fd_ = go_pipe[0];
    done_fd_ = done_pipe[1];
    child_main();
  }
  close(go_pipe[0]);
  close(done_pipe[1]);
  go_fd_ = go_pipe[1];
  done_fd_ = done_pipe[0];
}

void NativeRunner::end_child() {
  if (child_ <= 0) return;
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
  close(go_fd_);
  close(done_fd_);
  child_ = -1;
}

void NativeRunner::child_main() {
  g_child.cases = &shared_->cases;
  g_child.outcomes = &shared_->outcomes;
  g_child.current = &shared_->current;
  g_child.pool = pool_.data();
  constexpr std::size_t kStackBytes = 256 * 1024;
  stack_t stack{};
  stack.ss_sp =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack.ss_size = kStackBytes;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_sigaction = &chronovisor_oracle_signal_entry;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (const int number : {SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP}) {
    sigaction(number, &action, nullptr);
  }
  syscall(SYS_arch_prctl, ARCH_SET_GS, kGsBase);
  asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(std::uint32_t{kFlatData}));
  char byte = 0;
  while (read(go_fd_, &byte, 1) == 1) {
    g_child.count = shared_->count;
    g_child.running = false;
    asm volatile("int3" ::: "memory");
    if (write(done_fd_, &byte, 1) != 1) break;
  }
  _exit(0);
}

void NativeRunner::go(std::size_t first) {
  shared_->current = first;
  shared_->count = count_;
  const char byte = 0;
  if (write(go_fd_, &byte, 1) != 1) {
    throw Error{ErrorCode::host, "instruction oracle: the native child is gone"};
  }
}

void NativeRunner::start(std::size_t count) {
  count_ = count;
  for (std::size_t k = 0; k < count; ++k) shared_->outcomes[k].done = false;
  go(0);
}

bool NativeRunner::wait_done() const {
  pollfd waiting{done_fd_, POLLIN, 0};
  if (poll(&waiting, 1, kHangMilliseconds) != 1) return false;
  char byte = 0;
  return read(done_fd_, &byte, 1) == 1;
}

void NativeRunner::finish() {
  while (!wait_done()) {
    const std::size_t next = static_cast<std::size_t>(shared_->current) + 1;
    end_child();
    fork_child();
    if (next >= count_) return;
    go(next);
  }
}

bool NativeRunner::probe_compatibility_mode() {
  Case& c = shared_->cases[0];
  c = Case{};
  c.code.fill(kBreakpointByte);
  c.code[0] = 0xb8;  // mov eax, 0x41424344
  c.code[1] = 0x44;
  c.code[2] = 0x43;
  c.code[3] = 0x42;
  c.code[4] = 0x41;
  c.code[5] = 0xa2;  // mov [kWindow], al: needs a usable DS; its address has 32 bits
  const std::uint32_t address = kWindow;
  std::memcpy(&c.code[6], &address, sizeof address);
  c.rip = kCode;
  c.gpr[4] = kWindow + 0x800;
  c.compatibility = true;
  c.end = End::breakpoint;
  start(1);
  finish();
  const Outcome& out = shared_->outcomes[0];
  return out.done && out.vector == kNoFault && out.rip == kCode + 10 && out.window[0] == 0x44;
}

}  // namespace chronovisor::oracle
