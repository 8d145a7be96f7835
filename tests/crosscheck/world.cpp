#include "tests/crosscheck/world.h"

#include <array>
#include <cstring>

#include "tests/crosscheck/program.h"
#include "vmm/cpu/interpret/system/descriptors.h"

namespace chronovisor::crosscheck {
namespace {

using oracle::Random;

// Selectors of the fixed descriptors; the rest of the GDT and all of the LDT are random.
constexpr std::uint16_t kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x18, kData3 = 0x20, kLong0 = 0x28,
                        kTssSelector = 0x30, kLong3 = 0x40, kCode16 = 0x48, kData16 = 0x50,
                        kLdtSelector = 0x58, kOtherTssSelector = 0x60;
constexpr unsigned kGdtEntries = 40, kLdtEntries = 16, kFirstRandom = 14;

class Builder {
 public:
  Builder(Ram& ram, Cpu& cpu, std::uint64_t seed, const WorldOptions& options)
      : ram_(ram), cpu_(cpu), random_(seed, 7), options_(options) {}

  WorldMode build() {
    const WorldMode modes = options_.virtual8086 ? WorldMode::count : WorldMode::virtual8086;
    mode_ = static_cast<WorldMode>(random_.below(static_cast<std::uint64_t>(modes)));
    if (options_.only) mode_ = *options_.only;
    if (!options_.paged32 && (mode_ == WorldMode::paged32 || mode_ == WorldMode::pae32))
      mode_ = WorldMode::long64;
    std::memset(ram_.host(0), 0, 0x60000);
    cpl_ = options_.user_code && mode_ != WorldMode::real && random_.chance(40) ? 3 : 0;
    if (!options_.user_outside_long_mode && !long_active()) cpl_ = 0;
    if (mode_ == WorldMode::virtual8086) cpl_ = 3;
    descriptors();
    gates();
    task_state();
    if (paged()) page_tables();
    data();
    registers();
    program();
    return mode_;
  }

 private:
  template <class T>
  void put(std::uint64_t at, T value) {
    std::memcpy(ram_.host(at), &value, sizeof(T));
  }
  [[nodiscard]] bool long_active() const {
    return mode_ == WorldMode::long64 || mode_ == WorldMode::compatibility;
  }
  /// Code, addresses and stack are 16 bits wide.
  [[nodiscard]] bool narrow() const {
    return mode_ == WorldMode::real || mode_ == WorldMode::virtual8086 ||
           mode_ == WorldMode::protected16;
  }
  [[nodiscard]] bool paged() const {
    return mode_ >= WorldMode::paged32 && mode_ <= WorldMode::long64;
  }

  static std::uint64_t descriptor(std::uint32_t base, std::uint32_t limit, unsigned access,
                                  unsigned flags) {
    return (limit & 0xffffU) | (std::uint64_t{base & 0xffffff} << 16) |
           (std::uint64_t{access} << 40) | (std::uint64_t{(limit >> 16) & 0xf} << 48) |
           (std::uint64_t{flags} << 52) | (std::uint64_t{base >> 24} << 56);
  }
  static std::uint64_t gate(std::uint16_t selector, std::uint32_t offset, unsigned access,
                            unsigned parameters) {
    return (offset & 0xffffU) | (std::uint64_t{selector} << 16) |
           (std::uint64_t{parameters} << 32) | (std::uint64_t{access} << 40) |
           (std::uint64_t{offset >> 16} << 48);
  }
  [[nodiscard]] std::uint16_t own_code() const { return long_active() ? kLong0 : kCode0; }

  std::uint64_t random_descriptor() {
    const auto dpl = static_cast<unsigned>(random_.below(4)) << 5;
    const unsigned present = random_.chance(85) ? 0x80 : 0;
    if (options_.more && random_.chance(12)) {
      // Task gates and task state segments, of 16 and of 32 bits, available and busy.
      static constexpr std::array<unsigned, 6> kTaskTypes{1, 3, 5, 9, 9, 11};
      const unsigned type = random_.pick(kTaskTypes);
      if (type == 5) return gate(kOtherTssSelector, 0, present | dpl | type, 0);
      return descriptor(World::kOtherTss, random_.chance(90) ? 0x67 : 0x20, present | dpl | type,
                        0);
    }
    if (random_.chance(25)) {  // system: gates, LDT, reserved types; no task switches
      static constexpr std::array<unsigned, 11> kTypes{0, 2, 4, 6, 7, 8, 10, 12, 13, 14, 15};
      const unsigned type = random_.pick(kTypes);
      return gate(random_.chance(80) ? own_code() : static_cast<std::uint16_t>(random_.below(0x80)),
                  static_cast<std::uint32_t>(World::kHandlers + 16 * random_.below(30)),
                  present | dpl | type, static_cast<unsigned>(random_.below(3)));
    }
    const auto type = static_cast<unsigned>(random_.below(16));
    const std::uint32_t limit =
        random_.chance(60) ? 0xfffff : static_cast<std::uint32_t>(random_.below(0x20000));
    const auto flags = static_cast<unsigned>(random_.below(16));
    const std::uint32_t base =
        random_.chance(80) ? 0 : static_cast<std::uint32_t>(random_.below(0x8000));
    return descriptor(base, limit, present | dpl | 0x10 | type, flags);
  }

  void descriptors() {
    const auto entry = [&](std::uint16_t selector, std::uint64_t value) {
      put(World::kGdt + selector, value);
    };
    entry(kCode0, 0x00cf9b000000ffff);
    entry(kData0, 0x00cf93000000ffff);
    entry(kCode3, 0x00cffb000000ffff);
    entry(kData3, 0x00cff3000000ffff);
    entry(kLong0, 0x00af9b000000ffff);
    entry(kLong3, 0x00affb000000ffff);
    entry(kTssSelector, descriptor(World::kTss, 0x67, 0x8b, 0));
    entry(kCode16, 0x00009b000000ffff);
    entry(kData16, 0x000093000000ffff);
    entry(kLdtSelector, descriptor(World::kLdt, kLdtEntries * 8 - 1, 0x82, 0));
    if (options_.more) entry(kOtherTssSelector, descriptor(World::kOtherTss, 0x67, 0x89, 0));
    for (unsigned n = kFirstRandom; n < kGdtEntries; ++n)
      put(World::kGdt + n * 8ULL, random_descriptor());
    for (unsigned n = 0; n < kLdtEntries; ++n) put(World::kLdt + n * 8ULL, random_descriptor());
  }

  [[nodiscard]] bool odd(unsigned percent) { return options_.odd_gates && random_.chance(percent); }
  void gates() {
    for (unsigned v = 0; v < World::kVectors; ++v) {
      const auto handler = static_cast<std::uint32_t>(World::kHandlers + v * 16);
      *ram_.host(handler) = 0xf4;
      unsigned access = 0x8e | (random_.chance(30) ? 0x60U : 0U);
      if (options_.odd_gates) access |= static_cast<unsigned>(random_.below(2));
      std::uint16_t selector = own_code();
      unsigned ist = 0;
      if (odd(6)) access &= ~0x80U;
      if (odd(6)) selector = static_cast<std::uint16_t>(random_.below(0x100));
      if (odd(4)) access = (access & 0xf0U) | (6 + static_cast<unsigned>(random_.below(10)) % 3);
      if (long_active() && odd(20)) ist = 1 + static_cast<unsigned>(random_.below(2));
      if (mode_ == WorldMode::real) {
        put<std::uint32_t>(World::kIdt + v * 4ULL, handler);
      } else if (long_active()) {
        put(World::kIdt + v * 16ULL, gate(selector, handler, access, ist));
        put<std::uint64_t>(World::kIdt + v * 16ULL + 8, odd(3) ? random_.bits() : 0);
      } else {
        if (mode_ == WorldMode::protected16 && odd(50)) access &= ~0x08U;  // a 16-bit gate
        put(World::kIdt + v * 8ULL, gate(selector, handler, access, 0));
      }
    }
  }

  void task_state() {
    if (long_active()) {
      put<std::uint64_t>(World::kTss + 4, !odd(10) ? World::kStack0 : random_.bits());
      put<std::uint64_t>(World::kTss + 0x24, !odd(20) ? World::kStack0 + 0x2008 : random_.bits());
      put<std::uint64_t>(World::kTss + 0x2c, World::kStack0 + 0x3000);
    } else {
      put<std::uint32_t>(World::kTss + 4, World::kStack0);
      put<std::uint16_t>(World::kTss + 8,
                         !odd(10) ? kData0 : static_cast<std::uint16_t>(random_.below(0x100)));
    }
    put<std::uint16_t>(World::kTss + 0x66, 0x68);
    if (options_.more) other_task();
  }

  /// A task to switch to, in the layout of 32 bits.
  void other_task() {
    const auto field = [&](unsigned offset, std::uint32_t value) {
      put<std::uint32_t>(World::kOtherTss + offset, value);
    };
    field(0x1c, paged() ? World::kTables : 0);
    field(0x20, World::kHandlers);
    field(0x24, 2);
    field(0x38, World::kStack0 - 0x40);
    for (unsigned segment = 0; segment < 6; ++segment)
      field(0x48 + 4 * segment, segment == 1 ? kCode0 : kData0);
  }

  /// Identity for the first MiB; some pages are not what they should be.
  void page_tables() {
    const bool wide = mode_ != WorldMode::paged32;
    const auto entry = [&](std::uint64_t page) -> std::uint64_t {
      std::uint64_t value = page * 4096 | 7;
      const std::uint64_t at = page * 4096;
      const bool random_place = at >= World::kData && at < World::kDataEnd;
      // KVM executes the HLT of a handler, so that its page is always accessed.
      if (at == World::kHandlers) return value | 0x20;
      if (random_.chance(random_place ? 45 : options_.odd_gates ? 3 : 0)) {
        switch (random_.below(6)) {
          case 0:
            value &= ~1ULL;
            break;
          case 1:
            value &= ~2ULL;
            break;
          case 2:
            value &= ~4ULL;
            break;
          case 3:
            if (wide) value |= 1ULL << 63;
            break;
          case 4:
            if (wide) value |= 1ULL << 45;
            break;
          default:
            value = (World::kData + 4096 * random_.below(8)) | 7;
            break;
        }
      }
      if (random_.chance(50)) value |= 0x20;
      if (random_.chance(50)) value |= 0x60;
      return value;
    };
    const std::uint64_t t = World::kTables;
    if (mode_ == WorldMode::paged32) {
      put<std::uint32_t>(t, static_cast<std::uint32_t>((t + 0x3000) | 7));
      for (std::uint64_t n = 0; n < 256; ++n)
        put<std::uint32_t>(t + 0x3000 + n * 4, static_cast<std::uint32_t>(entry(n)));
      return;
    }
    if (mode_ == WorldMode::pae32) {
      put<std::uint64_t>(t, (t + 0x2000) | 1);
    } else {
      put<std::uint64_t>(t, (t + 0x1000) | 7);
      put<std::uint64_t>(t + 0x1000, (t + 0x2000) | 7);
    }
    put<std::uint64_t>(t + 0x2000, (t + 0x3000) | (random_.chance(95) ? 7 : 5));
    for (std::uint64_t n = 0; n < 256; ++n) put<std::uint64_t>(t + 0x3000 + n * 8, entry(n));
  }

  std::uint16_t random_selector() {
    if (random_.chance(10)) return static_cast<std::uint16_t>(random_.below(4));
    if (random_.chance(50)) {
      static constexpr std::array<std::uint16_t, 8> kGood{kCode0, kData0, kCode3,  kData3,
                                                          kLong0, kLong3, kCode16, kData16};
      return static_cast<std::uint16_t>(random_.pick(kGood) |
                                        (random_.chance(50) ? random_.below(4) : cpl_));
    }
    const std::uint64_t index = random_.below(kGdtEntries + 2);
    return static_cast<std::uint16_t>(index << 3 | (random_.chance(30) ? 4U : 0U) |
                                      random_.below(4));
  }

  /// Far pointers, frames and numbers, at every offset something plausible.
  void data() {
    const unsigned word = mode_ == WorldMode::long64 ? 8 : narrow() ? 2 : 4;
    const auto fill = [&](std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t at = from; at + 8 <= to; at += word) {
        std::uint64_t value = random_.bits();
        if (random_.chance(40)) value = random_selector();
        if (random_.chance(30)) value = World::kCode + random_.below(64);
        if (random_.chance(10)) value = 2 | (random_.bits() & 0x240cd5);
        std::memcpy(ram_.host(at), &value, word);
      }
    };
    for (std::uint64_t page = World::kData; page < World::kDataEnd; page += 4096) {
      fill(page, page + 0x300);
      fill(page + 0xf00, page + 0x1000);
    }
    fill(World::kStack0 - 0x200, World::kStack0 + 0x100);
    fill(World::kStack3 - 0x200, World::kStack3 + 0x100);
    // Return frames that can succeed.
    const std::uint64_t stack = (cpl_ == 3 ? World::kStack3 : World::kStack0) - 0x100;
    if (random_.chance(60)) {
      std::uint64_t at = stack;
      for (const std::uint64_t value :
           {World::kCode + random_.below(32), std::uint64_t{random_selector()},
            2 | (random_.bits() & 0x240cd5), World::kStack3 - 0x80,
            std::uint64_t{random_selector()}}) {
        std::memcpy(ram_.host(at), &value, word);
        at += word;
      }
    }
  }

  void registers() {
    CpuState& s = cpu_.state;
    s = CpuState{};
    for (unsigned n = 0; n < 16; ++n) {
      std::uint64_t value = random_.bits();
      if (random_.chance(45)) value = World::kData + random_.below(World::kDataEnd - World::kData);
      if (random_.chance(20)) value = random_selector();
      if (n == kRcx && random_.chance(60)) value = random_.below(6);
      if (n == kRsi || n == kRdi || n == kRbx || n == kRbp) {
        value = World::kData + random_.below(World::kDataEnd - World::kData);
        if (random_.chance(40)) value = (value & ~0xfffULL) + 0xff0 + random_.below(24);
        if (random_.chance(3)) value = random_.bits();
      }
      if (mode_ != WorldMode::long64) value = static_cast<std::uint32_t>(value);
      if (narrow()) value = random_.chance(90) ? value & 0xffff : value;
      s.gpr[n] = value;
    }
    s.gpr[kRsp] = (cpl_ == 3 ? World::kStack3 : World::kStack0) - 0x100;
    s.gpr[kGprRip] = World::kCode;
    cpu_.set_flags(2 | (static_cast<std::uint32_t>(random_.bits()) & 0xcd5) |
                   (random_.chance(20) ? 0x3000 : 0));
    s.gdtr = {World::kGdt, kGdtEntries * 8 - 1};
    s.idtr = {World::kIdt,
              static_cast<std::uint16_t>(World::kVectors * (long_active()              ? 16
                                                            : mode_ == WorldMode::real ? 4
                                                                                       : 8) -
                                         1)};
    s.tr = {kTssSelector, 0x8b, 0x67, World::kTss};
    s.ldtr = {kLdtSelector, 0x82, kLdtEntries * 8 - 1, World::kLdt};
    s.cr0 = kCr0Et | kCr0Ne | (random_.chance(50) ? std::uint64_t{kCr0Wp} : 0U);
    s.cr2 = random_.bits() & 0xffff;
    s.msr.sysenter_cs = random_.chance(80) ? (long_active() ? 0x28 : 0x08) : random_.below(0x80);
    s.msr.sysenter_esp = World::kStack0;
    s.msr.sysenter_eip = World::kHandlers;
    s.msr.star = (std::uint64_t{kCode3} << 48) | (std::uint64_t{kCode0} << 32) | World::kHandlers;
    s.msr.lstar = s.msr.cstar = World::kHandlers;
    s.msr.fmask = 0x300;
    segments();
    if (mode_ != WorldMode::real) s.cr0 |= kCr0Pe;
    if (paged()) {
      s.cr0 |= kCr0Pg;
      s.cr3 = World::kTables;
      if (mode_ != WorldMode::paged32) s.cr4 |= kCr4Pae;
      if (mode_ != WorldMode::paged32 && random_.chance(70)) s.msr.efer |= kEferNxe;
      if (random_.chance(20)) s.cr4 |= kCr4Fsgsbase;
    }
    if (options_.more) {
      floating_point();
      debug_registers();
    } else {
      s.cr4 |= kCr4Osfxsr;
    }
    if (long_active())
      s.msr.efer |= kEferLme | kEferLma | (random_.chance(80) ? std::uint64_t{kEferSce} : 0U);
    if (mode_ == WorldMode::pae32) s.pdpte = {(World::kTables + 0x2000) | 1, 0, 0, 0};
    cpu_.state_replaced();
    cpu_.rip_replaced();
    cpu_.set_cpl(cpl_);
  }

  void segments() {
    CpuState& s = cpu_.state;
    if (mode_ == WorldMode::real) {
      for (SegmentRegister& r : s.segment) r = {0, 0x93, 0xffff, 0};
      s.segment[kCs] = {0, 0x9b, 0xffff, 0};
      if (random_.chance(50)) s.segment[kEs] = {0x100, 0x93, 0xffff, 0x1000};
      s.ldtr = {0, 0x82, 0xffff, 0};
      s.gpr[kRsp] = (World::kStack0 - 0x100) & 0xffff;
      return;
    }
    if (mode_ == WorldMode::virtual8086) return virtual8086_segments();
    const bool narrow = mode_ == WorldMode::protected16;
    const unsigned dpl = cpl_ << 5;
    const auto data_selector = static_cast<std::uint16_t>(narrow      ? kData16
                                                          : cpl_ == 3 ? kData3 | 3
                                                                      : kData0);
    const auto code_selector =
        static_cast<std::uint16_t>(mode_ == WorldMode::long64 ? (cpl_ == 3 ? kLong3 | 3 : kLong0)
                                   : narrow                   ? kCode16
                                   : cpl_ == 3                ? kCode3 | 3
                                                              : kCode0);
    const std::uint32_t limit = narrow ? 0xffffU : 0xffffffffU;
    // Sixteen-bit code runs at CPL 0 here; its descriptors have no others.
    if (narrow) cpl_ = 0;
    for (SegmentRegister& r : s.segment)
      r = {data_selector,
           static_cast<std::uint16_t>((narrow ? 0x93U : 0xc093U) | (narrow ? 0 : dpl)), limit, 0};
    const unsigned code = mode_ == WorldMode::long64 ? 0xa09bU : narrow ? 0x9bU : 0xc09bU;
    s.segment[kCs] = {code_selector, static_cast<std::uint16_t>(code | (narrow ? 0 : dpl)), limit,
                      0};
    if (narrow) s.gpr[kRsp] = (World::kStack0 - 0x100) & 0xffff;
  }

  void virtual8086_segments() {
    CpuState& s = cpu_.state;
    for (SegmentRegister& r : s.segment) r = {0, 0xf3, 0xffff, 0};
    if (random_.chance(50)) s.segment[kEs] = {0x100, 0xf3, 0xffff, 0x1000};
    s.gpr[kRsp] = (World::kStack0 - 0x100) & 0xffff;
    s.cr0 |= kCr0Pe;
    cpu_.set_flags(cpu_.flags.value() | kVm);
  }
  /// x87 and SSE registers, and the bits that say whether they may be used.
  void floating_point() {
    CpuState& s = cpu_.state;
    if (random_.chance(8)) s.cr0 |= kCr0Ts;
    if (random_.chance(8)) s.cr0 |= kCr0Mp;
    if (random_.chance(5)) s.cr0 |= kCr0Em;
    if (random_.chance(90)) s.cr4 |= kCr4Osfxsr;
    for (Xmm& xmm : s.xmm) xmm = {random_.bits(), random_.bits()};
    if (random_.chance(50))
      s.mxcsr = 0x1f80 | (static_cast<std::uint32_t>(random_.bits()) & 0xe07f);
    s.x87.tag = 0;
    for (std::size_t n = 0; n < s.x87.st.size(); ++n) {
      s.x87.st[n] = {random_.bits() | 1ULL << 63,
                     static_cast<std::uint16_t>(0x3f00 + random_.below(0x200))};
      if (random_.chance(30)) s.x87.tag = static_cast<std::uint16_t>(s.x87.tag | 3U << (2 * n));
    }
    s.x87.status = static_cast<std::uint16_t>(random_.below(8) << 11);
    if (random_.chance(50))
      s.x87.control = static_cast<std::uint16_t>(0x37f ^ (random_.bits() & 0xc00));
    // A pending exception: bit 7 and bit 15 follow from flag and mask.
    if (random_.chance(10)) {
      s.x87.control &= static_cast<std::uint16_t>(~4U);
      s.x87.status |= 0x8084;
    }
  }
  /// Breakpoints on the program, its data and its stack, enabled or not.
  void debug_registers() {
    CpuState& s = cpu_.state;
    if (random_.chance(15)) s.cr4 |= kCr4De;
    if (!random_.chance(12)) return;
    std::uint64_t control = 0x400;
    for (unsigned n = 0; n < s.dr.size(); ++n) {
      const bool code = random_.chance(50);
      s.dr[n] = code ? World::kCode + random_.below(64)
                     : World::kData + random_.below(World::kDataEnd - World::kData);
      if (!code && random_.chance(30)) s.dr[n] = World::kStack0 - 0x100 - 8 * random_.below(4);
      const std::uint64_t kind = code ? 0 : random_.chance(50) ? 1 : 3;
      const std::uint64_t length = code ? 0 : random_.below(4);
      if (random_.chance(60)) control |= std::uint64_t{1} << (2 * n + random_.below(2));
      control |= (kind | length << 2) << (16 + 4 * n);
    }
    if (random_.chance(15)) control |= 0x2000;  // GD
    s.dr7 = control;
  }

  void program() {
    const unsigned bits = mode_ == WorldMode::long64 ? 64 : narrow() ? 16 : 32;
    const std::vector<std::uint8_t> code =
        random_program(random_, {bits, options_.steps_mov_ss, options_.more}, 24);
    const std::uint64_t at = World::kCode;
    std::memcpy(ram_.host(at), code.data(), code.size());
    ram_.host(at)[code.size()] = 0xf4;
  }

  Ram& ram_;
  Cpu& cpu_;
  Random random_;
  const WorldOptions& options_;
  WorldMode mode_ = WorldMode::real;
  unsigned cpl_ = 0;
};

}  // namespace

const char* mode_name(WorldMode mode) {
  static constexpr std::array<const char*, 9> kNames{
      "real",   "16-bit",       "32-bit", "32-bit paged", "PAE", "compatibility",
      "64-bit", "virtual-8086", "?"};
  return kNames[static_cast<std::size_t>(mode)];
}

WorldMode build_world(Ram& ram, Cpu& cpu, std::uint64_t seed, const WorldOptions& options) {
  return Builder(ram, cpu, seed, options).build();
}

}  // namespace chronovisor::crosscheck
