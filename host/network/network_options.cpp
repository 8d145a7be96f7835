#include "host/network/network_options.h"

#include <algorithm>

#include "base/error.h"
#include "host/host.h"

namespace chronovisor {
namespace {

using Kind = NetworkOptions::Kind;

/// What a DHCP answer has room for.
constexpr std::size_t kLongestBootFile = 127;

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw Error(ErrorCode::usage, "--net " + text + ": " + why);
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (true) {
    const std::size_t end = text.find(at, from);
    parts.push_back(text.substr(from, end == std::string::npos ? end : end - from));
    if (end == std::string::npos) return parts;
    from = end + 1;
  }
}

std::uint16_t port_of(const std::string& text, const std::string& word) {
  const std::uint64_t value = parse_number(word, "--net " + text);
  if (value == 0 || value > 65535) refuse(text, "\"" + word + "\" is no port");
  return static_cast<std::uint16_t>(value);
}

/// What a word says behind its "=".
std::string value_of(const std::string& text, const std::string& word) {
  const std::size_t at = word.find('=') + 1;
  if (at == word.size()) refuse(text, "\"" + word + "\" says nothing");
  return word.substr(at);
}

/// "1.5", in nanoseconds.
std::uint64_t seconds_of(const std::string& text, const std::string& word) {
  constexpr std::size_t kMostDigits = 9;
  const std::size_t point = word.find('.');
  std::string fraction = point == std::string::npos ? "" : word.substr(point + 1);
  const std::string whole = word.substr(0, point);
  const bool digits = (whole + fraction).find_first_not_of("0123456789") == std::string::npos;
  if (!digits || whole.empty() || whole.size() > kMostDigits || fraction.size() > kMostDigits) {
    refuse(text, "\"" + word + "\" is no number of seconds");
  }
  fraction.resize(kMostDigits, '0');
  return std::stoull(whole) * 1'000'000'000 + std::stoull(fraction);
}

/// tcp:[ADDRESS]:PORT-[ADDRESS]:PORT
NetworkOptions::Forward forward_of(const std::string& text, const std::string& word) {
  const std::size_t colon = word.find(':');
  const std::size_t dash = word.find('-');
  if (colon == std::string::npos || dash == std::string::npos || dash < colon) {
    refuse(text, "hostfwd is tcp:[ADDRESS]:PORT-[ADDRESS]:PORT, not \"" + word + "\"");
  }
  NetworkOptions::Forward forward;
  const std::string protocol = word.substr(0, colon);
  if (protocol != "tcp" && protocol != "udp") {
    refuse(text, "hostfwd: \"" + protocol + "\" is neither tcp nor udp");
  }
  forward.udp = protocol == "udp";
  const auto place = [&](const std::string& part, std::string& address, std::uint16_t& port) {
    const std::size_t at = part.rfind(':');
    if (at == std::string::npos) refuse(text, "hostfwd: \"" + part + "\" has no port");
    address = part.substr(0, at);
    port = port_of(text, part.substr(at + 1));
  };
  place(word.substr(colon + 1, dash - colon - 1), forward.host_address, forward.host_port);
  place(word.substr(dash + 1), forward.guest_address, forward.guest_port);
  return forward;
}

void parse_place(const std::string& text, const std::string& word, NetworkOptions& options) {
  const std::vector<std::string> parts = split(word, ':');
  const auto is = [&](std::size_t count, const char* first, const char* second) {
    return parts.size() == count && parts[0] == first && (second == nullptr || parts[1] == second);
  };
  const bool whole = std::none_of(parts.begin(), parts.end(),
                                  [](const std::string& part) { return part.empty(); });
  if (!whole) refuse(text, "a part of \"" + word + "\" is empty");
  if (is(1, "none", nullptr)) {
    options.kind = Kind::none;
  } else if (is(1, "user", nullptr)) {
    options.kind = Kind::user;
  } else if (is(3, "stream", "unix")) {
    options.kind = Kind::stream_unix;
    options.place = parts[2];
  } else if (is(4, "stream", "tcp")) {
    options.kind = Kind::stream_tcp;
    options.place = parts[2];
    options.port = port_of(text, parts[3]);
  } else if (is(4, "dgram", "unix")) {
    options.kind = Kind::dgram_unix;
    options.place = parts[2];
    options.remote = parts[3];
  } else if (is(6, "dgram", "udp")) {
    options.kind = Kind::dgram_udp;
    options.place = parts[2];
    options.port = port_of(text, parts[3]);
    options.remote = parts[4];
    options.remote_port = port_of(text, parts[5]);
  } else if (is(2, "tap", nullptr)) {
    options.kind = Kind::tap;
    options.place = parts[1];
  } else if (word.starts_with("pcap:")) {
    options.kind = Kind::pcap;
    options.place = word.substr(5);
  } else {
    refuse(text,
           "it is one of none, user, stream:unix:PATH, stream:tcp:HOST:PORT, "
           "dgram:unix:LOCAL:REMOTE, dgram:udp:HOST:PORT:HOST:PORT, tap:IFNAME and pcap:FILE");
  }
}

}  // namespace

NetworkOptions parse_network(const std::string& text) {
  NetworkOptions options;
  const std::vector<std::string> words = split(text, ',');
  parse_place(text, words[0], options);
  const bool stream = options.kind == Kind::stream_unix || options.kind == Kind::stream_tcp;
  const bool user = options.kind == Kind::user;
  for (std::size_t n = 1; n < words.size(); ++n) {
    const std::string& word = words[n];
    if (stream && word == "listen") {
      options.listen = true;
    } else if (user && word == "restrict") {
      options.restricted = true;
    } else if (user && word == "loopback") {
      options.loopback = true;
    } else if (options.kind == Kind::pcap && word.starts_with("start=")) {
      options.start_ns = seconds_of(text, word.substr(6));
    } else if (user && word.starts_with("hostfwd=")) {
      options.forwards.push_back(forward_of(text, word.substr(8)));
    } else if (user && word.starts_with("tftp=")) {
      options.tftp_folder = value_of(text, word);
    } else if (user && word.starts_with("bootfile=")) {
      options.boot_file = value_of(text, word);
      if (options.boot_file.size() > kLongestBootFile)
        refuse(text, "the name of the file is too long");
    } else {
      refuse(text, "\"" + word + "\" does not go with " + words[0]);
    }
  }
  return options;
}

}  // namespace chronovisor
