// Loads states that no machine ever had: sections of a sound machine with fields
// changed (the first byte says which machine, the rest which changes), or any bytes
// for sections. Each is refused as bad input, or the machine runs on: a guest that
// pokes every port and both APICs while inputs come in, or whatever code the
// changed processor finds. Checked beside crashes: a state that was taken is one the
// machine can itself save, time or position always goes on, and after a refusal the
// same machine takes a sound state.
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
#include "vmm/machine/machine.h"

namespace {

using namespace chronovisor;

constexpr std::uint64_t kSteps = 200'000;
constexpr std::uint64_t kLateSteps = 1ULL << 51, kLateIdleNs = 1ULL << 61;
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

/// 64-bit code that writes random values to random ports and APIC registers.
constexpr std::array<std::uint8_t, 82> kPoker{
    0x48, 0xb9, 0x2d, 0x7f, 0x95, 0x4c, 0x2d, 0xf4, 0x51, 0x58,  // mov rcx, multiplier
    0x48, 0x0f, 0xaf, 0xd9,                                      // again: imul rbx, rcx
    0x48, 0x81, 0xc3, 0x4f, 0x5d, 0x1d, 0x14,                    // add rbx, odd
    0x48, 0x89, 0xde,                                            // mov rsi, rbx
    0x48, 0xc1, 0xee, 0x28,                                      // shr rsi, 40
    0x83, 0xe6, 0x3f,                                            // and esi, 63
    0x0f, 0xb7, 0x14, 0x75, 0x00, 0x90, 0x00, 0x00,              // movzx edx, word [0x9000+rsi*2]
    0x48, 0x89, 0xd8,                                            // mov rax, rbx
    0x48, 0xc1, 0xe8, 0x14,                                      // shr rax, 20
    0xee,                                                        // out dx, al
    0xec,                                                        // in al, dx
    0xef,                                                        // out dx, eax
    0xed,                                                        // in eax, dx
    0x48, 0x89, 0xdf,                                            // mov rdi, rbx
    0x81, 0xe7, 0xf0, 0x03, 0x00, 0x00,                          // and edi, 0x3f0
    0x8d, 0xbf, 0x00, 0x00, 0xe0, 0xfe,                          // lea edi, [rdi+0xfee00000]
    0x89, 0x1f,                                                  // mov [rdi], ebx
    0x8b, 0x07,                                                  // mov eax, [rdi]
    0x83, 0xe6, 0x10,                                            // and esi, 0x10
    0x8d, 0xb6, 0x00, 0x00, 0xc0, 0xfe,                          // lea esi, [rsi+0xfec00000]
    0x89, 0x1e,                                                  // mov [rsi], ebx
    0x8b, 0x06,                                                  // mov eax, [rsi]
};

constexpr std::array<std::uint16_t, 64> kPorts{
    0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x61,  0x70,  0x71,
    0x60,  0x64,  0x80,  0x92,  0xe9,  0xcf8, 0xcf9, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0x3f8, 0x3f9,
    0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x600, 0x601, 0x602, 0x603, 0x604, 0x608, 0x609,
    0x60a, 0x60b, 0xb2,  0xb3,  0x620, 0x621, 0x622, 0x623, 0x20,  0x21,  0xa0,  0x40,  0x43,
    0x70,  0x71,  0x60,  0x64,  0x3f8, 0x3f9, 0x3fa, 0x3fc, 0x600, 0x602, 0x604, 0xcfc};

void put(Machine& machine, std::uint64_t at, ByteView bytes) {
  (void)machine.ram().write({at}, bytes);
}
void put64(Machine& machine, std::uint64_t at, std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes{};
  std::memcpy(bytes.data(), &value, sizeof(value));
  put(machine, at, bytes);
}

/// Memory of the guest: the first 4 GiB mapped where they lie, a gate for every
/// vector to an IRETQ, and the poking code at 0x8000.
void fill_memory(Machine& machine) {
  put64(machine, 0x1000, 0x2003);
  for (std::uint64_t gib = 0; gib < 4; ++gib)
    put64(machine, 0x2000 + 8 * gib, 0x3003 + (gib << 12));
  for (std::uint64_t n = 0; n < 2048; ++n) put64(machine, 0x3000 + 8 * n, n << 21 | 0x83);
  for (std::uint64_t vector = 0; vector < 256; ++vector) {
    put64(machine, 0x7000 + 16 * vector, 0x00008e0000088f00);
  }
  put64(machine, 0xa008, 0x00af9b000000ffff);  // the GDT: code, data
  put64(machine, 0xa010, 0x00cf93000000ffff);
  put(machine, 0x8000, kPoker);
  const auto back = static_cast<std::uint8_t>(0x100 - (kPoker.size() - 10 + 2));
  put(machine, 0x8000 + kPoker.size(), std::array<std::uint8_t, 2>{0xeb, back});
  put(machine, 0x8f00, std::array<std::uint8_t, 2>{0x48, 0xcf});
  for (std::size_t n = 0; n < kPorts.size(); ++n) {
    put(machine, 0x9000 + 2 * n,
        std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(kPorts[n]),
                                    static_cast<std::uint8_t>(kPorts[n] >> 8)});
  }
}

std::unique_ptr<Machine> fresh_machine() {
  MachineConfig config;
  config.memory_bytes = 1U << 20;
  auto machine = std::make_unique<Machine>(config);
  fill_memory(*machine);
  return machine;
}

/// Sections of sound machines: at reset; in 64-bit mode about to poke; having poked.
const std::vector<Section>& sound_sections(unsigned which) {
  static const std::array<std::vector<Section>, 3> all = [] {
    const auto machine = fresh_machine();
    std::array<std::vector<Section>, 3> made;
    made[0] = machine->save_sections();
    machine->change_cpu([](Cpu& cpu) {
      cpu.state.cr0 = kCr0Pe | kCr0Pg | kCr0Et;
      cpu.state.cr3 = 0x1000;
      cpu.state.cr4 = kCr4Pae;
      cpu.state.msr.efer = kEferLme | kEferLma;
      for (SegmentRegister& segment : cpu.state.segment) segment = {0x10, 0xc093, 0xffffffff, 0};
      cpu.state.segment[kCs] = {0x08, 0xa09b, 0xffffffff, 0};
      cpu.state.idtr = {0x7000, 0xfff};
      cpu.state.gdtr = {0xa000, 0x17};
      cpu.gpr(kRsp) = 0x20000;
      cpu.rip() = 0x8000;
      cpu.set_flags(kIf);
    });
    made[1] = machine->save_sections();
    (void)machine->run({{100'000}, 0});
    made[2] = machine->save_sections();
    return made;
  }();
  return all[which % all.size()];
}

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
  const auto machine = fresh_machine();
  std::vector<Section> sections;
  if (data[0] == kRaw) {
    sections = raw_sections(source);
  } else {
    sections = sound_sections(data[0]);
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
  CHECK_THAT(load(*machine, sound_sections(1)), "a sound state is taken after any other");
  (void)machine->run({{machine->position().steps + 1000}, 0});
  return 0;
}
