// Owns a connection as frames: what is to be sent waits here, what came is whole messages.
// Knows nothing of what they mean. One thread.
#pragma once

#include <memory>
#include <optional>

#include "replica/protocol/frame.h"
#include "replica/transport/channel.h"

namespace chronovisor::replica {

class Link {
 public:
  explicit Link(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}

  void set_session(const SessionId& session) {
    writer_.set_session(session);
    reader_.set_session(session);
  }
  void send(const Message& message) { writer_.write(message, unsent_); }
  /// Reads what there is. Throws Error{host} when the connection is gone.
  void read();
  /// The next message that came. Throws Error{bad_input}.
  [[nodiscard]] std::optional<Message> next() { return reader_.next(); }
  /// Writes what can be written. Throws Error{host}.
  void write();

  [[nodiscard]] std::size_t unsent_bytes() const { return unsent_.size() - unsent_from_; }
  [[nodiscard]] std::uint64_t sent_bytes() const { return sent_bytes_; }
  [[nodiscard]] int descriptor() const { return channel_->descriptor(); }
  /// What to wait for, as poll() has it.
  [[nodiscard]] short events() const;

 private:
  std::unique_ptr<Channel> channel_;
  FrameWriter writer_;
  FrameReader reader_;
  Bytes buffer_ = Bytes(64U << 10);  ///< read() reads into it
  Bytes unsent_;
  std::size_t unsent_from_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace chronovisor::replica
