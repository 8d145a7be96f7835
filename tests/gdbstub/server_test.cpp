#include "gdbstub/server.h"
#include "gdbstub/text.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "gdbstub/wire.h"
#include "tests/gdbstub/fake_target.h"
#include "tests/patience.h"
#include "tests/temporary_folder.h"

using namespace chronovisor;
using namespace chronovisor::gdb;
using namespace std::chrono_literals;

namespace {

const int kPatienceMs = 10000 * testing::patience();
constexpr std::uint64_t kEndlessHistory = std::uint64_t{1} << 62;

/// A server in a thread of its own.
struct Running {
  explicit Running(DebugTarget& target, ServerOptions options)
      : server(target, std::move(options)), thread([this] { server.run(); }) {}
  ~Running() {
    server.stop();
    if (thread.joinable()) thread.join();
  }
  Server server;
  std::thread thread;
};

class Client {
 public:
  explicit Client(const std::string& path) : descriptor_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    connected_ =
        ::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  explicit Client(std::uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ =
        ::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }
  void send(std::string_view bytes) const {
    REQUIRE(::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  /// Reads until `ending` has come; what came otherwise on a timeout or end.
  std::string read_until(std::string_view ending, int patience_ms = kPatienceMs) {
    std::string out;
    std::size_t seen = 0;  // searched already, less what a match may span
    while (out.find(ending, seen) == std::string::npos) {
      seen = out.size() < ending.size() ? 0 : out.size() - ending.size();
      pollfd waiting{descriptor_, POLLIN, 0};
      if (::poll(&waiting, 1, patience_ms) <= 0) return out;
      char block[4096];
      const ssize_t size = ::recv(descriptor_, block, sizeof(block), 0);
      if (size <= 0) return out;
      out.append(block, static_cast<std::size_t>(size));
    }
    return out;
  }
  [[nodiscard]] std::uint16_t local_port() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    ::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  bool at_end() const {
    pollfd waiting{descriptor_, POLLIN, 0};
    char byte = 0;
    return ::poll(&waiting, 1, kPatienceMs) > 0 && ::recv(descriptor_, &byte, 1, 0) <= 0;
  }

 private:
  int descriptor_;
  bool connected_ = false;
};

ServerOptions unix_options(const testing::TemporaryFolder& directory) {
  ServerOptions options;
  options.listen = ListenAddress::parse("unix:" + directory.file("gdb"));
  return options;
}

void wait_for(const std::atomic<bool>& flag) {
  for (int i = 0; i < kPatienceMs && !flag; ++i) std::this_thread::sleep_for(1ms);
  REQUIRE(flag);
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

/// Whether the server's end of a connection to `port` does without Nagle's
/// algorithm, which would hold small packets back.
bool sends_at_once(std::uint16_t port) {
  for (int descriptor = 3; descriptor < 256; ++descriptor) {
    sockaddr_in local{};
    sockaddr_in peer{};
    socklen_t local_size = sizeof(local);
    socklen_t peer_size = sizeof(peer);
    if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&local), &local_size) != 0 ||
        ::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0 ||
        local.sin_family != AF_INET || ntohs(local.sin_port) != port) {
      continue;
    }
    int no_delay = 0;
    socklen_t size = sizeof(no_delay);
    return ::getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0 &&
           no_delay != 0;
  }
  return false;
}

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total_pages = 0;
  std::size_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return resident_pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("listen addresses are read and written") {
  CHECK(ListenAddress::parse("stdio").kind == ListenAddress::Kind::stdio);
  CHECK(ListenAddress::parse("unix:/a/b").path == "/a/b");
  for (const char* text : {"stdio", "unix:/a/b", "tcp:127.0.0.1:1234", "tcp:[::1]:0"}) {
    CHECK(ListenAddress::parse(text).text() == text);
  }
  CHECK(ListenAddress::parse("tcp::1234").text() == "tcp:127.0.0.1:1234");
  for (const char* text :
       {"", "unix:", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:1.2.3.4:65536",
        "tcp:1.2.3.4:x", "tcp:1.2.3.4:-1", "tcp:::1:1234", "udp:1:2", "1234"}) {
    CAPTURE(std::string(text));
    CHECK_THROWS_AS(ListenAddress::parse(text), Error);
  }
  CHECK_THROWS_AS(ListenAddress::parse("unix:/" + std::string(200, 'a')), Error);
}

TEST_CASE("a Unix socket is private, and gone when the server is") {
  const testing::TemporaryFolder directory;
  FakeTarget target;
  const ServerOptions options = unix_options(directory);
  {
    Running running(target, options);
    struct stat status {};
    REQUIRE(::lstat(options.listen.path.c_str(), &status) == 0);
    CHECK(S_ISSOCK(status.st_mode));
    CHECK((status.st_mode & 0777) == 0600);
    Client client(options.listen.path);
    client.send(frame_packet("qC"));
    CHECK(client.read_until("#c5") == "+$QC1#c5");
  }
  CHECK_FALSE(std::filesystem::exists(options.listen.path));
}

TEST_CASE("a stale socket is replaced, a live one and other files are not") {
  const testing::TemporaryFolder directory;
  FakeTarget target;
  const ServerOptions options = unix_options(directory);
  const std::string& path = options.listen.path;
  const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  REQUIRE(::bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  ::close(stale);
  {
    Running running(target, options);
    CHECK(Client(path).connected());
    CHECK_THROWS_AS(Server(target, options), Error);
    CHECK(std::filesystem::exists(path));
  }
  std::ofstream(path) << "precious";
  CHECK_THROWS_AS(Server(target, options), Error);
  CHECK(std::filesystem::file_size(path) == 8);
}

TEST_CASE("TCP serves loopback at a port the system chose") {
  FakeTarget target;
  ServerOptions options;
  options.listen = ListenAddress::parse("tcp:127.0.0.1:0");
  Running running(target, options);
  const std::uint16_t port = running.server.listening().port;
  CHECK(port != 0);
  Client client(port);
  REQUIRE(client.connected());
  client.send(frame_packet("qC"));
  CHECK(client.read_until("#c5") == "+$QC1#c5");
  CHECK(sends_at_once(port));
}

TEST_CASE("other addresses than loopback need permission, and are warned about") {
  FakeTarget target;
  ServerOptions options;
  options.listen = ListenAddress::parse("tcp:0.0.0.0:0");
  CHECK_THROWS_AS(Server(target, options), Error);
  std::string log;
  options.allow_remote = true;
  options.log = [&](std::string_view line) { log += line; };
  Server server(target, options);
  CHECK(log.find("warning") != std::string::npos);
  options.listen = ListenAddress::parse("tcp:not-an-address:0");
  CHECK_THROWS_AS(Server(target, options), Error);
}

TEST_CASE("a thousand clients, each gone at another point of an exchange, leave nothing behind") {
  constexpr int kClients = 1000;
  constexpr int kWarmUp = 100;  // by then every buffer has had its largest size
  const testing::TemporaryFolder directory;
  FakeTarget target;
  const ServerOptions options = unix_options(directory);
  Running running(target, options);
  std::string talk;
  for (const char* packet : {"qSupported:swbreak+", "QStartNoAckMode", "Z0,1003,1", "Z2,2000,8",
                             "qXfer:features:read:target.xml:0,fff", "c", "bs", "bc",
                             "qRcmd,7768656e", "qSearch:memory:0;10000;nowhere", "vCont;s", "qC"}) {
    talk += frame_packet(packet);
  }
  const std::string ending = "$QC1#c5";
  std::size_t descriptors = 0;
  [[maybe_unused]] std::size_t resident = 0;
  for (int i = 0; i < kClients; ++i) {
    if (i == kWarmUp) {
      descriptors = open_descriptors();
      resident = resident_bytes();
    }
    Client client(options.listen.path);
    REQUIRE(client.connected());
    // Every length of the conversation comes, in no order; each fourth client stays to the end.
    const bool stays = i % 4 == 3;
    client.send(stays ? talk : talk.substr(0, static_cast<std::size_t>(i) * 7 % talk.size()));
    if (stays) REQUIRE(client.read_until(ending).ends_with(ending));
  }
  // The last one is served after all others have been cleaned up.
  Client last(options.listen.path);
  last.send(frame_packet("D"));
  CHECK(last.read_until("#9a") == "+$OK#9a");
  CHECK(last.at_end());
  // The server shuts a connection down before it closes it.
  for (int i = 0; i < kPatienceMs && open_descriptors() > descriptors + 1; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(open_descriptors() <= descriptors + 1);
// AddressSanitizer keeps what is freed, ThreadSanitizer what was touched.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(resident_bytes() <= resident + (std::size_t{1} << 20));
#endif
  running.server.stop();
  running.thread.join();
  CHECK(target.clients == 0);
  // One that left before its first packet was whole was never seen.
  CHECK(target.clients_seen > kClients / 2);
  CHECK(target.clients_seen <= kClients + 1);
  CHECK(target.breakpoints.empty());
}

TEST_CASE("the next client is told to wait, hears from the server, and is served in its turn") {
  FakeTarget target;
  ServerOptions options;
  options.listen = ListenAddress::parse("tcp:127.0.0.1:0");
  options.once = true;  // which the last one's leaving ends, not the first one's
  std::mutex guard;
  std::string log;
  options.log = [&](std::string_view line) {
    const std::lock_guard lock(guard);
    log.append(line).append("\n");
  };
  {
    Running running(target, options);
    const std::uint16_t port = running.server.listening().port;
    Client first(port);
    first.send(frame_packet("qC"));
    CHECK(first.read_until("#c5") == "+$QC1#c5");
    Client second(port);
    REQUIRE(second.connected());
    second.send(join({"+", frame_packet("qSupported:swbreak+")}));
    const std::string told = second.read_until("#");
    CHECK(told.find(join({"another debugger, 127.0.0.1:", std::to_string(first.local_port())})) !=
          std::string::npos);
    second.send(frame_packet("vMustReplyEmpty"));
    // gdb gives up when it hears nothing for two seconds.
    for (int n = 0; n < 3; ++n) CHECK_FALSE(second.read_until("+", 1500).empty());
    Client third(port);
    third.send(frame_packet("qC"));
    CHECK(third.read_until("+") == "+");
    const std::vector<std::string> waiting = {
        join({"127.0.0.1:", std::to_string(second.local_port())}),
        join({"127.0.0.1:", std::to_string(third.local_port())})};
    first.close();
    CHECK(second.read_until("$#00").ends_with("$#00"));
    CHECK(target.clients == 1);
    second.send(frame_packet("D"));
    CHECK(second.read_until("#9a").ends_with("$OK#9a"));
    CHECK(third.read_until("#c5").ends_with("$QC1#c5"));
    third.close();
    running.thread.join();
    for (const std::string& name : waiting) {
      CHECK(log.find(name + " waits: 127.0.0.1:") != std::string::npos);
      CHECK(log.find(name + " is connected") != std::string::npos);
    }
  }
  CHECK(target.clients == 0);
  CHECK(target.clients_seen == 3);
}

TEST_CASE("who does not speak the protocol is cut off, and is not in anybody's way") {
  FakeTarget target;
  ServerOptions options;
  options.listen = ListenAddress::parse("tcp:127.0.0.1:0");
  options.once = true;
  Running running(target, options);
  const std::uint16_t port = running.server.listening().port;
  const std::string attack = frame_packet("QStartNoAckMode") + frame_packet("qRcmd,7365656b2035") +
                             frame_packet("c") + frame_packet("M2000,1:ff");
  for (const std::string& beginning :
       {std::string("POST / HTTP/1.1\r\n\r\n"), std::string("GET /"), std::string("\x16\x03\x01"),
        std::string("$qC#00"), std::string("\n"), std::string(1, '\0')}) {
    Client browser(port);
    browser.send(beginning + attack);
    CHECK(browser.read_until("$") == "");  // the end
  }
  // Browsers connect ahead of need, port scanners say nothing at all.
  std::vector<std::unique_ptr<Client>> silent;
  for (int n = 0; n < 100; ++n) silent.push_back(std::make_unique<Client>(port));
  Client debugger(port);
  debugger.send(frame_packet("qC"));
  CHECK(debugger.read_until("#c5") == "+$QC1#c5");
  CHECK(target.requests.empty());
  CHECK(target.written_memory.empty());
  CHECK(target.clients_seen == 1);
}

TEST_CASE("more debuggers than may wait are sent away, those that wait stay") {
  FakeTarget target;
  ServerOptions options;
  options.listen = ListenAddress::parse("tcp:127.0.0.1:0");
  Running running(target, options);
  const std::uint16_t port = running.server.listening().port;
  std::vector<std::unique_ptr<Client>> all;
  for (int n = 0; n < 40; ++n) {
    all.push_back(std::make_unique<Client>(port));
    all.back()->send(frame_packet("qC"));
    if (n < 33) REQUIRE_FALSE(all.back()->read_until("+").empty());
  }
  CHECK(all.back()->at_end());
  all[0]->close();
  CHECK(all[1]->read_until("#c5").ends_with("$QC1#c5"));
}

TEST_CASE("an interrupt in the middle of a long run is answered") {
  const testing::TemporaryFolder directory;
  FakeTarget target(kEndlessHistory);
  target.position = kEndlessHistory / 2;
  const ServerOptions options = unix_options(directory);
  Running running(target, options);
  Client client(options.listen.path);
  for (const std::string& packet :
       {frame_packet("bc"), frame_packet("c"), frame_packet("vCont;c")}) {
    client.send(packet);
    CHECK(client.read_until("+") == "+");
    wait_for(target.running);
    client.send("\x03");
    const std::string reply = client.read_until("core:0;#");
    CHECK(reply.starts_with("$T02"));
  }
  client.send(frame_packet("bc") + "\x03");  // in one piece
  CHECK(client.read_until("core:0;#").starts_with("+$T02"));
  client.send(frame_packet("qRcmd,7370696e"));  // spin
  wait_for(target.running);
  client.send("\x03");
  CHECK(client.read_until("$OK#9a").find("$O63616e63656c6c65640a#") != std::string::npos);
}

TEST_CASE("a monitor command that takes long is not silent") {
  const testing::TemporaryFolder directory;
  FakeTarget target;
  const ServerOptions options = unix_options(directory);
  Running running(target, options);
  Client client(options.listen.path);
  client.send(frame_packet("qRcmd,7370696e"));  // spin
  for (int n = 0; n < 2; ++n) {
    const auto begun = std::chrono::steady_clock::now();
    CHECK(client.read_until("$O#4f").find("$O#4f") != std::string::npos);
    // gdb takes two seconds of silence for a lost packet.
    CHECK(std::chrono::steady_clock::now() - begun < 2s);
    client.send("+");
  }
  client.send("\x03");
  CHECK(client.read_until("$OK#9a").find("$O63616e63656c6c65640a#") != std::string::npos);
  // And is quiet afterwards.
  client.send("+" + frame_packet("?"));
  CHECK(client.read_until("#").find("$O#") == std::string::npos);
  CHECK(client.read_until("$O#", 600).find("$O#") == std::string::npos);
  CHECK(running.server.served_somebody());
}

TEST_CASE("a client that goes away in the middle of a run makes room for the next") {
  const testing::TemporaryFolder directory;
  FakeTarget target(kEndlessHistory);
  const ServerOptions options = unix_options(directory);
  Running running(target, options);
  for (int i = 0; i < 20; ++i) {
    Client client(options.listen.path);
    client.send(frame_packet("c"));
    wait_for(target.running);
  }
  Client next(options.listen.path);
  next.send(frame_packet("qC"));
  CHECK(next.read_until("#c5") == "+$QC1#c5");
}

TEST_CASE("stop ends a run in progress") {
  const testing::TemporaryFolder directory;
  FakeTarget target(kEndlessHistory);
  const ServerOptions options = unix_options(directory);
  Running running(target, options);
  Client client(options.listen.path);
  client.send(frame_packet("c"));
  wait_for(target.running);
  running.server.stop();
  running.thread.join();
  CHECK(client.read_until("+") == "+");
  CHECK(client.at_end());
  CHECK_FALSE(target.running);
}

TEST_CASE("a stop signal ends the server") {
  const testing::TemporaryFolder directory;
  FakeTarget target;
  ServerOptions options = unix_options(directory);
  options.stop_signals = {SIGUSR1};
  Running running(target, options);
  Client client(options.listen.path);
  client.send(frame_packet("qC"));
  CHECK(client.read_until("#c5") == "+$QC1#c5");
  ::kill(::getpid(), SIGUSR1);
  running.thread.join();
  CHECK(client.at_end());
}

TEST_CASE("with once the server ends after its first client") {
  const testing::TemporaryFolder directory;
  FakeTarget target;
  ServerOptions options = unix_options(directory);
  options.once = true;
  Running running(target, options);
  Client client(options.listen.path);
  client.send(frame_packet("D"));
  CHECK(client.read_until("#9a") == "+$OK#9a");
  running.thread.join();
  CHECK(target.clients == 0);
}

TEST_CASE("a client that asks without reading does not fill the server's memory") {
  const testing::TemporaryFolder directory;
  FakeTarget target;
  const ServerOptions options = unix_options(directory);
  Running running(target, options);
  Client client(options.listen.path);
  // 400 requests of 128 KiB each; answers are taken only afterwards.
  std::thread asking([&] {
    std::string request;
    for (int i = 0; i < 400; ++i) request += frame_packet("m0,10000");
    client.send(request);
    client.send(frame_packet("qC"));
  });
  const std::string all = client.read_until("$QC1#c5");
  asking.join();
  CHECK(all.ends_with("$QC1#c5"));
  CHECK(all.size() > 400 * 0x20000);
}

TEST_CASE("stdio serves one client and gives the descriptors back as they were") {
  int to_server[2];
  int from_server[2];
  REQUIRE(::pipe(to_server) == 0);
  REQUIRE(::pipe(from_server) == 0);
  const int old_in = ::dup(STDIN_FILENO);
  const int old_out = ::dup(STDOUT_FILENO);
  ::dup2(to_server[0], STDIN_FILENO);
  ::dup2(from_server[1], STDOUT_FILENO);
  const int flags = ::fcntl(STDIN_FILENO, F_GETFL);
  std::string reply(8, '\0');
  int flags_after = 0;
  {
    FakeTarget target;
    ServerOptions options;
    options.listen = ListenAddress::parse("stdio");
    Running running(target, options);
    const ssize_t sent = ::write(to_server[1], "$qC#b4", 6);
    ::close(to_server[1]);
    running.thread.join();
    const ssize_t got = ::read(from_server[0], reply.data(), reply.size());
    flags_after = ::fcntl(STDIN_FILENO, F_GETFL);
    ::dup2(old_in, STDIN_FILENO);
    ::dup2(old_out, STDOUT_FILENO);
    CHECK(sent == 6);
    CHECK(got == 8);
  }
  CHECK(reply == "+$QC1#c5");
  CHECK(flags_after == flags);
  for (const int descriptor : {to_server[0], from_server[0], from_server[1], old_in, old_out}) {
    ::close(descriptor);
  }
}
