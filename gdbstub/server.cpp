#include "gdbstub/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <optional>

#include "base/error.h"
#include "gdbstub/channel.h"
#include "gdbstub/connection.h"

namespace chronovisor::gdb {

namespace {

constexpr std::size_t kReadBytes = 65536;
// With more than this unsent, nothing more is read until it is.
constexpr std::size_t kMaxUnsentBytes = std::size_t{8} << 20;
// So many may be connected without being served.
constexpr std::size_t kMaxUnserved = 32;
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);
// A debugger that hears nothing for two seconds (gdb's remotetimeout) takes what it waits
// for to be lost.
constexpr auto kSignOfLife = std::chrono::milliseconds(400);

[[noreturn]] void host_error(const std::string& what, const std::error_code& code) {
  throw Error(ErrorCode::host, what + ": " + code.message());
}

/// One that is connected, served or not. The handlers of what is pending hold
/// its address: it is erased when the last of them has returned.
struct Client {
  Client(std::unique_ptr<Channel> its_channel, DebugTarget& target)
      : channel(std::move(its_channel)), connection(target), name(channel->peer_name()) {}

  std::unique_ptr<Channel> channel;
  Connection connection;
  std::string name;
  std::array<std::uint8_t, kReadBytes> input{};
  std::string sending;
  std::string unsent;
  bool reading = false;
  bool writing = false;
  bool working = false;
  bool closing = false;  ///< the channel is closed; handlers are still to return

  [[nodiscard]] bool pending() const { return reading || writing || working; }
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

class Server::Implementation {
 public:
  Implementation(DebugTarget& target, ServerOptions options)
      : target_(target), options_(std::move(options)), retry_(io_), life_(io_), signals_(io_) {
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
    if (served_ != nullptr) served_->connection.cancel();
    worker_.join();
    if (options_.listen.kind == ListenAddress::Kind::unix_socket && unix_) remove_unix_socket();
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  [[nodiscard]] const ListenAddress& listening() const { return options_.listen; }
  [[nodiscard]] bool served_somebody() const { return served_somebody_; }

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
  void make_room();
  void settle(Client& client);
  void serve(Client& client);
  void give_signs_of_life();
  void read(Client& client);
  void write(Client& client);
  void pump(Client& client);
  void start_work(Client& client);
  void drop(Client& client);
  void gone(Client& client);
  void shut_down();

  DebugTarget& target_;
  ServerOptions options_;
  asio::io_context io_;
  asio::thread_pool worker_{1};
  std::optional<asio::local::stream_protocol::acceptor> unix_;
  std::optional<asio::ip::tcp::acceptor> tcp_;
  asio::steady_timer retry_;
  asio::steady_timer life_;  ///< runs while somebody waits for a turn or an answer
  asio::signal_set signals_;
  struct stat unix_identity_ {};

  std::vector<std::unique_ptr<Client>> clients_;  ///< in the order they came
  Client* served_ = nullptr;
  bool served_somebody_ = false;
  bool life_runs_ = false;
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
                      "Forward the port with ssh; debug --allow-remote allows it");
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
    client_came(make_stdio_channel(io_));
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
        client_came(make_channel(std::move(peer)));
        accept();
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
  clients_.push_back(std::make_unique<Client>(std::move(channel), target_));
  read(*clients_.back());
  make_room();
}

/// Of too many that are not served, the first one goes that has said nothing
/// yet; when all of them wait their turn, the one that came last.
void Server::Implementation::make_room() {
  std::vector<Client*> unserved;
  for (const std::unique_ptr<Client>& client : clients_) {
    if (client.get() != served_ && !client->closing) unserved.push_back(client.get());
  }
  if (unserved.size() <= kMaxUnserved) return;
  const auto silent = std::find_if(unserved.begin(), unserved.end(), [](const Client* client) {
    return !client->connection.opened();
  });
  drop(silent != unserved.end() ? **silent : *unserved.back());
}

/// Whose turn is it, now that this client has said something?
void Server::Implementation::settle(Client& client) {
  if (client.connection.foreign()) {
    log("warning: " + client.name + " does not speak the debuggers' protocol, and was cut off");
    return;
  }
  if (!client.connection.opened() || client.connection.served()) return;
  if (served_ == nullptr) return serve(client);
  if (client.connection.waiting()) return;
  log(client.name + " waits: " + served_->name + " is connected");
  client.connection.wait_for(served_->name);
  give_signs_of_life();
}

void Server::Implementation::serve(Client& client) {
  served_ = &client;
  served_somebody_ = true;
  log(client.name + " is connected");
  client.connection.serve();
}

/// Lets those who wait hear, in time, that somebody is there; until nobody does.
void Server::Implementation::give_signs_of_life() {
  if (life_runs_) return;
  life_runs_ = true;
  life_.expires_after(kSignOfLife);
  life_.async_wait([this](std::error_code cancelled) {
    life_runs_ = false;
    if (cancelled || stopping_) return;
    bool any = false;
    for (std::size_t n = 0; n < clients_.size(); ++n) {
      Client& client = *clients_[n];
      if (client.closing || !client.connection.needs_signs_of_life()) continue;
      any = true;
      client.connection.give_sign_of_life();
      pump(client);
    }
    if (any) give_signs_of_life();
  });
}

void Server::Implementation::read(Client& client) {
  client.reading = true;
  client.channel->read(asio::buffer(client.input),
                       [this, &client](std::error_code code, std::size_t size) {
                         client.reading = false;
                         if (client.closing) return gone(client);
                         if (code) return drop(client);
                         client.connection.receive(ByteView(client.input).first(size));
                         settle(client);
                         pump(client);
                       });
}

void Server::Implementation::write(Client& client) {
  client.writing = true;
  client.sending = std::exchange(client.unsent, {});
  client.channel->write(asio::buffer(client.sending),
                        [this, &client](std::error_code code, std::size_t) {
                          client.writing = false;
                          if (client.closing) return gone(client);
                          if (code) return drop(client);
                          pump(client);
                        });
}

/// Does whatever can be done next: send, run, read, end.
void Server::Implementation::pump(Client& client) {
  client.unsent += client.connection.take_output();
  if (!client.writing && !client.unsent.empty()) write(client);
  const bool ended = client.connection.ended();
  if (ended && !client.writing) return drop(client);
  if (ended) return;  // the end of writing comes back here
  if (client.connection.holds_back()) {
    if (client.writing) return;  // as above
    client.connection.go_on();
    return pump(client);
  }
  const bool congested = client.unsent.size() > kMaxUnsentBytes;
  if (!client.working && !congested) start_work(client);
  if (!client.reading && (!congested || client.working)) read(client);
}

void Server::Implementation::start_work(Client& client) {
  std::optional<Work> work = client.connection.take_work();
  if (!work) return;
  client.working = true;
  if (client.connection.needs_signs_of_life()) give_signs_of_life();
  // The guard keeps run() going while only the worker has something to do.
  asio::post(worker_, [this, &client, job = std::move(*work), guard = asio::make_work_guard(io_)] {
    auto answer = std::make_shared<Answer>(client.connection.run(job));
    asio::post(io_, [this, &client, answer] {
      client.working = false;
      if (client.closing) return gone(client);
      client.connection.finish_work(std::move(*answer));
      pump(client);
    });
  });
}

/// Closes the channel. What still runs (a read, a write, a job) returns first;
/// the last of them calls gone().
void Server::Implementation::drop(Client& client) {
  if (client.closing) return;
  client.closing = true;
  client.connection.cancel();
  client.channel->close();
  gone(client);
}

void Server::Implementation::gone(Client& client) {
  if (client.pending()) return;
  const bool was_served = served_ == &client;
  const bool was_waiting = client.connection.waiting();
  if (was_served || was_waiting) log(client.name + " is gone");
  const auto found = std::find_if(clients_.begin(), clients_.end(),
                                  [&](const auto& one) { return one.get() == &client; });
  clients_.erase(found);
  if (was_served) served_ = nullptr;
  if (stopping_) return;
  const auto next = std::find_if(clients_.begin(), clients_.end(), [](const auto& one) {
    return !one->closing && one->connection.opened();
  });
  if (was_served && next != clients_.end()) {
    Client& waited = **next;
    serve(waited);
    pump(waited);
  } else if ((was_served && options_.once) || options_.listen.kind == ListenAddress::Kind::stdio) {
    shut_down();
  }
}

void Server::Implementation::shut_down() {
  stopping_ = true;
  std::error_code ignored;
  signals_.cancel(ignored);
  retry_.cancel();
  life_.cancel();
  if (unix_) unix_->close(ignored);
  if (tcp_) tcp_->close(ignored);
  // Dropping one erases it, unless something of it is pending.
  std::vector<Client*> all;
  for (const std::unique_ptr<Client>& client : clients_) all.push_back(client.get());
  for (Client* client : all) drop(*client);
}

Server::Server(DebugTarget& target, ServerOptions options)
    : implementation_(std::make_unique<Implementation>(target, std::move(options))) {}
Server::~Server() = default;
ListenAddress Server::listening() const { return implementation_->listening(); }
void Server::run() { implementation_->run(); }
bool Server::served_somebody() const { return implementation_->served_somebody(); }
void Server::stop() { implementation_->stop(); }

}  // namespace chronovisor::gdb
