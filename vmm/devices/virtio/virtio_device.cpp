#include "vmm/devices/virtio/virtio_device.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/devices/core/declaration.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kVendor = 0x1af4;
constexpr std::uint16_t kNoVector = 0xffff;
constexpr std::uint32_t kLegacyPorts = 128;
constexpr std::uint32_t kWindow = 0x4000;
constexpr std::uint32_t kCommonAt = 0x0000;
constexpr std::uint32_t kIsrAt = 0x1000;
constexpr std::uint32_t kDeviceAt = 0x2000;
constexpr std::uint32_t kNotifyAt = 0x3000;
constexpr std::uint32_t kPart = 0x1000;
constexpr std::uint32_t kNotifyMultiplier = 4;
constexpr std::uint8_t kVendorSpecific = 0x09;  // the capabilities' ID
// Offsets within the capability for access by configuration space.
constexpr unsigned kAccessBar = 4;
constexpr unsigned kAccessOffset = 8;
constexpr unsigned kAccessLength = 12;
constexpr unsigned kAccessData = 16;
constexpr unsigned kMsixBar = 1;
constexpr unsigned kModernBar = 4;

constexpr std::uint8_t kDriverOk = 0x04;
constexpr std::uint8_t kFeaturesOk = 0x08;
constexpr std::uint8_t kNeedsReset = 0x40;

/// The common configuration: offsets and widths of its fields, in their order.
enum Field : unsigned {
  kDeviceFeatureSelect,
  kDeviceFeature,
  kDriverFeatureSelect,
  kDriverFeature,
  kConfigVector,
  kQueueCount,
  kStatus,
  kGeneration,
  kQueueSelect,
  kQueueSize,
  kQueueVector,
  kQueueEnable,
  kQueueNotifyOffset,
  kQueueDescriptors,
  kQueueAvailable,
  kQueueUsed,
};
struct Place {
  unsigned offset;
  unsigned width;
};
constexpr std::array<Place, 16> kFields{{{0x00, 4},
                                         {0x04, 4},
                                         {0x08, 4},
                                         {0x0c, 4},
                                         {0x10, 2},
                                         {0x12, 2},
                                         {0x14, 1},
                                         {0x15, 1},
                                         {0x16, 2},
                                         {0x18, 2},
                                         {0x1a, 2},
                                         {0x1c, 2},
                                         {0x1e, 2},
                                         {0x20, 8},
                                         {0x28, 8},
                                         {0x30, 8}}};
constexpr std::size_t kCommonBytes = 0x38;

/// A device that has never been in a draft.
bool is_modern(std::uint16_t id) {
  constexpr std::uint16_t kFirstModern = 0x1040;
  return id >= kFirstModern;
}

std::uint64_t slice(const std::vector<std::uint8_t>& bytes, std::uint64_t offset, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned n = 0; n < width; ++n) {
    if (offset + n < bytes.size()) value |= std::uint64_t{bytes[offset + n]} << (8 * n);
  }
  return value;
}

}  // namespace

VirtioDevice::VirtioDevice(std::uint16_t kind, std::uint16_t transitional_id,
                           std::uint32_t class_code, std::uint64_t features, unsigned queues,
                           std::string name, PciAddress usual, MessageInterrupts& messages,
                           DmaBus& dma)
    : PciDevice({.vendor = kVendor,
                 .device = transitional_id,
                 .class_code = class_code,
                 .revision = static_cast<std::uint8_t>(is_modern(transitional_id) ? 1 : 0),
                 .subsystem_vendor = kVendor,
                 .subsystem = kind},
                usual, messages),
      features_(features | kIndirectDescriptors | kVersion1),
      name_(std::move(name)),
      dma_(dma, name_),
      queues_(queues) {
  if (!is_modern(transitional_id)) add_io_bar(0, kLegacyPorts, legacy_);
  add_intx(1);
  add_msix(kMsixBar, queues + 1);
  add_memory_bar(kModernBar, kWindow, MemoryBar::bits64_prefetchable, modern_);
  add_virtio_capability(1, kCommonAt, kPart);
  add_virtio_capability(3, kIsrAt, kPart);
  add_virtio_capability(4, kDeviceAt, kPart);
  add_virtio_capability(2, kNotifyAt, kPart, kNotifyMultiplier);
}

VirtioDevice::~VirtioDevice() = default;

void VirtioDevice::add_virtio_capability(std::uint8_t type, std::uint32_t offset,
                                         std::uint32_t length, std::uint32_t multiplier) {
  constexpr std::uint8_t kNotify = 2;
  const bool notify = type == kNotify;
  std::vector<std::uint8_t> body{
      static_cast<std::uint8_t>(notify ? 20 : 16), type, kModernBar, 0, 0, 0};
  const auto add = [&](std::uint32_t value) {
    for (unsigned n = 0; n < 4; ++n) body.push_back(static_cast<std::uint8_t>(value >> (8 * n)));
  };
  add(offset);
  add(length);
  if (notify) add(multiplier);
  add_capability(kVendorSpecific, body, {});
}

/// A driver that cannot map memory writes BAR, offset and length here, and the data then are
/// the register's. Source: VIRTIO 1.1, 4.1.4.7.
void VirtioDevice::add_access_capability() {
  constexpr std::uint8_t kBytes = 20;
  constexpr std::uint8_t kType = 5;
  std::vector<std::uint8_t> body(kBytes - 2);
  body[0] = kBytes;
  body[1] = kType;
  std::vector<std::uint8_t> writable(body.size());
  writable[kAccessBar - 2] = 0xff;
  std::fill_n(writable.begin() + kAccessOffset - 2, 8, std::uint8_t{0xff});
  access_ = add_capability(kVendorSpecific, body, writable);
}

VirtioDevice::Access VirtioDevice::access_asked(std::uint8_t config_offset) const {
  if (access_ == 0 || config_offset != access_ + kAccessData) return {};
  const auto number = [this](unsigned at) {
    std::uint32_t value = 0;
    for (unsigned n = 0; n < 4; ++n) {
      value |= std::uint32_t{config_byte(static_cast<std::uint8_t>(access_ + at + n))} << (8 * n);
    }
    return value;
  };
  const std::uint64_t offset = number(kAccessOffset);
  const std::uint32_t width = number(kAccessLength);
  const bool possible = width == 1 || width == 2 || width == 4;
  const std::uint8_t bar = config_byte(static_cast<std::uint8_t>(access_ + kAccessBar));
  if (bar != kModernBar || !possible || offset % width != 0 || offset + width > kWindow) return {};
  return {offset, width};
}

std::uint32_t VirtioDevice::read_config(std::uint8_t offset, unsigned width) {
  const Access access = access_asked(offset);
  if (access.width == 0) return PciDevice::read_config(offset, width);
  return static_cast<std::uint32_t>(modern_.read_mmio(access.offset, access.width));
}

void VirtioDevice::write_config(std::uint8_t offset, unsigned width, std::uint32_t value) {
  PciDevice::write_config(offset, width, value);
  const Access access = access_asked(offset);
  if (access.width == 0) return;
  const std::uint64_t ones = (std::uint64_t{1} << (8 * access.width)) - 1;
  modern_.write_mmio(access.offset, access.width, value & ones);
}

void VirtioDevice::reset() {
  if (state_version() >= 2 && access_ == 0) add_access_capability();
  PciDevice::reset();
  reset_by_driver();
}

void VirtioDevice::reset_by_driver() {
  for (Virtqueue& queue : queues_) queue.reset();
  driver_features_ = 0;
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  config_vector_ = kNoVector;
  status_ = isr_ = 0;
  set_intx(false);
  device_reset();
}

void VirtioDevice::visit_state(StateVisitor& visitor) {
  PciDevice::visit_state(visitor);
  visitor.field("driver_features", driver_features_);
  driver_features_ &= features_;
  visitor.field("device_feature_select", device_feature_select_);
  visitor.field("driver_feature_select", driver_feature_select_);
  visitor.field("queue_select", queue_select_);
  visitor.field("config_vector", config_vector_);
  visitor.field("status", status_);
  visitor.field("isr", isr_);
  for (std::size_t n = 0; n < queues_.size(); ++n) {
    queues_[n].visit_state(visitor, "queue" + std::to_string(n) + ".");
  }
}

Virtqueue* VirtioDevice::selected() {
  return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}
const Virtqueue* VirtioDevice::selected() const {
  return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

bool VirtioDevice::running() const {
  return (status_ & kDriverOk) != 0 && (status_ & kNeedsReset) == 0 && is_bus_master();
}

void VirtioDevice::broken() { status_ |= kNeedsReset; }

void VirtioDevice::interrupt(unsigned number) {
  isr_ |= 1;
  if (uses_messages()) {
    if (queues_[number].vector != kNoVector) send_message(queues_[number].vector);
  } else {
    set_intx(true);
  }
}

std::uint8_t VirtioDevice::take_isr() {
  set_intx(false);
  return std::exchange(isr_, std::uint8_t{0});
}

void VirtioDevice::set_status(std::uint8_t status) {
  if (status == 0) {
    reset_by_driver();
    return;
  }
  // What the device itself has said stays until a reset.
  status_ = static_cast<std::uint8_t>(status | (status_ & kNeedsReset));
  if ((driver_features_ & ~features_) != 0) status_ &= static_cast<std::uint8_t>(~kFeaturesOk);
}

void VirtioDevice::notify(std::uint32_t number) {
  if (number < queues_.size() && running()) notified(number);
}

/// The layout of before 1.0: descriptors, available ring, and the used ring on the next page.
void VirtioDevice::place_legacy_queue(std::uint32_t page) {
  Virtqueue* queue = selected();
  if (queue == nullptr) return;
  queue->descriptors = std::uint64_t{page} * kPageSize;
  queue->available = queue->descriptors + std::uint64_t{16} * queue->size;
  queue->used = (queue->available + 6 + std::uint64_t{2} * queue->size + kPageSize - 1) & kPageMask;
  queue->enabled = page != 0;
}

std::vector<std::uint8_t> VirtioDevice::common() const {
  std::vector<std::uint8_t> bytes(kCommonBytes);
  const auto put = [&](Field field, std::uint64_t value) {
    for (unsigned n = 0; n < kFields[field].width; ++n) {
      bytes[kFields[field].offset + n] = static_cast<std::uint8_t>(value >> (8 * n));
    }
  };
  const auto half = [](std::uint64_t features, std::uint32_t select) {
    return select > 1 ? 0 : features >> (32 * select) & 0xffffffff;
  };
  put(kDeviceFeatureSelect, device_feature_select_);
  put(kDeviceFeature, half(features_, device_feature_select_));
  put(kDriverFeatureSelect, driver_feature_select_);
  put(kDriverFeature, half(driver_features_, driver_feature_select_));
  put(kConfigVector, config_vector_);
  put(kQueueCount, queues_.size());
  put(kStatus, status_);
  put(kQueueSelect, queue_select_);
  if (const Virtqueue* queue = selected()) {
    put(kQueueSize, queue->size);
    put(kQueueVector, queue->vector);
    put(kQueueEnable, queue->enabled ? 1 : 0);
    put(kQueueNotifyOffset, queue_select_);
    put(kQueueDescriptors, queue->descriptors);
    put(kQueueAvailable, queue->available);
    put(kQueueUsed, queue->used);
  }
  return bytes;
}

void VirtioDevice::write_common(unsigned field, std::uint64_t value) {
  Virtqueue* queue = selected();
  const auto vector = [this](std::uint64_t wanted) {
    return wanted <= queues_.size() ? static_cast<std::uint16_t>(wanted) : kNoVector;
  };
  switch (field) {
    case kDeviceFeatureSelect:
      device_feature_select_ = static_cast<std::uint32_t>(value);
      return;
    case kDriverFeatureSelect:
      driver_feature_select_ = static_cast<std::uint32_t>(value);
      return;
    case kDriverFeature:
      if (driver_feature_select_ <= 1) {
        const unsigned shift = 32 * driver_feature_select_;
        driver_features_ &= ~(std::uint64_t{0xffffffff} << shift);
        driver_features_ |= (value & 0xffffffff) << shift & features_;
      }
      return;
    case kConfigVector:
      config_vector_ = vector(value);
      return;
    case kStatus:
      set_status(static_cast<std::uint8_t>(value));
      return;
    case kQueueSelect:
      queue_select_ = static_cast<std::uint16_t>(value);
      return;
    default:
      break;
  }
  if (queue == nullptr) return;
  if (field == kQueueVector) queue->vector = vector(value);
  if (queue->enabled) return;  // a queue that is used stays as it is
  switch (field) {
    case kQueueSize:
      // A power of two, no more than there are.
      if (value != 0 && value <= Virtqueue::kMostSize && (value & (value - 1)) == 0) {
        queue->size = static_cast<std::uint16_t>(value);
      }
      break;
    case kQueueEnable:
      queue->enabled = value == 1;
      break;
    case kQueueDescriptors:
      queue->descriptors = value;
      break;
    case kQueueAvailable:
      queue->available = value;
      break;
    case kQueueUsed:
      queue->used = value;
      break;
    default:
      break;
  }
}

std::uint64_t VirtioDevice::Modern::read_mmio(std::uint64_t offset, unsigned width) {
  const std::uint64_t within = offset % kPart;
  switch (offset - within) {
    case kCommonAt:
      return slice(device_.common(), within, width);
    case kIsrAt:
      return within == 0 ? device_.take_isr() : 0;
    case kDeviceAt:
      return slice(device_.configuration(), within, width);
    default:
      return 0;
  }
}

void VirtioDevice::Modern::write_mmio(std::uint64_t offset, unsigned width, std::uint64_t value) {
  const std::uint64_t within = offset % kPart;
  if (offset - within == kNotifyAt) {
    device_.notify(static_cast<std::uint32_t>(within / kNotifyMultiplier));
  } else if (offset - within == kDeviceAt) {
    for (unsigned n = 0; n < width; ++n) {
      device_.configuration_written(static_cast<unsigned>(within) + n,
                                    static_cast<std::uint8_t>(value >> (8 * n)));
    }
  } else if (offset - within == kCommonAt) {
    // A field may be written in parts: the rest of it stays.
    std::vector<std::uint8_t> bytes = device_.common();
    for (unsigned n = 0; n < width && within + n < bytes.size(); ++n) {
      bytes[within + n] = static_cast<std::uint8_t>(value >> (8 * n));
    }
    for (unsigned field = 0; field < kFields.size(); ++field) {
      const Place& place = kFields[field];
      if (within >= place.offset + place.width || within + width <= place.offset) continue;
      device_.write_common(field, slice(bytes, place.offset, place.width));
    }
  }
  device_.deadline_changed();
}

unsigned VirtioDevice::Legacy::header_bytes() const { return device_.uses_messages() ? 24 : 20; }

std::uint32_t VirtioDevice::Legacy::read_port(std::uint16_t offset, unsigned width) {
  const unsigned header = header_bytes();
  if (offset >= header) {
    return static_cast<std::uint32_t>(slice(device_.configuration(), offset - header, width));
  }
  if (offset == 19) return device_.take_isr();
  std::vector<std::uint8_t> bytes(24);
  const auto put = [&](unsigned at, unsigned size, std::uint64_t value) {
    for (unsigned n = 0; n < size; ++n) bytes[at + n] = static_cast<std::uint8_t>(value >> (8 * n));
  };
  const Virtqueue* queue = device_.selected();
  put(0, 4, device_.features_);
  put(4, 4, device_.driver_features_);
  if (queue != nullptr) {
    put(8, 4, queue->enabled ? queue->descriptors / kPageSize : 0);
    put(12, 2, queue->size);
    put(22, 2, queue->vector);
  }
  put(14, 2, device_.queue_select_);
  put(18, 1, device_.status_);
  put(20, 2, device_.config_vector_);
  return static_cast<std::uint32_t>(slice(bytes, offset, width));
}

void VirtioDevice::Legacy::write_port(std::uint16_t offset, unsigned /*width*/,
                                      std::uint32_t value) {
  switch (offset) {
    case 4:
      device_.driver_features_ = value & device_.features_ & 0xffffffff;
      break;
    case 8:
      device_.place_legacy_queue(value);
      break;
    case 14:
      device_.queue_select_ = static_cast<std::uint16_t>(value);
      break;
    case 16:
      device_.notify(value & 0xffff);
      break;
    case 18:
      device_.set_status(static_cast<std::uint8_t>(value));
      break;
    case 20:
      if (device_.uses_messages()) device_.write_common(kConfigVector, value & 0xffff);
      break;
    case 22:
      if (device_.uses_messages()) device_.write_common(kQueueVector, value & 0xffff);
      break;
    default:
      break;
  }
  device_.deadline_changed();
}

}  // namespace chronovisor
