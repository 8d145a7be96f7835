#include "vmm/devices/network/e1000_assembler.h"

#include <algorithm>

#include "vmm/devices/network/ethernet.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kContextTcp = std::uint64_t{1} << 24;
constexpr std::uint64_t kContextIpv4 = std::uint64_t{1} << 25;
constexpr std::uint64_t kContextSegmentation = std::uint64_t{1} << 26;

/// No driver asks for smaller segments, and each costs the host a frame.
constexpr std::size_t kSmallestSegment = 48;
constexpr std::size_t kMostHeader = 255;
constexpr std::size_t kMostGathered = 65535 + kMostHeader;

constexpr std::uint8_t kTcpFin = 0x01;
constexpr std::uint8_t kTcpPush = 0x08;
constexpr std::size_t kIpv6HeaderBytes = 40;

std::uint8_t byte_of(std::uint64_t value, unsigned n) {
  return static_cast<std::uint8_t>(value >> (8 * n));
}
std::uint16_t word_of(std::uint64_t value, unsigned n) {
  return static_cast<std::uint16_t>(value >> (16 * n));
}

}  // namespace

void E1000Assembler::reset() {
  contexts_ = {};
  gathered_.clear();
  header_.clear();
  open_ = segmented_ = insert_ip_ = insert_transport_ = too_long_ = false;
  segments_ = 0;
}

void E1000Assembler::visit_state(StateVisitor& visitor) {
  visitor.field("transmit.contexts", contexts_);
  visitor.field("transmit.gathered", gathered_, kMostGathered);
  visitor.field("transmit.header", header_, kMostHeader);
  visitor.field("transmit.open", open_);
  visitor.field("transmit.segmented", segmented_);
  visitor.field("transmit.insert_ip", insert_ip_);
  visitor.field("transmit.insert_transport", insert_transport_);
  visitor.field("transmit.too_long", too_long_);
  visitor.field("transmit.segments", segments_);
}

void E1000Assembler::set_context(std::uint64_t low, std::uint64_t high) {
  const unsigned which = (high & kContextSegmentation) != 0 ? 2 : 0;
  contexts_[which] = low;
  contexts_[which + 1] = high;
}

E1000Assembler::Context E1000Assembler::context() const {
  const std::uint64_t low = contexts_[segmented_ ? 2 : 0];
  const std::uint64_t high = contexts_[segmented_ ? 3 : 1];
  return {.ip_start = byte_of(low, 0),
          .ip_store = byte_of(low, 1),
          .ip_end = word_of(low, 1),
          .transport_start = byte_of(low, 4),
          .transport_store = byte_of(low, 5),
          .transport_end = word_of(low, 3),
          .ipv4 = (high & kContextIpv4) != 0,
          .tcp = (high & kContextTcp) != 0,
          .header_bytes = byte_of(high, 5),
          .segment_bytes = std::max<std::size_t>(word_of(high, 3), kSmallestSegment)};
}

void E1000Assembler::begin(const Plan& plan) {
  gathered_.clear();
  header_.clear();
  open_ = true;
  segmented_ = plan.segmented;
  insert_ip_ = plan.insert_ip;
  insert_transport_ = plan.insert_transport;
  too_long_ = false;
  segments_ = 0;
}

std::size_t E1000Assembler::wanted() const {
  if (!open_ || too_long_) return 0;
  if (!segmented_) return kLongestFrameBytes + 1 - std::min(gathered_.size(), kLongestFrameBytes);
  const Context now = context();
  const std::size_t whole = now.header_bytes + now.segment_bytes;
  // A full segment goes out when more comes, so that the last one is known as such.
  const std::size_t kept = gathered_.size() >= whole ? now.header_bytes : gathered_.size();
  return whole - std::min(kept, whole - 1);
}

void E1000Assembler::add(ByteView bytes) {
  if (bytes.empty() || wanted() == 0) return;
  if (segmented_) {
    const Context now = context();
    if (gathered_.size() >= now.header_bytes + now.segment_bytes) put_out(Last::no);
    gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
    if (header_.empty() && gathered_.size() >= now.header_bytes) {
      header_.assign(gathered_.begin(),
                     gathered_.begin() + static_cast<std::ptrdiff_t>(now.header_bytes));
    }
    return;
  }
  if (gathered_.size() + bytes.size() > kLongestFrameBytes) {
    too_long_ = true;
    gathered_.clear();
    return;
  }
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
}

void E1000Assembler::insert_at_end(std::uint8_t from, std::uint8_t at) {
  insert(from, gathered_.size(), at, false);
}

void E1000Assembler::finish() {
  if (open_ && !too_long_ && !gathered_.empty()) {
    const bool only_header = segmented_ && gathered_.size() < context().header_bytes;
    if (!only_header) put_out(Last::yes);
  }
  open_ = false;
  gathered_.clear();
  header_.clear();
}

void E1000Assembler::insert(std::size_t from, std::size_t end, std::size_t at,
                            bool zero_means_none) {
  end = std::min(end, gathered_.size());
  if (from >= end || at + 2 > gathered_.size()) return;
  auto sum =
      static_cast<std::uint16_t>(~internet_sum(ByteView(gathered_).subspan(from, end - from)));
  if (sum == 0 && zero_means_none) sum = 0xffff;
  set_network_word(gathered_, at, sum);
}

/// Lengths, sequence numbers and flags of one segment of many.
void E1000Assembler::adjust_segment(const Context& now, Last last) {
  const std::size_t size = gathered_.size();
  const auto length_from = [size](std::size_t at) {
    return static_cast<std::uint16_t>(size > at ? size - at : 0);
  };
  if (now.ipv4) {
    set_network_word(gathered_, now.ip_start + 2U, length_from(now.ip_start));
    const std::uint16_t number = network_word(gathered_, now.ip_start + 4U);
    set_network_word(gathered_, now.ip_start + 4U, static_cast<std::uint16_t>(number + segments_));
  } else {
    set_network_word(gathered_, now.ip_start + 4U, length_from(now.ip_start + kIpv6HeaderBytes));
  }
  const std::size_t transport = now.transport_start;
  const std::uint16_t length = length_from(transport);
  if (now.tcp) {
    const std::uint32_t sequence = network_long(gathered_, transport + 4);
    set_network_long(gathered_, transport + 4,
                     static_cast<std::uint32_t>(sequence + segments_ * now.segment_bytes));
    if (last == Last::no && transport + 13 < size) {
      gathered_[transport + 13] &= static_cast<std::uint8_t>(~(kTcpFin | kTcpPush));
    }
  } else {
    set_network_word(gathered_, transport + 4, length);
  }
  if (insert_transport_) {
    // The driver left the length out of the pseudo header's sum.
    const std::uint32_t sum = std::uint32_t{network_word(gathered_, now.transport_store)} + length;
    set_network_word(gathered_, now.transport_store,
                     static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16)));
  }
}

void E1000Assembler::put_out(Last last) {
  const Context now = context();
  if (segmented_) adjust_segment(now, last);
  const auto end_of = [this](std::uint16_t inclusive) {
    return inclusive == 0 ? gathered_.size() : std::size_t{inclusive} + 1;
  };
  if (insert_transport_) {
    insert(now.transport_start, end_of(now.transport_end), now.transport_store, !now.tcp);
  }
  if (insert_ip_) insert(now.ip_start, end_of(now.ip_end), now.ip_store, false);
  ++segments_;
  sink_.assembled(gathered_);
  gathered_ = header_;
}

}  // namespace chronovisor
