#include "session/run_summary.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/text.h"

namespace chronovisor {
namespace {

/// Of what Hash128::hex() says; nothing for any other text.
std::optional<Hash128> hash_of(std::string_view text) {
  Hash128 hash;
  constexpr std::size_t kHalf = 16;
  if (text.size() != 2 * kHalf) return std::nullopt;
  std::from_chars(text.data(), text.data() + kHalf, hash.high, 16);
  std::from_chars(text.data() + kHalf, text.data() + 2 * kHalf, hash.low, 16);
  return hash.hex() == text ? std::optional(hash) : std::nullopt;
}

}  // namespace

std::string exit_reason(const RunOutcome& outcome, Position limit) {
  if (outcome.ending.reason != EndReason::none) {
    return std::string(end_reason_name(outcome.ending.reason));
  }
  if (outcome.ended_as_stuck) return "stuck";
  return outcome.position >= limit ? "limit" : "interrupted";
}

std::string run_summary(const RunOutcome& outcome, Position start, Position limit, double seconds,
                        const Machine& machine) {
  const double steps = static_cast<double>(outcome.position.steps - start.steps);
  nlohmann::ordered_json json;
  json["instructions"] = outcome.position.steps;
  json["seconds"] = seconds;
  json["mips"] = seconds > 0 ? steps / seconds / 1e6 : 0.0;
  json["exit"] = {{"reason", exit_reason(outcome, limit)}, {"code", outcome.ending.code}};
  if (outcome.ending.port != 0) json["exit"]["port"] = outcome.ending.port;
  json["digest"] = outcome.digest.hex();
  // A run that was cut off in the middle of a position has no end that a replay comes to.
  if (outcome.stop == MachineStop::ended || outcome.stop == MachineStop::idle_stopped) {
    json["idle_ns"] = outcome.idle_ns;
  }
  json["virtual_seconds"] = static_cast<double>(machine.now().ns) / 1e9;
  json["undefined_instructions"] = machine.cpu().counters().undefined_instructions;
  json["panicked"] = outcome.panicked;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::optional<RecordedEnd> recorded_end(const RecordingReader& reader) {
  const std::optional<std::string> summary = reader.summary_json();
  if (!summary) return std::nullopt;
  // The file may be anybody's.
  const nlohmann::json json = nlohmann::json::parse(*summary, nullptr, false);
  if (!json.is_object() || !json.contains("exit") || !json["exit"].is_object()) return std::nullopt;
  const nlohmann::json& exit = json["exit"];
  if (!exit.contains("reason") || !exit["reason"].is_string()) return std::nullopt;
  RecordedEnd end;
  end.reason = terminal_text(exit["reason"].get<std::string>());
  if (exit.contains("code") && exit["code"].is_number_unsigned()) {
    end.code = exit["code"].get<std::uint32_t>();
  }
  if (exit.contains("port") && exit["port"].is_number_unsigned()) {
    end.port = exit["port"].get<std::uint16_t>();
  }
  if (json.contains("idle_ns") && json["idle_ns"].is_number_unsigned() && json.contains("digest") &&
      json["digest"].is_string()) {
    if (const auto digest = hash_of(json["digest"].get<std::string>())) {
      end.state = {json["idle_ns"].get<std::uint64_t>(), *digest};
    }
  }
  end.by_guest = end.reason != "limit" && end.reason != "interrupted" && end.reason != "stuck";
  return end;
}

std::string ending_words(const RecordedEnd& end) {
  return fmt::format("{}{}{}", end.reason,
                     end.code != 0 ? fmt::format(" with code {}", end.code) : "",
                     end.port != 0 ? fmt::format(" by port {:#x}", end.port) : "");
}

std::string ending_text(const RecordedEnd& end) {
  return "the guest ended here: " + ending_words(end);
}

}  // namespace chronovisor
