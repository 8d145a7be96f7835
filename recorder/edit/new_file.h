// Owns how a command writes a file: nothing that it reads is ever replaced, by
// whatever name; what else is there is replaced only when that was asked for; and
// what is written takes its place whole or not at all. Knows no format but the
// recording's header. Main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "recorder/format/file.h"

namespace chronovisor {

/// What may be replaced without `force`.
enum class Replaceable {
  nothing,
  recordings,         ///< by a recording that is made anew
  all_but_recordings  ///< by the console of a run, as it is again each time
};

/// What a command is about to write, and what must survive it.
struct OutputPlan {
  std::string path;  ///< "-": standard output
  std::vector<std::string>
      inputs{};        ///< what the command reads; names of no file count for nothing
  bool force = false;  ///< replace whatever is there
  Replaceable replaceable = Replaceable::nothing;
};

/// Throws Error{usage} when `path` is one of the inputs or another part of one, by name or by link,
/// or holds something that `force` is needed for. Devices and pipes may be written.
void require_free_output(const OutputPlan& plan);
/// The same for where a serial line leads: the PATH of "file:PATH"; other words name no
/// file. An earlier console is replaced, a recording only by force.
void require_free_serial(const std::string& serial, const OutputPlan& like);

/// A file that appears at its place when it is whole. Until then it lies beside it
/// under a name of its own, and goes when it is not committed.
class NewFile {
 public:
  /// Throws as require_free_output does. `cancel`, when it becomes true, makes the
  /// next write throw Error{host}; may be null.
  explicit NewFile(OutputPlan plan, CancelToken cancel = {});
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// Files that were begun under names like this one's by commands that were killed: open()
  /// has removed them.
  [[nodiscard]] const std::vector<std::string>& removed() const { return removed_; }
  /// What to write to; once. Standard output, devices and pipes are written as they
  /// are. Throws Error{host}.
  [[nodiscard]] std::unique_ptr<OutputFile> open();
  /// The name that the file has until commit(), to be opened again by.
  [[nodiscard]] const std::string& name_until_commit() const {
    return temporary_.empty() ? target_ : temporary_;
  }
  /// Everything was written and the OutputFile is gone: forces the file to the medium
  /// and gives it its name, with the permissions of what it replaces. Throws
  /// Error{host}.
  void commit();

 private:
  OutputPlan plan_;
  CancelToken cancel_;
  std::string target_;  ///< where the file will be, links followed
  std::vector<std::string> removed_;
  std::string temporary_;  ///< empty: written as it is, or nothing to remove
};

}  // namespace chronovisor
