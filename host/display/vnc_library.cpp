#include "host/display/vnc_library.h"

#include <dlfcn.h>
#include <sys/auxv.h>

#include <string>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr const char* kName = "libvncserver.so.1";

// The header gives the function another name, by what the library was built with.
#define CHRONOVISOR_TEXT(name) #name
#define CHRONOVISOR_NAME_OF(name) CHRONOVISOR_TEXT(name)
constexpr const char* kInitServer = CHRONOVISOR_NAME_OF(rfbInitServer);
#undef CHRONOVISOR_NAME_OF
#undef CHRONOVISOR_TEXT

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) {
    throw Error(ErrorCode::host, std::string("--display vnc: ") + kName + " has no " + name);
  }
}

VncLibrary load() {
  // A program without a loader would get a second C library with it.
  if (getauxval(AT_BASE) == 0) {
    throw Error(ErrorCode::host,
                "--display vnc: this program is linked statically and cannot load LibVNCServer; "
                "the one of the Debian package can");
  }
  void* library = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Error(ErrorCode::host, std::string("--display vnc: ") + dlerror() +
                                     " (Debian's package is libvncserver1)");
  }
  VncLibrary vnc{};
  find(library, "rfbGetScreen", vnc.get_screen);
  find(library, kInitServer, vnc.init_server);
  find(library, "rfbProcessEvents", vnc.process_events);
  find(library, "rfbMarkRectAsModified", vnc.mark_modified);
  find(library, "rfbNewFramebuffer", vnc.new_framebuffer);
  find(library, "rfbCheckPasswordByList", vnc.check_password);
  find(library, "rfbShutdownServer", vnc.shutdown_server);
  find(library, "rfbScreenCleanup", vnc.screen_cleanup);
  find(library, "rfbLogEnable", vnc.log_enable);
  return vnc;
}

}  // namespace

const VncLibrary& vnc_library() {
  static const VncLibrary library = load();
  return library;
}

}  // namespace chronovisor
