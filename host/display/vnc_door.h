// Owns the port that viewers connect to. Whoever speaks another protocol, as a web page does,
// is shut out before anybody hears of him; of a viewer only whole messages come in, so that one
// that is slow, or says half of something, is waited for here and holds up nobody. A thread of
// its own; arrival() may be called from one other.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "host/descriptor.h"
#include "host/display/vnc_messages.h"

namespace chronovisor {

class VncDoor {
 public:
  /// So many are served, or wait for their login, at a time.
  static constexpr std::size_t kMostViewers = 32;

  /// Listens. Throws Error{host} when it cannot.
  /// @param address numeric, IPv4
  VncDoor(const std::string& address, std::uint16_t port, bool has_password);
  ~VncDoor();
  VncDoor(const VncDoor&) = delete;
  VncDoor& operator=(const VncDoor&) = delete;

  /// A socket to a viewer that has come, whose greeting can be read from it; the server's
  /// greeting there is dropped, since the viewer has had one.
  [[nodiscard]] std::optional<Descriptor> arrival();

 private:
  struct Viewer {
    Viewer(Descriptor from, bool has_password, std::uint64_t now_ns)
        : outside(std::move(from)), messages(has_password), since_ns(now_ns) {}

    Descriptor outside;
    Descriptor inside;  ///< once it has greeted
    VncMessages messages;
    Bytes partial;    ///< of a message
    Bytes to_server;  ///< whole messages
    Bytes to_viewer;
    std::size_t greeting_left = VncMessages::kGreetingBytes;  ///< of the server, to be dropped
    std::uint64_t since_ns;  ///< when it came, or when what is partial began
    bool server_ended = false;
    bool gone = false;
  };

  void work();
  void look_at(Viewer& viewer, short outside, short inside);
  void accept_viewer();
  void make_room();
  void read_viewer(Viewer& viewer);
  void read_server(Viewer& viewer);
  void let_in(Viewer& viewer);
  [[nodiscard]] static bool is_late(const Viewer& viewer, std::uint64_t now_ns);

  const bool has_password_;
  Descriptor listening_;
  Descriptor event_;  ///< the end is asked for
  std::list<Viewer> viewers_;
  std::mutex mutex_;
  std::deque<Descriptor> arrivals_;  ///< needs the lock
  std::thread thread_;               ///< the last member: it uses the others
};

}  // namespace chronovisor
