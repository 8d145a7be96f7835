// Owns a folder of its own for files that are wanted as long as a command runs. Main thread.
#pragma once

#include <filesystem>
#include <string>

namespace chronovisor::cli {

class ScratchFolder {
 public:
  /// Among the host's temporary files. Throws Error{host}.
  ScratchFolder();
  /// Removes it and what is in it, as far as that can be done.
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace chronovisor::cli
