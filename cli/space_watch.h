// Owns the warning that the disk a recording is written to will soon be full, while
// something can still be done about it. Main thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace chronovisor::cli {

class SpaceWatch {
 public:
  /// Of the disk that `path` is on.
  explicit SpaceWatch(std::string path) : path_(std::move(path)) {}

  /// The recording has `bytes` now, by a monotonic clock. What it has when this is first
  /// called is no part of its rate: images are embedded at once. Asks the disk now and then.
  /// @return what to say, once when less than ten minutes are left at the rate so far, and
  ///   once when less than one is
  [[nodiscard]] std::optional<std::string> look(std::uint64_t bytes, std::uint64_t now_ns);
  /// The same where `free_bytes` are known to be left.
  [[nodiscard]] std::optional<std::string> look(std::uint64_t bytes, std::uint64_t now_ns,
                                                std::uint64_t free_bytes);

 private:
  std::string path_;
  struct Look {
    std::uint64_t bytes;
    std::uint64_t ns;
  };
  std::optional<Look> first_;
  std::uint64_t next_ns_ = 0;
  std::size_t said_ = 0;  ///< of the warnings
};

}  // namespace chronovisor::cli
