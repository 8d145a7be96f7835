#include "replica/status.h"

#include <nlohmann/json.hpp>

namespace chronovisor::replica {
namespace {

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

nlohmann::ordered_json outputs_json(const OutputCounts& counts) {
  return {{"made", counts.made},
          {"released", counts.released},
          {"held", counts.held},
          {"held_bytes", counts.held_bytes},
          {"median_held_ms", ms(counts.median_held_ns)},
          {"longest_held_ms", ms(counts.longest_held_ns)}};
}

nlohmann::ordered_json peer_json(const PeerStatus& peer) {
  nlohmann::ordered_json json = {
      {"address", peer.address},     {"state", primary_state_name(peer.state)},
      {"reason", peer.reason},       {"session", peer.session},
      {"lag_steps", peer.lag_steps}, {"lag_ms", ms(peer.lag_steps)},
      {"lag_bytes", peer.lag_bytes}, {"sent_bytes", peer.sent_bytes}};
  if (peer.said) {
    json["mark_held"] = peer.said->held;
    json["mark_executed"] = peer.said->executed;
    json["position"] = peer.said->position.steps;
    json["digest_compared"] = peer.said->compared.steps;
  }
  return json;
}

}  // namespace

std::string status_json(const PrimaryStatus& status) {
  nlohmann::ordered_json json = {{"role", "primary"},
                                 {"state", primary_state_name(status.state)},
                                 {"reason", status.reason},
                                 {"position", status.position.steps},
                                 {"marks", status.marks},
                                 {"lag_steps", status.lag_steps},
                                 // A step is a nanosecond of the guest's clock.
                                 {"lag_ms", ms(status.lag_steps)},
                                 {"lag_bytes", status.lag_bytes},
                                 {"sent_bytes", status.sent_bytes},
                                 {"processor_ms", ms(status.cpu_ns)},
                                 {"slowed_ms", ms(status.slowed_ns)},
                                 {"longest_stop_ms", ms(status.longest_stop_ns)},
                                 {"outputs", outputs_json(status.outputs)}};
  json["backups"] = nlohmann::ordered_json::array();
  for (const PeerStatus& backup : status.backups) json["backups"].push_back(peer_json(backup));
  return json.dump();
}

std::string status_json(const BackupStatus& status) {
  return nlohmann::ordered_json{{"role", "backup"},
                                {"state", backup_state_name(status.state)},
                                {"reason", status.reason},
                                {"session", status.session},
                                {"position", status.acknowledged.position.steps},
                                {"primary_position", status.last.position.steps},
                                {"mark_held", status.last.number},
                                {"mark_executed", status.acknowledged.executed},
                                {"lag_steps", status.lag_steps},
                                {"lag_ms", ms(status.lag_steps)},
                                {"digest_compared", status.acknowledged.compared.steps}}
      .dump();
}

}  // namespace chronovisor::replica
