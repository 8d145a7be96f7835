#include "serve/server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <chrono>
#include <deque>
#include <list>
#include <mutex>
#include <string>
#include <utility>

#include "api/limits.h"
#include "base/error.h"
#include "host/host.h"
#include "serve/agent_sessions.h"
#include "serve/refusal_log.h"
#include "serve/request.h"
#include "serve/routes.h"

namespace chronovisor::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;
using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kReadBytes = 16'384;
/// For a whole request, from its first byte on or from the connection.
constexpr seconds kRequestTime{10};
/// For the next request of a connection that stays.
constexpr seconds kIdleTime{30};
/// For what is sent to be taken.
constexpr seconds kSendTime{20};
/// A page that is not heard of for so long, though it is asked, is gone.
constexpr seconds kSilentTime{60};
constexpr milliseconds kAcceptRetry{100};
/// How often is looked whether to stop, and who has left.
constexpr milliseconds kTick{100};
/// For pages to be told that this ends.
constexpr milliseconds kFarewell{300};

std::string peer_of(const tcp::socket& socket) {
  beast::error_code gone;
  const tcp::endpoint peer = socket.remote_endpoint(gone);
  return gone ? "somebody" : peer.address().to_string() + ":" + std::to_string(peer.port());
}

/// What waits to be sent to a page; filled by any thread. One message may be large; behind
/// it, and for all pages together, there is room for so much.
class Outgoing {
 public:
  /// @param of_all bytes that wait for any page
  Outgoing(std::shared_ptr<std::atomic<std::size_t>> of_all, std::function<void()> wake)
      : of_all_(std::move(of_all)), wake_(std::move(wake)) {}
  ~Outgoing() { close(); }
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  void add(const std::string& message) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || overflowed_) return;
      const std::size_t its_own = bytes_ + message.size();
      const bool too_much = bytes_ > 0 && its_own > api::kMostUnsentPageBytes;
      const bool too_much_of_all = its_own > api::kOwnUnsentPageBytes &&
                                   *of_all_ + message.size() > api::kMostUnsentPagesBytes;
      if (too_much || too_much_of_all) {
        overflowed_ = true;
        messages_.clear();
      } else {
        bytes_ += message.size();
        *of_all_ += message.size();
        messages_.push_back(message);
      }
    }
    wake_();
  }
  /// The next one; it counts as unsent until sent().
  bool next(std::string& message) {
    const std::lock_guard lock(mutex_);
    if (messages_.empty()) return false;
    message = std::move(messages_.front());
    messages_.pop_front();
    return true;
  }
  void sent(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_ -= bytes;
    *of_all_ -= bytes;
  }
  [[nodiscard]] bool overflowed() const {
    const std::lock_guard lock(mutex_);
    return overflowed_;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    messages_.clear();
    *of_all_ -= std::exchange(bytes_, 0);
  }

 private:
  std::shared_ptr<std::atomic<std::size_t>> of_all_;
  std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::deque<std::string> messages_;
  std::size_t bytes_ = 0;
  bool overflowed_ = false;
  bool closed_ = false;
};

}  // namespace

class Server::Implementation {
 public:
  explicit Implementation(ServerOptions options);

  [[nodiscard]] std::string url() const {
    return "http://" + address_ + "/#token=" + options_.token;
  }
  void run(CancelToken stop);

 private:
  class Connection;
  class PageSocket;

  void listen();
  void accept();
  void tick(CancelToken stop);
  void make_room();
  void begin_socket(tcp::socket socket, const Request& request);
  void refuse(std::string_view peer, const std::string& why, std::string_view about) {
    refusals_.tell(monotonic_ns(), peer, why, about);
  }
  void log(const std::string& line) const {
    if (options_.log) options_.log(line);
  }

  ServerOptions options_;
  Pages pages_;
  RefusalLog refusals_;
  std::string address_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  asio::steady_timer retry_{io_};
  asio::steady_timer ticker_{io_};
  std::list<std::shared_ptr<Connection>> connections_;  ///< in the order they came
  std::list<std::shared_ptr<PageSocket>> sockets_;
  /// Of pages that have gone, while something of theirs is at work.
  std::vector<std::unique_ptr<api::Client>> leaving_;
  /// Bytes that wait to be sent to pages.
  std::shared_ptr<std::atomic<std::size_t>> unsent_ = std::make_shared<std::atomic<std::size_t>>(0);
  AgentSessions agents_;
  bool stopping_ = false;
};

/// One that speaks HTTP.
class Server::Implementation::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Implementation& server, tcp::socket socket)
      : server_(server), peer_(peer_of(socket)), stream_(std::move(socket)) {}

  void start() {
    stream_.expires_after(kRequestTime);
    read();
  }
  /// It is awaited, and does not wait.
  [[nodiscard]] bool reading() const { return reading_; }
  [[nodiscard]] const std::string& peer() const { return peer_; }
  void close() {
    beast::error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.close();
  }

 private:
  void read() {
    reading_ = true;
    stream_.async_read_some(asio::buffer(input_), [self = shared_from_this()](
                                                      beast::error_code trouble, std::size_t size) {
      self->reading_ = false;
      self->came(trouble, size);
    });
  }
  void came(beast::error_code trouble, std::size_t size) {
    if (trouble == beast::error::timeout && !reader_.empty()) {
      server_.refuse(peer_, "a request that does not end", {});
    }
    if (trouble) return leave();
    if (reader_.empty()) stream_.expires_after(kRequestTime);
    reader_.feed({input_.data(), size});
    go_on();
  }
  void go_on() {
    switch (reader_.state()) {
      case RequestReader::State::more:
        return read();
      case RequestReader::State::wrong:
        return answer(refused(400, "this is no HTTP"), {}, BodyPart::sent, Afterwards::closes);
      case RequestReader::State::too_large:
        return answer(
            refused(413, "a request has at most " + std::to_string(api::kMostHeaderBytes) +
                             " bytes of headers and a body of " +
                             std::to_string(api::kMostMessageBytes)),
            {}, BodyPart::sent, Afterwards::closes);
      case RequestReader::State::whole:
        return take(reader_.take());
    }
  }
  void take(const Request& request) {
    Route route = route_of(request, server_.options_.token, server_.pages_);
    const auto keep = request.keep_alive ? Afterwards::stays : Afterwards::closes;
    const auto part = request.method == "HEAD" ? BodyPart::left_out : BodyPart::sent;
    switch (route.kind) {
      case Route::Kind::answer:
        // What stands behind a ? is not told: somebody may have put the token there.
        about_ = route.response.status == 403 ? request.host + " " + request.origin
                                              : request.target.substr(0, request.target.find('?'));
        return answer(std::move(route.response), request.host, part, keep);
      case Route::Kind::agent:
        stream_.expires_never();
        server_.agents_.receive(
            request, [self = shared_from_this(), host = request.host, keep](Response response) {
              asio::post(self->server_.io_, [self, host, keep, response = std::move(response)] {
                self->answer(response, host, BodyPart::sent, keep);
              });
            });
        return;
      case Route::Kind::socket:
        if (reader_.has_more() || !reader_.empty()) {
          return answer(refused(400, "bytes before the upgrade"), request.host, BodyPart::sent,
                        Afterwards::closes);
        }
        if (server_.sockets_.size() >= api::kMostPages) {
          return answer(
              refused(503, std::to_string(api::kMostPages) + " pages are connected already"),
              request.host, BodyPart::sent, Afterwards::closes);
        }
        server_.begin_socket(stream_.release_socket(), request);
        return leave();
    }
  }
  void answer(const Response& response, std::string_view host, BodyPart part, Afterwards keep) {
    if (!response.refusal.empty()) server_.refuse(peer_, response.refusal, about_);
    about_.clear();
    // Who is refused may come again.
    const bool ends = keep == Afterwards::closes || response.status == 400 ||
                      response.status == 413 || server_.stopping_;
    output_ = text_of(response, host, part, ends ? Afterwards::closes : keep);
    stream_.expires_after(kSendTime);
    asio::async_write(stream_, asio::buffer(output_),
                      [self = shared_from_this(), ends](beast::error_code trouble, std::size_t) {
                        if (trouble || ends) return self->leave();
                        self->stream_.expires_after(kIdleTime);
                        self->go_on();
                      });
  }
  void leave() {
    close();
    server_.connections_.remove(shared_from_this());
  }

  Implementation& server_;
  std::string peer_;
  beast::tcp_stream stream_;
  std::array<char, kReadBytes> input_{};
  RequestReader reader_;
  std::string output_;
  std::string about_;
  bool reading_ = false;
};

/// A page.
class Server::Implementation::PageSocket : public std::enable_shared_from_this<PageSocket> {
 public:
  PageSocket(Implementation& server, tcp::socket socket)
      : server_(server), peer_(peer_of(socket)), stream_(std::move(socket)), stalled_(server.io_) {}

  void start(const Request& request) {
    websocket::stream_base::timeout times{};
    times.handshake_timeout = kRequestTime;
    times.idle_timeout = kSilentTime;
    times.keep_alive_pings = true;
    stream_.set_option(times);
    stream_.set_option(websocket::stream_base::decorator([](websocket::response_type& answer) {
      answer.set(http::field::sec_websocket_protocol,
                 beast::string_view(kSocketProtocol.data(), kSocketProtocol.size()));
    }));
    stream_.read_message_max(api::kMostMessageBytes);
    stream_.text(true);
    http::request<http::empty_body> upgrade(http::verb::get, request.target, 11);
    upgrade.set(http::field::host, request.host);
    upgrade.set(http::field::upgrade, "websocket");
    upgrade.set(http::field::connection, "upgrade");
    upgrade.set(http::field::sec_websocket_key, request.socket_key);
    upgrade.set(http::field::sec_websocket_version, request.socket_version);
    stream_.async_accept(upgrade, [self = shared_from_this()](beast::error_code trouble) {
      if (trouble) return self->leave("no handshake");
      self->greet();
    });
  }
  void say_goodbye() {
    if (!open_) return close();
    stream_.async_close(websocket::close_code::going_away,
                        [self = shared_from_this()](beast::error_code) {});
  }
  void give_up() { leave(std::string()); }
  void close() {
    beast::error_code ignored;
    beast::get_lowest_layer(stream_).socket().close(ignored);
  }

 private:
  void greet() {
    open_ = true;
    server_.log(peer_ + " is connected");
    // Its messages come from other threads; the page itself belongs to this one.
    outgoing_ =
        std::make_shared<Outgoing>(server_.unsent_, [&io = server_.io_, weak = weak_from_this()] {
          asio::post(io, [weak] {
            if (const auto self = weak.lock()) self->send();
          });
        });
    client_ = server_.options_.greet_page(
        [outgoing = outgoing_](const std::string& message) { outgoing->add(message); });
    read();
  }
  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code trouble,
                                                            std::size_t) { self->came(trouble); });
  }
  void came(beast::error_code trouble) {
    if (trouble == websocket::error::message_too_big) {
      return leave("a message over " + std::to_string(api::kMostMessageBytes) + " bytes");
    }
    if (trouble) return leave(std::string());
    if (!client_) return;
    if (stream_.got_binary()) {
      server_.refuse(peer_, "a binary message", {});
      return part(websocket::close_code::unknown_data);
    }
    const auto data = buffer_.cdata();
    client_->receive({static_cast<const char*>(data.data()), data.size()});
    buffer_.consume(buffer_.size());
    read();
  }
  void send() {
    if (!open_ || !outgoing_) return;
    if (outgoing_->overflowed()) return leave("does not read what it asked for");
    if (sending_ || !outgoing_->next(message_)) return;
    sending_ = true;
    stalled_.expires_after(kSendTime);
    stalled_.async_wait([weak = weak_from_this()](beast::error_code cancelled) {
      const auto self = weak.lock();
      if (!cancelled && self) self->leave("does not read what it asked for");
    });
    stream_.async_write(asio::buffer(message_),
                        [self = shared_from_this()](beast::error_code trouble, std::size_t) {
                          self->sending_ = false;
                          self->stalled_.cancel();
                          if (trouble) return self->leave(std::string());
                          if (self->outgoing_) self->outgoing_->sent(self->message_.size());
                          self->send();
                        });
  }
  void part(websocket::close_code code) {
    open_ = false;
    stream_.async_close(
        code, [self = shared_from_this()](beast::error_code) { self->leave(std::string()); });
  }
  /// Its client goes when nothing is at work for it any more: that may take others' time.
  void leave(const std::string& refusal) {
    if (!refusal.empty()) server_.refuse(peer_, refusal, {});
    open_ = false;
    stalled_.cancel();
    if (outgoing_) outgoing_->close();
    outgoing_.reset();
    if (client_) {
      server_.log(peer_ + " is gone");
      client_->cancel_all();
      server_.leaving_.push_back(std::move(client_));
    }
    close();
    server_.sockets_.remove(shared_from_this());
  }

  Implementation& server_;
  std::string peer_;
  websocket::stream<beast::tcp_stream> stream_;
  asio::steady_timer stalled_;
  beast::flat_buffer buffer_;
  std::shared_ptr<Outgoing> outgoing_;
  std::unique_ptr<api::Client> client_;
  std::string message_;
  bool open_ = false;
  bool sending_ = false;
};

Server::Implementation::Implementation(ServerOptions options)
    : options_(std::move(options)),
      pages_(options_.pages_folder),
      refusals_(options_.log),
      agents_(options_.greet_agent) {
  listen();
}

void Server::Implementation::listen() {
  const std::string& text = options_.listen;
  const std::size_t colon = text.rfind(':');
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorCode::usage, "--listen: \"" + text + "\" " + why);
  };
  if (colon == std::string::npos) throw wrong("is not ADDRESS:PORT, as 127.0.0.1:8080");
  std::string name = text.substr(0, colon);
  if (name == "localhost") name = "127.0.0.1";
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  const std::uint64_t port = parse_number(text.substr(colon + 1), "--listen");
  beast::error_code trouble;
  const asio::ip::address address = asio::ip::make_address(name, trouble);
  if (trouble || port > 65535) throw wrong("is not ADDRESS:PORT, as 127.0.0.1:8080");
  const bool is_usual = address.is_v6() || address.to_v4() == asio::ip::address_v4::loopback();
  if (address.is_loopback() && !is_usual) {
    throw wrong("is another name of this host than browsers know: 127.0.0.1 or [::1]");
  }
  if (!address.is_loopback()) {
    throw wrong("is not an address of this host alone; forward the port with ssh instead");
  }
  const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(port));
  acceptor_.open(endpoint.protocol(), trouble);
  if (!trouble) acceptor_.set_option(asio::socket_base::reuse_address(true), trouble);
  if (!trouble) acceptor_.bind(endpoint, trouble);
  if (!trouble) acceptor_.listen(asio::socket_base::max_listen_connections, trouble);
  if (trouble) throw Error(ErrorCode::host, text + ": " + trouble.message());
  address_ = (address.is_v6() ? "[::1]" : "127.0.0.1") + std::string(":") +
             std::to_string(acceptor_.local_endpoint().port());
}

void Server::Implementation::accept() {
  acceptor_.async_accept([this](beast::error_code trouble, tcp::socket socket) {
    if (stopping_) return;
    if (trouble) {
      // Out of descriptors, or the client left the queue: both pass.
      retry_.expires_after(kAcceptRetry);
      retry_.async_wait([this](beast::error_code cancelled) {
        if (!cancelled && !stopping_) accept();
      });
      return;
    }
    make_room();
    connections_.push_back(std::make_shared<Connection>(*this, std::move(socket)));
    connections_.back()->start();
    accept();
  });
}

/// Of too many, the first one goes that has not asked yet.
void Server::Implementation::make_room() {
  if (connections_.size() < api::kMostConnections) return;
  const auto idle = std::find_if(connections_.begin(), connections_.end(),
                                 [](const auto& one) { return one->reading(); });
  const auto gone = idle != connections_.end() ? idle : connections_.begin();
  const std::shared_ptr<Connection> one = *gone;
  connections_.erase(gone);
  refuse(one->peer(), std::to_string(api::kMostConnections) + " connections are open", {});
  one->close();
}

void Server::Implementation::begin_socket(tcp::socket socket, const Request& request) {
  sockets_.push_back(std::make_shared<PageSocket>(*this, std::move(socket)));
  sockets_.back()->start(request);
}

void Server::Implementation::tick(CancelToken stop) {
  std::erase_if(leaving_, [](const auto& client) { return client->idle(); });
  agents_.sweep();
  refusals_.tell_left_out(monotonic_ns());
  if (stop.requested()) {
    stopping_ = true;
    acceptor_.close();
    retry_.cancel();
    agents_.cancel_all();
    for (const auto& socket : sockets_) socket->say_goodbye();
    ticker_.expires_after(kFarewell);
    ticker_.async_wait([this](beast::error_code) { io_.stop(); });
    return;
  }
  ticker_.expires_after(kTick);
  ticker_.async_wait([this, stop](beast::error_code cancelled) {
    if (!cancelled) tick(stop);
  });
}

void Server::Implementation::run(CancelToken stop) {
  accept();
  tick(stop);
  io_.run();
  // Nobody gives answers to what is being taken apart.
  while (!sockets_.empty()) sockets_.front()->give_up();
  leaving_.clear();
  refusals_.finish();
}

Server::Server(ServerOptions options)
    : implementation_(std::make_unique<Implementation>(std::move(options))) {}
Server::~Server() = default;
std::string Server::url() const { return implementation_->url(); }
void Server::run(CancelToken stop) { implementation_->run(stop); }

}  // namespace chronovisor::serve
