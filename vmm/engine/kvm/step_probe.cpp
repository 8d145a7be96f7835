#include "vmm/engine/kvm/step_probe.h"

#include <array>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/environment.h"
#include "vmm/engine/kvm/row_encoder.h"
#include "vmm/engine/kvm/self_test.h"
#include "vmm/engine/kvm/step_policy.h"
#include "vmm/engine/kvm/stepper.h"

namespace chronovisor::kvm {
namespace {

constexpr std::uint64_t kMemoryBytes = 2ULL << 20;
constexpr std::uint64_t kGdt = 0x1000, kTss = 0x3000, kStack = 0x7000, kCode = 0x8000,
                        kData = 0x9040, kOtherData = 0x9440, kTarget = 0xa000, kTables = 0x10000;
constexpr std::uint16_t kCodeSelector = 0x08, kDataSelector = 0x10, kTssSelector = 0x30;
constexpr std::uint64_t kWindow = 256;  ///< bytes of data and stack that are set up and compared
constexpr unsigned kUserLevel = 3;

/// A processor by itself: what a probe touches of the machine is its memory.
class NothingElse final : public CpuEnvironment {
 public:
  std::uint32_t port_read(std::uint16_t /*port*/, unsigned /*width*/) override { return ~0U; }
  void port_write(std::uint16_t /*port*/, unsigned /*width*/, std::uint32_t /*value*/) override {}
  std::uint64_t mmio_read(GuestPhysical /*address*/, unsigned /*width*/) override { return ~0ULL; }
  void mmio_write(GuestPhysical /*address*/, unsigned /*width*/, std::uint64_t /*value*/) override {
  }
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

struct World {
  StepWorld name;
  unsigned privilege;
  std::uint8_t width;  ///< of code, in bytes
  bool paged;          ///< long mode is active
  bool long64;
  [[nodiscard]] bool real() const { return name == StepWorld::real; }
  [[nodiscard]] DecodeMode decode_mode() const { return {long64, !real(), width}; }
};

constexpr std::array<World, kStepWorlds> kWorlds{{
    {StepWorld::real, 0, 2, false, false},
    {StepWorld::protected16, 0, 2, false, false},
    {StepWorld::protected32, 0, 4, false, false},
    {StepWorld::compatibility16, 0, 2, true, false},
    {StepWorld::compatibility32, 0, 4, true, false},
    {StepWorld::long64, 0, 4, true, true},
    {StepWorld::protected16_user, kUserLevel, 2, false, false},
    {StepWorld::protected32_user, kUserLevel, 4, false, false},
    {StepWorld::compatibility16_user, kUserLevel, 2, true, false},
    {StepWorld::compatibility32_user, kUserLevel, 4, true, false},
    {StepWorld::long64_user, kUserLevel, 4, true, true},
}};

/// What the operands hold: pointers suit most instructions, a selector or a far
/// pointer those that load one.
enum class Operands : std::uint8_t { pointers, selectors, far_pointers };

/// One processor with its memory; a probe has two.
class Side {
 public:
  Side() : ram_(kMemoryBytes), cpu_(ram_, environment_) {}

  void enter(const World& world) {
    const unsigned dpl = world.privilege << 5;
    put(kGdt + kCodeSelector, descriptor(code_attributes(world)));
    put(kGdt + kDataSelector, descriptor(0xc093U | dpl));
    put(kTables, (kTables + 0x1000) | 0x27);
    put(kTables + 0x1000, (kTables + 0x2000) | 0x27);
    put(kTables + 0x2000, 0xe7);
  }

  void prepare(const World& world, ByteView code, Operands operands) {
    Bytes whole(code.begin(), code.end());
    whole.resize(32, 0x90);
    ram_.write({kCode}, whole);
    ram_.write({kTarget}, Bytes(32, 0x90));
    const auto privilege = static_cast<std::uint16_t>(world.privilege);
    const std::uint64_t selector = kDataSelector | privilege;
    const std::uint64_t far_pointer =
        kTarget | std::uint64_t{static_cast<std::uint16_t>(kCodeSelector | privilege)}
                      << (8 * world.width);
    const std::uint64_t value = operands == Operands::pointers    ? kTarget
                                : operands == Operands::selectors ? selector
                                                                  : far_pointer;
    for (std::uint64_t n = 0; n < kWindow; n += 8) {
      put(kData + n, value);
      put(kOtherData + n, kTarget);
      put(kStack + n, value);
      put(kStack - kWindow + n, 0);
    }
    CpuState& s = cpu_.state;
    s = CpuState{};
    for (unsigned n = 0; n < 16; ++n) s.gpr[n] = kData + 8 * n;
    s.gpr[kRax] = 5;
    s.gpr[kRcx] = 3;
    s.gpr[kRdx] = 0;
    s.gpr[kRbx] = operands == Operands::pointers ? kData : value;
    s.gpr[kRsi] = kData;
    s.gpr[kRdi] = kOtherData;
    s.gpr[kRbp] = kStack + 64;
    s.gpr[kRsp] = kStack;
    s.gpr[kGprRip] = kCode;
    for (unsigned n = 0; n < 16; ++n) s.xmm[n] = {0x3f8000003f800000ULL + n, 0x3ff0000000000000};
    s.mxcsr = 0x1f80;
    set_mode(world);
    cpu_.set_flags(kFlagsAlwaysOne);
    cpu_.set_position({0});
    cpu_.rip_replaced();
    cpu_.state_replaced();
    if (!world.real()) cpu_.set_cpl(world.privilege);
  }

  [[nodiscard]] Cpu& cpu() { return cpu_; }
  [[nodiscard]] Ram& ram() { return ram_; }
  [[nodiscard]] Bytes memory() const {
    Bytes bytes(0x5000);
    ram_.read({0x6000}, bytes);
    return bytes;
  }

 private:
  void put(std::uint64_t at, std::uint64_t value) {
    std::array<std::uint8_t, 8> bytes{};
    std::memcpy(bytes.data(), &value, 8);
    ram_.write({at}, bytes);
  }
  static std::uint64_t descriptor(unsigned attributes) {
    return 0x000f00000000ffffULL | std::uint64_t{attributes & 0xf0ffU} << 40;
  }
  /// Present, code, readable, accessed; D or L by the world.
  static unsigned code_attributes(const World& world) {
    const unsigned size = world.long64 ? 0x2000U : world.width == 4 ? 0x4000U : 0U;
    return 0x809bU | size | (world.privilege << 5);
  }

  void set_mode(const World& world) {
    CpuState& s = cpu_.state;
    const auto privilege = static_cast<std::uint16_t>(world.privilege);
    if (world.real()) {
      for (SegmentRegister& segment : s.segment) segment = {0, 0x93, 0xffff, 0};
      s.segment[kCs] = {0, 0x9b, 0xffff, 0};
      s.cr0 = kCr0Et;
    } else {
      const auto data = static_cast<std::uint16_t>(0xc093U | (world.privilege << 5));
      for (SegmentRegister& segment : s.segment) {
        segment = {static_cast<std::uint16_t>(kDataSelector | privilege), data, 0xffffffff, 0};
      }
      s.segment[kCs] = {static_cast<std::uint16_t>(kCodeSelector | privilege),
                        static_cast<std::uint16_t>(code_attributes(world)), 0xffffffff, 0};
      s.cr0 = kCr0Pe | kCr0Et | kCr0Ne | kCr0Mp;
    }
    s.gdtr = {kGdt, 0x7f};
    s.idtr = {0, 0};  // a fault is a shutdown
    s.tr = {kTssSelector, 0x8b, 0x67, kTss};
    s.cr4 = kCr4Osfxsr | kCr4Osxmmexcpt;
    if (world.paged) {
      s.cr0 |= kCr0Pg | kCr0Wp;
      s.cr3 = kTables;
      s.cr4 |= kCr4Pae;
      s.msr.efer = kEferLme | kEferLma;
    }
  }

  NothingElse environment_;
  Ram ram_;
  Cpu cpu_;
};

/// Whether both sides hold the same, but for flags the manual leaves undefined.
bool same_result(Side& soft, Side& host, const Row& row, StepRule rule) {
  const CpuState& a = soft.cpu().state;
  const CpuState& b = host.cpu().state;
  std::uint32_t ignored = row.undefined_flags;
  if (rule == StepRule::host_clears_af) ignored |= kAf;
  if (a.gpr != b.gpr || ((soft.cpu().flags.value() ^ host.cpu().flags.value()) & ~ignored) != 0) {
    return false;
  }
  for (std::size_t n = 0; n < a.segment.size(); ++n) {
    if (a.segment[n].selector != b.segment[n].selector || a.segment[n].base != b.segment[n].base) {
      return false;
    }
  }
  for (std::size_t n = 0; n < a.xmm.size(); ++n) {
    if (a.xmm[n].low != b.xmm[n].low || a.xmm[n].high != b.xmm[n].high) return false;
  }
  return soft.memory() == host.memory();
}

class Probe {
 public:
  explicit Probe(const Capabilities& capabilities)
      : capabilities_(capabilities),
        policy_(capabilities),
        stepper_(host_.cpu(), host_.ram(), capabilities) {}

  /// @return nothing when the row does not exist there, or is not KVM's to step
  std::optional<bool> try_row(StepWorld name, std::uint16_t row, bool memory) {
    const World& world = kWorlds[static_cast<std::size_t>(name)];
    const Row& entry = instruction_table()[row];
    const StepRule rule = policy_.row_rule(row);
    if (rule == StepRule::soft || !steppable(world)) return std::nullopt;
    enter(world);
    std::optional<bool> all;
    for (const std::uint8_t prefix : prefixes(entry)) {
      const auto privilege = static_cast<std::uint16_t>(world.privilege);
      const EncodedOperands operands{kData, static_cast<std::uint16_t>(kCodeSelector | privilege),
                                     kTarget};
      const auto bytes = encode_row(row, memory, prefix, world.decode_mode(), operands);
      if (!bytes) continue;
      const bool exact = try_bytes(world, entry, rule, *bytes);
      all = all.value_or(true) && exact;
    }
    return all;
  }

 private:
  /// Where the engine steps at all.
  [[nodiscard]] bool steppable(const World& world) const {
    if (world.privilege == kUserLevel && !capabilities_.step_ring3) return false;
    return !world.real() || capabilities_.checks_segments;
  }

  void enter(const World& world) {
    if (entered_ == world.name) return;
    soft_.enter(world);
    host_.enter(world);
    entered_ = world.name;
  }

  /// Hints are known to some KVMs with one prefix and unknown with another, and
  /// string instructions are repeated by one.
  static std::vector<std::uint8_t> prefixes(const Row& row) {
    const bool hint = row.map == OpcodeMap::map_0f &&
                      (row.opcode == 0x0d || (row.opcode >= 0x18 && row.opcode <= 0x1f));
    if (hint) return {0, 0x66, 0xf3, 0xf2};
    if ((row.attributes & kString) != 0) return {0, 0xf3};
    return {0};
  }

  bool try_bytes(const World& world, const Row& row, StepRule rule, const Bytes& bytes) {
    for (const Operands operands :
         {Operands::pointers, Operands::selectors, Operands::far_pointers}) {
      soft_.prepare(world, bytes, operands);
      soft_.cpu().run({1});
      if (soft_.cpu().position() != Position{1}) continue;  // it faulted
      host_.prepare(world, bytes, operands);
      stepper_.forget();
      Instruction instruction;
      instruction.start_offset = 0;
      if (decode(world.decode_mode(), bytes, instruction) != DecodeStatus::ok) return false;
      const StepOutcome outcome = stepper_.step(instruction);
      const bool retired = outcome == StepOutcome::retired || outcome == StepOutcome::unfinished;
      return retired && same_result(soft_, host_, row, rule);
    }
    return false;
  }

  const Capabilities capabilities_;
  StepPolicy policy_;
  Side soft_;
  Side host_;
  Stepper stepper_;
  std::optional<StepWorld> entered_;
};

}  // namespace

ExactSteps::ExactSteps(Trial trial)
    : rows_(instruction_table().size()),
      trial_(std::move(trial)),
      known_(kStepWorlds * instruction_table().size() * 2, Known::untried) {}

ExactSteps::Known ExactSteps::known(StepWorld world, std::uint16_t row, bool memory) const {
  Known& known = known_[index(world, row, memory)];
  if (known == Known::untried) {
    const std::optional<bool> exact = trial_ ? trial_(world, row, memory) : std::nullopt;
    known = !exact ? Known::absent : *exact ? Known::exact : Known::inexact;
  }
  return known;
}

bool ExactSteps::exact(StepWorld world, std::uint16_t row, bool memory) const {
  const std::lock_guard lock(mutex_);
  return known(world, row, memory) == Known::exact;
}

void ExactSteps::set(StepWorld world, std::uint16_t row, bool memory, bool exact) {
  const std::lock_guard lock(mutex_);
  known_[index(world, row, memory)] = exact ? Known::exact : Known::inexact;
}

ExactSteps::Count ExactSteps::count(StepWorld world) const {
  const std::lock_guard lock(mutex_);
  Count count;
  for (std::size_t row = 0; row < rows_; ++row) {
    for (const bool memory : {false, true}) {
      const Known known = this->known(world, static_cast<std::uint16_t>(row), memory);
      if (known == Known::exact) ++count.exact;
      if (known != Known::absent) ++count.tried;
    }
  }
  return count;
}

std::optional<StepWorld> step_world(const Cpu& cpu) {
  const bool user = cpu.cpl() == kUserLevel;
  const bool wide = cpu.code_width() == 4;
  switch (cpu.mode()) {
    case CpuMode::real:
      return StepWorld::real;
    case CpuMode::virtual8086:
      return std::nullopt;
    case CpuMode::protected_mode:
      if (user) return wide ? StepWorld::protected32_user : StepWorld::protected16_user;
      return wide ? StepWorld::protected32 : StepWorld::protected16;
    case CpuMode::compatibility:
      if (user) return wide ? StepWorld::compatibility32_user : StepWorld::compatibility16_user;
      return wide ? StepWorld::compatibility32 : StepWorld::compatibility16;
    case CpuMode::long64:
      return user ? StepWorld::long64_user : StepWorld::long64;
  }
  return std::nullopt;
}

ExactSteps::Trial step_trial(const Capabilities& capabilities) {
  // Made when it is first needed: a vCPU is not cheap.
  return [capabilities, probe = std::shared_ptr<Probe>()](
             StepWorld world, std::uint16_t row, bool memory) mutable -> std::optional<bool> {
    try {
      if (probe == nullptr) probe = std::make_shared<Probe>(capabilities);
      return probe->try_row(world, row, memory);
    } catch (const Error&) {
      probe.reset();
      return false;
    }
  };
}

}  // namespace chronovisor::kvm
