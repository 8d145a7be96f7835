#include "host/network/slirp_library.h"

#include <dlfcn.h>
#include <sys/auxv.h>

#include <string>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr const char* kName = "libslirp.so.0";

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) {
    throw Error(ErrorCode::host, std::string("--net user: ") + kName + " has no " + name);
  }
}

SlirpLibrary load() {
  // A program without a loader would get a second C library with it.
  if (getauxval(AT_BASE) == 0) {
    throw Error(ErrorCode::host,
                "--net user: this program is linked statically and cannot load libslirp; the one "
                "of the Debian package can");
  }
  void* library = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Error(ErrorCode::host,
                std::string("--net user: ") + dlerror() + " (Debian's package is libslirp0)");
  }
  SlirpLibrary slirp{};
  find(library, "slirp_new", slirp.make);
  find(library, "slirp_cleanup", slirp.cleanup);
  find(library, "slirp_pollfds_fill", slirp.fill);
  find(library, "slirp_pollfds_poll", slirp.poll);
  find(library, "slirp_input", slirp.input);
  find(library, "slirp_add_hostfwd", slirp.add_forward);
  return slirp;
}

}  // namespace

const SlirpLibrary& slirp_library() {
  static const SlirpLibrary library = load();
  return library;
}

}  // namespace chronovisor
