#include "cli/info_cost.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "inspect/linux/process_cost.h"
#include "recorder/format/chunk_purpose.h"
#include "recorder/format/recording_cost.h"

namespace chronovisor::cli {
namespace {

constexpr std::size_t kMostShown = 8;
constexpr double kMib = 1 << 20;
/// A kind of content of more than this part of the file is worth a word.
constexpr double kLargePart = 0.3;

struct Parts {
  std::uint64_t images = 0;
  std::uint64_t disks = 0;
  std::uint64_t checkpoints = 0;
  std::uint64_t index = 0;
};

Parts parts_of(const RecordingReader& reader) {
  return {bytes_for(reader.index(), ChunkPurpose::image),
          bytes_for(reader.index(), ChunkPurpose::disk),
          bytes_for(reader.index(), ChunkPurpose::checkpoint),
          bytes_for(reader.index(), ChunkPurpose::index)};
}

/// None where the machine or its guest is not known.
std::vector<linux_guest::ProcessCost> processes_of(const RecordingReader& reader) {
  try {
    return linux_guest::cost_by_process(reader);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    return {};
  }
}

std::vector<std::string> advice_on(const RecordingReader& reader, const Parts& parts) {
  const auto is_large = [&](std::uint64_t bytes) {
    return static_cast<double>(bytes) > kLargePart * static_cast<double>(reader.file_bytes());
  };
  std::vector<std::string> advice;
  if (is_large(parts.images) || is_large(parts.disks)) {
    advice.emplace_back("images: record --reference-images leaves them where they are");
  }
  if (is_large(parts.checkpoints) && reader.checkpoints().size() > 2) {
    advice.emplace_back(
        "checkpoints: pack --thin N keeps every Nth, record --checkpoint-every takes fewer");
  }
  if (is_large(parts.index)) {
    advice.emplace_back("index: record --no-index leaves it out; index makes it when needed");
  }
  return advice;
}

}  // namespace

std::string json_with_cost(const std::string& facts, const RecordingReader& reader) {
  const RecordingCost cost = cost_of(reader);
  const Parts parts = parts_of(reader);
  nlohmann::ordered_json whole = nlohmann::ordered_json::parse(facts);
  nlohmann::ordered_json& json = whole["cost"];
  json["images"] = parts.images;
  json["disks"] = parts.disks;
  json["checkpoints"] = parts.checkpoints;
  json["index"] = parts.index;
  json["memory"] = nlohmann::ordered_json::array();
  for (const RangeCost& range : cost.ranges) {
    json["memory"].push_back({{"address", range.first_page * kPageSize},
                              {"length", RecordingCost::kRangePages * kPageSize},
                              {"contents", range.contents},
                              {"bytes", range.bytes}});
  }
  json["processes"] = nlohmann::ordered_json::array();
  for (const linux_guest::ProcessCost& process : processes_of(reader)) {
    json["processes"].push_back({{"pid", process.pid},
                                 {"name", process.name},
                                 {"contents", process.contents},
                                 {"bytes", process.bytes}});
  }
  json["largest_checkpoints"] = nlohmann::ordered_json::array();
  for (std::size_t n = 0; n < std::min(kMostShown, cost.checkpoints.size()); ++n) {
    const CheckpointCost& part = cost.checkpoints[n];
    json["largest_checkpoints"].push_back(
        {{"position", reader.checkpoints()[part.checkpoint].position.steps},
         {"contents", part.contents},
         {"bytes", part.bytes}});
  }
  json["advice"] = advice_on(reader, parts);
  return whole.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void print_cost(const RecordingReader& reader) {
  const RecordingCost cost = cost_of(reader);
  const Parts parts = parts_of(reader);
  std::printf("  cost        images %.1f MiB, disks %.1f, checkpoints %.1f, index %.1f\n",
              static_cast<double>(parts.images) / kMib, static_cast<double>(parts.disks) / kMib,
              static_cast<double>(parts.checkpoints) / kMib,
              static_cast<double>(parts.index) / kMib);
  for (std::size_t n = 0; n < std::min(kMostShown, cost.ranges.size()); ++n) {
    const RangeCost& range = cost.ranges[n];
    const std::uint64_t address = range.first_page * kPageSize;
    std::printf("              memory 0x%09llx, 16 MiB: %s contents of pages, %.2f MiB\n",
                static_cast<unsigned long long>(address), grouped(range.contents).c_str(),
                static_cast<double>(range.bytes) / kMib);
  }
  const std::vector<linux_guest::ProcessCost> processes = processes_of(reader);
  for (std::size_t n = 0; n < std::min(kMostShown, processes.size()); ++n) {
    const linux_guest::ProcessCost& process = processes[n];
    const std::string number = process.pid != 0 ? std::to_string(process.pid) + " " : "";
    std::printf("              process %s%s: %s contents of pages, %.2f MiB\n", number.c_str(),
                process.name.c_str(), grouped(process.contents).c_str(),
                static_cast<double>(process.bytes) / kMib);
  }
  for (std::size_t n = 0; n < std::min(kMostShown, cost.checkpoints.size()); ++n) {
    const CheckpointCost& part = cost.checkpoints[n];
    std::printf("              checkpoint at %s: %s contents of pages, %.2f MiB\n",
                grouped(reader.checkpoints()[part.checkpoint].position.steps).c_str(),
                grouped(part.contents).c_str(), static_cast<double>(part.bytes) / kMib);
  }
  for (const std::string& advice : advice_on(reader, parts)) {
    std::printf("              %s\n", advice.c_str());
  }
}

}  // namespace chronovisor::cli
