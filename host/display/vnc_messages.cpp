#include "host/display/vnc_messages.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace chronovisor {
namespace {

constexpr std::uint8_t kSecurityNone = 1;
constexpr std::uint8_t kSecurityVnc = 2;
constexpr std::size_t kResponseBytes = 16;

std::size_t u16_at(ByteView bytes, std::size_t at) {
  return std::size_t{bytes[at]} << 8 | bytes[at + 1];
}

std::size_t u32_at(ByteView bytes, std::size_t at) {
  return u16_at(bytes, at) << 16 | u16_at(bytes, at + 2);
}

/// The length of the message that begins there; 0: not known yet; nothing: it is none.
std::optional<std::size_t> length_of(ByteView bytes) {
  const auto counted = [&](std::size_t head, auto&& length) -> std::size_t {
    return bytes.size() < head ? 0 : head + length();
  };
  switch (bytes[0]) {
    case 0:  // SetPixelFormat
      return 20;
    case 2:  // SetEncodings
      return counted(4, [&] { return 4 * u16_at(bytes, 2); });
    case 3:  // FramebufferUpdateRequest
      return 10;
    case 4:  // KeyEvent
      return 8;
    case 5:  // PointerEvent
      return 6;
    case 6:  // ClientCutText; a negative length is that of an extended one
      return counted(8, [&] {
        const auto length = static_cast<std::uint32_t>(u32_at(bytes, 4));
        return std::size_t{(length >> 31) != 0 ? 0U - length : length};
      });
    case 8:  // SetScale, of two kinds of viewers
    case 15:
    case 250:  // xvp
      return 4;
    case 150:  // EnableContinuousUpdates
      return 10;
    case 251:  // SetDesktopSize
      return counted(8, [&] { return 16 * std::size_t{bytes[6]}; });
    default:
      return std::nullopt;
  }
}

}  // namespace

/// "RFB 003.008\n", whatever the number behind the point.
std::optional<std::size_t> VncMessages::take_greeting(ByteView bytes) {
  constexpr std::string_view kForm = "RFB 003.ddd\n";
  static_assert(kForm.size() == kGreetingBytes);
  std::size_t minor = 0;
  for (std::size_t n = 0; n < std::min(bytes.size(), kForm.size()); ++n) {
    const bool digit = bytes[n] >= '0' && bytes[n] <= '9';
    if (kForm[n] == 'd' ? !digit : bytes[n] != static_cast<std::uint8_t>(kForm[n])) {
      return std::nullopt;
    }
    if (kForm[n] == 'd') minor = minor * 10 + (bytes[n] - std::size_t{'0'});
  }
  if (bytes.size() < kForm.size()) return 0;
  // Up to 3.6 the server says what security there is, from 3.7 on the viewer chooses.
  stage_ = minor >= 7 ? Stage::security : has_password_ ? Stage::response : Stage::init;
  return kForm.size();
}

std::optional<std::size_t> VncMessages::take(ByteView bytes) {
  if (bytes.empty()) return 0;
  switch (stage_) {
    case Stage::greeting:
      return take_greeting(bytes);
    case Stage::security:
      if (bytes[0] != (has_password_ ? kSecurityVnc : kSecurityNone)) return std::nullopt;
      stage_ = has_password_ ? Stage::response : Stage::init;
      return 1;
    case Stage::response:
      if (bytes.size() < kResponseBytes) return 0;
      stage_ = Stage::init;
      return kResponseBytes;
    case Stage::init:
      stage_ = Stage::messages;
      return 1;
    case Stage::messages:
      break;
  }
  const std::optional<std::size_t> length = length_of(bytes);
  if (!length || *length > kMostBytes) return std::nullopt;
  return bytes.size() < *length ? 0 : *length;
}

}  // namespace chronovisor
