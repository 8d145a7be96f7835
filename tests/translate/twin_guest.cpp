#include "tests/translate/twin_guest.h"

#include <cstring>

#include "base/state.h"
#include "tests/oracle/case_generator.h"

namespace chronovisor::test {
namespace {

// Physical memory.
constexpr std::uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000;
constexpr std::uint64_t kUserTable = 0x4000, kSystemTable = 0x5000;
constexpr std::uint64_t kWindowPhysical = 0x10000, kCodePhysical = 0x20000;
constexpr std::uint64_t kSystemPhysical = 0x30000;
constexpr std::uint64_t kDevicePhysical = 0xfed00000;
constexpr std::uint64_t kRamBytes = 1 << 20;
constexpr std::uint64_t kSystem = 0x3fe00000;
constexpr std::uint64_t kGdt = kSystem, kTss = kSystem + 0x100, kIdt = kSystem + 0x200;
constexpr std::uint64_t kHandlers = kSystem + 0x1000, kStackTop = kSystem + 0x3000;
constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4;

template <class T>
void put(Ram& ram, std::uint64_t physical, T value) {
  std::uint8_t bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof value);
  ram.write({physical}, ByteView(bytes, sizeof value));
}

void map_page(Ram& ram, std::uint64_t linear, std::uint64_t physical, std::uint64_t bits) {
  const std::uint64_t table = linear < kSystem ? kUserTable : kSystemTable;
  put<std::uint64_t>(ram, table + ((linear >> 12) & 511) * 8, physical | bits | kPresent);
}

void build(Ram& ram) {
  const std::uint64_t all = kPresent | kWritable | kUser;
  put<std::uint64_t>(ram, kPml4, kPdpt | all);
  put<std::uint64_t>(ram, kPdpt, kDirectory | all);
  put<std::uint64_t>(ram, kDirectory + ((TwinGuest::kWindow >> 21) & 511) * 8, kUserTable | all);
  put<std::uint64_t>(ram, kDirectory + ((kSystem >> 21) & 511) * 8, kSystemTable | all);
  for (std::uint64_t at = 0; at < TwinGuest::kWindowBytes; at += kPageSize) {
    map_page(ram, TwinGuest::kWindow + at, kWindowPhysical + at, kUser | kWritable);
  }
  map_page(ram, TwinGuest::kDevice, kDevicePhysical, kUser | kWritable);
  for (std::uint64_t at = 0; at < TwinGuest::kCodeBytes; at += kPageSize) {
    map_page(ram, TwinGuest::kCode + at, kCodePhysical + at, kUser | kWritable);
    map_page(ram, TwinGuest::kAlias + at, kCodePhysical + at, kUser | kWritable);
  }
  for (std::uint64_t at = 0; at < 3 * kPageSize; at += kPageSize) {
    map_page(ram, kSystem + at, kSystemPhysical + at, kWritable);
  }
  const auto system = [](std::uint64_t linear) { return linear - kSystem + kSystemPhysical; };
  put<std::uint64_t>(ram, system(kGdt) + 8, 0x00209b0000000000);
  put<std::uint64_t>(ram, system(kTss) + 4, kStackTop);
  for (unsigned vector = 0; vector < 32; ++vector) {
    const std::uint64_t handler = kHandlers + vector * 16;
    put<std::uint64_t>(
        ram, system(kIdt) + vector * 16,
        (handler & 0xffff) | (8U << 16) | (0xeeULL << 40) | ((handler >> 16 & 0xffff) << 48));
    put<std::uint64_t>(ram, system(kIdt) + vector * 16 + 8, handler >> 32);
    put<std::uint8_t>(ram, system(handler), 0xf4);
  }
  // Real mode: every vector leads to a HLT.
  for (unsigned vector = 0; vector < 256; ++vector) put<std::uint32_t>(ram, vector * 4, 0x00000600);
  put<std::uint8_t>(ram, 0x600, 0xf4);
}

Bytes state_of(GuestSide& side) {
  StateSaver saver;
  side.cpu.visit_state(saver);
  return saver.take();
}

std::string first_difference(GuestSide& a, GuestSide& b) {
  std::string text;
  char line[160];
  for (unsigned n = 0; n < 16; ++n) {
    if (a.cpu.state.gpr[n] == b.cpu.state.gpr[n]) continue;
    std::snprintf(line, sizeof line, "register %u: %llx, translated %llx\n", n,
                  static_cast<unsigned long long>(a.cpu.state.gpr[n]),
                  static_cast<unsigned long long>(b.cpu.state.gpr[n]));
    text += line;
  }
  for (unsigned n = 0; n < 16; ++n) {
    if (std::memcmp(&a.cpu.state.xmm[n], &b.cpu.state.xmm[n], 16) == 0) continue;
    std::snprintf(line, sizeof line, "xmm%u: %llx:%llx, translated %llx:%llx\n", n,
                  static_cast<unsigned long long>(a.cpu.state.xmm[n].high),
                  static_cast<unsigned long long>(a.cpu.state.xmm[n].low),
                  static_cast<unsigned long long>(b.cpu.state.xmm[n].high),
                  static_cast<unsigned long long>(b.cpu.state.xmm[n].low));
    text += line;
  }
  std::snprintf(line, sizeof line,
                "interpreted: position %llu rip %llx flags %x cr2 %llx mxcsr %x\n"
                "translated:  position %llu rip %llx flags %x cr2 %llx mxcsr %x\n",
                static_cast<unsigned long long>(a.cpu.position().steps),
                static_cast<unsigned long long>(a.cpu.rip()), a.cpu.flags.value(),
                static_cast<unsigned long long>(a.cpu.state.cr2), a.cpu.state.mxcsr,
                static_cast<unsigned long long>(b.cpu.position().steps),
                static_cast<unsigned long long>(b.cpu.rip()), b.cpu.flags.value(),
                static_cast<unsigned long long>(b.cpu.state.cr2), b.cpu.state.mxcsr);
  return text + line;
}

}  // namespace

class GuestSide::Environment final : public CpuEnvironment {
 public:
  explicit Environment(GuestSide& side) : side_(side) {}
  std::uint32_t port_read(std::uint16_t port, unsigned width) override {
    return static_cast<std::uint32_t>(mix(port, width));
  }
  void port_write(std::uint16_t port, unsigned width, std::uint32_t value) override {
    log_ = log_ * 31 + mix(port, width) + value;
  }
  std::uint64_t mmio_read(GuestPhysical address, unsigned width) override {
    return mix(address.value, width);
  }
  void mmio_write(GuestPhysical address, unsigned width, std::uint64_t value) override {
    log_ = log_ * 31 + mix(address.value, width) + value;
  }
  [[nodiscard]] VirtualTime now() const override { return {side_.cpu.position().steps * 3}; }
  std::uint8_t acknowledge_interrupt() override { return 31; }
  [[nodiscard]] std::uint8_t task_priority() const override { return 0; }
  void set_task_priority(std::uint8_t /*cr8*/) override {}
  bool read_apic_msr(std::uint32_t /*index*/, std::uint64_t& /*value*/) override { return false; }
  bool write_apic_msr(std::uint32_t /*index*/, std::uint64_t /*value*/) override { return false; }
  [[nodiscard]] bool apic_enabled() const override { return false; }
  [[nodiscard]] std::uint32_t apic_id() const override { return 0; }
  void tsc_offset_changed(std::uint64_t /*offset*/) override {}
  [[nodiscard]] std::uint64_t entropy(std::uint64_t index) const override { return index * 77; }
  [[nodiscard]] std::uint64_t log() const { return log_; }

 private:
  /// Tells positions apart.
  [[nodiscard]] std::uint64_t mix(std::uint64_t address, unsigned width) const {
    return (side_.cpu.position().steps + address * 8 + width) * 0x9e3779b97f4a7c15;
  }
  GuestSide& side_;
  std::uint64_t log_ = 0;
};

GuestSide::GuestSide(const translate::Settings& settings)
    : ram(kRamBytes), environment(std::make_unique<Environment>(*this)), cpu(ram, *environment) {
  cpu.set_translation(settings);
  build(ram);
}
GuestSide::~GuestSide() = default;

TwinGuest::TwinGuest(const translate::Settings& settings) {
  sides_[0] = std::make_unique<GuestSide>(translate::Settings{translate::Mode::off});
  sides_[1] = std::make_unique<GuestSide>(settings);
}

void TwinGuest::place(std::uint64_t offset, std::span<const std::uint8_t> code) {
  for (auto& side : sides_) {
    side->ram.write({kCodePhysical + offset}, ByteView(code.data(), code.size()));
  }
}

void TwinGuest::start(CodeKind kind, std::uint64_t rip, oracle::Random& random) {
  CpuState s;
  Xmm xmm[16];
  oracle::fill_interesting(std::span(reinterpret_cast<std::uint8_t*>(xmm), sizeof xmm), random);
  std::uint64_t gpr[16];
  for (std::uint64_t& g : gpr) {
    g = random.chance(60) ? kWindow + random.below(kWindowBytes - 64)
                          : random.bits() >> random.below(64);
  }
  gpr[kRsp] = kWindow + 0x800 + 8 * random.below(0x100);
  if (kind == CodeKind::real16) {
    for (std::uint64_t& g : gpr) g &= 0xffff;
  }
  const auto flags = static_cast<std::uint32_t>(random.bits() >> 20) & kArithmeticFlags;
  Bytes window(kWindowBytes);
  oracle::fill_interesting(window, random);
  for (auto& side : sides_) {
    Cpu& cpu = side->cpu;
    side->ram.write({kWindowPhysical}, window);
    CpuState& to = cpu.state;
    const bool real = kind == CodeKind::real16;
    to = CpuState{};
    for (unsigned n = 0; n < 16; ++n) {
      to.gpr[n] = gpr[n];
      to.xmm[n] = xmm[n];
    }
    cpu.rip() = rip;
    to.cr4 = kCr4Pae | kCr4Pge | kCr4Osfxsr | kCr4Osxmmexcpt | kCr4Fsgsbase | kCr4Osxsave;
    to.xcr0 = 3;
    cpu.set_flags(flags | (real ? 0U : kIf | kIoplMask));
    if (real) {
      to.cr0 = kCr0Et | kCr0Ne;
      to.segment[kCs] = {0x2000, 0x9b, 0xffff, 0x20000};
      for (const unsigned n : {kSs, kDs, kEs, kFs, kGs})
        to.segment[n] = {0x1000, 0x93, 0xffff, 0x10000};
      to.idtr = {0, 0x3ff};
      cpu.set_cpl(0);
    } else {
      to.cr0 = kCr0Pe | kCr0Mp | kCr0Et | kCr0Ne | kCr0Wp | kCr0Am | kCr0Pg;
      to.cr3 = kPml4;
      to.msr.efer = kEferSce | kEferLme | kEferLma | kEferNxe;
      to.gdtr = {kGdt, 0x1f};
      to.idtr = {kIdt, 32 * 16 - 1};
      to.tr = {0x10, 0x8b, 0x67, kTss};
      to.segment[kCs] = kind == CodeKind::long64 ? SegmentRegister{0x33, 0xa0fb, 0xffffffff, 0}
                                                 : SegmentRegister{0x23, 0xc0fb, 0xffffffff, 0};
      for (const unsigned n : {kSs, kDs, kEs}) to.segment[n] = {0x2b, 0xc0f3, 0xffffffff, 0};
      to.segment[kFs] = {0x2b, 0xc0f3, 0x1fff, kWindow};
      to.segment[kGs] = {0x2b, 0xc0f3, 0xffffffff, 0x1000};
      cpu.set_cpl(3);
    }
    cpu.state_replaced();
    cpu.rip_replaced();
  }
}

std::optional<std::string> TwinGuest::run(std::uint64_t steps) {
  CpuStop stops[2];
  for (unsigned n = 0; n < 2; ++n) {
    GuestSide& side = *sides_[n];
    side.hooks.hits.clear();
    side.hooks.resumed_at_position = side.cpu.position().steps;
    side.hooks.resumed_at_deliveries = side.cpu.deliveries();
    side.hooks.resumed_at_address = side.cpu.linear_rip();
    stops[n] = side.cpu.run({side.cpu.position().steps + steps});
  }
  stop_ = stops[0];
  GuestSide& a = *sides_[0];
  GuestSide& b = *sides_[1];
  if (stops[0] != stops[1]) {
    return "stopped by " + std::to_string(static_cast<int>(stops[0])) + ", translated by " +
           std::to_string(static_cast<int>(stops[1])) + "\n" + first_difference(a, b);
  }
  if (state_of(a) != state_of(b) || a.cpu.deliveries() != b.cpu.deliveries() ||
      a.cpu.moment_before() != b.cpu.moment_before()) {
    return "state differs\n" + first_difference(a, b);
  }
  if (a.environment->log() != b.environment->log()) return "devices were told different things";
  if (a.hooks.hits.size() != b.hooks.hits.size()) return "watchpoints were hit differently";
  return std::nullopt;
}

std::optional<std::string> TwinGuest::compare_all() {
  GuestSide& a = *sides_[0];
  GuestSide& b = *sides_[1];
  for (std::uint64_t page = 0; page < a.ram.page_count(); ++page) {
    if (std::memcmp(a.ram.host(page * kPageSize), b.ram.host(page * kPageSize), kPageSize) != 0) {
      return "RAM differs on page " + std::to_string(page);
    }
  }
  if (a.ram.dirty_pages().size() != b.ram.dirty_pages().size()) return "dirty pages differ";
  if (a.told != nullptr && !(*a.told == *b.told)) return "observers were told different things";
  return std::nullopt;
}

void TwinGuest::swap_window_pages() {
  swapped_ = !swapped_;
  for (auto& side : sides_) {
    for (std::uint64_t at = 0; at < kWindowBytes; at += kPageSize) {
      map_page(side->ram, kWindow + at, kWindowPhysical + (swapped_ ? at ^ kPageSize : at),
               kUser | kWritable);
    }
  }
}

void TwinGuest::write_code(std::uint64_t offset, std::uint8_t value) {
  for (auto& side : sides_) side->ram.write({kCodePhysical + offset}, ByteView(&value, 1));
}

void TwinGuest::observe(bool on) {
  for (auto& side : sides_) {
    auto next = on ? std::make_unique<ToldSet>() : nullptr;
    side->cpu.set_access_observer(next.get());
    side->told = std::move(next);
  }
}

void TwinGuest::set_hooks(bool on, oracle::Random& random) {
  DebugHooks hooks;
  if (on) {
    for (unsigned n = 0; n < 3; ++n) hooks.breakpoints.insert(kCode + random.below(0x400));
    hooks.watchpoints.push_back({kWindow + random.below(kWindowBytes), 1 + random.below(64),
                                 random.chance(50), random.chance(70)});
  }
  for (auto& side : sides_) {
    side->hooks = hooks;
    side->cpu.set_debug_hooks(on ? &side->hooks : nullptr);
  }
}

void TwinGuest::drop_write_tags() {
  for (auto& side : sides_) {
    side->ram.new_epoch();
    side->cpu.drop_write_tags();
  }
}

}  // namespace chronovisor::test
