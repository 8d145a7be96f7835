// Owns the backend whose other end is a stream or datagram socket, or a TAP interface.
// A thread of its own polls it. A stream whose reader here has no room waits, and its
// peer with it; datagrams without room are dropped.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "host/descriptor.h"
#include "host/network/backend.h"
#include "host/network/frame_queue.h"
#include "host/network/frame_stream.h"

namespace chronovisor {

class SocketBackend final : public NetworkBackend {
 public:
  enum class Framing : std::uint8_t { stream, datagram };
  /// @param peer already connected, or none when `listener` is to bring one
  /// @param remote where a Unix datagram socket sends to, which may come and go; else empty
  SocketBackend(Framing framing, Descriptor peer, Descriptor listener, NetworkSink sink,
                std::string remote = {});
  ~SocketBackend() override;
  SocketBackend(const SocketBackend&) = delete;
  SocketBackend& operator=(const SocketBackend&) = delete;

  void send(ByteView frame) override { outgoing_.push(frame); }
  [[nodiscard]] NetworkCounts counts() const override;

 private:
  void loop();
  void write_out();
  [[nodiscard]] bool write_datagram(ByteView frame);
  void read_in();
  void read_stream();
  void read_datagrams();
  void deliver_waiting();
  void lose_peer();

  const Framing framing_;
  const std::string remote_;
  Descriptor peer_;
  Descriptor listener_;
  NetworkSink sink_;
  FrameQueue outgoing_;
  FrameStreamReader incoming_;
  Bytes unsent_;  ///< of a stream
  std::size_t unsent_from_ = 0;
  std::vector<Bytes> waiting_;  ///< read, but the guest's side has no room; at most one
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> sent_dropped_{0};
  std::atomic<std::uint64_t> received_{0};
  std::atomic<std::uint64_t> received_dropped_{0};
  std::thread thread_;
};

}  // namespace chronovisor
