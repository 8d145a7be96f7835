// Owns where what a viewer sends begins and ends, so that no more than whole messages get to
// the library that serves it, which waits in the middle of one. Knows no socket.
// Source: RFC 6143, and the community's list of its extensions. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace chronovisor {

class VncMessages {
 public:
  /// What a server says first, and a viewer answers with its own.
  static constexpr const char* kGreeting = "RFB 003.008\n";
  static constexpr std::size_t kGreetingBytes = 12;
  /// The longest that is let through: a megabyte of clipboard.
  static constexpr std::size_t kMostBytes = (std::size_t{1} << 20) + 64;

  explicit VncMessages(bool has_password) : has_password_(has_password) {}

  /// Takes the next message off the start of `bytes`.
  /// @return its length; 0: more of it has to come; nothing: it is none that a viewer may send
  [[nodiscard]] std::optional<std::size_t> take(ByteView bytes);
  /// The viewer has said which protocol it speaks.
  [[nodiscard]] bool greeted() const { return stage_ != Stage::greeting; }
  /// It has been let in, or thinks so.
  [[nodiscard]] bool logged_in() const { return stage_ == Stage::messages; }

 private:
  enum class Stage : std::uint8_t { greeting, security, response, init, messages };

  std::optional<std::size_t> take_greeting(ByteView bytes);

  bool has_password_;
  Stage stage_ = Stage::greeting;
};

}  // namespace chronovisor
