// Loads states that no machine ever had: sections of a sound machine with fields
// changed (the first byte says which machine, the rest which changes; from 80H on it
// is a pc-2 with every kind of drive), or any bytes for sections. Each is refused as bad input, or
// the machine runs on: a guest that pokes every port, both APICs and PCI functions while inputs
// come in, or whatever code the changed processor finds. Checked beside crashes: a state that was
// taken is one the machine can itself save, time or position always goes on, and after a refusal
// the same machine takes a sound state.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "fuzz/poked_machines.h"
#include "vmm/machine/machine.h"

namespace {

using namespace chronovisor;

constexpr std::uint64_t kSteps = 200'000;
constexpr std::uint64_t kLateSteps = 1ULL << 51, kLateIdleNs = 1ULL << 61;
constexpr std::uint8_t kPc2 = 0x80;  // first byte: from here on the machine is a pc-2
constexpr std::uint8_t kRaw = 0xff;  // first byte: what follows are sections as they are

/// Looks at the input in pieces; zeros when it is used up.
class Source {
 public:
  explicit Source(ByteView data) : data_(data) {}
  [[nodiscard]] bool empty() const { return data_.empty(); }
  std::uint8_t byte() {
    if (data_.empty()) return 0;
    const std::uint8_t value = data_.front();
    data_ = data_.subspan(1);
    return value;
  }
  ByteView bytes(std::size_t most) {
    const ByteView piece = data_.first(std::min(most, data_.size()));
    data_ = data_.subspan(piece.size());
    return piece;
  }
  ByteView rest() { return bytes(data_.size()); }

 private:
  ByteView data_;
};

/// Serial bytes, keys and buttons from time to time; ends runs that only fault, and
/// notices machines that stand still.
class Inputs final : public InputSource {
 public:
  explicit Inputs(const Machine& machine) : machine_(machine) {}
  /// Set when the run comes to nothing any more.
  [[nodiscard]] CancelToken enough() const { return cancel_; }

  [[nodiscard]] Position next_look(Position now) override { return {now.steps + 701}; }
  std::optional<Input> take(InputStamp here, const InputRoom& /*room*/) override {
    const Moment moment = machine_.moment();
    if (here != stamp_) {
      stamp_ = here;
      asked_ = still_ = 0;
      const std::uint64_t choice = here.position.steps / 701 % 5;
      if (choice == 0) return Input{InputKind::serial_byte, 0, {0x41}};
      if (choice == 1) return Input{InputKind::key, 0, {0x1e, 0x9e}};
      if (choice == 2 && here.position.steps % 9 == 0) return Input{InputKind::power_button, 0, {}};
      return std::nullopt;
    }
    still_ = moment == moment_ ? still_ + 1 : 0;
    moment_ = moment;
    CHECK_THAT(still_ < 100'000, "a machine goes on, or ends");
    if (++asked_ > 16 && still_ == 0) cancel_ = true;  // exceptions, one in the other
    return std::nullopt;
  }
  IdleOutcome idle(InputStamp /*here*/, std::uint64_t deadline_idle_ns) override {
    if (deadline_idle_ns == kNever) return {IdleOutcome::Kind::forever, 0};
    if (++idles_ > 500) cancel_ = true;
    return {IdleOutcome::Kind::deadline, deadline_idle_ns};
  }

 private:
  const Machine& machine_;
  std::atomic<bool> cancel_{false};
  InputStamp stamp_{{kNever}, 0};
  Moment moment_;
  std::uint64_t asked_ = 0;
  std::uint64_t still_ = 0;
  std::uint64_t idles_ = 0;
};

struct FieldPlace {
  std::size_t at = 0;
  std::size_t size = 0;
};
std::vector<FieldPlace> fields_of(const Bytes& section) {
  std::vector<FieldPlace> places;
  try {
    for (ByteReader in(section, "section"); !in.at_end();) {
      (void)in.sized_text(128);
      const std::size_t size = in.sized_bytes(section.size()).size();
      places.push_back({in.offset() - size, size});
    }
  } catch (const Error&) {
    // Bytes were removed from it before: what came before them can still be changed.
  }
  return places;
}

/// One change: a field's bytes, or a section's shape.
void change(std::vector<Section>& sections, Source& source) {
  Section& section = sections[source.byte() % sections.size()];
  const std::vector<FieldPlace> fields = fields_of(section.bytes);
  const std::uint8_t field = source.byte();
  const std::uint8_t kind = source.byte();
  if (kind >= 0xf8) {
    if (kind == 0xf8) section.bytes.resize(section.bytes.size() * field / 256);
    if (kind == 0xf9) section.name += static_cast<char>(field);
    if (kind == 0xfa) sections.push_back(section);
    if (kind == 0xfb && !section.bytes.empty()) section.bytes[field % section.bytes.size()] ^= 0x40;
    return;
  }
  if (fields.empty()) return;
  const FieldPlace place = fields[field % fields.size()];
  std::uint8_t* const value = section.bytes.data() + place.at;
  switch (kind % 3) {
    case 0:
      std::fill_n(value, place.size, source.byte());
      break;
    case 1: {
      const ByteView bytes = source.bytes(place.size);
      std::copy(bytes.begin(), bytes.end(), value);
      break;
    }
    default:
      if (place.size != 0) value[source.byte() % place.size] = source.byte();
      break;
  }
}

/// Sections in the bytes as they are: { name length, name, two bytes of length, bytes } ...
std::vector<Section> raw_sections(Source& source) {
  std::vector<Section> sections;
  while (!source.empty()) {
    Section section;
    const ByteView name = source.bytes(source.byte() % 32);
    section.name.assign(name.begin(), name.end());
    const std::size_t low = source.byte();
    const ByteView bytes = source.bytes(low | std::size_t{source.byte()} << 8);
    section.bytes.assign(bytes.begin(), bytes.end());
    sections.push_back(std::move(section));
  }
  return sections;
}

bool load(Machine& machine, const std::vector<Section>& sections) {
  try {
    machine.load_sections(sections);
    return true;
  } catch (const Error& error) {
    CHECK_THAT(error.code() == ErrorCode::bad_input, error.what());
    return false;
  }
}

void run_on(Machine& machine) {
  Inputs inputs(machine);
  machine.set_input(&inputs);
  try {
    (void)machine.run({{machine.position().steps + kSteps}, 0}, inputs.enough());
    (void)machine.digest();
  } catch (const Error& error) {
    CHECK_THAT(error.code() == ErrorCode::bad_input, error.what());
  }
  machine.set_input(nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Source source({data + 1, size - 1});
  const PokedMachine& kind = poked_machine(data[0] == kRaw || data[0] < kPc2 ? "pc-1" : "pc-2");
  const auto machine = kind.fresh();
  std::vector<Section> sections;
  if (data[0] == kRaw) {
    sections = raw_sections(source);
  } else {
    sections = kind.sound(data[0] % kPc2);
    for (int n = 0; n < 64 && !source.empty(); ++n) change(sections, source);
  }
  if (load(*machine, sections)) {
    const std::vector<Section> taken = machine->save_sections();
    CHECK_THAT(load(*machine, taken), "what a machine saves it can load");
    CHECK_THAT(machine->save_sections() == taken, "a state that was taken is a machine's own");
    run_on(*machine);
    // A machine near the end of time may be past what is taken from a file.
    const bool in_time = machine->position().steps < kLateSteps && machine->idle_ns() < kLateIdleNs;
    if (machine->at_arrival() && in_time) {
      CHECK_THAT(load(*machine, machine->save_sections()), "what a machine saves it can load");
    }
  }
  CHECK_THAT(load(*machine, kind.sound(1)), "a sound state is taken after any other");
  (void)machine->run({{machine->position().steps + 1000}, 0});
  return 0;
}
