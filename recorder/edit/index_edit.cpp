#include "recorder/edit/index_edit.h"

#include "recorder/edit/file_edit.h"

namespace chronovisor {

void append_intervals(const std::string& path, std::span<const NewInterval> intervals) {
  if (intervals.empty()) return;
  edit_recording(
      path, "an index is only added to a whole recording (index -o NEW makes one)",
      [](const RecordingReader&) {},
      [&](RecordingWriter& writer) {
        for (const NewInterval& interval : intervals) {
          writer.interval_index(interval.from, interval.to, interval.data);
        }
      });
}

}  // namespace chronovisor
