#include "cli/scratch_folder.h"

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "recorder/format/file.h"

namespace chronovisor::cli {

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "chronovisor-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    throw file_error(ErrorCode::host, name, "make a folder", errno);
  }
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace chronovisor::cli
