// Owns where on a recording something happened, as far as its log and its file say without
// replaying: console output, inputs, packets, new data from disks, checkpoints. Gathered
// once; then any stretch is counted in bins at once, however long it is. Knows no picture.
// Values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor::api {

inline constexpr std::uint64_t kMostBins = 4096;

/// A stretch in equal bins: bin b begins at from + (to - from) * b / count, the last holds
/// `to` as well.
struct Bins {
  Position from;
  Position to;
  std::uint64_t count = 1;

  [[nodiscard]] std::uint64_t first_of(std::uint64_t bin) const;
};

/// One kind of happening, in order of positions.
class Lane {
 public:
  Lane(std::string name, const char* kind, const char* unit)
      : name_(std::move(name)), kind_(kind), unit_(unit) {}

  /// Positions never go back.
  void add(Position position, std::uint64_t amount);
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const char* kind() const { return kind_; }
  [[nodiscard]] const char* unit() const { return unit_; }
  [[nodiscard]] std::uint64_t total() const { return places_.empty() ? 0 : places_.back().sum; }
  [[nodiscard]] std::vector<std::uint64_t> counts(const Bins& bins) const;
  /// What lies within 2^this steps is one; 0: every position is told apart.
  [[nodiscard]] unsigned grain_bits() const { return grain_bits_; }

 private:
  struct Place {
    std::uint64_t position = 0;
    std::uint64_t sum = 0;  ///< with all before it
  };
  void coarsen();
  [[nodiscard]] std::uint64_t sum_before(std::uint64_t position) const;

  std::string name_;
  const char* kind_;
  const char* unit_;
  std::vector<Place> places_;
  unsigned grain_bits_ = 0;
};

/// The lanes in which there is anything, in an order that is always the same. What is
/// damaged is left out. Throws Error{host} when cancelled.
[[nodiscard]] std::vector<Lane> lanes_of(const RecordingReader& reader, CancelToken cancel);

}  // namespace chronovisor::api
