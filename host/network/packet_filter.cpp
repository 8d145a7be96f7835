#include "host/network/packet_filter.h"

#include <pcap/pcap.h>

#include "base/error.h"
#include "host/dynamic_library.h"

namespace chronovisor {
namespace {

constexpr int kLongestPacket = 262144;

/// The functions that are used, as pcap.h declares them.
struct PcapLibrary {
  decltype(&::pcap_open_dead) open_dead;
  decltype(&::pcap_compile) compile;
  decltype(&::pcap_geterr) error;
  decltype(&::pcap_close) close;
  decltype(&::pcap_freecode) free_code;
  decltype(&::pcap_offline_filter) filter;
};

PcapLibrary load() {
  const DynamicLibrary library({"libpcap.so.0.8", "libpcap", "libpcap0.8", "--filter"});
  PcapLibrary pcap{};
  library.find("pcap_open_dead", pcap.open_dead);
  library.find("pcap_compile", pcap.compile);
  library.find("pcap_geterr", pcap.error);
  library.find("pcap_close", pcap.close);
  library.find("pcap_freecode", pcap.free_code);
  library.find("pcap_offline_filter", pcap.filter);
  return pcap;
}

const PcapLibrary& library() {
  static const PcapLibrary pcap = load();
  return pcap;
}

}  // namespace

struct PacketFilter::Program {
  bpf_program code{};
};

PacketFilter::PacketFilter(const std::string& expression) : program_(std::make_unique<Program>()) {
  const PcapLibrary& pcap = library();
  pcap_t* const handle = pcap.open_dead(DLT_EN10MB, kLongestPacket);
  if (handle == nullptr) throw Error(ErrorCode::host, "--filter: libpcap does not start");
  const bool compiled =
      pcap.compile(handle, &program_->code, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) == 0;
  const std::string why = compiled ? "" : pcap.error(handle);
  pcap.close(handle);
  if (!compiled) throw Error(ErrorCode::usage, "--filter: \"" + expression + "\": " + why);
}

PacketFilter::~PacketFilter() { library().free_code(&program_->code); }

bool PacketFilter::matches(ByteView bytes, std::size_t length_bytes) const {
  pcap_pkthdr header{};
  header.caplen = static_cast<bpf_u_int32>(bytes.size());
  header.len = static_cast<bpf_u_int32>(length_bytes);
  return library().filter(&program_->code, &header, bytes.data()) != 0;
}

}  // namespace chronovisor
