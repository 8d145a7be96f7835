// query packets: what came and went by the network, one a line.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/found_list.h"
#include "cli/list_options.h"
#include "cli/network_options.h"
#include "cli/open_recording.h"
#include "cli/query_packets.h"
#include "cli/recorded_walk.h"
#include "cli/shard_option.h"
#include "host/network/packet_filter.h"
#include "inspect/packet_text.h"
#include "recorder/format/start_condition.h"
#include "session/query_document.h"
#include "timetravel/packets.h"

namespace chronovisor::cli {
namespace {

struct PacketOptions {
  ListOptions list;
  std::string filter;
  std::string shard;
  bool count = false;
};

nlohmann::ordered_json json_of(const WholePacket& packet, std::uint64_t virtual_ns) {
  const bool received = packet.place.direction == PacketPlace::Direction::received;
  return {{"packet", packet.place.number},
          {"direction", received ? "received" : "sent"},
          {"card", packet.place.card},
          {"position", packet.place.position.steps},
          {"virtual_ns", virtual_ns},
          {"length", packet.place.length_bytes},
          {"text", packet.bytes.empty() ? "" : packet_text(packet.bytes)}};
}

void print(const WholePacket& packet, std::uint64_t virtual_ns) {
  const bool received = packet.place.direction == PacketPlace::Direction::received;
  std::printf("%8s %14.6f %16s net%u %s %5u  %s\n", grouped(packet.place.number).c_str(),
              static_cast<double>(virtual_ns) / 1e9, grouped(packet.place.position.steps).c_str(),
              packet.place.card, received ? "in " : "out", packet.place.length_bytes,
              packet.bytes.empty() ? "" : packet_text(packet.bytes).c_str());
}

/// Behind everything that came or went.
Position past_end(const RecordingReader& reader) { return {reader.usable_to().steps + 1}; }

/// The packets of one shard, one behind the other: of the sent ones a replay makes the bytes.
void part_of(PacketWalk& walk, const Shard& shard, Position end) {
  const std::uint64_t from = walk.from.steps;
  const std::uint64_t steps = std::max(std::min(walk.to, end).steps, from) - from;
  const auto begin = [&](std::uint64_t number) {
    return Position{from + steps / shard.of * number + steps % shard.of * number / shard.of};
  };
  walk.from = begin(shard.number - 1);
  if (shard.number < shard.of) walk.to = begin(shard.number);
}

int query_packets(const PacketOptions& options) {
  const std::uint64_t limit = parse_number(options.list.limit, "--limit");
  std::optional<PacketFilter> filter;
  if (!options.filter.empty()) filter.emplace(options.filter);
  const auto opened = open_with_positions(options.list.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  const MachineConfig config = start_of(reader).machine;
  require_network_card(config, reader.name());
  Progress progress(true);
  auto walk = recorded_walk<PacketWalk>(options.list.from, options.list.to, reader, progress);
  const Shard shard = shard_of(options.shard);
  if (!options.shard.empty() && !options.list.json) {
    throw Error(ErrorCode::usage, "--shard needs --json, which merge joins");
  }
  nlohmann::ordered_json json;
  if (!options.shard.empty()) {
    json["recording"] = session::queried(reader).id;
    json["query"] = {{"filter", options.filter},
                     {"from", walk.from.steps},
                     {"to", std::min(walk.to, past_end(reader)).steps},
                     {"limit", limit},
                     {"count", options.count}};
    json["shard"] = {{"number", shard.number}, {"of", shard.of}};
    part_of(walk, shard, past_end(reader));
  }
  std::uint64_t found = 0;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for_each_packet(reader, walk, [&](const WholePacket& packet) {
    if (filter && !filter->matches(packet.bytes, packet.place.length_bytes)) return true;
    if (++found > limit) return false;
    if (options.count) return true;
    const std::uint64_t virtual_ns =
        packet.place.position.steps * config.ns_per_step + packet.place.idle_ns;
    if (options.list.json) {
      list.push_back(json_of(packet, virtual_ns));
    } else {
      print(packet, virtual_ns);
    }
    return true;
  });
  const FoundList all{found, limit};
  if (options.list.json) {
    json["count"] = all.listed();
    json["complete"] = all.complete();
    if (!options.count) json["packets"] = std::move(list);
    std::printf("%s\n",
                json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else if (options.count) {
    std::printf("%s\n", std::to_string(all.listed()).c_str());
  }
  finish(all);
  return kDone;
}

}  // namespace

void add_packet_question(Command& query, Action& action) {
  auto options = std::make_shared<PacketOptions>();
  Command command = add_list_question(
      query, "packets", "What came and went by the network (docs/NETWORK.md)", options->list);
  command
      .add_option("--filter", options->filter,
                  "Only these: an expression of tcpdump's language, \"tcp port 80\"")
      .type_name("EXPRESSION");
  add_shard_option(command, options->shard,
                   "Only the Ith of N parts of the stretch; merge joins the JSON");
  command.add_flag("--count", options->count, "Only how many");
  add_list_options(command, options->list);
  command.callback([options, &action] { action = [options] { return query_packets(*options); }; });
}

}  // namespace chronovisor::cli
