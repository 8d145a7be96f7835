// What a debugger's client is told when the replay under it is not what was
// recorded.
#include "debugger/timeline_target.h"

#include <doctest/doctest.h>

#include <atomic>

#include "base/error.h"
#include "tests/timetravel/divergent_recording.h"

namespace chronovisor::debugger {

TEST_CASE("a divergence met while debugging is explained to the client") {
  const auto reader = testing::divergent_recording();
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
