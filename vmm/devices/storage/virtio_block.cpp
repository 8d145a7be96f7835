#include "vmm/devices/storage/virtio_block.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/devices/core/declaration.h"
#include "vmm/devices/core/tick_rate.h"

namespace chronovisor {
namespace {

constexpr std::uint16_t kBlockDevice = 2;
constexpr std::uint16_t kTransitionalBlock = 0x1001;
constexpr std::uint32_t kScsiStorage = 0x010000;

constexpr std::uint64_t kSegmentsLimit = 1ULL << 2;
constexpr std::uint64_t kReadOnly = 1ULL << 5;
constexpr std::uint64_t kBlockSize = 1ULL << 6;
constexpr std::uint64_t kFlushFeature = 1ULL << 9;

constexpr std::uint32_t kIn = 0;
constexpr std::uint32_t kOut = 1;
constexpr std::uint32_t kFlush = 4;
constexpr std::uint32_t kGetId = 8;

constexpr std::uint8_t kOk = 0;
constexpr std::uint8_t kIoError = 1;
constexpr std::uint8_t kUnsupported = 2;

constexpr std::size_t kHeaderBytes = 16;
constexpr std::size_t kIdBytes = 20;
constexpr std::size_t kPieceBytes = 64 * 1024;

std::uint64_t bytes_of(const std::vector<Virtqueue::Segment>& segments) {
  std::uint64_t bytes = 0;
  for (const Virtqueue::Segment& segment : segments) bytes += segment.length_bytes;
  return bytes;
}

/// Walks a list of segments from some byte on.
class Walk {
 public:
  Walk(const std::vector<Virtqueue::Segment>& segments, std::uint64_t skip) : segments_(segments) {
    advance(skip);
  }
  /// Calls `piece(address, place, bytes)` for so many bytes; false when it says so.
  template <class Piece>
  bool take(std::uint64_t bytes, Piece&& piece) {
    for (std::uint64_t done = 0; done < bytes;) {
      if (at_ >= segments_.size()) return false;
      const Virtqueue::Segment& segment = segments_[at_];
      const std::uint64_t count =
          std::min<std::uint64_t>(bytes - done, segment.length_bytes - used_);
      const std::uint64_t address = segment.address.value + used_;
      if (count != 0 && !piece(GuestPhysical{address}, done, count)) return false;
      done += count;
      advance(count);
    }
    return true;
  }

 private:
  void advance(std::uint64_t bytes) {
    used_ += bytes;
    while (at_ < segments_.size() && used_ >= segments_[at_].length_bytes) {
      used_ -= segments_[at_].length_bytes;
      ++at_;
    }
  }
  const std::vector<Virtqueue::Segment>& segments_;
  std::size_t at_ = 0;
  std::uint64_t used_ = 0;  ///< of the segment
};

}  // namespace

VirtioBlock::VirtioBlock(std::unique_ptr<Disk> disk, std::string name, std::string serial,
                         PciAddress usual, MessageInterrupts& messages, const Clock& clock,
                         DmaBus& dma)
    : VirtioDevice(
          kBlockDevice, kTransitionalBlock, kScsiStorage,
          kSegmentsLimit | kBlockSize | kFlushFeature | (disk->read_only() ? kReadOnly : 0), 1,
          name, usual, messages, dma),
      disk_(std::move(disk)),
      section_(std::move(name)),
      serial_(std::move(serial)),
      clock_(clock) {}

void VirtioBlock::declare(Declaration& declaration) {
  VirtioDevice::declare(declaration);
  declaration.deadlines();
}

void VirtioBlock::visit_state(StateVisitor& visitor) {
  VirtioDevice::visit_state(visitor);
  visitor.field("busy", busy_);
  visitor.field("head", head_);
  visitor.field("due_ns", due_ns_);
  visitor.field("started", started_);
}

void VirtioBlock::device_reset() {
  busy_ = false;
  head_ = 0;
  due_ns_ = kNever;
  started_ = 0;
}

std::vector<std::uint8_t> VirtioBlock::configuration() const {
  std::vector<std::uint8_t> bytes;
  const auto put = [&](std::uint64_t value, unsigned width) {
    for (unsigned n = 0; n < width; ++n) {
      bytes.push_back(static_cast<std::uint8_t>(value >> (8 * n)));
    }
  };
  put(disk_->sectors(), 8);
  put(0, 4);                         // size_max: no limit
  put(Virtqueue::kMostSize - 2, 4);  // seg_max
  put(0, 4);                         // geometry
  put(kSectorBytes, 4);              // blk_size
  return bytes;
}

std::string VirtioBlock::request() const {
  return std::string(type_ == kIn ? "read" : "request") + ", sector " + std::to_string(sector_) +
         ", " + std::to_string(sectors_) + " sectors";
}

void VirtioBlock::notified(unsigned /*number*/) {
  if (busy_) return;
  started_ = clock_.position().steps;
  begin_next();
}

/// Takes the next request, whose time begins now.
void VirtioBlock::begin_next() {
  busy_ = false;
  due_ns_ = kNever;
  if (!running()) return;
  const Virtqueue::Taken taken = queue(0).take(dma(), head_);
  if (taken == Virtqueue::Taken::broken) broken();
  if (taken != Virtqueue::Taken::one) return;
  const auto chain = queue(0).chain(dma(), head_, has(kIndirectDescriptors));
  if (!chain) {
    broken();
    return;
  }
  const std::uint64_t bytes =
      std::min(bytes_of(chain->readable) + bytes_of(chain->writable), kMostBytes);
  busy_ = true;
  due_ns_ = saturating_add(clock_.now().ns, kCommandNs + bytes * kNsPerByte);
}

void VirtioBlock::advance(VirtualTime now) {
  if (due_ns_ > now.ns) return;
  due_ns_ = kNever;
  if (busy_ && running()) {
    // The driver may have changed its table meanwhile; what is there now counts.
    const auto chain = queue(0).chain(dma(), head_, has(kIndirectDescriptors));
    if (chain) {
      const std::uint32_t written = serve(*chain);
      if (queue(0).give_back(dma(), head_, written)) interrupt(0);
    } else {
      broken();
    }
  }
  begin_next();
  deadline_changed();
}

bool VirtioBlock::read_header(const Virtqueue::Chain& chain, Header& header) {
  std::array<std::uint8_t, kHeaderBytes> bytes{};
  Walk walk(chain.readable, 0);
  const bool read =
      walk.take(bytes.size(), [&](GuestPhysical address, std::uint64_t at, std::uint64_t count) {
        return dma().read(address, std::span(bytes).subspan(at, count)) == DmaStatus::done;
      });
  if (!read) return false;
  for (unsigned n = 0; n < 4; ++n) header.type |= std::uint32_t{bytes[n]} << (8 * n);
  for (unsigned n = 0; n < 8; ++n) header.sector |= std::uint64_t{bytes[8 + n]} << (8 * n);
  return true;
}

bool VirtioBlock::transfer(const Virtqueue::Chain& chain, const Header& header) {
  const bool in = header.type == kIn;
  const std::uint64_t bytes =
      in ? bytes_of(chain.writable) - 1 : bytes_of(chain.readable) - kHeaderBytes;
  sector_ = header.sector;
  sectors_ = bytes / kSectorBytes;
  const bool fits = bytes % kSectorBytes == 0 && bytes <= kMostBytes &&
                    sector_ <= disk_->sectors() && sectors_ <= disk_->sectors() - sector_;
  if (!fits || (!in && disk_->read_only())) return false;
  const DmaPort::Doing doing(dma(), *this);
  Walk walk(in ? chain.writable : chain.readable, in ? 0 : kHeaderBytes);
  std::vector<std::uint8_t> buffer;
  for (std::uint64_t done = 0; done < bytes;) {
    buffer.resize(std::min<std::uint64_t>(bytes - done, kPieceBytes));
    const std::uint64_t sector = sector_ + done / kSectorBytes;
    if (in && disk_->read(sector, buffer) != DiskStatus::done) return false;
    const bool moved =
        walk.take(buffer.size(), [&](GuestPhysical address, std::uint64_t at, std::uint64_t count) {
          const auto piece = std::span(buffer).subspan(at, count);
          return (in ? dma().write(address, ByteView(piece)) : dma().read(address, piece)) ==
                 DmaStatus::done;
        });
    if (!moved || (!in && disk_->write(sector, buffer) != DiskStatus::done)) return false;
    done += buffer.size();
  }
  return true;
}

bool VirtioBlock::identify(const Virtqueue::Chain& chain) {
  std::array<std::uint8_t, kIdBytes> id{};
  std::copy_n(serial_.begin(), std::min(serial_.size(), id.size()), id.begin());
  Walk walk(chain.writable, 0);
  return walk.take(std::min<std::uint64_t>(id.size(), bytes_of(chain.writable) - 1),
                   [&](GuestPhysical address, std::uint64_t at, std::uint64_t count) {
                     return dma().write(address, ByteView(id).subspan(at, count)) ==
                            DmaStatus::done;
                   });
}

std::uint32_t VirtioBlock::serve(const Virtqueue::Chain& chain) {
  const std::uint64_t writable = bytes_of(chain.writable);
  if (writable == 0) return 0;  // no room for the status even
  Header header;
  std::uint8_t status = kIoError;
  if (bytes_of(chain.readable) >= kHeaderBytes && read_header(chain, header)) {
    type_ = header.type;
    switch (header.type) {
      case kIn:
      case kOut:
        status = transfer(chain, header) ? kOk : kIoError;
        break;
      case kFlush:
        status = kOk;
        break;
      case kGetId:
        status = identify(chain) ? kOk : kIoError;
        break;
      default:
        status = kUnsupported;
        break;
    }
  }
  Walk walk(chain.writable, writable - 1);
  (void)walk.take(1, [&](GuestPhysical address, std::uint64_t /*at*/, std::uint64_t /*count*/) {
    return dma().write(address, ByteView(&status, 1)) == DmaStatus::done;
  });
  const std::uint64_t written = header.type == kIn || header.type == kGetId ? writable : 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(written, 0xffffffff));
}

}  // namespace chronovisor
