#include "host/nbd_image.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "host/descriptor.h"
#include "host/host.h"

extern char** environ;

namespace chronovisor {
namespace {

constexpr std::uint64_t kInitMagic = 0x4e42444d41474943;    // "NBDMAGIC"
constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
constexpr std::uint16_t kFixedNewStyle = 1;
constexpr std::uint16_t kNoZeroes = 2;
constexpr std::uint32_t kOptionExportName = 1;
constexpr std::uint32_t kRequestMagic = 0x25609513;
constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
constexpr std::uint16_t kRead = 0;
constexpr std::uint16_t kDisconnect = 2;

constexpr int kPollMs = 10;
constexpr int kFarewellTries = 100;
constexpr int kOpenTries = 500;
/// For a server to greet, and for it to read.
constexpr std::uint64_t kGreetingNs = 10'000'000'000;
constexpr std::uint64_t kReadNs = 60'000'000'000;

/// The protocol's integers are big-endian.
template <class T>
void put(Bytes& out, T value) {
  for (std::size_t n = sizeof(T); n-- > 0;) {
    out.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * n)));
  }
}

/// A server that was started for one image, and its socket's folder.
class Server {
 public:
  Server(pid_t process, std::string folder) : process_(process), folder_(std::move(folder)) {}
  ~Server() {
    if (process_ > 0) {
      ::kill(process_, SIGTERM);
      for (int tries = 0; tries < kFarewellTries && !ended(); ++tries) ::poll(nullptr, 0, kPollMs);
    }
    if (process_ > 0) {  // an image can keep it from looking at signals
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    if (folder_.empty()) return;
    ::unlink(socket().c_str());
    ::rmdir(folder_.c_str());
  }
  Server(Server&& other) noexcept
      : process_(std::exchange(other.process_, -1)), folder_(std::exchange(other.folder_, {})) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  Server& operator=(Server&&) = delete;
  [[nodiscard]] std::string socket() const { return folder_ + "/socket"; }
  void has_started(pid_t process) { process_ = process; }
  /// It has ended by itself.
  [[nodiscard]] bool ended() {
    if (process_ <= 0) return true;
    if (::waitpid(process_, nullptr, WNOHANG) != process_) return false;
    process_ = -1;
    return true;
  }

 private:
  pid_t process_;
  std::string folder_;
};

std::optional<Descriptor> connected(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return std::nullopt;
  }
  std::memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
  Descriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (descriptor.get() < 0 ||
      ::connect(descriptor.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
          0) {
    return std::nullopt;
  }
  return descriptor;
}

class NbdImage final : public DiskImage {
 public:
  NbdImage(Descriptor descriptor, std::optional<Server> server, const std::string& export_name,
           const std::string& what)
      : server_(std::move(server)), descriptor_(std::move(descriptor)) {
    if (const char* trouble = negotiate(export_name)) {
      throw Error(ErrorCode::bad_input, what + ": " + trouble);
    }
  }
  ~NbdImage() override {
    if (broken_) return;
    Bytes request;
    put_request(request, kDisconnect, 0, 0);
    (void)send_all(request);
  }
  NbdImage(const NbdImage&) = delete;
  NbdImage& operator=(const NbdImage&) = delete;

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::uint8_t> out) override {
    if (broken_) return false;
    Bytes request;
    put_request(request, kRead, offset, static_cast<std::uint32_t>(out.size()));
    std::array<std::uint8_t, 16> reply{};
    if (!send_all(request) || !receive_all(reply, kReadNs) ||
        big(reply, 0, 4) != kSimpleReplyMagic || big(reply, 8, 8) != handle_) {
      broken_ = true;
      return false;
    }
    if (big(reply, 4, 4) != 0) return false;  // this read alone failed
    if (!receive_all(out, kReadNs)) broken_ = true;
    return !broken_;
  }

 private:
  static std::uint64_t big(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    for (std::size_t n = 0; n < size; ++n) value = value << 8 | bytes[at + n];
    return value;
  }

  void put_request(Bytes& out, std::uint16_t kind, std::uint64_t offset, std::uint32_t length) {
    put(out, kRequestMagic);
    put(out, std::uint16_t{0});
    put(out, kind);
    put(out, ++handle_);
    put(out, offset);
    put(out, length);
  }

  [[nodiscard]] bool send_all(ByteView data) const {
    while (!data.empty()) {
      const ssize_t sent = ::send(descriptor_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return false;
      data = data.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }
  /// Whether all of it came within that time; a user who wants to stop does not wait.
  [[nodiscard]] bool receive_all(std::span<std::uint8_t> out, std::uint64_t time_ns) const {
    const std::uint64_t until = monotonic_ns() + time_ns;
    while (!out.empty()) {
      pollfd waiting{descriptor_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, kPollMs) == 0) {
        if (stop_signal() || monotonic_ns() >= until) return false;
        continue;
      }
      const ssize_t got = ::recv(descriptor_.get(), out.data(), out.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      out = out.subspan(static_cast<std::size_t>(got));
    }
    return true;
  }

  /// @return what is wrong, or null
  [[nodiscard]] const char* negotiate(const std::string& export_name) {
    std::array<std::uint8_t, 18> hello{};
    if (!receive_all(hello, kGreetingNs)) return "the NBD server says nothing";
    if (big(hello, 0, 8) != kInitMagic || big(hello, 8, 8) != kOptionMagic) {
      return "what is there is no NBD server";
    }
    const auto flags = static_cast<std::uint16_t>(big(hello, 16, 2));
    if ((flags & kFixedNewStyle) == 0) return "the NBD server speaks an older protocol";
    const bool no_zeroes = (flags & kNoZeroes) != 0;
    Bytes answer;
    put(answer, std::uint32_t{static_cast<std::uint32_t>(flags & (kFixedNewStyle | kNoZeroes))});
    put(answer, kOptionMagic);
    put(answer, kOptionExportName);
    put(answer, static_cast<std::uint32_t>(export_name.size()));
    answer.insert(answer.end(), export_name.begin(), export_name.end());
    std::array<std::uint8_t, 10> about{};
    constexpr const char* kNoExport = "the NBD server does not give this export";
    if (!send_all(answer) || !receive_all(about, kGreetingNs)) return kNoExport;
    size_bytes_ = big(about, 0, 8);
    std::array<std::uint8_t, 124> zeroes{};
    return no_zeroes || receive_all(zeroes, kGreetingNs) ? nullptr : kNoExport;
  }

  std::optional<Server> server_;  ///< ends after the connection
  Descriptor descriptor_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t handle_ = 0;
  bool broken_ = false;
};

Server start_server(const std::string& path, const std::string& format) {
  std::string folder =
      std::string(std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp") +
      "/chronovisor-disk-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    throw Error(ErrorCode::host, folder + ": cannot make it: " + std::strerror(errno));
  }
  Server server(-1, folder);
  std::vector<std::string> words{
      "qemu-nbd", "--read-only", "--format=" + format, "--shared=1", "--socket=" + server.socket(),
      path};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  // Ctrl-C is for this program: the server has a process group of its own.
  posix_spawnattr_t attributes{};
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t process = -1;
  const int failed =
      ::posix_spawnp(&process, words[0].c_str(), nullptr, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    throw Error(ErrorCode::host, path + ": format " + format +
                                     " is read by qemu-nbd, which cannot be started: " +
                                     std::strerror(failed) + " (Debian: apt install qemu-utils)");
  }
  server.has_started(process);
  return server;
}

}  // namespace

std::unique_ptr<DiskImage> connect_nbd(const std::string& socket, const std::string& export_name,
                                       const std::string& what) {
  auto descriptor = connected(socket);
  if (!descriptor) {
    throw Error(ErrorCode::bad_input, what + ": cannot connect: " + std::strerror(errno));
  }
  return std::make_unique<NbdImage>(std::move(*descriptor), std::nullopt, export_name, what);
}

std::unique_ptr<DiskImage> serve_nbd(const std::string& path, const std::string& format) {
  if (::access(path.c_str(), R_OK) != 0) {
    throw Error(ErrorCode::bad_input, path + ": cannot open: " + std::strerror(errno));
  }
  Server server = start_server(path, format);
  // Without --persistent it ends with its one connection, however this program ends.
  for (int tries = 0; tries < kOpenTries && !stop_signal(); ++tries) {
    if (auto descriptor = connected(server.socket())) {
      return std::make_unique<NbdImage>(std::move(*descriptor), std::move(server), "", path);
    }
    if (server.ended()) break;
    ::poll(nullptr, 0, kPollMs);
  }
  throw Error(ErrorCode::bad_input, path + ": qemu-nbd does not open it as " + format);
}

}  // namespace chronovisor
