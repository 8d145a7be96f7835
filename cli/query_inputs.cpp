// query inputs: what came in from outside, one input a line.
#include "cli/query_inputs.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/exit_status.h"
#include "cli/found_list.h"
#include "cli/list_options.h"
#include "cli/open_recording.h"
#include "cli/recorded_range.h"
#include "host/host.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kShownBytes = 16;

struct InputOptions {
  ListOptions list;
  std::string kind;
};

std::string hex_of(const Bytes& bytes) {
  std::string text;
  for (std::size_t n = 0; n < std::min(bytes.size(), kShownBytes); ++n) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", bytes[n]);
    text += digits.data();
  }
  return bytes.size() > kShownBytes ? text + "..." : text;
}

int query_inputs(const InputOptions& options) {
  const std::uint64_t limit = parse_number(options.list.limit, "--limit");
  const auto opened = open_with_positions(options.list.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  const Position from = covered_place(options.list.from, reader, "--from");
  const Position to =
      options.list.to == "end" ? Position{kNever} : covered_place(options.list.to, reader, "--to");
  const std::uint64_t ns_per_step = start_of(reader).machine.ns_per_step;
  std::uint64_t found = 0;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (InputCursor cursor(reader); const InputEvent* event = cursor.peek(); cursor.pop()) {
    if (event->position >= to) break;
    const std::string kind = input_kind_name(event->kind);
    if (event->position < from || (!options.kind.empty() && kind != options.kind)) continue;
    if (++found > limit) break;
    const std::uint64_t virtual_ns = event->position.steps * ns_per_step + event->idle_ns;
    if (options.list.json) {
      list.push_back({{"position", event->position.steps},
                      {"virtual_ns", virtual_ns},
                      {"kind", kind},
                      {"device", event->device},
                      {"bytes", event->payload.size()},
                      {"payload", hex_of(event->payload)}});
    } else {
      std::printf("%16s %14.6f %s %u  %s\n", grouped(event->position.steps).c_str(),
                  static_cast<double>(virtual_ns) / 1e9, kind.c_str(), event->device,
                  hex_of(event->payload).c_str());
    }
  }
  const FoundList all{found, limit};
  if (options.list.json) {
    nlohmann::ordered_json json;
    json["count"] = all.listed();
    json["complete"] = all.complete();
    json["inputs"] = std::move(list);
    std::printf("%s\n",
                json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  }
  finish(all);
  return kDone;
}

}  // namespace

void add_input_question(Command& query, Action& action) {
  auto options = std::make_shared<InputOptions>();
  Command command =
      add_list_question(query, "inputs", "What came in from outside, by position", options->list);
  command
      .add_option("--kind", options->kind,
                  "Only these: \"key\", \"mouse\", \"pointer\", \"serial byte\", \"cd change\", as "
                  "info names them")
      .type_name("NAME");
  add_list_options(command, options->list);
  command.callback([options, &action] { action = [options] { return query_inputs(*options); }; });
}

}  // namespace chronovisor::cli
