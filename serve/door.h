// Owns who may come in: the token, and what a browser says of the page that asks. Other
// pages that somebody has open reach this host's own addresses, under names of their choice
// (DNS rebinding); so a name must be the host's own, and a page must be ours. Knows no
// socket. Values; any thread.
#pragma once

#include <string>
#include <string_view>

namespace chronovisor::serve {

/// 256 bits of the host's entropy, in hexadecimal digits.
[[nodiscard]] std::string new_token();

/// Whether both are the same, in a time that does not depend on where they differ.
[[nodiscard]] bool same_secret(std::string_view given, std::string_view kept);

/// Whether both are the same but for the case of ASCII letters, as names of hosts and schemes
/// are compared (RFC 9110, 4.2.3 and 11.1).
[[nodiscard]] bool same_word(std::string_view a, std::string_view b);

/// Whether a Host header names this host itself: 127.0.0.1, [::1] or localhost, with any
/// port, since ports are forwarded.
[[nodiscard]] bool is_own_host(std::string_view host);

/// Whether an Origin header is of a page that was served under `host`.
[[nodiscard]] bool is_own_origin(std::string_view origin, std::string_view host);

}  // namespace chronovisor::serve
