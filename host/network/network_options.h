// Owns what the words of --net mean. Knows no socket and no card. Values; any thread.
//
//   none
//   user[,hostfwd=tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT]...[,restrict][,loopback]
//       [,tftp=FOLDER][,bootfile=NAME]
//   stream:unix:PATH | stream:tcp:HOST:PORT           [,listen]
//   dgram:unix:LOCAL:REMOTE | dgram:udp:HOST:PORT:HOST:PORT
//   tap:IFNAME
//   pcap:FILE                                         [,start=SECONDS]
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace chronovisor {

struct NetworkOptions {
  enum class Kind : std::uint8_t {
    none,
    user,
    stream_unix,
    stream_tcp,
    dgram_unix,
    dgram_udp,
    tap,
    pcap
  };
  /// A port of the host that leads into the guest.
  struct Forward {
    bool udp = false;
    std::string host_address;  ///< empty: 127.0.0.1
    std::uint16_t host_port = 0;
    std::string guest_address;  ///< empty: the first that DHCP gives
    std::uint16_t guest_port = 0;
  };

  Kind kind = Kind::none;
  std::string place;  ///< path, host or interface
  std::uint16_t port = 0;
  std::string remote;  ///< of datagrams
  std::uint16_t remote_port = 0;
  bool listen = false;      ///< waits for the other end
  bool restricted = false;  ///< nothing but forwarded ports reaches in or out
  bool loopback = false;    ///< 10.0.2.2 is the host's loopback
  std::vector<Forward> forwards;
  std::string tftp_folder;     ///< whose files the gateway gives by TFTP; empty: none
  std::string boot_file;       ///< which DHCP says to start from; empty: none
  std::uint64_t start_ns = 0;  ///< virtual time at which a capture's first frame comes
};

/// Throws Error{usage} that says which word is meant.
[[nodiscard]] NetworkOptions parse_network(const std::string& text);

}  // namespace chronovisor
