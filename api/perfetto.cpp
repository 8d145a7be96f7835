#include "api/perfetto.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "api/console_name.h"
#include "api/context.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/start_condition.h"

namespace chronovisor::api {
namespace {

/// Vectors of exceptions. Source: Intel SDM vol. 3A, 6.3.1.
constexpr std::uint64_t kExceptionVectors = 32;

/// One message of protobuf's wire format.
/// Source: Protocol Buffers documentation, "Encoding".
class Message {
 public:
  void number(std::uint32_t field, std::uint64_t value) {
    varint(std::uint64_t{field} << 3);
    varint(value);
  }
  void text(std::uint32_t field, std::string_view value) {
    varint(std::uint64_t{field} << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  void message(std::uint32_t field, const Message& value) { text(field, value.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Numbers of the fields.
constexpr std::uint32_t kTracePacket = 1;
constexpr std::uint32_t kPacketTimestamp = 8;
constexpr std::uint32_t kPacketSequence = 10;
constexpr std::uint32_t kPacketTrackEvent = 11;
constexpr std::uint32_t kPacketTrackDescriptor = 60;
constexpr std::uint32_t kDescriptorUuid = 1;
constexpr std::uint32_t kDescriptorName = 2;
constexpr std::uint32_t kDescriptorParent = 5;
constexpr std::uint32_t kEventAnnotations = 4;
constexpr std::uint32_t kEventType = 9;
constexpr std::uint32_t kEventTrack = 11;
constexpr std::uint32_t kEventCategories = 22;
constexpr std::uint32_t kEventName = 23;
constexpr std::uint32_t kAnnotationUint = 3;
constexpr std::uint32_t kAnnotationName = 10;

enum class EventType : std::uint8_t { slice_begin = 1, slice_end = 2, instant = 3 };

/// Writes packets as they come; a track is described before its first event.
class PerfettoWriter {
 public:
  explicit PerfettoWriter(const ProfileSink& out) : out_(out) { describe(kRoot, "chronovisor", 0); }

  void begin(const std::string& track, const std::string& name, std::uint64_t at_ns,
             Position position) {
    event(EventType::slice_begin, track, name, at_ns, position);
  }
  void end(const std::string& track, std::uint64_t at_ns) {
    event(EventType::slice_end, track, {}, at_ns, std::nullopt);
  }
  void instant(const std::string& track, const std::string& name, std::uint64_t at_ns,
               Position position) {
    event(EventType::instant, track, name, at_ns, position);
  }

 private:
  static constexpr std::uint64_t kRoot = 1;
  static constexpr std::uint64_t kSequence = 1;

  std::uint64_t track_of(const std::string& name) {
    const auto [found, fresh] = tracks_.try_emplace(name, kRoot + 1 + tracks_.size());
    if (fresh) describe(found->second, name, kRoot);
    return found->second;
  }
  void describe(std::uint64_t uuid, const std::string& name, std::uint64_t parent) {
    Message descriptor;
    descriptor.number(kDescriptorUuid, uuid);
    descriptor.text(kDescriptorName, name);
    if (parent != 0) descriptor.number(kDescriptorParent, parent);
    Message packet;
    packet.number(kPacketSequence, kSequence);
    packet.message(kPacketTrackDescriptor, descriptor);
    write(packet);
  }
  void event(EventType type, const std::string& track, const std::string& name, std::uint64_t at_ns,
             std::optional<Position> position) {
    Message event;
    event.number(kEventTrack, track_of(track));
    event.number(kEventType, static_cast<std::uint64_t>(type));
    if (!name.empty()) {
      event.text(kEventCategories, "guest");
      event.text(kEventName, utf8_text(name));
    }
    if (position) {
      Message annotation;
      annotation.text(kAnnotationName, "position");
      annotation.number(kAnnotationUint, position->steps);
      event.message(kEventAnnotations, annotation);
    }
    Message packet;
    packet.number(kPacketTimestamp, at_ns);
    packet.number(kPacketSequence, kSequence);
    packet.message(kPacketTrackEvent, event);
    write(packet);
  }
  void write(const Message& packet) {
    Message piece;
    piece.message(kTracePacket, packet);
    out_(piece.bytes());
  }
  /// What a guest writes may be anything; names are texts.
  static std::string utf8_text(const std::string& text) {
    const std::string quoted = Value(text).json();
    const Value read = parse_json(quoted);
    return *read.text();
  }

  const ProfileSink& out_;
  std::map<std::string, std::uint64_t> tracks_;
};

/// A stretch of a track in which the samples say the same.
class Slices {
 public:
  Slices(PerfettoWriter& writer, std::string track) : writer_(writer), track_(std::move(track)) {}

  void follow(const std::string& name, const Sample& sample) {
    if (name_ == name) return;
    finish(sample.virtual_ns);
    writer_.begin(track_, name, sample.virtual_ns, sample.position);
    name_ = name;
  }
  void finish(std::uint64_t at_ns) {
    if (!name_.empty()) writer_.end(track_, at_ns);
    name_.clear();
  }

 private:
  PerfettoWriter& writer_;
  std::string track_;
  std::string name_;
};

/// What the log says, without a replay.
void export_log(const RecordingReader& reader, const SampleOptions& options,
                PerfettoWriter& writer) {
  const std::uint64_t ns_per_step = start_of(reader).machine.ns_per_step;
  const auto inside = [&](Position position) {
    return position >= options.from && position < options.to;
  };
  reader.for_each_console([&](const ConsoleView& view) {
    if (!inside(view.position)) return;
    writer.instant(std::string("console: ") + console_name(view.channel),
                   std::string(view.bytes.begin(), view.bytes.end()),
                   view.position.steps * ns_per_step + view.idle_ns, view.position);
  });
  for (InputCursor inputs(reader, options.from); const InputEvent* event = inputs.peek();
       inputs.pop()) {
    if (!inside(event->position)) break;
    const bool packet = event->kind == InputKind::network_frame;
    writer.instant(packet ? fmt::format("net{} received", event->device)
                          : fmt::format("input: {}", input_kind_name(event->kind)),
                   packet ? fmt::format("{} bytes", event->payload.size())
                          : std::string(input_kind_name(event->kind)),
                   event->position.steps * ns_per_step + event->idle_ns, event->position);
  }
  for (FrameCursor frames(reader, options.from); const SentFrame* frame = frames.peek();
       frames.pop()) {
    if (!inside(frame->position)) break;
    writer.instant(fmt::format("net{} sent", frame->card),
                   fmt::format("{} bytes", frame->length_bytes),
                   frame->position.steps * ns_per_step + frame->idle_ns, frame->position);
  }
}

}  // namespace

void export_perfetto(Timeline& timeline, session::GuestNames& names, const SampleOptions& options,
                     CancelToken cancel, const ProfileSink& out) {
  PerfettoWriter writer(out);
  Slices mode(writer, "mode");
  Slices function(writer, "function");
  Sample last;
  Marks marks(timeline.reader(), options.from);
  const auto visit = [&](const Sample& sample) {
    marks.pass(sample, [&](const Bookmark& mark) {
      writer.instant("bookmarks", mark.name, sample.virtual_ns, mark.position);
    });
    mode.follow(sample.halted ? "halted" : root_name(sample), sample);
    function.follow(sample.frames.empty() ? "[unknown]" : sample.frames.back(), sample);
    last = sample;
  };
  const auto deliver = [&](const DeliveredHere& delivery) {
    if (delivery.call) {
      return writer.instant("system calls", *delivery.call, delivery.virtual_ns,
                            delivery.moment.position);
    }
    const bool exception = delivery.vector < kExceptionVectors;
    writer.instant(exception ? "exceptions" : "interrupts",
                   fmt::format("vector {}", delivery.vector), delivery.virtual_ns,
                   delivery.moment.position);
  };
  sample_stacks(timeline, names, options, cancel, visit, deliver);
  mode.finish(last.virtual_ns);
  function.finish(last.virtual_ns);
  export_log(timeline.reader(), options, writer);
}

}  // namespace chronovisor::api
