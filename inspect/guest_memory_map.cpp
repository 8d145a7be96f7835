#include "inspect/guest_memory_map.h"

#include <array>
#include <cstring>
#include <vector>

namespace chronovisor {
namespace {

constexpr std::uint64_t kAddressBits = 0x000ffffffffff000ULL;
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kWritable = 2;
constexpr std::uint64_t kUser = 4;
constexpr std::uint64_t kRights = kWritable | kUser;
constexpr std::uint64_t kLargePage = 1ULL << 7;

class Walker {
 public:
  Walker(Machine& machine, const std::function<bool(const MappedPage&)>& see)
      : machine_(machine),
        see_(see),
        long_mode_(machine.cpu().long_mode_active()),
        wide_(long_mode_ || (machine.cpu().state.cr4 & kCr4Pae) != 0),
        bits_(wide_ ? 9 : 10) {}

  void walk() {
    const CpuState& state = machine_.cpu().state;
    if (long_mode_) {
      (void)table(state.cr3 & kAddressBits, 4, 0, kRights);
    } else if (wide_) {
      // The processor goes by the four pointers that it holds.
      for (std::size_t n = 0; n < state.pdpte.size(); ++n) {
        if ((state.pdpte[n] & kPresent) == 0) continue;
        if (!table(state.pdpte[n] & kAddressBits, 2, std::uint64_t{n} << 30, kRights)) return;
      }
    } else {
      (void)table(state.cr3 & 0xfffff000ULL, 2, 0, kRights);
    }
  }

 private:
  [[nodiscard]] bool may_be_page(unsigned level) const {
    if (!wide_) return (machine_.cpu().state.cr4 & kCr4Pse) != 0;
    return level == 2 || level == 3;
  }

  /// @param rights that the entries above give
  /// @return false when `see` has seen enough
  bool table(std::uint64_t at, unsigned level, std::uint64_t linear, std::uint64_t rights) {
    const std::size_t width = wide_ ? 8 : 4;
    std::array<std::uint8_t, kPageSize> raw{};
    if (machine_.ram().read({at}, raw) < raw.size()) return true;
    const unsigned shift = 12 + bits_ * (level - 1);
    for (std::uint64_t n = 0; n < (1ULL << bits_); ++n) {
      std::uint64_t entry = 0;
      std::memcpy(&entry, raw.data() + n * width, width);
      if ((entry & kPresent) == 0) continue;
      std::uint64_t here = linear | n << shift;
      if (level == 4 && n >= 256) here |= 0xffff000000000000ULL;  // canonical
      const std::uint64_t left = rights & entry;
      if (level > 1 && !((entry & kLargePage) != 0 && may_be_page(level))) {
        const std::uint64_t next = entry & (wide_ ? kAddressBits : 0xfffff000ULL);
        if (!table(next, level - 1, here, left)) return false;
        continue;
      }
      const std::uint64_t size = 1ULL << shift;
      std::uint64_t physical = entry & (wide_ ? kAddressBits : 0xfffff000ULL) & ~(size - 1);
      if (!wide_ && level == 2) physical |= (entry & 0x1fe000U) << 19;
      const bool user = (left & kUser) != 0;
      const bool writable = (left & kWritable) != 0;
      if (!see_({here, physical, size, entry, user, writable})) return false;
    }
    return true;
  }

  Machine& machine_;
  const std::function<bool(const MappedPage&)>& see_;
  bool long_mode_;
  bool wide_;
  unsigned bits_;
};

}  // namespace

void for_each_mapped_page(Machine& machine, const std::function<bool(const MappedPage&)>& see) {
  if ((machine.cpu().state.cr0 & kCr0Pg) == 0) return;
  Walker(machine, see).walk();
}

}  // namespace chronovisor
