#include "recorder/live/recording_child.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace chronovisor {
std::string file_id_text(const FileId& id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : id.bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

StartCondition child_start(const RecordingReader& parent, const Departure& departure) {
  StartCondition start = runnable_start_of(parent);
  if (start.machine.ns_per_step == 0) {
    throw Error(ErrorCode::usage, parent.name() +
                                      ": its steps take no time, so that a run which went on from "
                                      "it would have no clock");
  }
  ParentRecording record;
  record.file_id = file_id_text(parent.id());
  record.name = std::filesystem::path(parent.name()).filename().string();
  record.position = departure.position;
  record.deliveries = departure.deliveries;
  record.digest = departure.digest.hex();
  record.changed_by_hand = departure.changed_by_hand;
  start.parent = record;
  start.machine.behaviour_version = kMachineBehaviourVersion;  // this program runs it on
  return start;
}

void copy_images(const RecordingReader& parent, RecordingWriter& writer) {
  for (std::size_t i = 0; i < parent.images().size(); ++i) {
    const ImageInfo& image = parent.images()[i];
    if (image.storage == ImageStorage::referenced) {
      writer.reference_image(image);
    } else {
      writer.embed_image(image.role, image.path, *parent.open_image(i));
    }
  }
}

void require_guest_runs(const RecordingReader& parent, Position position) {
  if (position < parent.usable_to()) return;
  const std::optional<std::string> text = parent.summary_json();
  if (!text) return;
  const nlohmann::json summary = nlohmann::json::parse(*text, nullptr, false);
  if (!summary.is_object() || !summary.contains("exit") || !summary["exit"].is_object()) return;
  const nlohmann::json& reason = summary["exit"].value("reason", nlohmann::json());
  static constexpr std::array kEndings{EndReason::poweroff,     EndReason::reset,
                                       EndReason::triple_fault, EndReason::debug_exit,
                                       EndReason::halted,       EndReason::exception_loop};
  const bool ended =
      reason.is_string() && std::any_of(kEndings.begin(), kEndings.end(), [&](EndReason e) {
        return end_reason_name(e) == reason.get<std::string>();
      });
  if (!ended) return;
  throw Error(ErrorCode::usage, parent.name() + ": the guest ended at position " +
                                    grouped(position.steps) + " (" + reason.get<std::string>() +
                                    "), and cannot go on from there; choose an earlier position");
}

}  // namespace chronovisor
