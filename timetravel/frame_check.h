// Owns the comparison of what a guest sends in a replay with what it sent in the
// recording, frame by frame: a state digest says that something differs, this says which
// frame. Knows no card. The machine's thread.
#pragma once

#include <optional>
#include <string>

#include "recorder/format/frame_cursor.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

class FrameCheck final : private OutputObserver {
 public:
  /// On arrival at the machine's position. Both must outlive this.
  FrameCheck(Machine& machine, const RecordingReader& reader);
  ~FrameCheck() override;
  FrameCheck(const FrameCheck&) = delete;
  FrameCheck& operator=(const FrameCheck&) = delete;

  /// The machine has arrived somewhere. @return the first difference, for people, if any
  [[nodiscard]] const std::optional<std::string>& arrived();

 private:
  void output(Position position, const Output& output) override;
  [[nodiscard]] std::string name_of(const SentFrame& frame) const;

  Machine& machine_;
  FrameCursor expected_;
  std::optional<std::string> trouble_;
};

}  // namespace chronovisor
