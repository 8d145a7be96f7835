// Owns what the command line says of network cards: the option, the cards of a machine and
// what each is plugged into. Main thread.
#pragma once

#include <string>
#include <vector>

#include "host/network/network_options.h"
#include "vmm/devices/core/card.h"
#include "vmm/machine/machine.h"

namespace chronovisor::cli {

class Command;

struct NetOptions {
  std::vector<std::string> networks;
};
/// For a machine that is made, which gets a card for each.
void add_net_options(Command& command, NetOptions& options);
/// For a machine that has its cards.
void add_plug_options(Command& command, NetOptions& options);

/// Cards, and what each is plugged into.
struct Networks {
  std::vector<CardConfig> cards;
  std::vector<NetworkOptions> networks;
};
/// Throws Error{bad_input} for a recording, `name`, whose machine has no card.
void require_network_card(const MachineConfig& machine, const std::string& name);
/// Throws Error{usage}.
[[nodiscard]] Networks parse_networks(const NetOptions& options);
/// For cards that are there; one that nothing is said of is plugged into nothing. Throws
/// Error{usage}, also when there are fewer cards.
[[nodiscard]] std::vector<NetworkOptions> plug_networks(const NetOptions& options,
                                                        const std::vector<CardConfig>& cards);

}  // namespace chronovisor::cli
