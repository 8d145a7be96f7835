#include "gdbstub/server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <asio.hpp>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "gdbstub/connection.h"

namespace chronovisor::gdb {

namespace {

constexpr std::size_t kReadBytes = 65536;
// With more than this unsent, nothing more is read until it is.
constexpr std::size_t kMaxUnsentBytes = std::size_t{8} << 20;
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

using Handler = std::function<void(std::error_code, std::size_t)>;

[[noreturn]] void host_error(const std::string& what, const std::error_code& code) {
  throw Error(ErrorCode::host, what + ": " + code.message());
}

/// A client's two directions, whatever they are made of.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual void read(asio::mutable_buffer buffer, Handler handler) = 0;
  virtual void write(asio::const_buffer buffer, Handler handler) = 0;
  virtual void close() = 0;
};

template <class Socket>
class SocketChannel final : public Channel {
 public:
  explicit SocketChannel(Socket socket) : socket_(std::move(socket)) {}
  void read(asio::mutable_buffer buffer, Handler handler) override {
    socket_.async_read_some(buffer, std::move(handler));
  }
  void write(asio::const_buffer buffer, Handler handler) override {
    asio::async_write(socket_, buffer, std::move(handler));
  }
  void close() override {
    std::error_code ignored;
    socket_.shutdown(Socket::shutdown_both, ignored);
    socket_.close(ignored);
  }

 private:
  Socket socket_;
};

/// Standard input and output. O_NONBLOCK, which Asio sets, belongs to the open
/// file and not to our copy of it, so it is put back as it was.
class StdioChannel final : public Channel {
 public:
  explicit StdioChannel(asio::io_context& io)
      : in_flags_(::fcntl(STDIN_FILENO, F_GETFL)),
        out_flags_(::fcntl(STDOUT_FILENO, F_GETFL)),
        in_(io, duplicate(STDIN_FILENO)),
        out_(io, duplicate(STDOUT_FILENO)) {}
  ~StdioChannel() override {
    ::fcntl(STDIN_FILENO, F_SETFL, in_flags_);
    ::fcntl(STDOUT_FILENO, F_SETFL, out_flags_);
  }
  StdioChannel(const StdioChannel&) = delete;
  StdioChannel& operator=(const StdioChannel&) = delete;

  void read(asio::mutable_buffer buffer, Handler handler) override {
    in_.async_read_some(buffer, std::move(handler));
  }
  void write(asio::const_buffer buffer, Handler handler) override {
    asio::async_write(out_, buffer, std::move(handler));
  }
  void close() override {
    std::error_code ignored;
    in_.close(ignored);
    out_.close(ignored);
  }

 private:
  static int duplicate(int descriptor) {
    const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) host_error("stdio", {errno, std::system_category()});
    return copy;
  }
  int in_flags_;
  int out_flags_;
  asio::posix::stream_descriptor in_;
  asio::posix::stream_descriptor out_;
};

/// Whether a server answers at a Unix socket; decides if it is stale.
bool someone_listens(const std::string& path) {
  asio::io_context io;
  asio::local::stream_protocol::socket probe(io);
  std::error_code code;
  probe.connect(asio::local::stream_protocol::endpoint(path), code);
  return !code;
}

void clear_stale_socket(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    host_error("unix:" + path, {errno, std::system_category()});
  }
  if (!S_ISSOCK(status.st_mode)) {
    throw Error(ErrorCode::usage,
                "unix:" + path + ": exists and is not a socket; name another path");
  }
  if (someone_listens(path)) {
    throw Error(ErrorCode::usage, "unix:" + path + ": another server listens there");
  }
  if (::unlink(path.c_str()) != 0) host_error("unix:" + path, {errno, std::system_category()});
}

}  // namespace

ListenAddress ListenAddress::parse(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    throw Error(ErrorCode::usage, "listen address '" + std::string(text) +
                                      "': " + std::string(why) +
                                      "; use unix:PATH, tcp:ADDRESS:PORT or stdio");
  };
  ListenAddress out;
  if (text == "stdio") return out;
  if (text.starts_with("unix:")) {
    out.kind = Kind::unix_socket;
    out.path = text.substr(5);
    if (out.path.empty()) refuse("the path is empty");
    if (out.path.size() >= sizeof(sockaddr_un::sun_path))
      refuse("the path is too long for a socket");
    if (out.path.find('\0') != std::string::npos) refuse("the path holds a zero byte");
    return out;
  }
  if (!text.starts_with("tcp:")) refuse("unknown kind");
  out.kind = Kind::tcp;
  const std::string_view rest = text.substr(4);
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) refuse("the port is missing");
  std::string_view address = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  } else if (address.find(':') != std::string_view::npos) {
    refuse("an IPv6 address stands in brackets");
  }
  out.address = address.empty() ? "127.0.0.1" : std::string(address);
  const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (problem != std::errc{} || end != port.data() + port.size()) {
    refuse("the port is not a number up to 65535");
  }
  return out;
}

std::string ListenAddress::text() const {
  switch (kind) {
    case Kind::unix_socket:
      return "unix:" + path;
    case Kind::stdio:
      return "stdio";
    case Kind::tcp:
      break;
  }
  const bool brackets = address.find(':') != std::string::npos;
  return "tcp:" + (brackets ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

class Server::Implementation {
 public:
  Implementation(DebugTarget& target, ServerOptions options)
      : target_(target), options_(std::move(options)), retry_(io_), signals_(io_) {
    for (const int number : options_.stop_signals) signals_.add(number);
    switch (options_.listen.kind) {
      case ListenAddress::Kind::unix_socket:
        listen_unix();
        break;
      case ListenAddress::Kind::tcp:
        listen_tcp();
        break;
      case ListenAddress::Kind::stdio:
        break;
    }
  }

  ~Implementation() {
    if (connection_) connection_->cancel();
    worker_.join();
    if (options_.listen.kind == ListenAddress::Kind::unix_socket && unix_) remove_unix_socket();
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  [[nodiscard]] const ListenAddress& listening() const { return options_.listen; }

  void run() {
    if (!options_.stop_signals.empty()) {
      signals_.async_wait([this](std::error_code code, int) {
        if (!code) shut_down();
      });
    }
    if (options_.listen.kind == ListenAddress::Kind::stdio) {
      open_stdio();
    } else {
      accept();
    }
    io_.run();
    if (failure_) host_error(options_.listen.text(), failure_);
  }

  void stop() {
    asio::post(io_, [this] { shut_down(); });
  }

 private:
  void log(std::string_view line) const {
    if (options_.log) options_.log(line);
  }

  void listen_unix();
  void listen_tcp();
  void remove_unix_socket() const;
  void open_stdio();
  void accept();
  template <class Acceptor>
  void accept_on(Acceptor& acceptor);
  void client_came(std::unique_ptr<Channel> channel);
  void read();
  void write();
  void pump();
  void start_work();
  void drop_client();
  void client_gone();
  void shut_down();

  DebugTarget& target_;
  ServerOptions options_;
  asio::io_context io_;
  asio::thread_pool worker_{1};
  std::optional<asio::local::stream_protocol::acceptor> unix_;
  std::optional<asio::ip::tcp::acceptor> tcp_;
  asio::steady_timer retry_;
  asio::signal_set signals_;
  struct stat unix_identity_ {};

  std::unique_ptr<Channel> channel_;
  std::unique_ptr<Connection> connection_;
  std::array<std::uint8_t, kReadBytes> input_{};
  std::string sending_;
  std::string unsent_;
  bool reading_ = false;
  bool writing_ = false;
  bool working_ = false;
  bool closing_ = false;  ///< the channel is closed; handlers are still to return
  bool stopping_ = false;
  std::error_code failure_;
};

void Server::Implementation::listen_unix() {
  const std::string& path = options_.listen.path;
  clear_stale_socket(path);
  unix_.emplace(io_);
  std::error_code code;
  unix_->open(asio::local::stream_protocol(), code);
  // The mode of the descriptor becomes that of the file: there is no moment
  // at which others could connect, and the process's umask is left alone.
  if (!code && ::fchmod(unix_->native_handle(), S_IRUSR | S_IWUSR) != 0) {
    code.assign(errno, std::system_category());
  }
  if (!code) unix_->bind(asio::local::stream_protocol::endpoint(path), code);
  if (code) {
    unix_.reset();
    host_error("unix:" + path, code);
  }
  if (::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0 ||
      ::lstat(path.c_str(), &unix_identity_) != 0) {
    host_error("unix:" + path, {errno, std::system_category()});
  }
  unix_->listen(asio::socket_base::max_listen_connections, code);
  if (code) host_error("unix:" + path, code);
}

void Server::Implementation::remove_unix_socket() const {
  // Only if it is still ours: someone may have replaced it.
  struct stat now {};
  if (::lstat(options_.listen.path.c_str(), &now) == 0 && now.st_ino == unix_identity_.st_ino &&
      now.st_dev == unix_identity_.st_dev) {
    ::unlink(options_.listen.path.c_str());
  }
}

void Server::Implementation::listen_tcp() {
  ListenAddress& listen = options_.listen;
  std::error_code code;
  const asio::ip::address address =
      asio::ip::make_address(listen.address == "localhost" ? "127.0.0.1" : listen.address, code);
  if (code) {
    throw Error(ErrorCode::usage, listen.text() + ": '" + listen.address +
                                      "' is not a numeric address; use 127.0.0.1, for example");
  }
  if (!address.is_loopback()) {
    if (!options_.allow_remote) {
      throw Error(ErrorCode::usage,
                  listen.text() +
                      ": not a loopback address; whoever connects controls the guest. "
                      "Allow it with --allow-remote, or forward the port with ssh");
    }
    log("warning: " + listen.text() + " accepts debuggers from other hosts, without any password");
  }
  const asio::ip::tcp::endpoint endpoint(address, listen.port);
  tcp_.emplace(io_);
  tcp_->open(endpoint.protocol(), code);
  if (!code) tcp_->set_option(asio::socket_base::reuse_address(true), code);
  if (!code) tcp_->bind(endpoint, code);
  if (!code) tcp_->listen(asio::socket_base::max_listen_connections, code);
  if (code) host_error(listen.text(), code);
  listen.port = tcp_->local_endpoint().port();
}

void Server::Implementation::open_stdio() {
  try {
    client_came(std::make_unique<StdioChannel>(io_));
  } catch (const std::system_error& problem) {
    // A plain file cannot be waited for.
    throw Error(ErrorCode::usage, std::string("stdio: ") + problem.what() +
                                      "; standard input and output must be pipes or sockets");
  }
}

template <class Acceptor>
void Server::Implementation::accept_on(Acceptor& acceptor) {
  acceptor.async_accept(
      [this](std::error_code code, typename Acceptor::protocol_type::socket peer) {
        if (stopping_) return;
        if (code) {
          // Out of descriptors, or the client left the queue: both pass.
          retry_.expires_after(kAcceptRetry);
          retry_.async_wait([this](std::error_code cancelled) {
            if (!cancelled && !stopping_) accept();
          });
          return;
        }
        if constexpr (std::is_same_v<Acceptor, asio::ip::tcp::acceptor>) {
          std::error_code ignored;
          peer.set_option(asio::ip::tcp::no_delay(true), ignored);
          peer.set_option(asio::socket_base::keep_alive(true), ignored);
        }
        client_came(std::make_unique<SocketChannel<decltype(peer)>>(std::move(peer)));
      });
}

void Server::Implementation::accept() {
  if (unix_) {
    accept_on(*unix_);
  } else {
    accept_on(*tcp_);
  }
}

void Server::Implementation::client_came(std::unique_ptr<Channel> channel) {
  channel_ = std::move(channel);
  connection_ = std::make_unique<Connection>(target_);
  closing_ = false;
  unsent_.clear();
  log("a debugger is connected");
  read();
}

void Server::Implementation::read() {
  reading_ = true;
  channel_->read(asio::buffer(input_), [this](std::error_code code, std::size_t size) {
    reading_ = false;
    if (closing_) return client_gone();
    if (code) return drop_client();
    connection_->receive({input_.data(), size});
    pump();
  });
}

void Server::Implementation::write() {
  writing_ = true;
  sending_ = std::exchange(unsent_, {});
  channel_->write(asio::buffer(sending_), [this](std::error_code code, std::size_t) {
    writing_ = false;
    if (closing_) return client_gone();
    if (code) return drop_client();
    pump();
  });
}

/// Does whatever can be done next: send, run, read, end.
void Server::Implementation::pump() {
  unsent_ += connection_->take_output();
  if (!writing_ && !unsent_.empty()) write();
  const bool ended = connection_->ended();
  if (ended && !writing_) return drop_client();
  if (ended) return;  // the end of writing comes back here
  const bool congested = unsent_.size() > kMaxUnsentBytes;
  if (!working_ && !congested) start_work();
  if (!reading_ && (!congested || working_)) read();
}

void Server::Implementation::start_work() {
  std::optional<Work> work = connection_->take_work();
  if (!work) return;
  working_ = true;
  // The guard keeps run() going while only the worker has something to do.
  asio::post(worker_, [this, job = std::move(*work), guard = asio::make_work_guard(io_)] {
    auto answer = std::make_shared<Answer>(connection_->run(job));
    asio::post(io_, [this, answer] {
      working_ = false;
      if (closing_) return client_gone();
      connection_->finish_work(std::move(*answer));
      pump();
    });
  });
}

/// Closes the channel. What still runs (a read, a write, a job) returns first;
/// the last of them calls client_gone().
void Server::Implementation::drop_client() {
  if (closing_ || !connection_) return;
  closing_ = true;
  connection_->cancel();
  channel_->close();
  client_gone();
}

void Server::Implementation::client_gone() {
  if (reading_ || writing_ || working_ || !connection_) return;
  connection_.reset();
  channel_.reset();
  log("the debugger is gone");
  if (stopping_ || options_.once || options_.listen.kind == ListenAddress::Kind::stdio) {
    shut_down();
  } else {
    accept();
  }
}

void Server::Implementation::shut_down() {
  stopping_ = true;
  std::error_code ignored;
  signals_.cancel(ignored);
  retry_.cancel();
  if (unix_) unix_->close(ignored);
  if (tcp_) tcp_->close(ignored);
  drop_client();
}

Server::Server(DebugTarget& target, ServerOptions options)
    : implementation_(std::make_unique<Implementation>(target, std::move(options))) {}
Server::~Server() = default;
ListenAddress Server::listening() const { return implementation_->listening(); }
void Server::run() { implementation_->run(); }
void Server::stop() { implementation_->stop(); }

}  // namespace chronovisor::gdb
