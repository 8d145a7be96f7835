// What a debugger's client is told when the replay under it is not what was
// recorded.
#include "debugger/timeline_target.h"

#include <doctest/doctest.h>

#include <atomic>

#include "base/error.h"
#include "tests/timetravel/tiny_recording.h"

namespace chronovisor::debugger {
namespace {

using testing::open_bytes;

/// Changes memory behind the recorder's back, as a fault of the host's would.
class Meddler final : public InputSource {
 public:
  Meddler(Machine& machine, Position at) : machine_(machine), at_(at) {}
  [[nodiscard]] Position next_look(Position now) override {
    return now < at_ ? at_ : Position{kNever};
  }
  std::optional<Input> take(InputStamp here, const InputRoom& /*room*/) override {
    if (here.position == at_) {
      const Bytes byte{0x99};
      machine_.ram().write({testing::kTinyUnusedAddress}, byte);
    }
    return std::nullopt;
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t /*deadline*/) override {
    return {IdleOutcome::Kind::forever, 0};
  }

 private:
  Machine& machine_;
  Position at_;
};

std::unique_ptr<RecordingReader> meddled_recording() {
  const StartCondition start = testing::tiny_start();
  const Bytes code = testing::tiny_guest(3'000);
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

}  // namespace

TEST_CASE("a divergence met while debugging is explained to the client") {
  const auto reader = meddled_recording();
  TimelineOptions options;
  options.use_index = false;
  Timeline timeline(*reader, options);
  session::DebugSession debugging(timeline);
  session::Executor executor;
  TimelineTarget target(debugging, executor, RegisterLayout::x86_64);
  const std::atomic<bool> cancel{false};
  // Something to look for, so that the run goes through the meddled interval.
  gdb::Breakpoint never;
  never.address = 0x7c00 + 0x20;
  never.condition = [](const gdb::RegisterMemoryReader&) { return false; };
  target.add_breakpoint(never);
  try {
    (void)target.run({gdb::ResumeKind::forward}, cancel);
    FAIL("it was not noticed");
  } catch (const Error& error) {
    const std::string text = error.what();
    INFO(text);
    CHECK(error.code() == ErrorCode::divergence);
    CHECK(text.find("differs from the recording at position 10,000") != std::string::npos);
    CHECK(text.find("positions 5,000 to 10,000") != std::string::npos);
    CHECK(text.find("physical 0x5123") != std::string::npos);
  }
}

}  // namespace chronovisor::debugger
