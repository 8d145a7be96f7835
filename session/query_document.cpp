#include "session/query_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "host/host.h"

namespace chronovisor::session {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 3> kKinds{"writes", "executes", "value"};
constexpr std::array<const char*, 4> kSelects{"all", "first", "last", "count"};

bool counts(const Query& query) {
  return query.select == QuerySelect::all || query.select == QuerySelect::count;
}

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

Json value_json(const std::optional<std::uint64_t>& value) {
  return value ? Json(hex(*value)) : Json(nullptr);
}

Json entry_json(const QueryEntry& entry, QueryKind kind) {
  Json json;
  json["position"] = entry.moment.position.steps;
  json["deliveries"] = entry.moment.deliveries;
  json["pc"] = hex(entry.pc);
  json["cr3"] = hex(entry.cr3);
  if (kind == QueryKind::executes) return json;
  json["by"] = !entry.device.empty() ? "device" : entry.by_delivery ? "delivery" : "instruction";
  if (!entry.device.empty()) {
    json["device"] = entry.device;
    json["request"] = entry.request;
    json["started"] = entry.started ? Json(*entry.started) : Json(nullptr);
  }
  json["address"] = hex(entry.address);
  if (kind != QueryKind::value) return json;
  json["before"] = value_json(entry.before);
  json["after"] = value_json(entry.after);
  return json;
}

std::uint64_t number_in(const Json& json) {
  return json.is_string() ? parse_number(json.get<std::string>(), "number")
                          : json.get<std::uint64_t>();
}

std::optional<std::uint64_t> value_in(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return number_in(json);
}

template <std::size_t kCount>
std::uint8_t choice_in(const std::array<const char*, kCount>& names, const Json& json) {
  const auto found = std::find(names.begin(), names.end(), json.get<std::string>());
  if (found == names.end()) throw Error(ErrorCode::bad_input, "an unknown name");
  return static_cast<std::uint8_t>(found - names.begin());
}

QueryEntry entry_in(const Json& json, QueryKind kind) {
  QueryEntry entry;
  entry.moment = {{number_in(json.at("position"))}, json.at("deliveries").get<std::uint32_t>()};
  entry.pc = number_in(json.at("pc"));
  entry.cr3 = number_in(json.at("cr3"));
  if (kind == QueryKind::executes) {
    entry.address = entry.pc;
    return entry;
  }
  entry.by_delivery = json.at("by").get<std::string>() == "delivery";
  entry.device = json.value("device", "");
  entry.request = json.value("request", "");
  if (json.contains("started") && !json.at("started").is_null()) {
    entry.started = number_in(json.at("started"));
  }
  entry.address = number_in(json.at("address"));
  if (kind != QueryKind::value) return entry;
  entry.before = value_in(json.at("before"));
  entry.after = value_in(json.at("after"));
  return entry;
}

QueryDocument document_in(const Json& json) {
  QueryDocument document;
  const Json& recording = json.at("recording");
  document.recording = {recording.at("id").get<std::string>(), number_in(recording.at("start")),
                        number_in(recording.at("end")), number_in(recording.at("intervals"))};
  const Json& asked = json.at("query");
  Query& query = document.answer.query;
  query.kind = static_cast<QueryKind>(choice_in(kKinds, asked.at("kind")));
  query.address = number_in(asked.at("address"));
  query.physical = asked.value("physical", false);
  query.length = number_in(asked.at("length"));
  query.from = {number_in(asked.at("from"))};
  query.to = {number_in(asked.at("to"))};
  query.select = static_cast<QuerySelect>(choice_in(kSelects, asked.at("select")));
  if (query.select == QuerySelect::all) query.limit = number_in(asked.at("limit"));
  if (json.contains("shard")) {
    document.shard = {json["shard"].at("number").get<std::uint32_t>(),
                      json["shard"].at("of").get<std::uint32_t>()};
    if (document.shard->number == 0 || document.shard->number > document.shard->of) {
      throw Error(ErrorCode::bad_input, "a shard that cannot be");
    }
  }
  if (counts(query)) document.answer.count = number_in(json.at("count"));
  for (const Json& entry : json.at("results")) {
    document.answer.entries.push_back(entry_in(entry, query.kind));
  }
  document.answer.intervals = document.recording.intervals;
  return document;
}

bool same_question(const QueryDocument& a, const QueryDocument& b) {
  const Query& x = a.answer.query;
  const Query& y = b.answer.query;
  return x.kind == y.kind && x.address == y.address && x.length == y.length && x.from == y.from &&
         x.to == y.to && x.physical == y.physical && x.select == y.select && x.limit == y.limit;
}

}  // namespace

const char* query_kind_name(QueryKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

QueriedRecording queried(const RecordingReader& reader) {
  QueriedRecording recording;
  for (const std::uint8_t byte : reader.id().bytes) recording.id += fmt::format("{:02x}", byte);
  recording.start = reader.start().steps;
  recording.end = reader.usable_to().steps;
  recording.intervals = query_intervals(reader);
  return recording;
}

QueryDocument answer_query(
    const RecordingReader& reader, const QueryRequest& request, CancelToken cancel,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) {
  QueryOptions how;
  how.jobs = request.jobs;
  how.use_index = request.use_index;
  how.shard = request.shard.value_or(Shard{});
  how.cancel = cancel;
  QueryDocument document{queried(reader), request.shard, {}};
  document.answer = run_query(reader, request.query, how, progress);
  if (document.answer.cancelled) throw Error(ErrorCode::host, "interrupted; nothing is answered");
  return document;
}

std::string answer_json(const QueryDocument& document) {
  const QueryAnswer& answer = document.answer;
  const Query& query = answer.query;
  Json json;
  json["recording"] = {{"id", document.recording.id},
                       {"start", document.recording.start},
                       {"end", document.recording.end},
                       {"intervals", document.recording.intervals}};
  json["query"] = {{"kind", query_kind_name(query.kind)},
                   {"address", hex(query.address)},
                   {"length", query.length},
                   {"from", query.from.steps},
                   {"to", query.to.steps},
                   {"select", kSelects[static_cast<std::size_t>(query.select)]}};
  if (query.physical) json["query"]["physical"] = true;
  if (query.select == QuerySelect::all) json["query"]["limit"] = query.limit;
  if (document.shard) {
    json["shard"] = {{"number", document.shard->number}, {"of", document.shard->of}};
  }
  if (counts(query)) json["count"] = answer.count;
  json["results"] = Json::array();
  for (const QueryEntry& entry : answer.entries) {
    json["results"].push_back(entry_json(entry, query.kind));
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

QueryDocument parse_answer(const std::string& text, const std::string& name) {
  try {
    return document_in(Json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::bad_input, name + ": not the JSON answer to a query");
  } catch (const Error& error) {
    throw Error(ErrorCode::bad_input, name + ": not the JSON answer to a query: " + error.what());
  }
}

std::string answer_text(const QueryDocument& document) {
  const QueryAnswer& answer = document.answer;
  if (answer.query.select == QuerySelect::count) return fmt::format("{}\n", answer.count);
  if (answer.entries.empty()) return {};
  const QueryKind kind = answer.query.kind;
  const bool value = kind == QueryKind::value;
  std::string text = fmt::format("{:>20}  {:18}  {:18}", "position", "pc", "cr3");
  if (kind == QueryKind::writes) text += "  first byte written";
  text += value ? "  value\n" : "\n";
  const auto shown = [](const std::optional<std::uint64_t>& v) {
    return v ? hex(*v) : std::string("(unreadable)");
  };
  for (const QueryEntry& entry : answer.entries) {
    text += fmt::format("{:>20}  {:#018x}  {:#018x}", grouped(entry.moment.position.steps),
                        entry.pc, entry.cr3);
    if (kind == QueryKind::writes) text += fmt::format("  {:#018x}", entry.address);
    if (value) text += fmt::format("  {} -> {}", shown(entry.before), shown(entry.after));
    if (entry.by_delivery) text += "  by an interrupt or exception";
    if (!entry.device.empty()) {
      text += "  by " + entry.device;
      if (!entry.request.empty()) text += ": " + entry.request;
      if (entry.started) text += "; started at position " + grouped(*entry.started);
    }
    text += "\n";
  }
  return text;
}

QueryDocument merge_shards(std::vector<QueryDocument> shards,
                           const std::vector<std::string>& names) {
  const auto refuse = [](const std::string& why) { throw Error(ErrorCode::bad_input, why); };
  const QueryDocument& first = shards.front();
  if (!first.shard) refuse(names[0] + ": is the answer to a whole query, not to a shard of one");
  const std::uint32_t of = first.shard->of;
  for (std::size_t n = 0; n < shards.size(); ++n) {
    const QueryDocument& shard = shards[n];
    if (!shard.shard) refuse(names[n] + ": is the answer to a whole query, not to a shard of one");
    if (shard.recording != first.recording) {
      refuse(names[n] + ": is about another recording than " + names[0]);
    }
    if (!same_question(shard, first)) refuse(names[n] + ": asks something else than " + names[0]);
    if (shard.shard->of != of) {
      refuse(fmt::format("{}: is one of {} shards, but {} one of {}", names[n], shard.shard->of,
                         names[0], of));
    }
  }
  for (std::size_t n = 0; n < shards.size(); ++n) {
    for (std::size_t m = 0; m < n; ++m) {
      if (shards[m].shard->number == shards[n].shard->number) {
        refuse(fmt::format("shard {} of {} is given twice: {} and {}", shards[n].shard->number, of,
                           names[m], names[n]));
      }
    }
  }
  if (shards.size() < of) {
    std::uint32_t missing = 1;
    while (std::any_of(shards.begin(), shards.end(),
                       [&](const QueryDocument& s) { return s.shard->number == missing; })) {
      ++missing;
    }
    refuse(fmt::format("shard {} of {} is missing; {} were given", missing, of, shards.size()));
  }
  QueryDocument whole;
  whole.recording = first.recording;
  std::vector<QueryAnswer> parts;
  for (QueryDocument& shard : shards) parts.push_back(std::move(shard.answer));
  whole.answer = merge_answers(std::move(parts));
  return whole;
}

}  // namespace chronovisor::session
