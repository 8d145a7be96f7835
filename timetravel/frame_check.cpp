#include "timetravel/frame_check.h"

namespace chronovisor {

FrameCheck::FrameCheck(Machine& machine, const RecordingReader& reader)
    : machine_(machine), expected_(reader, machine.position()) {
  machine_.outputs().attach(*this);
}

FrameCheck::~FrameCheck() { machine_.outputs().detach(*this); }

/// "packet 812, sent by net0 at position 1,000"
std::string FrameCheck::name_of(const SentFrame& frame) const {
  const std::uint64_t number = expected_.sent_before() + frame.received + 1;
  return "packet " + grouped(number) + ", sent by net" + std::to_string(frame.card) +
         " at position " + grouped(frame.position.steps);
}

void FrameCheck::output(Position position, const Output& output) {
  if (output.kind != OutputKind::frame || trouble_) return;
  const SentFrame* const expected = expected_.peek();
  const std::string here = "the guest sends a frame of " + std::to_string(output.payload.size()) +
                           " bytes by net" + std::to_string(output.device) + " at position " +
                           grouped(position.steps);
  if (expected == nullptr) {
    // What comes behind the log's end, or behind a gap in it, cannot be compared.
    if (position < expected_.complete_to()) trouble_ = here + ", which was not recorded";
    return;
  }
  if (expected->position != position || expected->idle_ns != machine_.idle_ns() ||
      expected->card != output.device) {
    trouble_ = here + "; recorded was " + name_of(*expected);
  } else if (expected->length_bytes != output.payload.size() ||
             expected->digest != frame_digest(output.payload)) {
    trouble_ = name_of(*expected) + ", is another one: " + std::to_string(output.payload.size()) +
               " bytes, recorded " + std::to_string(expected->length_bytes);
  }
  expected_.pop();
}

const std::optional<std::string>& FrameCheck::arrived() {
  if (trouble_) return trouble_;
  const SentFrame* const expected = expected_.peek();
  if (expected != nullptr && expected->position < machine_.position()) {
    trouble_ = name_of(*expected) + ", was not sent";
  }
  return trouble_;
}

}  // namespace chronovisor
