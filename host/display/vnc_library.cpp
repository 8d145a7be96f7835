#include "host/display/vnc_library.h"

#include "host/dynamic_library.h"

namespace chronovisor {
namespace {

// The header gives the function another name, by what the library was built with.
#define CHRONOVISOR_TEXT(name) #name
#define CHRONOVISOR_NAME_OF(name) CHRONOVISOR_TEXT(name)
constexpr const char* kInitServer = CHRONOVISOR_NAME_OF(rfbInitServer);
#undef CHRONOVISOR_NAME_OF
#undef CHRONOVISOR_TEXT

VncLibrary load() {
  const DynamicLibrary library(
      {"libvncserver.so.1", "LibVNCServer", "libvncserver1", "--display vnc"});
  VncLibrary vnc{};
  library.find("rfbGetScreen", vnc.get_screen);
  library.find(kInitServer, vnc.init_server);
  library.find("rfbNewClient", vnc.new_client);
  library.find("rfbProcessEvents", vnc.process_events);
  library.find("rfbMarkRectAsModified", vnc.mark_modified);
  library.find("rfbNewFramebuffer", vnc.new_framebuffer);
  library.find("rfbCheckPasswordByList", vnc.check_password);
  library.find("rfbShutdownServer", vnc.shutdown_server);
  library.find("rfbScreenCleanup", vnc.screen_cleanup);
  library.find("rfbLogEnable", vnc.log_enable);
  return vnc;
}

}  // namespace

const VncLibrary& vnc_library() {
  static const VncLibrary library = load();
  return library;
}

}  // namespace chronovisor
