// Owns the loading of LibVNCServer when a display is asked for: the program needs it for
// nothing else, and runs without. Any thread.
#pragma once

#include <rfb/rfb.h>

namespace chronovisor {

/// The functions that are used, as rfb.h declares them.
struct VncLibrary {
  decltype(&::rfbGetScreen) get_screen;
  decltype(&::rfbInitServer) init_server;
  decltype(&::rfbNewClient) new_client;
  decltype(&::rfbProcessEvents) process_events;
  decltype(&::rfbMarkRectAsModified) mark_modified;
  decltype(&::rfbNewFramebuffer) new_framebuffer;
  decltype(&::rfbCheckPasswordByList) check_password;
  decltype(&::rfbShutdownServer) shutdown_server;
  decltype(&::rfbScreenCleanup) screen_cleanup;
  decltype(&::rfbLogEnable) log_enable;
};

/// Throws Error{host} when the host has none.
[[nodiscard]] const VncLibrary& vnc_library();

}  // namespace chronovisor
