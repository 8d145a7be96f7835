// Feeds arbitrary bytes to whatever takes frames or is told how to make them. The first
// byte says what: a card whose driver and network both are the input, a stream of
// frames, a capture, a switch, a virtio card, a log of sent frames, a frame that is said in
// words. With NETWORK_FUZZ_KIND=N in the environment, that byte is N. Checked beside crashes: a
// card's deadlines are told and what leaves it is a frame; where a stream is cut changes nothing; a
// switch gives each frame to ports that it has, and what it was given leaves or is counted.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "host/network/boot_answer.h"
#include "host/network/capture_file.h"
#include "host/network/frame_stream.h"
#include "host/network/network_switch.h"
#include "inspect/packet_text.h"
#include "recorder/format/frame_log.h"
#include "vmm/devices/core/declaration.h"
#include "vmm/devices/network/e1000.h"
#include "vmm/devices/network/virtio_net.h"
#include "vmm/memory/dma_port.h"

namespace {

using namespace chronovisor;

class Source {
 public:
  explicit Source(ByteView data) : data_(data) {}
  [[nodiscard]] bool empty() const { return data_.empty(); }
  std::uint32_t number(unsigned bytes) {
    std::uint32_t value = 0;
    for (const std::uint8_t byte : bytes_of(bytes)) value = value << 8 | byte;
    return value;
  }
  ByteView bytes_of(std::size_t most) {
    const ByteView piece = data_.first(std::min(most, data_.size()));
    data_ = data_.subspan(piece.size());
    return piece;
  }

 private:
  ByteView data_;
};

class ManualClock final : public Clock {
 public:
  [[nodiscard]] VirtualTime now() const override { return {ns}; }
  std::uint64_t ns = 0;
};

class NoMessages final : public MessageInterrupts {
 public:
  void send_message_interrupt(std::uint64_t /*address*/, std::uint32_t /*data*/) override {}
};

class CheckedFrames final : public OutputSink {
 public:
  void put(const Output& output) override {
    CHECK_THAT(
        output.payload.size() >= kShortestFrameBytes && output.payload.size() <= kLongestFrameBytes,
        "what leaves a card is a frame");
  }
};

/// A card of a model, memory, and a clock.
template <class Model>
class Card {
 public:
  Card() {
    FirmwareFacts facts;
    const Placement usual;
    Declaration declaration(usual, facts);
    card_.declare(declaration);
    registers_ = declaration.memory_windows().back().device;
    card_.join(deadlines_);
    card_.set_state_version(card_.state_versions().newest);
    card_.reset();
    card_.write_config(4, 2, 7);
    deadlines_.all_changed();
  }
  void step(Source& source) {
    switch (source.number(1) % 6) {
      case 0:
        write(source);
        break;
      case 1:
        (void)registers_->read_mmio(source.number(2) & kRegistersMask, 4);
        break;
      case 2: {
        // Into the rings as often as elsewhere.
        const std::uint64_t address = source.number(3) & 0xfffff;
        (void)ram_.write({address}, source.bytes_of(16));
        break;
      }
      case 3: {
        const ByteView frame = source.bytes_of(source.number(2));
        card_.receive({InputKind::network_frame, 0, Bytes(frame.begin(), frame.end())});
        (void)card_.has_room(InputKind::network_frame);
        break;
      }
      case 4:
        pass(source.number(3));
        break;
      default: {
        const auto place = static_cast<std::uint8_t>(source.number(1) & 0xfc);
        card_.write_config(place, 4, source.number(4));
        (void)card_.read_config(place, 4);
        break;
      }
    }
    CHECK_THAT(deadlines_.next_ns() == card_.next_deadline_ns(), "deadlines are told");
  }

 private:
  static constexpr bool kIsVirtio = std::is_same_v<Model, VirtioNet>;
  static constexpr std::uint32_t kRegistersMask = kIsVirtio ? 0x3fff : 0xffff;

  void write(Source& source) {
    if constexpr (kIsVirtio) {
      // Mostly fields of the common configuration, and notifications.
      const std::uint32_t place = source.number(1);
      const std::uint32_t offset = place < 0xc0 ? place & 0x3f : 0x3000 + (place & 7);
      registers_->write_mmio(offset, 1U << (source.number(1) & 3), source.number(4));
    } else {
      registers_->write_mmio(source.number(2) & 0x7ffcU, 4, source.number(4));
    }
  }
  void pass(std::uint64_t ns) {
    const std::uint64_t target = clock_.ns + ns;
    for (unsigned n = 0; n < 64 && card_.next_deadline_ns() <= target; ++n) {
      clock_.ns = std::max(clock_.ns, card_.next_deadline_ns());
      deadlines_.advance({clock_.ns});
    }
    clock_.ns = std::max(clock_.ns, target);
    deadlines_.advance({clock_.ns});
  }

  Ram ram_{1 << 20};
  DmaBus bus_{ram_};
  ManualClock clock_;
  NoMessages messages_;
  CheckedFrames sent_;
  DeadlineQueue deadlines_;
  MmioDevice* registers_ = nullptr;
  Model card_{0, {0, 3, 0}, {0x52, 0x54, 0, 0x12, 0x34, 0x56}, messages_, clock_, bus_, sent_};
};

template <class Model>
void drive_card(Source source) {
  Card<Model> card;
  for (unsigned n = 0; n < 2000 && !source.empty(); ++n) card.step(source);
}

/// The frames, and whether the stream broke.
std::pair<std::vector<Bytes>, bool> frames_of(ByteView stream, std::size_t piece) {
  FrameStreamReader reader;
  std::vector<Bytes> found;
  try {
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.add(stream.subspan(at, std::min(piece, stream.size() - at)));
      while (std::optional<Bytes> frame = reader.next()) found.push_back(std::move(*frame));
    }
  } catch (const Error& error) {
    CHECK_THAT(error.code() == ErrorCode::bad_input, "a stream can only be wrong");
    return {found, true};
  }
  return {found, false};
}

void read_stream(Source source) {
  const std::size_t piece = source.number(1) + 1;
  const ByteView stream = source.bytes_of(1 << 20);
  CHECK_THAT(frames_of(stream, piece) == frames_of(stream, stream.size() + 1),
             "where a stream is cut changes nothing");
}

void read_capture(Source source) {
  const ByteView file = source.bytes_of(1 << 20);
  try {
    CaptureReader reader(file, "input");
    std::uint64_t last_ns = 0;
    while (const std::optional<CapturedFrame> frame = reader.next()) {
      CHECK_THAT(frame->time_ns >= last_ns, "time does not go back");
      last_ns = frame->time_ns;
    }
  } catch (const Error& error) {
    CHECK_THAT(error.code() == ErrorCode::bad_input, "a capture can only be wrong");
  }
}

void drive_switch(Source source) {
  const auto share = [&] { return source.number(1) / 255.0; };
  const SwitchFaults faults{.seed = source.number(1),
                            .drop = share(),
                            .duplicate = share(),
                            .reorder = share(),
                            .corrupt = share(),
                            .delay_ns = source.number(2),
                            .jitter_ns = source.number(2)};
  NetworkSwitch segment(faults);
  std::array<bool, 4> there{};
  std::uint64_t now_ns = 0;
  while (!source.empty()) {
    const std::uint32_t choice = source.number(1);
    const NetworkSwitch::Port port = choice >> 6;
    now_ns += choice & 15;
    if ((choice & 48) == 48) {
      there.at(port) ? segment.remove_port(port) : segment.add_port(port);
      there.at(port) = !there.at(port);
    } else if (there.at(port)) {
      const ByteView frame = source.bytes_of(source.number(1));
      segment.receive(port, Bytes(frame.begin(), frame.end()), now_ns);
    }
    for (const NetworkSwitch::Departure& leaving : segment.take(now_ns)) {
      CHECK_THAT(there.at(leaving.port), "frames leave by ports that are there");
    }
  }
  while (const std::optional<std::uint64_t> next = segment.next_ns()) (void)segment.take(*next);
}

void say_frame(Source source) {
  constexpr std::size_t kLongestLine = 300;
  const ByteView frame = source.bytes_of(1 << 16);
  Bytes answer(frame.begin(), frame.end());
  say_no_proxy(answer);
  CHECK_THAT(answer.size() == frame.size(), "an answer keeps its size");
  (void)say_no_router(frame);
  const std::string text = packet_text(frame);
  CHECK_THAT(!text.empty() && text.size() <= kLongestLine, "a packet is a line");
  CHECK_THAT(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; }),
             "a packet's line can be printed");
}

void read_frame_log(Source source) {
  const ByteView payload = source.bytes_of(1 << 20);
  try {
    const FrameChunk chunk = decode_frame_chunk(payload, "input");
    FrameLogEncoder encoder;
    encoder.begin(chunk.from);
    for (const SentFrame& frame : chunk.frames) encoder.add(frame);
    const FrameChunk again = decode_frame_chunk(encoder.take(chunk.complete_to), "again");
    CHECK_THAT(again.frames == chunk.frames && again.complete_to == chunk.complete_to,
               "what was read can be written and is the same");
  } catch (const Error& error) {
    CHECK_THAT(error.code() == ErrorCode::bad_input, "a log can only be wrong");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const char* const only = std::getenv("NETWORK_FUZZ_KIND");
  const std::uint8_t kind = only != nullptr ? static_cast<std::uint8_t>(std::atoi(only)) : data[0];
  const Source source(ByteView(data, size).subspan(1));
  // The first half as the corpus has it.
  if (kind >= 0x80) {
    if (kind == 0xff) {
      say_frame(source);
    } else if (kind % 2 == 0) {
      drive_card<VirtioNet>(source);
    } else {
      read_frame_log(source);
    }
    return 0;
  }
  switch (kind % 4) {
    case 0:
      drive_card<E1000>(source);
      break;
    case 1:
      read_stream(source);
      break;
    case 2:
      read_capture(source);
      break;
    default:
      drive_switch(source);
      break;
  }
  return 0;
}
