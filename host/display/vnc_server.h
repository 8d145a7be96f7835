// Owns a VNC server that shows a machine's screen and brings what a viewer types and
// clicks into the inbox, where it becomes recorded input like any other. A thread of its
// own serves the viewers; the machine's thread only hands over pictures. Knows no guest and
// no device.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "host/inbox.h"
#include "vmm/devices/display/vga_screen.h"

namespace chronovisor {

struct VncOptions {
  std::string address;  ///< numeric, IPv4
  std::uint16_t port = 0;
  std::string password;  ///< empty: none; of more than 8 bytes the protocol looks at 8
};

/// "127.0.0.1:1" is display 1, at port 5901, as with QEMU; "vnc=" may stand in front.
/// Throws Error{usage} for what is no such place, and for an address that other hosts reach
/// without `allow_remote` and a password: whoever connects controls the guest.
[[nodiscard]] VncOptions vnc_place(const std::string& text, const std::string& password,
                                   bool allow_remote);

class VncServer {
 public:
  /// Listens. Throws Error{host} when it cannot.
  /// @param inbox null: what viewers type is dropped
  VncServer(const VncOptions& options, Inbox* inbox);
  ~VncServer();
  VncServer(const VncServer&) = delete;
  VncServer& operator=(const VncServer&) = delete;

  /// Somebody looks, and the last picture is older than a twenty-fifth of a second.
  [[nodiscard]] bool wants_picture() const;
  /// Where viewers point is told to the machine's tablet, not as movement to its mouse. Any
  /// thread.
  void point_by_place(bool by_place);
  /// Shows a picture. The machine's thread.
  void show(ScreenImage picture);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// The scan code of set 1 of an X11 keysym, E0H in the upper byte where it has that
/// prefix; nothing for what a US keyboard does not have.
[[nodiscard]] std::optional<std::uint16_t> scan_code_of_keysym(std::uint32_t keysym);

}  // namespace chronovisor
