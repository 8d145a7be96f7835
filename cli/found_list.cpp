#include "cli/found_list.h"

#include <cstdio>

#include "base/error.h"
#include "recorder/format/records.h"

namespace chronovisor::cli {

void finish(const FoundList& list) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw Error(ErrorCode::host, "the answer cannot be written");
  }
  if (!list.complete()) {
    std::fprintf(stderr, "chronovisor: there are more than %s (--limit)\n",
                 grouped(list.limit).c_str());
  } else if (list.found == 0) {
    std::fprintf(stderr, "chronovisor: nothing found\n");
  }
}

}  // namespace chronovisor::cli
