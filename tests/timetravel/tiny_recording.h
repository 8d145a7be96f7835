// Makes recordings of a tiny real-mode guest in memory: it fills a segment with
// numbers that do not compress, counts, and echoes what comes in on the serial
// port. Everything about it can be computed by hand.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"
#include "recorder/format/start_condition.h"
#include "recorder/live/run_recorder.h"

namespace chronovisor::testing {

inline constexpr std::uint64_t kTinyCounterAddress = 0x1000;
inline constexpr std::uint64_t kTinyLatestAddress = 0x1004;  ///< written each round
inline constexpr std::uint64_t kTinyUnusedAddress = 0x5123;  ///< never touched by the guest
inline constexpr std::uint64_t kTinyFillAddress = 0x20000;

/// The guest's code, for 0x7c00; it ends by debug-exit 0 after `rounds`.
inline Bytes tiny_guest(std::uint32_t rounds) {
  ByteWriter code;
  const auto add = [&](std::initializer_list<std::uint8_t> bytes) {
    code.bytes(ByteView(bytes.begin(), bytes.size()));
  };
  add({0x31, 0xc0});                    // xor ax, ax
  add({0x8e, 0xd8, 0x8e, 0xd0});        // mov ds, ax; mov ss, ax
  add({0xbc, 0x00, 0x70});              // mov sp, 0x7000
  add({0xb8, 0x00, 0x20, 0x8e, 0xc0});  // mov ax, 0x2000; mov es, ax
  add({0x31, 0xff});                    // xor di, di
  add({0x66, 0xb8, 1, 0, 0, 0});        // mov eax, 1
  const std::size_t loop = code.size();
  add({0x66, 0x69, 0xc0, 0x0d, 0x66, 0x19, 0x00});  // imul eax, eax, 1664525
  add({0x66, 0x05, 0x5f, 0xf3, 0x6e, 0x3c});        // add eax, 1013904223
  add({0x66, 0xab});                                // stosd
  add({0x66, 0xff, 0x06, 0x00, 0x10});              // inc dword [0x1000]
  add({0x66, 0xa3, 0x04, 0x10});                    // mov [0x1004], eax
  add({0xf7, 0xc7, 0xff, 0x00, 0x75, 0x16});        // test di, 0xff; jnz over the poll
  add({0x66, 0x89, 0xc3});                          // mov ebx, eax
  add({0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01});        // mov dx, 0x3fd; in al, dx; test al, 1
  add({0x74, 0x08});                                // jz to the restore
  add({0xba, 0xf8, 0x03, 0xec});                    // mov dx, 0x3f8; in al, dx
  add({0xa2, 0x00, 0x18, 0xee});                    // mov [0x1800], al; out dx, al
  add({0x66, 0x89, 0xd8});                          // mov eax, ebx
  add({0x66, 0x81, 0x3e, 0x00, 0x10});              // cmp dword [0x1000], rounds
  code.integer(rounds);
  add({0x0f, 0x82});  // jb loop
  code.integer(static_cast<std::uint16_t>(loop - (code.size() + 2)));
  add({0xba, 0xf4, 0x00, 0x30, 0xc0, 0xee});  // mov dx, 0xf4; xor al, al; out dx, al
  add({0xf4, 0xeb, 0xfd});                    // hlt; jmp to it
  return code.take();
}

struct TinyOptions {
  std::uint32_t rounds = 20'000;
  std::uint64_t checkpoint_every_steps = 20'000;
  bool checkpoints = true;
  std::uint64_t limit = kNever;
  std::uint64_t entropy_seed = 0;
  std::vector<std::pair<std::uint64_t, char>> inputs{};  ///< from which position on, and the byte
};

/// Serial bytes at positions.
class ScriptedInput final : public InputSource {
 public:
  explicit ScriptedInput(std::vector<std::pair<std::uint64_t, char>> inputs)
      : inputs_(std::move(inputs)) {}
  [[nodiscard]] Position next_look(Position now) override {
    if (next_ == inputs_.size()) return {kNever};
    return {std::max(inputs_[next_].first, now.steps + 1)};
  }
  std::optional<Input> take(InputStamp here, const InputRoom& room) override {
    if (next_ == inputs_.size() || !room.has_room(InputKind::serial_byte, 0) ||
        here.position.steps < inputs_[next_].first) {
      return std::nullopt;
    }
    return Input{InputKind::serial_byte, 0, {static_cast<std::uint8_t>(inputs_[next_++].second)}};
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t deadline) override {
    return {deadline == kNever ? IdleOutcome::Kind::forever : IdleOutcome::Kind::deadline,
            deadline};
  }

 private:
  std::vector<std::pair<std::uint64_t, char>> inputs_;
  std::size_t next_ = 0;
};

inline StartCondition tiny_start(std::uint64_t entropy_seed = 0) {
  StartCondition start;
  start.kind = BootKind::flat;
  start.kernel_name = "tiny";
  start.machine.memory_bytes = 1u << 20;
  start.machine.entropy_seed = entropy_seed;
  return start;
}

/// What is left when the file failed in the middle, or the run is over.
struct TinyRun {
  RunOutcome outcome;
  Position machine_position;  ///< where the guest stood in the end
  std::string error;          ///< what the host's failure was called; empty: none
  ErrorCode error_code = ErrorCode::usage;
  Position position_after_retry;  ///< ... after asking the recorder to go on all the same
};

/// Records into `file`. A failure of the file is caught and told of.
inline TinyRun record_tiny_into(std::unique_ptr<OutputFile> file, const TinyOptions& options,
                                std::uint8_t id_seed = 3) {
  TinyRun run;
  const StartCondition start = tiny_start(options.entropy_seed);
  const Bytes code = tiny_guest(options.rounds);
  const std::unique_ptr<Machine> machine =
      make_machine(start, [&](const std::string&) { return code; });
  FileId id;
  id.bytes.fill(id_seed);
  try {
    RecordingWriter writer(std::move(file), id, start.to_json());
    writer.embed_image(kKernelRole, "tiny", MemoryInputFile(code, "tiny"));
    ScriptedInput input(options.inputs);
    RecorderOptions recorder_options;
    recorder_options.checkpoints = options.checkpoints;
    recorder_options.checkpoint_budget_percent = 0;  // the clock below is no measure
    recorder_options.checkpoint_every_steps = options.checkpoint_every_steps;
    std::uint64_t clock = 0;
    RunRecorder recorder(
        *machine, writer, input, nullptr, [&] { return clock += 60'000'000; }, recorder_options);
    try {
      run.outcome = recorder.run({options.limit}, [](Position) {});
      writer.finish("{}");
    } catch (const Error&) {
      run.machine_position = machine->position();
      try {
        static_cast<void>(recorder.run({options.limit}, [](Position) {}));
      } catch (const Error&) {
        // As it should be; where the machine went is what counts.
      }
      throw;
    }
  } catch (const Error& error) {
    run.error = error.what();
    run.error_code = error.code();
    run.position_after_retry = machine->position();
    return run;
  }
  run.machine_position = machine->position();
  return run;
}

inline Bytes record_tiny(const TinyOptions& options, std::uint8_t id_seed = 3) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  const TinyRun run = record_tiny_into(std::move(file), options, id_seed);
  if (!run.error.empty()) throw Error(ErrorCode::host, run.error);
  return *bytes;
}

inline std::unique_ptr<RecordingReader> open_bytes(Bytes bytes,
                                                   const std::string& name = "tiny.cvr") {
  return std::make_unique<RecordingReader>(
      std::make_shared<MemoryInputFile>(std::move(bytes), name));
}

}  // namespace chronovisor::testing
