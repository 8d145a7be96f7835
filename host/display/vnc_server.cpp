#include "host/display/vnc_server.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "host/display/vnc_door.h"
#include "host/display/vnc_library.h"
#include "host/host.h"
#include "host/key_text.h"
#include "vmm/devices/input/ps2_mouse.h"
#include "vmm/devices/virtio/virtio_tablet.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kFirstPort = 5900;
constexpr std::uint64_t kPictureNs = 40'000'000;
constexpr int kBytesPerPixel = 4;
/// Viewers report the wheel as buttons 4 and 5.
constexpr int kWheelUp = 8;
constexpr int kWheelDown = 16;

}  // namespace

VncOptions vnc_place(const std::string& text, const std::string& password, bool allow_remote) {
  std::string place = text;
  if (place.starts_with("vnc=")) place.erase(0, 4);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::usage, "--display " + text + ": " + why);
  };
  VncOptions options;
  options.password = password;
  const std::size_t colon = place.rfind(':');
  if (colon == std::string::npos) refuse("is not vnc=ADDRESS:DISPLAY, as vnc=127.0.0.1:0");
  options.address = place.substr(0, colon);
  if (options.address.empty() || options.address == "localhost") options.address = "127.0.0.1";
  in_addr address{};
  if (::inet_pton(AF_INET, options.address.c_str(), &address) != 1) {
    refuse("\"" + options.address + "\" is no numeric IPv4 address; use 127.0.0.1, for example");
  }
  constexpr std::uint64_t kMostDisplays = 65535 - kFirstPort;
  const std::string number = place.substr(colon + 1);
  std::uint64_t display = 0;
  for (const char digit : number) {
    if (digit < '0' || digit > '9' || display > kMostDisplays) refuse("has no display number");
    display = display * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  if (number.empty() || display > kMostDisplays) refuse("has no display number");
  options.port = static_cast<std::uint16_t>(kFirstPort + display);
  const bool loopback = (ntohl(address.s_addr) >> 24) == 127;
  if (!loopback && !allow_remote) {
    refuse(
        "not a loopback address; whoever connects controls the guest. Allow it with "
        "--allow-remote, or forward the port with ssh");
  }
  if (!loopback && password.empty()) {
    refuse("other hosts reach it, so it needs a password: --display-password FILE");
  }
  return options;
}

class VncServer::Implementation {
 public:
  Implementation(const VncOptions& options, Inbox* inbox) : vnc_(vnc_library()) {
    if (inbox != nullptr) {
      keys_.emplace(*inbox, InputKind::key, std::uint16_t{0});
      mouse_.emplace(*inbox, InputKind::mouse, std::uint16_t{0});
      tablet_.emplace(*inbox, InputKind::pointer, std::uint16_t{0});
    }
    vnc_.log_enable(0);
    screen_ = vnc_.get_screen(nullptr, nullptr, 8, 8, 8, 3, kBytesPerPixel);
    if (screen_ == nullptr) throw Error(ErrorCode::host, "--display vnc: no memory");
    pixels_.assign(std::size_t{8} * 8 * kBytesPerPixel, 0);
    screen_->frameBuffer = reinterpret_cast<char*>(pixels_.data());
    screen_->cursor = nullptr;  // the guest draws its own
    screen_->desktopName = "chronovisor";
    screen_->port = -1;  // who comes, comes by the door
    screen_->ipv6port = -1;
    screen_->autoPort = 0;
    screen_->alwaysShared = 1;
    screen_->deferUpdateTime = 10;
    screen_->screenData = this;
    screen_->kbdAddEvent = [](rfbBool down, rfbKeySym keysym, rfbClientPtr client) {
      self(client).key(keysym, down != 0);
    };
    screen_->ptrAddEvent = [](int buttons, int x, int y, rfbClientPtr client) {
      self(client).pointer(buttons, x, y);
    };
    if (!options.password.empty()) {
      password_ = options.password;
      passwords_ = {password_.data(), nullptr};
      screen_->authPasswdData = passwords_.data();
      screen_->passwordCheck = vnc_.check_password;
    }
    vnc_.init_server(screen_);
    try {
      door_.emplace(options.address, options.port, !options.password.empty());
    } catch (const Error&) {
      close();
      throw;
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~Implementation() {
    end_ = true;
    thread_.join();
    close();
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  [[nodiscard]] bool wants_picture() const {
    return watched_.load() && monotonic_ns() - shown_ns_ >= kPictureNs;
  }
  void point_by_place(bool by_place) { by_place_ = by_place; }
  void show(ScreenImage picture) {
    shown_ns_ = monotonic_ns();
    const std::scoped_lock lock(mutex_);
    fresh_ = std::move(picture);
  }

 private:
  static Implementation& self(rfbClientPtr client) {
    return *static_cast<Implementation*>(client->screen->screenData);
  }
  void close() {
    vnc_.shutdown_server(screen_, 1);
    screen_->frameBuffer = nullptr;
    vnc_.screen_cleanup(screen_);
  }

  void serve() {
    constexpr long kWaitMicroseconds = 20'000;
    while (!end_) {
      // The library closes what it is given.
      while (std::optional<Descriptor> viewer = door_->arrival()) {
        (void)vnc_.new_client(screen_, viewer->release());
      }
      vnc_.process_events(screen_, kWaitMicroseconds);
      watched_ = screen_->clientHead != nullptr;
      std::optional<ScreenImage> picture;
      {
        const std::scoped_lock lock(mutex_);
        picture = std::exchange(fresh_, std::nullopt);
      }
      if (picture) draw(*picture);
    }
  }

  /// Rows that have changed are told of; a screen of another size begins anew.
  void draw(const ScreenImage& picture) {
    const auto width = static_cast<int>(picture.width);
    const auto height = static_cast<int>(picture.height);
    if (width == 0 || height == 0) return;
    if (width != screen_->width || height != screen_->height) {
      Bytes pixels(std::size_t{picture.width} * picture.height * kBytesPerPixel, 0);
      vnc_.new_framebuffer(screen_, reinterpret_cast<char*>(pixels.data()), width, height, 8, 3,
                           kBytesPerPixel);
      pixels_ = std::move(pixels);  // what it holds stays where it is
    }
    Bytes row(std::size_t{picture.width} * kBytesPerPixel, 0);
    for (int y = 0; y < height; ++y) {
      const std::uint8_t* from = picture.rgb.data() + std::size_t{picture.width} * 3 * y;
      for (unsigned x = 0; x < picture.width; ++x) {
        std::memcpy(&row[std::size_t{x} * kBytesPerPixel], from + std::size_t{x} * 3, 3);
      }
      std::uint8_t* const there = pixels_.data() + row.size() * y;
      if (std::memcmp(there, row.data(), row.size()) == 0) continue;
      std::memcpy(there, row.data(), row.size());
      vnc_.mark_modified(screen_, 0, y, width, y + 1);
    }
  }

  void key(std::uint32_t keysym, bool down) {
    const auto code = scan_code_of_keysym(keysym);
    if (!code || !keys_) return;
    Bytes bytes;
    add_scan_code(bytes, *code, !down);
    keys_->push(std::move(bytes));
  }

  /// The middle of a pixel, in the tablet's units.
  static std::uint16_t place(int at, int size) {
    const int inside = std::clamp(at, 0, std::max(size - 1, 0));
    return static_cast<std::uint16_t>((2 * inside + 1) * ((VirtioTablet::kMost + 1) / 2) /
                                      std::max(size, 1));
  }

  /// A PS/2 mouse moves by differences, a tablet goes to a place: it also tells the first.
  void pointer(int buttons, int x, int y) {
    if (!mouse_) return;
    const bool first = !at_;
    const int right = at_ ? x - at_->first : 0;
    const int down = at_ ? y - at_->second : 0;
    at_ = {x, y};
    // Left, middle and right are bits 0, 1 and 2 of a viewer's; of a mouse's 0, 2 and 1.
    const auto pressed =
        static_cast<std::uint8_t>((buttons & 1) | (buttons & 2) << 1 | (buttons & 4) >> 1);
    const int turned = buttons & ~wheel_;
    const int wheel = (turned & kWheelUp) != 0 ? -1 : (turned & kWheelDown) != 0 ? 1 : 0;
    wheel_ = buttons & (kWheelUp | kWheelDown);
    const bool same = right == 0 && down == 0 && wheel == 0 && pressed == pressed_;
    if (same && !(first && by_place_)) return;
    pressed_ = pressed;
    if (by_place_) {
      tablet_->push(VirtioTablet::payload_of({place(x, screen_->width), place(y, screen_->height),
                                              pressed, static_cast<std::int8_t>(wheel)}));
      return;
    }
    mouse_->push(
        Ps2Mouse::payload_of({pressed, static_cast<std::int16_t>(right),
                              static_cast<std::int16_t>(down), static_cast<std::int8_t>(wheel)}));
  }

  const VncLibrary& vnc_;
  rfbScreenInfoPtr screen_ = nullptr;
  std::optional<VncDoor> door_;
  Bytes pixels_;
  std::string password_;
  std::array<char*, 2> passwords_{};
  std::optional<Inbox::Source> keys_;
  std::optional<Inbox::Source> mouse_;
  std::optional<Inbox::Source> tablet_;
  std::atomic<bool> by_place_{false};
  std::optional<std::pair<int, int>> at_;  ///< of the pointer
  std::uint8_t pressed_ = 0;
  int wheel_ = 0;
  std::uint64_t shown_ns_ = 0;  ///< the machine's thread
  std::atomic<bool> watched_{false};
  std::atomic<bool> end_{false};
  std::mutex mutex_;
  std::optional<ScreenImage> fresh_;  ///< not yet taken by the server's thread
  std::thread thread_;
};

VncServer::VncServer(const VncOptions& options, Inbox* inbox)
    : implementation_(std::make_unique<Implementation>(options, inbox)) {}

VncServer::~VncServer() = default;

bool VncServer::wants_picture() const { return implementation_->wants_picture(); }

void VncServer::point_by_place(bool by_place) { implementation_->point_by_place(by_place); }

void VncServer::show(ScreenImage picture) { implementation_->show(std::move(picture)); }

}  // namespace chronovisor
