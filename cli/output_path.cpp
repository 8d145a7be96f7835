#include "cli/output_path.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "recorder/format/chunk.h"
#include "recorder/format/file.h"

namespace chronovisor::cli {

void refuse_to_replace_foreign_file(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) || !std::filesystem::is_regular_file(path, error))
    return;
  const PosixInputFile existing(path);
  if (existing.size() == 0) return;
  Bytes header(std::min<std::uint64_t>(existing.size(), kFileHeaderSize));
  existing.read(0, header);
  try {
    (void)decode_file_header(header, path);
  } catch (const Error&) {
    throw Error(ErrorCode::usage, path +
                                      ": exists and is not a recording; choose another name, or "
                                      "--force to replace it");
  }
}

void require_another_file(const std::string& input, const std::string& output) {
  std::error_code error;
  if (std::filesystem::equivalent(input, output, error)) {
    throw Error(ErrorCode::usage, output + ": is the recording itself; give another name");
  }
}

}  // namespace chronovisor::cli
