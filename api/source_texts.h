// Owns the text of source files, of those in the folders that the user names, and of no
// others: what debug information says is looked for there, and whoever asks names nothing.
// Files are read when a line of theirs is first wanted. The session's thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/allowed_files.h"

namespace chronovisor::api {

class SourceTexts {
 public:
  /// Throws Error{bad_input} for what is no folder.
  explicit SourceTexts(const std::vector<std::string>& folders);

  /// Line `line`, from 1 on, of the file that debug information calls `name`: in a folder by
  /// its name, or by as much of the end of that as is there. Nothing where there is none.
  [[nodiscard]] std::optional<std::string> line(const std::string& name, std::uint32_t line);

 private:
  using Lines = std::vector<std::string>;
  [[nodiscard]] Lines read(const std::string& name) const;

  std::vector<AllowedFiles> folders_;
  std::map<std::string, Lines> files_;  ///< without lines where it is not there
};

}  // namespace chronovisor::api
