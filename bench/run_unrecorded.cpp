// Runs a Linux guest with a network card and records nothing: what `record` is compared
// with. The guest's console goes to standard output; the end is told as one JSON object
// on standard error.
//
//   run_unrecorded KERNEL INITRD COMMAND_LINE MEMORY_BYTES e1000|virtio|none NETWORK
#include <atomic>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "host/host.h"
#include "host/live_input.h"
#include "host/network/card_links.h"
#include "recorder/format/file.h"
#include "recorder/format/start_condition.h"

namespace {

using namespace chronovisor;

/// What the machine does at least as often as a recorder lets it.
constexpr std::uint64_t kSliceSteps = 1ULL << 26;

Bytes read_whole(const std::string& path) {
  const PosixInputFile file(path);
  Bytes bytes(file.size());
  file.read(0, bytes);
  return bytes;
}

class Console final : public OutputObserver {
 public:
  void output(Position /*position*/, const Output& output) override {
    if (output.kind != OutputKind::serial || output.device != 0) return;
    std::fwrite(output.payload.data(), 1, output.payload.size(), stdout);
    std::fflush(stdout);
  }
};

StartCondition start_from(const std::vector<std::string>& words) {
  StartCondition start;
  start.kernel_name = words[0];
  start.initrd_name = words[1];
  start.command_line = words[2];
  start.machine.memory_bytes = parse_number(words[3], "MEMORY_BYTES");
  start.machine.rtc_start_unix_seconds = 1'735'689'600;
  if (words[4] == "none") return start;
  start.machine.model = "pc-2";
  const CardConfig::Model model =
      words[4] == "virtio" ? CardConfig::Model::virtio : CardConfig::Model::e1000;
  start.machine.cards = {{model, usual_mac_address(0)}};
  return start;
}

void run(const std::vector<std::string>& words) {
  const StartCondition start = start_from(words);
  std::vector<NetworkOptions> networks;
  if (!start.machine.cards.empty()) networks.push_back(parse_network(words[5]));
  const bool live = !networks.empty() && is_live(networks[0]);
  const std::unique_ptr<Machine> machine = make_machine(start, [&](const std::string& role) {
    return read_whole(role == kKernelRole ? start.kernel_name : start.initrd_name);
  });
  watch_stop_signals();
  LiveInput input(-1, false, live ? IdlePolicy::wait : IdlePolicy::warp, stop_signal());
  CardLinks links(networks, input.inbox());
  Console console;
  const Listening listening(machine->outputs(), &console);
  links.connect(machine->outputs());
  machine->set_input(&links.with_captures(input, machine->config().ns_per_step));
  const std::uint64_t began = monotonic_ns();
  MachineStop stop = MachineStop::reached;
  while (stop == MachineStop::reached && !stop_signal()) {
    stop = machine->run({{machine->position().steps + kSliceSteps}, 0}, stop_signal());
  }
  machine->set_input(nullptr);
  nlohmann::ordered_json json;
  json["instructions"] = machine->position().steps;
  json["seconds"] = static_cast<double>(monotonic_ns() - began) / 1e9;
  json["ending"] = describe(machine->ending());
  std::fprintf(stderr, "%s\n", json.dump().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() != 6) {
    std::fprintf(stderr,
                 "usage: run_unrecorded KERNEL INITRD COMMAND_LINE MEMORY_BYTES "
                 "e1000|virtio|none NETWORK\n");
    return 2;
  }
  try {
    run(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_unrecorded: %s\n", error.what());
    return 1;
  }
  return 0;
}
