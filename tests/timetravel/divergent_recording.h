// A recording whose replay is not what was recorded, for tests of what is told then.
#pragma once

#include <memory>

#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::testing {

/// Changes memory behind the recorder's back once, as a fault of the host's would.
class Meddler final : public InputSource {
 public:
  Meddler(Machine& machine, Position at) : machine_(machine), at_(at) {}
  [[nodiscard]] Position next_look(Position now) override {
    return now < at_ ? at_ : Position{kNever};
  }
  std::optional<Input> take(InputStamp here, const InputRoom& /*room*/) override {
    if (here.position == at_) machine_.ram().write({kTinyUnusedAddress}, Bytes{0x99});
    return std::nullopt;
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t /*deadline*/) override {
    return {IdleOutcome::Kind::forever, 0};
  }

 private:
  Machine& machine_;
  Position at_;
};

/// Digests at 5,000, 10,000 and so on; what happens after 7,000 cannot be replayed.
inline std::unique_ptr<RecordingReader> divergent_recording() {
  const StartCondition start = tiny_start();
  const Bytes code = tiny_guest(3'000);
  const auto machine = make_machine(start, [&](const std::string&) { return code; });
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  RecordingWriter writer(std::move(file), FileId::random(), start.to_json());
  writer.embed_image(kKernelRole, "tiny", MemoryInputFile(code, "tiny"));
  Meddler input(*machine, {7'000});
  RecorderOptions options;
  options.checkpoint_every_steps = 5'000;
  options.checkpoint_budget_percent = 0;
  {
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 1000; }, options);
    (void)recorder.run({kNever}, [](Position) {});
  }
  writer.finish("{}");
  return open_bytes(*bytes);
}

}  // namespace chronovisor::testing
