#include "vmm/devices/virtio/virtio_tablet.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kInputDevice = 18;
constexpr std::uint16_t kModernInput = 0x1040 + kInputDevice;
constexpr std::uint32_t kInputController = 0x098000;
constexpr unsigned kEvents = 0;
constexpr unsigned kStatus = 1;
constexpr unsigned kQueues = 2;

// What the configuration is asked for.
constexpr std::uint8_t kName = 0x01;
constexpr std::uint8_t kIdentity = 0x03;
constexpr std::uint8_t kEventBits = 0x11;
constexpr std::uint8_t kAxis = 0x12;
// Events, as Linux' input subsystem numbers them.
constexpr std::uint8_t kSynchronise = 0x00;
constexpr std::uint8_t kKey = 0x01;
constexpr std::uint8_t kRelative = 0x02;
constexpr std::uint8_t kAbsolute = 0x03;
constexpr std::uint16_t kX = 0x00;
constexpr std::uint16_t kY = 0x01;
constexpr std::uint16_t kWheel = 0x08;
constexpr std::array<std::uint16_t, 5> kButtons{0x110, 0x111, 0x112, 0x113, 0x114};
/// As many as one movement makes at most.
constexpr std::uint16_t kMostEvents = 2 + kButtons.size() + 1 + 1;

constexpr std::size_t kConfigurationHead = 8;
constexpr std::size_t kEventBytes = 8;
constexpr std::string_view kText = "Chronovisor tablet";

std::vector<std::uint8_t> event_bits(std::uint8_t type) {
  std::vector<std::uint8_t> bits;
  const auto set = [&](std::uint16_t code) {
    if (bits.size() <= code / 8U) bits.resize(code / 8U + 1);
    bits[code / 8U] |= static_cast<std::uint8_t>(1U << (code % 8));
  };
  switch (type) {
    case kKey:
      for (const std::uint16_t button : kButtons) set(button);
      break;
    case kRelative:
      set(kWheel);
      break;
    case kAbsolute:
      set(kX);
      set(kY);
      break;
    default:
      break;
  }
  return bits;
}

}  // namespace

Bytes VirtioTablet::payload_of(const Pointer& pointer) {
  ByteWriter out;
  out.integer(pointer.x);
  out.integer(pointer.y);
  out.integer(pointer.buttons);
  out.integer(pointer.wheel);
  return out.take();
}

VirtioTablet::VirtioTablet(PciAddress usual, MessageInterrupts& messages, DmaBus& dma)
    : VirtioDevice(kInputDevice, kModernInput, kInputController, 0, kQueues, "tablet", usual,
                   messages, dma) {}

void VirtioTablet::declare(Declaration& declaration) {
  VirtioDevice::declare(declaration);
  declaration.receives(InputKind::pointer, *this);
}

void VirtioTablet::visit_state(StateVisitor& visitor) {
  VirtioDevice::visit_state(visitor);
  visitor.field("select", select_);
  visitor.field("subselect", subselect_);
  visitor.field("x", x_);
  visitor.field("y", y_);
  visitor.field("buttons", buttons_);
}

void VirtioTablet::device_reset() {
  select_ = subselect_ = 0;
  x_ = y_ = 0;
  buttons_ = 0;
}

std::vector<std::uint8_t> VirtioTablet::configuration() const {
  std::vector<std::uint8_t> content;
  const auto put = [&](std::uint32_t value, unsigned width) {
    for (unsigned n = 0; n < width; ++n) {
      content.push_back(static_cast<std::uint8_t>(value >> (8 * n)));
    }
  };
  if (select_ == kName && subselect_ == 0) {
    content.assign(kText.begin(), kText.end());
  } else if (select_ == kIdentity && subselect_ == 0) {
    constexpr std::uint16_t kVirtual = 0x06;  // Linux' BUS_VIRTUAL
    for (const std::uint16_t word :
         {kVirtual, std::uint16_t{0x0627}, kInputDevice, std::uint16_t{1}}) {
      put(word, 2);
    }
  } else if (select_ == kEventBits) {
    content = event_bits(subselect_);
  } else if (select_ == kAxis && (subselect_ == kX || subselect_ == kY)) {
    for (const std::uint32_t word : {0U, std::uint32_t{kMost}, 0U, 0U, 0U}) put(word, 4);
  }
  std::vector<std::uint8_t> bytes(kConfigurationHead + content.size());
  bytes[0] = select_;
  bytes[1] = subselect_;
  bytes[2] = static_cast<std::uint8_t>(content.size());
  std::ranges::copy(content, bytes.begin() + kConfigurationHead);
  return bytes;
}

void VirtioTablet::configuration_written(unsigned offset, std::uint8_t value) {
  if (offset == 0) select_ = value;
  if (offset == 1) subselect_ = value;
}

/// What the driver says of lights is taken and changes nothing: there are none.
void VirtioTablet::notified(unsigned number) {
  if (number != kStatus) return;
  Virtqueue& status = queue(kStatus);
  bool wanted = false;
  for (unsigned n = 0; n < Virtqueue::kMostSize; ++n) {
    std::uint16_t head = 0;
    const Virtqueue::Taken taken = status.take(dma(), head);
    if (taken == Virtqueue::Taken::broken) broken();
    if (taken != Virtqueue::Taken::one) break;
    wanted = status.give_back(dma(), head, 0) || wanted;
  }
  if (wanted) interrupt(kStatus);
}

bool VirtioTablet::has_room(InputKind /*kind*/) const {
  if (!running()) return true;  // what would be dropped needs none
  return queue(kEvents).waiting(dma()) >= kMostEvents;
}

void VirtioTablet::put(std::uint16_t type, std::uint16_t code, std::uint32_t value) {
  Virtqueue& events = queue(kEvents);
  std::uint16_t head = 0;
  const Virtqueue::Taken taken = events.take(dma(), head);
  if (taken == Virtqueue::Taken::broken) broken();
  if (taken != Virtqueue::Taken::one) return;
  const auto chain = events.chain(dma(), head, has(kIndirectDescriptors));
  if (!chain) {
    broken();
    return;
  }
  ByteWriter out;
  out.integer(type);
  out.integer(code);
  out.integer(value);
  std::size_t done = 0;
  for (const Virtqueue::Segment& segment : chain->writable) {
    const std::size_t count = std::min<std::size_t>(segment.length_bytes, kEventBytes - done);
    if (count == 0) continue;
    (void)dma().write(segment.address, ByteView(out.data()).subspan(done, count));
    done += count;
  }
  wanted_ = events.give_back(dma(), head, static_cast<std::uint32_t>(done)) || wanted_;
}

void VirtioTablet::receive(const Input& input) {
  if (!running() || input.payload.size() != kPointerBytes) return;
  const Bytes& bytes = input.payload;
  const auto x = static_cast<std::uint16_t>((bytes[0] | bytes[1] << 8) & kMost);
  const auto y = static_cast<std::uint16_t>((bytes[2] | bytes[3] << 8) & kMost);
  const std::uint8_t buttons = bytes[4] & 0x1f;
  const auto wheel = static_cast<std::int8_t>(bytes[5]);
  wanted_ = false;
  if (x != x_) put(kAbsolute, kX, x);
  if (y != y_) put(kAbsolute, kY, y);
  for (unsigned n = 0; n < kButtons.size(); ++n) {
    const unsigned now = buttons >> n & 1U;
    if (now != (buttons_ >> n & 1U)) put(kKey, kButtons[n], now);
  }
  // Linux counts away from the user.
  if (wheel != 0) put(kRelative, kWheel, static_cast<std::uint32_t>(-std::int32_t{wheel}));
  put(kSynchronise, 0, 0);
  x_ = x;
  y_ = y;
  buttons_ = buttons;
  if (std::exchange(wanted_, false)) interrupt(kEvents);
}

}  // namespace chronovisor
