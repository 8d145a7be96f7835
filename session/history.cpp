// Questions to the past: they search from where the machine stands, and come back.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "inspect/packet_text.h"
#include "recorder/format/frame_cursor.h"
#include "session/debug_session.h"
#include "session/delivery_walk.h"
#include "timetravel/linear_memory.h"
#include "timetravel/packets.h"
#include "vmm/devices/interrupt/pic.h"
#include "vmm/devices/network/received_frame.h"

namespace chronovisor::session {
namespace {

constexpr std::uint64_t kMostEventSpan = 10'000'000'000;
constexpr std::size_t kEventsEachSide = 12;
constexpr std::size_t kMostEvents = 100'000;
constexpr std::size_t kShownBytes = 16;

std::string exception_name(std::uint8_t vector) {
  static constexpr std::array<std::string_view, 20> kNames{
      "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "",
      "#TS", "#NP", "#SS", "#GP", "#PF", "",    "#MF", "#AC", "#MC", "#XM"};
  if (vector < kNames.size() && !kNames[vector].empty()) return std::string(kNames[vector]);
  return fmt::format("interrupt {}", vector);
}

std::string bytes_text(ByteView bytes, std::uint64_t length) {
  std::string out;
  for (const std::uint8_t byte : bytes)
    out += fmt::format("{}{:02x}", out.empty() ? "" : " ", byte);
  return length > kShownBytes ? out + " ..." : out;
}

std::string value_text(Machine& machine, std::uint64_t address, std::uint64_t length,
                       bool physical) {
  if (physical) {
    Bytes bytes(std::min<std::uint64_t>(length, kShownBytes));
    bytes.resize(machine.look({address}, bytes));
    if (bytes.empty()) return "(unreadable)";
    if (length == 1 || length == 2 || length == 4 || length == 8) {
      std::uint64_t value = 0;
      for (std::size_t n = bytes.size(); n-- > 0;) value = value << 8 | bytes[n];
      return fmt::format("{:#x}", value);
    }
    return bytes_text(bytes, length);
  }
  if (length == 1 || length == 2 || length == 4 || length == 8) {
    const auto value = read_linear_value(machine, address, length);
    return value ? fmt::format("{:#x}", *value) : "(unreadable)";
  }
  Bytes bytes(std::min<std::uint64_t>(length, kShownBytes));
  bytes.resize(read_linear_memory(machine, address, bytes));
  if (bytes.empty()) return "(unreadable)";
  return bytes_text(bytes, length);
}

using Event = EventsAnswer::Event;

/// What the interrupt table at hand calls the handler at `address`, which has begun. A
/// BIOS has its interrupts where the processor has exceptions: the 8259A says which it is.
std::string handler_name(Machine& machine, const std::vector<InterruptGate>& gates,
                         std::uint64_t address) {
  constexpr std::uint8_t kReservedVectors = 32;
  const auto* const pic = dynamic_cast<const Pic*>(machine.device("pic"));
  std::string names;
  for (const InterruptGate& gate : gates) {
    if (gate.address != address || gate.vector >= kReservedVectors || pic == nullptr) continue;
    if (const auto irq = pic->serviced_as(gate.vector)) return fmt::format("IRQ {}", *irq);
  }
  for (const InterruptGate& gate : gates) {
    if (gate.address != address) continue;
    if (names.size() > 40) return names + " or others";
    names += (names.empty() ? "" : " or ") + exception_name(gate.vector);
  }
  return names;
}

std::string input_text(const InputEvent& event) {
  const std::string text = fmt::format("input {}", input_kind_name(event.kind));
  if (event.kind != InputKind::cd_change) return text;
  const auto change = decode_medium_change(event.payload);
  if (!change) return text;
  if (change->medium == kNoMedium) return fmt::format("{}: disk{} ejected", text, event.device);
  return fmt::format("{}: {} into disk{}", text, change->name, event.device);
}

/// What came and went by the network, in order. What was sent a replay sends again.
void add_packets(const RecordingReader& reader, Position from, Position to, CancelToken cancel,
                 std::vector<Event>& events) {
  if (reader.frame_chunks() == 0) return;
  for_each_packet(reader, {from, {to.steps + 1}, cancel}, [&](const WholePacket& packet) {
    const PacketPlace& place = packet.place;
    std::string text =
        fmt::format("packet {} {} net{}, {} bytes", grouped(place.number),
                    place.direction == PacketPlace::Direction::sent ? "sent by" : "to", place.card,
                    place.length_bytes);
    if (!packet.bytes.empty()) text += ": " + packet_text(packet.bytes);
    events.push_back({{place.position, 0}, std::move(text)});
    return events.size() < kMostEvents;
  });
}

}  // namespace

Answer DebugSession::answer(const PacketRequest& request, const Cancel& cancel) {
  need_timeline("packet");
  const RecordingReader& reader = timeline_.reader();
  const std::optional<PacketPlace> place = find_packet(reader, request.number);
  if (!place) {
    throw NotFound(fmt::format("the recording does not have packet {}", grouped(request.number)));
  }
  PacketAnswer answer{*place, {}, {}};
  const PacketWalk walk{place->position, {place->position.steps + 1}, cancel};
  for_each_packet(reader, walk, [&](const WholePacket& packet) {
    if (packet.place.number != request.number) return true;
    answer.bytes.assign(packet.bytes.begin(), packet.bytes.end());
    return false;
  });
  if (place->direction == PacketPlace::Direction::received || !answer.bytes.empty()) {
    answer.text = packet_text(answer.bytes);
  }
  destination_ = Moment{place->position, 0};
  return answer;
}

/// What a network card wrote is of a packet of the recording.
std::optional<std::uint64_t> DebugSession::packet_of(const Store& store) const {
  const auto frame = received_frame_of(store.request.text);
  if (!frame || timeline_.reader().frame_chunks() == 0) return std::nullopt;
  // The card counts from power-on; what came at the same moment is told apart by that
  // only where the recording begins there, too.
  const bool whole = timeline_.reader().start() == Position{0};
  std::map<std::uint16_t, std::uint64_t> received;
  std::optional<std::uint64_t> found;
  PacketCursor packets(timeline_.reader());
  while (const auto packet = packets.next()) {
    const PacketPlace& place = packet->place;
    if (place.position > store.moment.position) break;
    if (place.direction != PacketPlace::Direction::received) continue;
    const std::uint64_t number = ++received[place.card];
    if (place.position != store.moment.position ||
        store.device != "net" + std::to_string(place.card)) {
      continue;
    }
    if (whole && number == *frame) return place.number;
    if (!whole && found) return std::nullopt;
    if (!whole) found = place.number;
  }
  return found;
}

/// Goes back to the nearest earlier store. @return nothing when there is none
std::optional<Store> DebugSession::earlier_store(const WatchedMemory& memory,
                                                 const Cancel& cancel) {
  const auto result = travel_to_stop(writes_of(memory, {}), Direction::backward, cancel);
  if (!result) return std::nullopt;
  const auto value = [&] {
    return value_text(timeline_.machine(), memory.address, memory.length, memory.physical);
  };
  Store store;
  store.moment = timeline_.now();
  store.pc = timeline_.machine().cpu().linear_rip();
  store.first_byte = result->address;
  store.device = result->device;
  store.request = result->request;
  store.packet = packet_of(store);
  store.before = value();
  timeline_.step_forward();
  store.after = value();
  timeline_.seek(store.moment, cancel);
  return store;
}

Answer DebugSession::answer(const LastWriteRequest& request, const Cancel& cancel) {
  need_timeline("last-write");
  const Position before = timeline_.now().position;
  const std::optional<Store> store = timeline_.excursion([&] {
    return earlier_store({request.address, request.length, request.physical}, cancel);
  });
  if (!store) {
    throw NotFound(fmt::format("{:#x} was not written before position {}; this is still there",
                               request.address, grouped(before.steps)));
  }
  destination_ = store->moment;
  return LastWriteAnswer{request.address, before, *store};
}

Answer DebugSession::answer(const HistoryRequest& request, const Cancel& cancel) {
  need_timeline("history");
  HistoryAnswer answer;
  answer.address = request.address;
  answer.asked = request.count;
  answer.before = timeline_.now().position;
  timeline_.excursion([&] {
    while (answer.stores.size() < request.count) {
      if (cancel.requested()) {
        answer.complete = false;
        return;
      }
      const std::optional<Store> store =
          earlier_store({request.address, request.length, request.physical}, cancel);
      if (!store) return;
      answer.stores.push_back(*store);
    }
    answer.complete = false;  // nobody has looked further back
  });
  return answer;
}

Answer DebugSession::answer(const EventsRequest& request, const Cancel& cancel) {
  need_timeline("events");
  const std::uint64_t span = std::min(request.span, kMostEventSpan);
  const Moment origin = timeline_.now();
  const std::uint64_t here = origin.position.steps;
  const Position from{here - std::min(span, here - timeline_.start().steps)};
  const Position to{here + std::min(span, timeline_.end().steps - here)};
  std::vector<Event> all;
  for (InputCursor cursor(timeline_.reader(), from); const InputEvent* event = cursor.peek();
       cursor.pop()) {
    if (event->position > to || all.size() >= kMostEvents) break;
    if (event->kind == InputKind::network_frame) continue;
    all.push_back({{event->position, 0}, input_text(*event)});
  }
  add_packets(timeline_.reader(), from, to, cancel, all);
  DeliveryWalk walk(timeline_);
  walk.learn_gates();
  timeline_.excursion([&] {
    timeline_.seek({from, 0}, cancel);
    while (all.size() < kMostEvents) {
      const auto handler = walk.next(to, cancel);
      if (!handler) break;
      all.push_back(
          {timeline_.now(),
           fmt::format("{}, handler at {:#x}",
                       handler_name(timeline_.machine(), walk.gates(), *handler), *handler)});
    }
  });
  if (cancel.requested()) throw Error(ErrorCode::usage, "interrupted");
  std::stable_sort(all.begin(), all.end(),
                   [](const Event& a, const Event& b) { return a.moment < b.moment; });
  const auto middle = std::partition_point(
      all.begin(), all.end(), [&](const Event& event) { return event.moment < origin; });
  const auto before = static_cast<std::size_t>(middle - all.begin());
  const std::size_t first = before > kEventsEachSide ? before - kEventsEachSide : 0;
  const std::size_t last = std::min(all.size(), before + kEventsEachSide);
  EventsAnswer answer;
  answer.here = origin.position;
  answer.earlier = first;
  answer.later = all.size() - last;
  answer.before.assign(all.begin() + static_cast<std::ptrdiff_t>(first), middle);
  answer.after.assign(middle, all.begin() + static_cast<std::ptrdiff_t>(last));
  return answer;
}

}  // namespace chronovisor::session
