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

}  // namespace

std::string status_json(const PrimaryStatus& status) {
  nlohmann::ordered_json json = {{"role", "primary"},
                                 {"state", primary_state_name(status.state)},
                                 {"reason", status.reason},
                                 {"session", status.session},
                                 {"position", status.position.steps},
                                 {"marks", status.marks},
                                 {"lag_steps", status.lag_steps},
                                 // A step is a nanosecond of the guest's clock.
                                 {"lag_ms", ms(status.lag_steps)},
                                 {"lag_bytes", status.lag_bytes},
                                 {"sent_bytes", status.sent_bytes},
                                 {"slowed_ms", ms(status.slowed_ns)},
                                 {"outputs", outputs_json(status.outputs)}};
  if (status.backup) {
    json["backup"] = {{"mark_held", status.backup->held},
                      {"mark_executed", status.backup->executed},
                      {"position", status.backup->position.steps},
                      {"digest_compared", status.backup->compared.steps}};
  }
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
