#include "tests/oracle/engine_runner.h"

#include <bit>
#include <cstring>

namespace chronovisor::oracle {
namespace {

// Physical memory of the guest.
constexpr std::uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000;
constexpr std::uint64_t kUserTable = 0x4000, kSystemTable = 0x5000;
constexpr std::uint64_t kWindowPhysical = 0x10000, kCodePhysical = 0x20000;
constexpr std::uint64_t kSystemPhysical = 0x30000;  // three pages: tables, handlers, stack
constexpr std::uint64_t kRamBytes = 1 << 20;
// Linear addresses only the supervisor may use.
constexpr std::uint64_t kSystem = 0x3fe00000;
constexpr std::uint64_t kGdt = kSystem, kTss = kSystem + 0x100, kIdt = kSystem + 0x200;
constexpr std::uint64_t kHandlers = kSystem + 0x1000;
constexpr std::uint64_t kStackTop = kSystem + 0x3000;
constexpr unsigned kHandlerSpacing = 16;
constexpr std::uint8_t kHlt = 0xf4;

constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kNoExecute = 1ULL << 63;

constexpr std::uint16_t kKernelCode = 0x08, kTssSelector = 0x10;
constexpr std::uint16_t kUserCode64 = 0x33, kUserCode32 = 0x23, kUserData = 0x2b;
constexpr std::uint16_t kCode64Attributes = 0xa0fb, kCode32Attributes = 0xc0fb;
constexpr std::uint16_t kDataAttributes = 0xc0f3;

/// Vectors that push an error code.
bool has_error_code(std::uint32_t vector) {
  constexpr std::uint32_t kWith =
      1U << kDoubleFault | 1U << kInvalidTss | 1U << kSegmentNotPresent | 1U << kStackFault |
      1U << kGeneralProtection | 1U << kPageFault | 1U << kAlignmentCheck;
  return ((kWith >> vector) & 1U) != 0;
}

}  // namespace

/// No device exists; nothing a user-mode case does may ask for one.
class EngineRunner::Environment final : public CpuEnvironment {
 public:
  std::uint32_t port_read(std::uint16_t /*port*/, unsigned /*width*/) override { return 0; }
  void port_write(std::uint16_t /*port*/, unsigned /*width*/, std::uint32_t /*value*/) override {}
  std::uint64_t mmio_read(GuestPhysical /*address*/, unsigned /*width*/) override { return 0; }
  void mmio_write(GuestPhysical /*address*/, unsigned /*width*/, std::uint64_t /*v*/) override {}
  [[nodiscard]] VirtualTime now() const override { return {0}; }
  std::uint8_t acknowledge_interrupt() override { return 0; }
  [[nodiscard]] std::uint8_t task_priority() const override { return 0; }
  void set_task_priority(std::uint8_t /*cr8*/) override {}
  bool read_apic_msr(std::uint32_t /*index*/, std::uint64_t& /*value*/) override { return false; }
  bool write_apic_msr(std::uint32_t /*index*/, std::uint64_t /*value*/) override { return false; }
  [[nodiscard]] bool apic_enabled() const override { return false; }
  [[nodiscard]] std::uint32_t apic_id() const override { return 0; }
  void tsc_offset_changed(std::uint64_t /*offset*/) override {}
  [[nodiscard]] std::uint64_t entropy(std::uint64_t /*index*/) const override { return 0; }
};

EngineRunner::EngineRunner(std::span<const std::uint8_t> pool, std::uint64_t fs_base)
    : pool_(pool),
      ram_(kRamBytes),
      environment_(std::make_unique<Environment>()),
      cpu_(ram_, *environment_),
      fs_base_(fs_base) {
  build_guest();
}

EngineRunner::~EngineRunner() = default;

template <class T>
void EngineRunner::put(std::uint64_t physical, T value) {
  std::memcpy(ram_.host(physical), &value, sizeof value);
}

void EngineRunner::map_page(std::uint64_t linear, std::uint64_t physical, std::uint64_t bits) {
  const std::uint64_t table = linear < kSystem ? kUserTable : kSystemTable;
  put<std::uint64_t>(table + ((linear >> 12) & 511) * 8, physical | bits | kPresent);
}

void EngineRunner::build_guest() {
  const std::uint64_t all = kPresent | kWritable | kUser;
  put<std::uint64_t>(kPml4, kPdpt | all);
  put<std::uint64_t>(kPdpt, kDirectory | all);
  put<std::uint64_t>(kDirectory + ((kWindow >> 21) & 511) * 8, kUserTable | all);
  put<std::uint64_t>(kDirectory + ((kSystem >> 21) & 511) * 8, kSystemTable | all);
  for (std::uint64_t at = 0; at < kWindowBytes; at += kPageSize) {
    map_page(kWindow + at, kWindowPhysical + at, kUser | kWritable | kNoExecute);
  }
  map_page(kReadOnly, kWindowPhysical + kWindowBytes, kUser | kNoExecute);
  std::memcpy(ram_.host(kWindowPhysical + kWindowBytes), pool_.data(), kReadOnlyBytes);
  for (std::uint64_t at = 0; at < kCodeBytes; at += kPageSize) {
    map_page(kCode + at, kCodePhysical + at, kUser | kWritable);
  }
  for (std::uint64_t at = 0; at < 3 * kPageSize; at += kPageSize) {
    map_page(kSystem + at, kSystemPhysical + at, kWritable);
  }
  const auto system = [](std::uint64_t linear) { return linear - kSystem + kSystemPhysical; };
  put<std::uint64_t>(system(kGdt) + kKernelCode, 0x00209b0000000000);
  put<std::uint64_t>(system(kTss) + 4, kStackTop);
  for (unsigned vector = 0; vector < 32; ++vector) {
    const std::uint64_t handler = kHandlers + vector * kHandlerSpacing;
    put<std::uint64_t>(system(kIdt) + vector * 16, (handler & 0xffff) | (kKernelCode << 16) |
                                                       (0xeeULL << 40) |
                                                       ((handler >> 16 & 0xffff) << 48));
    put<std::uint64_t>(system(kIdt) + vector * 16 + 8, handler >> 32);
    put<std::uint8_t>(system(handler), kHlt);
  }
  CpuState& s = cpu_.state;
  s.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Pg;
  s.cr3 = kPml4;
  s.cr4 = kCr4Pae | kCr4Pge | kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Fsgsbase | kCr4Osxsave | kCr4Umip;
  s.xcr0 = 3;
  s.msr.efer = kEferSce | kEferLme | kEferLma | kEferNxe;
  s.gdtr = {kGdt, 0x1f};
  s.idtr = {kIdt, 32 * 16 - 1};
  s.tr = {kTssSelector, 0x8b, 0x67, kTss};
  s.ldtr = {};
  cpu_.state_replaced();
}

void EngineRunner::load_state(const Case& c) {
  CpuState& s = cpu_.state;
  for (std::size_t n = 0; n < c.gpr.size(); ++n) s.gpr[n] = c.gpr[n];
  cpu_.rip() = c.rip;
  s.segment[kCs] = c.compatibility ? SegmentRegister{kUserCode32, kCode32Attributes, 0xffffffff, 0}
                                   : SegmentRegister{kUserCode64, kCode64Attributes, 0xffffffff, 0};
  for (const unsigned n : {kSs, kDs, kEs}) {
    s.segment[n] = {kUserData, kDataAttributes, 0xffffffff, 0};
  }
  s.segment[kFs] = {0, 0, 0, fs_base_};
  s.segment[kGs] = {0, 0, 0, kGsBase};
  s.halted = false;
  s.shutdown = false;
  s.cr2 = 0;
  load_fp_image(s, c.fp);
  cpu_.set_flags(c.rflags | kIf);
  cpu_.set_cpl(3);
}

void EngineRunner::execute(const Case& c) {
  const std::uint64_t from = cpu_.position().steps;
  if (c.end == End::step) {
    cpu_.run({from}, cpu_.deliveries() + 1);
    return;
  }
  // Chunks of many lengths, so that bulk iterations end everywhere.
  std::uint64_t chunk = 1 + c.number % 61;
  while (cpu_.cpl() == 3) {
    cpu_.run({cpu_.position().steps + chunk});
    chunk = 1 + (chunk * 7 + c.number) % 1021;
  }
}

void EngineRunner::read_outcome(const Case& c, Outcome& out) {
  const CpuState& s = cpu_.state;
  for (std::size_t n = 0; n < out.gpr.size(); ++n) out.gpr[n] = s.gpr[n];
  out.rip = cpu_.rip();
  out.rflags = cpu_.flags.value();
  out.vector = kNoFault;
  out.error_code = 0;
  out.cr2 = s.cr2;
  if (cpu_.cpl() != 3) {
    out.vector = static_cast<std::uint32_t>((cpu_.rip() - kHandlers) / kHandlerSpacing);
    std::array<std::uint64_t, 6> frame{};  // error code, RIP, CS, RFLAGS, RSP, SS
    const bool with_error = has_error_code(out.vector);
    const std::uint64_t size = with_error ? 48 : 40;
    std::memcpy(frame.data() + (with_error ? 0 : 1),
                ram_.host(kStackTop - size - kSystem + kSystemPhysical), size);
    out.error_code = static_cast<std::uint32_t>(frame[0]);
    out.rip = frame[1];
    out.rflags = static_cast<std::uint32_t>(frame[3]);
    out.gpr[kRsp] = frame[4];
    if (c.end == End::breakpoint && out.vector == kBreakpoint) {
      out.vector = kNoFault;
      out.rip -= 1;
    }
  }
  out.fp = fp_image(s);
  std::memcpy(out.window.data(), ram_.host(kWindowPhysical), kWindowBytes);
  out.done = true;
}

void EngineRunner::run(const Case& c, Outcome& out) {
  std::memcpy(ram_.host(kWindowPhysical), pool_.data() + c.pool_offset, kWindowBytes);
  for (unsigned p = 0; p < c.patch_count; ++p) {
    std::memcpy(ram_.host(kWindowPhysical + c.patches[p].offset), c.patches[p].bytes.data(),
                c.patches[p].size);
  }
  ram_.write({c.rip - kCode + kCodePhysical}, ByteView(c.code));
  load_state(c);
  execute(c);
  read_outcome(c, out);
}

FpImage fp_image(const CpuState& state) {
  FpImage image;
  image.control = state.x87.control;
  image.status = state.x87.status;
  image.mxcsr = state.mxcsr;
  const unsigned top = (state.x87.status >> 11) & 7U;
  for (unsigned n = 0; n < 8; ++n) {
    if (((state.x87.tag >> (2 * n)) & 3U) != 3) {
      image.tags = static_cast<std::uint8_t>(image.tags | (1U << n));
    }
    const X87Register& st = state.x87.st[(top + n) & 7];
    image.st[n] = {st.significand, st.sign_exponent, {}};
  }
  for (unsigned n = 0; n < 16; ++n) image.xmm[n] = {state.xmm[n].low, state.xmm[n].high};
  return image;
}

void load_fp_image(CpuState& state, const FpImage& image) {
  state.x87 = X87State{};
  state.x87.control = image.control;
  state.x87.status = image.status;
  const unsigned top = (image.status >> 11) & 7U;
  std::uint16_t tag = 0;
  for (unsigned n = 0; n < 8; ++n) {
    const FpImage::St& st = image.st[n];
    state.x87.st[(top + n) & 7] = {st.significand, st.sign_exponent};
  }
  for (unsigned n = 0; n < 8; ++n) {
    const X87Register& st = state.x87.st[n];
    const unsigned exponent = st.sign_exponent & 0x7fffU;
    unsigned kind = 2;  // special
    if (((image.tags >> n) & 1) == 0) {
      kind = 3;
    } else if (exponent == 0 && st.significand == 0) {
      kind = 1;
    } else if (exponent != 0 && exponent != 0x7fff && (st.significand >> 63) != 0) {
      kind = 0;
    }
    tag = static_cast<std::uint16_t>(tag | (kind << (2 * n)));
  }
  state.x87.tag = tag;
  for (unsigned n = 0; n < 16; ++n) state.xmm[n] = {image.xmm[n][0], image.xmm[n][1]};
  state.mxcsr = image.mxcsr;
}

}  // namespace chronovisor::oracle
