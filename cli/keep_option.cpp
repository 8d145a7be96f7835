#include "cli/keep_option.h"

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "cli/parser.h"
#include "host/host.h"

namespace chronovisor::cli {

void add_keep_option(Command& command, std::string& keep) {
  command
      .add_option("--keep", keep,
                  "Flight recorder: keep only the last stretch, of virtual time, of the clock's, "
                  "or of bytes")
      .type_name("60s|60s-wall|500M");
}

KeepPolicy parse_keep(const std::string& text) {
  std::string number = text;
  KeepPolicy keep;
  if (number.ends_with("-wall")) {
    keep.unit = KeepPolicy::Unit::wall_time;
    number.resize(number.size() - 5);
  }
  static constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
      {"ms", 1'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000}, {"h", 3'600'000'000'000}};
  for (const auto& [unit, ns] : kUnits) {
    if (!number.ends_with(unit)) continue;
    number.resize(number.size() - unit.size());
    const std::uint64_t value = parse_number(number, "--keep");
    if (value == 0 || value > 1'000'000'000'000 / (ns / 1'000'000)) {
      throw Error(ErrorCode::usage, "--keep: \"" + text + "\" is out of range");
    }
    keep.amount = value * ns;
    return keep;
  }
  if (keep.unit == KeepPolicy::Unit::wall_time) {
    throw Error(ErrorCode::usage, "--keep: \"" + text + "\" has no unit of time (ms, s, min, h)");
  }
  keep.unit = KeepPolicy::Unit::bytes;
  keep.amount = parse_size(number, "--keep");
  if (keep.amount < (1ULL << 20)) {
    throw Error(ErrorCode::usage,
                "--keep: \"" + text + "\" is less than 1M; for time, give a unit: 60s");
  }
  return keep;
}

}  // namespace chronovisor::cli
