#include "host/network/card_links.h"

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "vmm/devices/network/ethernet.h"

namespace chronovisor {
namespace {

/// What may wait for a card that has no room; then its network waits, or drops.
constexpr std::size_t kMostWaitingBytes = 1U << 20;
constexpr std::uint64_t kMostCaptureBytes = 1ULL << 30;

std::vector<CapturedFrame> read_capture(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw Error(ErrorCode::bad_input, path + ": cannot be read: " + error.message());
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::bad_input, path + ": cannot be read");
  if (size > kMostCaptureBytes) throw Error(ErrorCode::bad_input, path + ": is too large");
  Bytes bytes(size);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!file) throw Error(ErrorCode::bad_input, path + ": cannot be read");
  CaptureReader reader(bytes, path);
  std::vector<CapturedFrame> frames;
  while (auto frame = reader.next()) frames.push_back(std::move(*frame));
  return frames;
}

}  // namespace

bool is_live(const NetworkOptions& network) {
  return network.kind != NetworkOptions::Kind::none && network.kind != NetworkOptions::Kind::pcap;
}

struct CardLinks::Link {
  NetworkOptions network;
  std::uint16_t number = 0;
  std::atomic<std::uint64_t> too_long{0};
  std::vector<CapturedFrame> capture;
  std::optional<CaptureInput> player;
  std::optional<Inbox::Source> source;
  std::unique_ptr<NetworkBackend> backend;  ///< its thread ends before the source goes
};

CardLinks::CardLinks(const std::vector<NetworkOptions>& networks, Inbox& inbox) {
  for (const NetworkOptions& network : networks) {
    Link& link = *links_.emplace_back(std::make_unique<Link>());
    link.network = network;
    link.number = static_cast<std::uint16_t>(links_.size() - 1);
    if (network.kind == NetworkOptions::Kind::pcap) {
      for (CapturedFrame& frame : read_capture(network.place)) {
        if (frame.frame.size() > kLongestFrameBytes) {
          ++link.too_long;
        } else {
          link.capture.push_back(std::move(frame));
        }
      }
    }
    if (!is_live(network)) continue;
    link.source.emplace(inbox, InputKind::network_frame, link.number);
    const auto deliver = [&link](const Bytes& frame) {
      if (frame.size() > kLongestFrameBytes) {
        ++link.too_long;
        return true;
      }
      return link.source->offer(frame, kMostWaitingBytes);
    };
    link.backend = make_backend(network, {deliver, [&link] { link.source->close(); }});
  }
}

CardLinks::~CardLinks() {
  if (outputs_ != nullptr) outputs_->detach(*this);
}

void CardLinks::connect(OutputRouter& outputs) {
  outputs_ = &outputs;
  for (const auto& link : links_) {
    if (link->backend) outputs.attach(OutputKind::frame, link->number, *this);
  }
}

void CardLinks::output(Position /*position*/, const Output& output) {
  links_[output.device]->backend->send(output.payload);
}

InputSource& CardLinks::with_captures(InputSource& beside, std::uint64_t ns_per_step) {
  InputSource* source = &beside;
  for (const auto& link : links_) {
    if (link->network.kind != NetworkOptions::Kind::pcap) continue;
    source = &link->player.emplace(std::move(link->capture), link->number, link->network.start_ns,
                                   ns_per_step, *source);
  }
  return *source;
}

std::vector<NetworkCounts> CardLinks::counts() const {
  std::vector<NetworkCounts> all;
  for (const auto& link : links_) {
    NetworkCounts counts = link->backend ? link->backend->counts() : NetworkCounts{};
    if (link->player) {
      counts.received = link->player->played();
      counts.received_dropped = link->player->dropped();
    }
    // The backend takes them for delivered.
    if (link->backend) counts.received -= std::min(counts.received, link->too_long.load());
    counts.received_dropped += link->too_long;
    all.push_back(counts);
  }
  return all;
}

}  // namespace chronovisor
