// Runs a guest and records nothing: what `record` is compared with. A Linux guest with a
// network card; or the guest of a recording again, from the images of its disks and with the
// inputs that it had. The console goes to standard output; the end is told as one JSON object
// on standard error.
//
//   run_unrecorded KERNEL INITRD COMMAND_LINE MEMORY_BYTES e1000|virtio|none NETWORK
//   run_unrecorded --again RECORDING
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "host/disk_image.h"
#include "host/host.h"
#include "host/live_input.h"
#include "host/network/card_links.h"
#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/replay_input.h"

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

/// Runs to `end`, or to where the guest ends before, and says how it was.
void run_to(Position end, Machine& machine, InputSource& input) {
  Console console;
  const Listening listening(machine.outputs(), &console);
  machine.set_input(&input);
  const std::uint64_t began = monotonic_ns();
  MachineStop stop = MachineStop::reached;
  while (stop == MachineStop::reached && machine.position() < end && !stop_signal()) {
    const Position next{machine.position().steps + kSliceSteps};
    stop = machine.run({std::min(next, end), 0}, stop_signal());
  }
  machine.set_input(nullptr);
  nlohmann::ordered_json json;
  json["instructions"] = machine.position().steps;
  json["seconds"] = static_cast<double>(monotonic_ns() - began) / 1e9;
  json["ending"] = describe(machine.ending());
  json["digest"] = machine.digest().hex();
  std::fprintf(stderr, "%s\n", json.dump().c_str());
}

void run(const std::vector<std::string>& words) {
  const StartCondition start = start_from(words);
  std::vector<NetworkOptions> networks;
  if (!start.machine.cards.empty()) networks.push_back(parse_network(words[5]));
  const bool live = !networks.empty() && is_live(networks[0]);
  const std::unique_ptr<Machine> machine = make_machine(start, [&](const std::string& role) {
    return read_whole(role == kKernelRole ? start.kernel_name : start.initrd_name);
  });
  LiveInput input(-1, false, live ? IdlePolicy::wait : IdlePolicy::warp, stop_signal());
  CardLinks links(networks, input.inbox());
  links.connect(machine->outputs());
  run_to({kNever}, *machine, links.with_captures(input, machine->config().ns_per_step));
}

void run_again(const std::string& recording) {
  const RecordingReader reader(recording);
  StartCondition start = runnable_start_of(reader);
  if (!begins_at_power_on(reader)) {
    throw Error(ErrorCode::usage, recording + ": does not begin when its machine was switched on");
  }
  const auto media = std::make_shared<HostMedia>();
  for (std::uint32_t n = 0; n < start.drive_images.size(); ++n) {
    const StartImage& image = start.drive_images[n];
    media->begin_at(n);  // empty drives have numbers too
    if (!image.file.empty()) media->add(open_disk_image(image.file, image.format), image.file);
  }
  start.machine.media = media;
  const std::unique_ptr<Machine> machine = make_machine(start, images_of(reader));
  ReplayInput input(reader);
  run_to(reader.usable_to(), *machine, input);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const bool again = words.size() == 2 && words[0] == "--again";
  if (words.size() != 6 && !again) {
    std::fprintf(stderr,
                 "usage: run_unrecorded KERNEL INITRD COMMAND_LINE MEMORY_BYTES "
                 "e1000|virtio|none NETWORK\n"
                 "       run_unrecorded --again RECORDING\n");
    return 2;
  }
  try {
    watch_stop_signals();
    again ? run_again(words[1]) : run(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_unrecorded: %s\n", error.what());
    return 1;
  }
  return 0;
}
