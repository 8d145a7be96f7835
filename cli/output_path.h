// Owns the rule by which a command may write a file that is there already:
// recordings are replaced, other files are not. Main thread.
#pragma once

#include <string>

namespace chronovisor::cli {

/// Throws Error{usage} when `path` is a regular file with something in it that
/// is no recording.
void refuse_to_replace_foreign_file(const std::string& path);
/// Throws Error{usage} when `output` is the very file `input`.
void require_another_file(const std::string& input, const std::string& output);

}  // namespace chronovisor::cli
