// query io: what the guest read and wrote of its devices, one access a line.
#include "cli/query_io.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/exit_status.h"
#include "cli/found_list.h"
#include "cli/list_options.h"
#include "cli/open_recording.h"
#include "cli/recorded_walk.h"
#include "timetravel/io_walk.h"

namespace chronovisor::cli {
namespace {

struct IoOptions {
  ListOptions list;
  std::string port;
  std::string mmio;
  std::string length = "1";
  std::string device;
  bool reads = false;
  bool writes = false;
  bool count = false;
};

/// Which accesses are asked for.
struct Wanted {
  std::optional<IoAccess::Space> space;
  std::uint64_t first = 0;
  std::uint64_t length = 0;
  std::string device;
  bool reads = true;
  bool writes = true;

  [[nodiscard]] bool matches(const IoAccess& access) const {
    if (!(access.write ? writes : reads)) return false;
    if (!device.empty()) return access.device == device;
    if (!space) return true;
    return access.space == *space && access.address < first + length &&
           access.address + access.width > first;
  }
};

Wanted wanted_of(const IoOptions& options, const RecordingReader& reader) {
  const int kinds = static_cast<int>(!options.port.empty()) +
                    static_cast<int>(!options.mmio.empty()) +
                    static_cast<int>(!options.device.empty());
  if (kinds != 1) throw Error(ErrorCode::usage, "give one of --port, --mmio and --device");
  Wanted wanted;
  wanted.device = options.device;
  wanted.reads = options.reads || !options.writes;
  wanted.writes = options.writes || !options.reads;
  if (!options.device.empty()) {
    const std::vector<std::string> names = device_names(reader);
    if (std::ranges::find(names, options.device) == names.end()) {
      std::string all;
      for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
      throw Error(ErrorCode::usage, "--device " + options.device + ": is none of " + all);
    }
    return wanted;
  }
  const bool port = !options.port.empty();
  constexpr std::uint64_t kPorts = 0x10000;
  wanted.space = port ? IoAccess::Space::port : IoAccess::Space::memory;
  wanted.first = port ? parse_number(options.port, "--port") : parse_number(options.mmio, "--mmio");
  wanted.length = parse_number(options.length, "--length");
  const std::uint64_t end = port ? kPorts : ~std::uint64_t{0};
  if (wanted.length == 0 || wanted.first >= end || wanted.length > end - wanted.first) {
    throw Error(ErrorCode::usage, port ? "ports go from 0 to 0xffff" : "an empty range");
  }
  return wanted;
}

nlohmann::ordered_json json_of(const IoAccess& access) {
  return {{"position", access.position.steps},
          {"space", access.space == IoAccess::Space::port ? "port" : "memory"},
          {"access", access.write ? "write" : "read"},
          {"address", access.address},
          {"width", access.width},
          {"value", access.value},
          {"device", access.device}};
}

void print(const IoAccess& access) {
  std::printf("%16s %-5s %s 0x%llx %s 0x%0*llx  %.*s\n", grouped(access.position.steps).c_str(),
              access.write ? "write" : "read",
              access.space == IoAccess::Space::port ? "port" : "memory",
              static_cast<unsigned long long>(access.address), access.write ? "<-" : "->",
              static_cast<int>(2 * access.width), static_cast<unsigned long long>(access.value),
              static_cast<int>(access.device.size()), access.device.data());
}

int query_io(const IoOptions& options) {
  const std::uint64_t limit = parse_number(options.list.limit, "--limit");
  const auto opened = open_with_positions(options.list.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  const Wanted wanted = wanted_of(options, reader);
  Progress progress(true);
  const auto walk = recorded_walk<IoWalk>(options.list.from, options.list.to, reader, progress);
  std::uint64_t found = 0;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for_each_access(reader, walk, [&](const IoAccess& access) {
    if (!wanted.matches(access)) return true;
    if (++found > limit) return false;
    if (options.count) return true;
    if (options.list.json) {
      list.push_back(json_of(access));
    } else {
      print(access);
    }
    return true;
  });
  const FoundList all{found, limit};
  if (options.list.json) {
    nlohmann::ordered_json json;
    json["count"] = all.listed();
    json["complete"] = all.complete();
    if (!options.count) json["accesses"] = std::move(list);
    std::printf("%s\n",
                json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else if (options.count) {
    std::printf("%s\n", std::to_string(all.listed()).c_str());
  }
  finish(all);
  return kDone;
}

}  // namespace

void add_io_question(Command& query, Action& action) {
  auto options = std::make_shared<IoOptions>();
  Command command =
      add_list_question(query, "io", "What the guest read and wrote of its devices", options->list);
  command.add_option("--port", options->port, "Accesses to this port").type_name("ADDRESS");
  command
      .add_option("--mmio", options->mmio,
                  "Accesses to this physical address, where a device's registers or memory are")
      .type_name("ADDRESS");
  command.add_option("--length", options->length, "So many ports or bytes from there on (1)")
      .type_name("NUMBER");
  command
      .add_option("--device", options->device,
                  "Accesses to a device, by the name that its state has (ide, uart0, vga)")
      .type_name("NAME");
  command.add_flag("--reads", options->reads, "Reads alone");
  command.add_flag("--writes", options->writes, "Writes alone");
  command.add_flag("--count", options->count, "Only how many");
  add_list_options(command, options->list);
  command.callback([options, &action] { action = [options] { return query_io(*options); }; });
}

}  // namespace chronovisor::cli
