#include "host/network/user_backend.h"

#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/internet.h"
#include "host/host.h"
#include "host/network/boot_answer.h"
#include "host/network/frame_queue.h"
#include "host/network/slirp_library.h"
#include "vmm/devices/network/ethernet.h"

namespace chronovisor {
namespace {

constexpr std::uint32_t kNetwork = 0x0a000200;  // 10.0.2.0
constexpr std::uint32_t kMask = 0xffffff00;
constexpr std::uint32_t kGateway = kNetwork + 2;
constexpr std::uint32_t kNameServer = kNetwork + 3;
constexpr std::uint32_t kFirstGuest = kNetwork + 15;
constexpr std::uint32_t kLoopback = 0x7f000001;
/// When there is nothing to do, libslirp is asked again after so long at the latest.
constexpr std::uint32_t kLongestWaitMs = 1000;

in_addr address_of(std::uint32_t host_order) { return {htonl(host_order)}; }

in_addr parse_address(const std::string& text, std::uint32_t usual) {
  if (text.empty()) return address_of(usual);
  in_addr address{};
  if (inet_aton(text.c_str(), &address) == 0) {
    throw Error(ErrorCode::usage, "--net user: \"" + text + "\" is no IPv4 address");
  }
  return address;
}

/// Whether it is a packet to an address that is of no network, 127.0.0.0/8 or 0.0.0.0/8.
/// libslirp would take it to the host's own loopback.
bool is_for_no_network(ByteView frame) {
  constexpr std::size_t kDestinationAt = kEthernetHeaderBytes + 16;
  if (network_word(frame, 12) != kEtherTypeIpv4 || frame.size() <= kDestinationAt) return false;
  return frame[kDestinationAt] == 127 || frame[kDestinationAt] == 0;
}

const char* readable_folder(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    throw Error(ErrorCode::bad_input, "--net user: tftp=" + path + ": is no folder");
  }
  return path.c_str();
}

class UserBackend final : public NetworkBackend {
 public:
  UserBackend(const NetworkOptions& options, NetworkSink sink)
      : sink_(std::move(sink)), names_a_boot_file_(!options.boot_file.empty()) {
    SlirpConfig config{};
    config.version = 3;
    config.restricted = options.restricted ? 1 : 0;
    config.in_enabled = true;
    config.vnetwork = address_of(kNetwork);
    config.vnetmask = address_of(kMask);
    config.vhost = address_of(kGateway);
    config.vdhcp_start = address_of(kFirstGuest);
    config.vnameserver = address_of(kNameServer);
    config.disable_host_loopback = !options.loopback;
    // libslirp makes copies of these.
    if (!options.tftp_folder.empty()) config.tftp_path = readable_folder(options.tftp_folder);
    if (!options.boot_file.empty()) config.bootfile = options.boot_file.c_str();
    slirp_ = library_.make(&config, &callbacks(), this);
    if (slirp_ == nullptr) throw Error(ErrorCode::host, "--net user: libslirp does not start");
    try {
      forward_ports(options);
      thread_ = std::thread([this] { loop(); });
    } catch (...) {
      library_.cleanup(slirp_);
      throw;
    }
  }
  ~UserBackend() override {
    stop_ = true;
    outgoing_.wake();
    thread_.join();
    library_.cleanup(slirp_);
  }
  UserBackend(const UserBackend&) = delete;
  UserBackend& operator=(const UserBackend&) = delete;

  void send(ByteView frame) override { outgoing_.push(frame); }
  [[nodiscard]] NetworkCounts counts() const override {
    return {.sent = sent_,
            .sent_dropped = outgoing_.dropped() + refused_,
            .received = received_,
            .received_dropped = received_dropped_};
  }

 private:
  void forward_ports(const NetworkOptions& options) {
    for (const NetworkOptions::Forward& forward : options.forwards) {
      const in_addr host = parse_address(forward.host_address, kLoopback);
      const in_addr guest = parse_address(forward.guest_address, kFirstGuest);
      if (library_.add_forward(slirp_, forward.udp ? 1 : 0, host, forward.host_port, guest,
                               forward.guest_port) != 0) {
        throw Error(ErrorCode::host, "--net user: port " + std::to_string(forward.host_port) +
                                         " of the host cannot be forwarded; is it in use?");
      }
    }
  }

  static const SlirpCb& callbacks() {
    static const SlirpCb table = [] {
      SlirpCb made{};
      made.send_packet = [](const void* data, std::size_t size, void* self) -> ssize_t {
        const auto* bytes = static_cast<const std::uint8_t*>(data);
        static_cast<UserBackend*>(self)->take(Bytes(bytes, bytes + size));
        return static_cast<ssize_t>(size);
      };
      made.guest_error = [](const char* /*message*/, void* /*self*/) {};
      made.clock_get_ns = [](void* /*self*/) { return static_cast<std::int64_t>(monotonic_ns()); };
      made.timer_new = [](SlirpTimerCb /*call*/, void* /*cookie*/, void* /*self*/) -> void* {
        return nullptr;  // of versions before the fourth; what needs one is IPv6, which is off
      };
      made.timer_free = [](void* /*timer*/, void* /*self*/) {};
      made.timer_mod = [](void* /*timer*/, std::int64_t /*due_ms*/, void* /*self*/) {};
      made.register_poll_fd = [](int /*fd*/, void* /*self*/) {};
      made.unregister_poll_fd = [](int /*fd*/, void* /*self*/) {};
      made.notify = [](void* self) { static_cast<UserBackend*>(self)->outgoing_.wake(); };
      return made;
    }();
    return table;
  }

  void take(Bytes frame) {
    if (names_a_boot_file_) say_no_proxy(frame);
    if (sink_.deliver(frame)) {
      ++received_;
    } else {
      ++received_dropped_;  // its TCP sends again
    }
  }

  void loop() {
    while (!stop_) {
      polled_.assign(1, {outgoing_.wait_fd(), POLLIN, 0});
      std::uint32_t timeout = kLongestWaitMs;
      library_.fill(slirp_, &timeout, &UserBackend::add_poll, this);
      const int ready =
          poll(polled_.data(), polled_.size(), static_cast<int>(std::min(timeout, kLongestWaitMs)));
      library_.poll(slirp_, ready < 0 && errno != EINTR ? 1 : 0, &UserBackend::events_of, this);
      for (const Bytes& frame : outgoing_.take_all()) {
        if (is_for_no_network(frame)) {
          ++refused_;
          continue;
        }
        library_.input(slirp_, frame.data(), static_cast<int>(frame.size()));
        ++sent_;
        if (!names_a_boot_file_) continue;
        if (std::optional<Bytes> answer = say_no_router(frame)) take(std::move(*answer));
      }
    }
  }

  static int add_poll(int fd, int events, void* self) {
    short wanted = 0;
    if ((events & SLIRP_POLL_IN) != 0) wanted |= POLLIN;
    if ((events & SLIRP_POLL_OUT) != 0) wanted |= POLLOUT;
    if ((events & SLIRP_POLL_PRI) != 0) wanted |= POLLPRI;
    auto& polled = static_cast<UserBackend*>(self)->polled_;
    polled.push_back({fd, wanted, 0});
    return static_cast<int>(polled.size()) - 1;
  }
  static int events_of(int index, void* self) {
    const auto& polled = static_cast<UserBackend*>(self)->polled_;
    const short seen = polled[static_cast<std::size_t>(index)].revents;
    int events = 0;
    if ((seen & POLLIN) != 0) events |= SLIRP_POLL_IN;
    if ((seen & POLLOUT) != 0) events |= SLIRP_POLL_OUT;
    if ((seen & POLLPRI) != 0) events |= SLIRP_POLL_PRI;
    if ((seen & POLLERR) != 0) events |= SLIRP_POLL_ERR;
    if ((seen & POLLHUP) != 0) events |= SLIRP_POLL_HUP;
    return events;
  }

  const SlirpLibrary& library_ = slirp_library();
  NetworkSink sink_;
  bool names_a_boot_file_;
  Slirp* slirp_ = nullptr;
  FrameQueue outgoing_;
  std::vector<pollfd> polled_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> refused_{0};  ///< sent by the guest, for nobody outside
  std::atomic<std::uint64_t> received_{0};
  std::atomic<std::uint64_t> received_dropped_{0};
  std::thread thread_;
};

}  // namespace

std::unique_ptr<NetworkBackend> make_user_backend(const NetworkOptions& options, NetworkSink sink) {
  return std::make_unique<UserBackend>(options, std::move(sink));
}

}  // namespace chronovisor
