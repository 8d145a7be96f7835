// Owns the answer to which of the host's files somebody at the other end of a
// connection may name: all of them, none, or those in one folder. Opens nothing.
// A value; any thread.
#pragma once

#include <filesystem>
#include <string>

namespace chronovisor {

class AllowedFiles {
 public:
  /// Whoever asks could open the files without us: the same user, on this host.
  static AllowedFiles all();
  /// @param how_to what would allow some, for the message
  static AllowedFiles none(std::string how_to);
  /// Throws Error{bad_input} when `folder` is no folder.
  static AllowedFiles inside(const std::filesystem::path& folder);

  /// The path by which to open `named`. Inside a folder, a relative one is
  /// relative to it; where it leads by way of links and `..` counts, not how it
  /// is spelled, and a link as its last part is refused, since what is at its end
  /// would be written. Throws Error{usage}.
  [[nodiscard]] std::string path(const std::string& named) const;

 private:
  enum class Scope { all, none, folder };

  Scope scope_ = Scope::all;
  std::string how_to_;
  std::filesystem::path folder_;  ///< without links
};

}  // namespace chronovisor
