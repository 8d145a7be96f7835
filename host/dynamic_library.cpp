#include "host/dynamic_library.h"

#include <dlfcn.h>
#include <sys/auxv.h>

#include "base/error.h"

namespace chronovisor {

DynamicLibrary::DynamicLibrary(const Name& name) : name_(name) {
  const std::string wanted = std::string(name.wanted) + ": ";
  // A program without a loader would get a second C library with it.
  if (getauxval(AT_BASE) == 0) {
    throw Error(ErrorCode::host, wanted + "this program is linked statically and cannot load " +
                                     name.title + "; the one of the Debian package can");
  }
  handle_ = dlopen(name.file, RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    throw Error(ErrorCode::host,
                wanted + dlerror() + " (Debian's package is " + name.package + ")");
  }
}

void* DynamicLibrary::symbol(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr) {
    throw Error(ErrorCode::host, std::string(name_.wanted) + ": " + name_.file + " has no " + name);
  }
  return found;
}

}  // namespace chronovisor
