#include "host/network/slirp_library.h"

#include "host/dynamic_library.h"

namespace chronovisor {
namespace {

SlirpLibrary load() {
  const DynamicLibrary library({"libslirp.so.0", "libslirp", "libslirp0", "--net user"});
  SlirpLibrary slirp{};
  library.find("slirp_new", slirp.make);
  library.find("slirp_cleanup", slirp.cleanup);
  library.find("slirp_pollfds_fill", slirp.fill);
  library.find("slirp_pollfds_poll", slirp.poll);
  library.find("slirp_input", slirp.input);
  library.find("slirp_add_hostfwd", slirp.add_forward);
  return slirp;
}

}  // namespace

const SlirpLibrary& slirp_library() {
  static const SlirpLibrary library = load();
  return library;
}

}  // namespace chronovisor
