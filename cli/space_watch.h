// Owns the warning that the disk a recording is written to will soon be full, while
// something can still be done about it. Main thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace chronovisor::cli {

class SpaceWatch {
 public:
  /// Of the disk that `path` is on, for a recording that begins at `now_ns` of a monotonic
  /// clock.
  SpaceWatch(std::string path, std::uint64_t now_ns) : path_(std::move(path)), began_ns_(now_ns) {}

  /// The recording has `bytes` now. Asks the disk now and then.
  /// @return what to say, once when less than ten minutes are left at the present rate, and
  ///   once when less than one is
  [[nodiscard]] std::optional<std::string> look(std::uint64_t bytes, std::uint64_t now_ns);
  /// The same where `free_bytes` are known to be left.
  [[nodiscard]] std::optional<std::string> look(std::uint64_t bytes, std::uint64_t now_ns,
                                                std::uint64_t free_bytes);

 private:
  std::string path_;
  std::uint64_t began_ns_;
  std::uint64_t next_ns_ = 0;
  std::size_t said_ = 0;  ///< of the warnings
};

}  // namespace chronovisor::cli
