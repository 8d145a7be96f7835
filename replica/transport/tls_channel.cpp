#include "replica/transport/tls_channel.h"

#include "base/error.h"

#ifdef CHRONOVISOR_HAS_OPENSSL

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace chronovisor::replica {
namespace {

constexpr std::string_view kIdentity = "chronovisor";

std::string last_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the connection was lost";
  const char* const reason = ERR_reason_error_string(code);
  return std::string("TLS: ") + (reason != nullptr ? reason : "an error without a name") +
         " (is the key the same at both ends?)";
}

class TlsChannel;
const PresharedKey& key_of(const SSL* ssl);

unsigned copy_key(const PresharedKey& key, unsigned char* out, unsigned most) {
  if (key.key.size() > most) return 0;
  std::copy(key.key.begin(), key.key.end(), out);
  return static_cast<unsigned>(key.key.size());
}

// OpenSSL uses what these give for TLS 1.3 as well, with SHA-256.
// Source: SSL_CTX_set_psk_client_callback(3), SSL_CTX_set_psk_server_callback(3).
unsigned give_client_key(SSL* ssl, const char* /*hint*/, char* identity, unsigned most_identity,
                         unsigned char* key, unsigned most_key) {
  if (most_identity <= kIdentity.size()) return 0;
  std::memcpy(identity, kIdentity.data(), kIdentity.size());
  identity[kIdentity.size()] = 0;
  return copy_key(key_of(ssl), key, most_key);
}

unsigned give_server_key(SSL* ssl, const char* identity, unsigned char* key, unsigned most_key) {
  if (identity == nullptr || kIdentity != identity) return 0;
  return copy_key(key_of(ssl), key, most_key);
}

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSession {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

class TlsChannel final : public Channel {
 public:
  TlsChannel(Descriptor socket, ChannelEnd end, PresharedKey key)
      : socket_(std::move(socket)), key_(std::move(key)), context_(SSL_CTX_new(TLS_method())) {
    const bool ready =
        context_ && SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_ciphersuites(context_.get(),
                                 "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") == 1;
    if (!ready) throw Error(ErrorCode::host, last_error());
    // A server that has no key, and shows a certificate instead, is none of ours.
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context_.get(), 0);
    SSL_CTX_set_mode(context_.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_psk_client_callback(context_.get(), give_client_key);
    SSL_CTX_set_psk_server_callback(context_.get(), give_server_key);
    ssl_.reset(SSL_new(context_.get()));
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.get()) != 1) {
      throw Error(ErrorCode::host, last_error());
    }
    SSL_set_app_data(ssl_.get(), this);
    if (end == ChannelEnd::connects) {
      SSL_set_connect_state(ssl_.get());
    } else {
      // A server takes a key that it knows for a session gone on with, and asks whose.
      SSL_set_session_id_context(ssl_.get(),
                                 reinterpret_cast<const unsigned char*>(kIdentity.data()),
                                 static_cast<unsigned>(kIdentity.size()));
      SSL_set_accept_state(ssl_.get());
    }
  }

  std::size_t read_some(std::span<std::uint8_t> out) override {
    std::size_t got = 0;
    if (SSL_read_ex(ssl_.get(), out.data(), out.size(), &got) == 1) {
      wants_to_write_ = false;
      return got;
    }
    look_at_failure();
    return 0;
  }
  std::size_t write_some(ByteView data) override {
    std::size_t done = 0;
    if (SSL_write_ex(ssl_.get(), data.data(), data.size(), &done) == 1) {
      wants_to_write_ = false;
      return done;
    }
    look_at_failure();
    return 0;
  }
  [[nodiscard]] int descriptor() const override { return socket_.get(); }
  [[nodiscard]] bool wants_to_write() const override { return wants_to_write_; }
  [[nodiscard]] const PresharedKey& key() const { return key_; }

 private:
  void look_at_failure() {
    const int why = SSL_get_error(ssl_.get(), 0);
    wants_to_write_ = why == SSL_ERROR_WANT_WRITE;
    if (wants_to_write_ || why == SSL_ERROR_WANT_READ) return;
    if (why == SSL_ERROR_ZERO_RETURN) throw Error(ErrorCode::host, "the connection was closed");
    throw Error(ErrorCode::host, last_error());
  }

  Descriptor socket_;
  PresharedKey key_;
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::unique_ptr<SSL, FreeSession> ssl_;
  bool wants_to_write_ = false;
};

const PresharedKey& key_of(const SSL* ssl) {
  return static_cast<const TlsChannel*>(SSL_get_app_data(ssl))->key();
}

}  // namespace

bool has_tls() { return true; }

std::unique_ptr<Channel> make_tls_channel(Descriptor socket, ChannelEnd end,
                                          const PresharedKey& key) {
  return std::make_unique<TlsChannel>(std::move(socket), end, key);
}

}  // namespace chronovisor::replica

#else

namespace chronovisor::replica {

bool has_tls() { return false; }

std::unique_ptr<Channel> make_tls_channel(Descriptor /*socket*/, ChannelEnd /*end*/,
                                          const PresharedKey& /*key*/) {
  throw Error(ErrorCode::usage, "this program was built without OpenSSL");
}

}  // namespace chronovisor::replica

#endif
