// Owns what the commands that serve a session have in common: their options, and the
// opening of a recording with a session, names and an executor. Main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/context.h"
#include "api/desks.h"
#include "cli/parser.h"
#include "host/allowed_files.h"
#include "recorder/format/recording_reader.h"
#include "replica/transport/status_watch.h"
#include "session/debug_session.h"
#include "session/executor.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {

struct SessionOptions {
  std::string file;
  std::string at = "start";
  std::string cache = "1G";
  std::string jobs = "0";
  std::vector<std::string> symbols;
  std::vector<std::string> source_folders;
  std::string control;
  bool allow_changes = false;
};

/// Adds a command with these options; they must outlive the parser.
Command add_session_command(Command& app, const char* name, const char* help,
                            SessionOptions& options);

/// A recording opened for whoever is served.
class OpenSession {
 public:
  /// Stop signals are watched from here on. Throws Error.
  OpenSession(const SessionOptions& options, AllowedFiles files);

  [[nodiscard]] Timeline& timeline() { return timeline_; }
  [[nodiscard]] session::DebugSession& debugging() { return debugging_; }
  [[nodiscard]] api::Context& context() { return context_; }
  [[nodiscard]] session::Executor& executor() { return executor_; }
  /// "run.cvr at position 0 of 5,000"
  [[nodiscard]] std::string title() const;

 private:
  std::unique_ptr<RecordingReader> reader_;
  std::unique_ptr<replica::StatusWatch> watch_;  ///< null without --control
  Timeline timeline_;
  session::DebugSession debugging_;
  api::Context context_;
  session::Executor executor_;
  api::Desks desks_;
};

}  // namespace chronovisor::cli
