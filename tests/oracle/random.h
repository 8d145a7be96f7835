// Owns the oracle's random numbers: the same on every host and library, and
// seeded for each case alone, so that a case can be repeated by its number.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chronovisor::oracle {

class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : state_(seed * 0x9e3779b97f4a7c15 + stream) {
    state_ = bits() ^ (stream << 32);
  }
  /// SplitMix64.
  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// 0 to limit - 1.
  std::uint64_t below(std::uint64_t limit) { return (bits() >> 16) % limit; }
  /// True `percent` times of a hundred.
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class C>
  auto pick(const C& values) {
    return values[below(values.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace chronovisor::oracle
