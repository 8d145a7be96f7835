#include "cli/space_watch.h"

#include <sys/statvfs.h>

#include <array>
#include <filesystem>

#include "host/host.h"

namespace chronovisor::cli {
namespace {

constexpr std::uint64_t kLookEveryNs = 2'000'000'000;
/// A rate is none before so much has passed.
constexpr std::uint64_t kLeastNs = 5'000'000'000;
/// With so many seconds left, or fewer, something is said.
constexpr std::array<std::uint64_t, 2> kLeftSeconds{600, 60};

std::uint64_t free_at(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  struct statvfs disk {};
  if (::statvfs(folder.empty() ? "." : folder.c_str(), &disk) != 0) return ~std::uint64_t{0};
  return std::uint64_t{disk.f_bavail} * disk.f_frsize;
}

}  // namespace

std::optional<std::string> SpaceWatch::look(std::uint64_t bytes, std::uint64_t now_ns) {
  if (now_ns < next_ns_ || said_ == kLeftSeconds.size()) return std::nullopt;
  next_ns_ = now_ns + kLookEveryNs;
  return look(bytes, now_ns, free_at(path_));
}

std::optional<std::string> SpaceWatch::look(std::uint64_t bytes, std::uint64_t now_ns,
                                            std::uint64_t free_bytes) {
  if (!first_) first_ = {bytes, now_ns};
  if (now_ns < first_->ns + kLeastNs || bytes <= first_->bytes) return std::nullopt;
  const double seconds = static_cast<double>(now_ns - first_->ns) / 1e9;
  const double left =
      static_cast<double>(free_bytes) * seconds / static_cast<double>(bytes - first_->bytes);
  std::size_t due = said_;
  while (due < kLeftSeconds.size() && left < static_cast<double>(kLeftSeconds[due])) ++due;
  if (due == said_) return std::nullopt;
  said_ = due;
  return path_ + ": " + size_text(free_bytes) + " are left on its disk, at the rate so far for " +
         std::to_string(static_cast<std::uint64_t>(left)) +
         " s; when it is full the recording ends there, and all of it up to there is usable";
}

}  // namespace chronovisor::cli
