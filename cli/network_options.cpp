#include "cli/network_options.h"

#include <optional>
#include <string_view>

#include "base/error.h"
#include "cli/parser.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::cli {
namespace {

constexpr std::string_view kNetworkValues =
    "none|user|user,restrict|user,loopback|user,hostfwd=tcp::PORT-:PORT|user,tftp=DIR|"
    "user,bootfile=NAME|stream:unix:PATH|stream:tcp:HOST:PORT|dgram:unix:PATH:PATH|dgram:udp:HOST:"
    "PORT:HOST:PORT|tap:IFNAME|pcap:FILE";

struct Given {
  CardConfig card;
  bool has_model = false;
  bool has_address = false;
  NetworkOptions network;
};

Given parse(const std::string& text, unsigned number) {
  Given given;
  given.card.address = usual_mac_address(number);
  std::string rest;
  bool first = true;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    const std::string word = text.substr(from, end - from);
    from = end + 1;
    if (word == "model=e1000" || word == "model=virtio") {
      given.has_model = true;
      given.card.model =
          word == "model=virtio" ? CardConfig::Model::virtio : CardConfig::Model::e1000;
    } else if (word.starts_with("model=")) {
      throw Error(ErrorCode::usage, "--net " + text + ": \"" + word.substr(6) +
                                        "\" is none of the cards e1000 and virtio");
    } else if (word.starts_with("mac=")) {
      const std::optional<MacAddress> address = parse_mac(word.substr(4));
      if (!address) {
        throw Error(ErrorCode::usage,
                    "--net " + text + ": \"" + word.substr(4) + "\" is no MAC address");
      }
      if (((*address)[0] & 1) != 0) {
        throw Error(ErrorCode::usage,
                    "--net " + text + ": " + word.substr(4) + " is the address of a group");
      }
      given.has_address = true;
      given.card.address = *address;
    } else {
      rest += (first ? "" : ",") + word;
      first = false;
    }
  }
  given.network = parse_network(rest);
  return given;
}

}  // namespace

void require_network_card(const MachineConfig& machine, const std::string& name) {
  if (!machine.cards.empty()) return;
  throw Error(ErrorCode::bad_input, name + ": its machine has no network card");
}

Networks parse_networks(const NetOptions& options) {
  Networks networks;
  for (const std::string& text : options.networks) {
    Given given = parse(text, static_cast<unsigned>(networks.cards.size()));
    for (const CardConfig& other : networks.cards) {
      if (other.address == given.card.address) {
        throw Error(ErrorCode::usage,
                    "--net: two cards have the address " + mac_text(other.address) + " (mac=)");
      }
    }
    networks.cards.push_back(given.card);
    networks.networks.push_back(std::move(given.network));
  }
  return networks;
}

std::vector<NetworkOptions> plug_networks(const NetOptions& options,
                                          const std::vector<CardConfig>& cards) {
  if (options.networks.size() > cards.size()) {
    throw Error(ErrorCode::usage,
                "--net: the machine has " + std::to_string(cards.size()) + " network cards, and " +
                    std::to_string(options.networks.size()) + " networks are to be plugged in");
  }
  std::vector<NetworkOptions> networks;
  for (const std::string& text : options.networks) {
    Given given = parse(text, static_cast<unsigned>(networks.size()));
    if (given.has_model || given.has_address) {
      throw Error(ErrorCode::usage, "--net " + text + ": the card is there, model and address too");
    }
    networks.push_back(std::move(given.network));
  }
  networks.resize(cards.size());
  return networks;
}

void add_net_options(Command& command, NetOptions& options) {
  command
      .add_option("--net", options.networks,
                  "A network card, and what it is plugged into (docs/NETWORK.md). With any: "
                  "model=e1000|virtio (e1000), mac=ADDRESS. Repeatable")
      .type_name(std::string(kNetworkValues) + "|none,model=virtio|none,mac=ADDRESS")
      .allow_extra_args(false);
}

void add_plug_options(Command& command, NetOptions& options) {
  command
      .add_option("--net", options.networks,
                  "What the machine's network cards are plugged into, the first option for the "
                  "first card (none; docs/NETWORK.md). Repeatable")
      .type_name(std::string(kNetworkValues))
      .allow_extra_args(false);
}

}  // namespace chronovisor::cli
