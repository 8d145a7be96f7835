// Owns what is answered beside the session, so that it waits for nothing that takes long:
// further machines on the same recording, each with a thread. A question to the past is asked
// from where the session stood when it came; the strip is drawn by another machine. Knows no
// protocol. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/context.h"
#include "session/executor.h"
#include "timetravel/timeline.h"

namespace chronovisor::api {

class Desks {
 public:
  /// From here on the session's clients use them. Session and executor must outlive this,
  /// and those clients must not.
  Desks(Context& session, session::Executor& executor, const TimelineOptions& timeline,
        std::vector<std::string> symbol_files);
  ~Desks();
  Desks(const Desks&) = delete;
  Desks& operator=(const Desks&) = delete;

  /// Gives the desk's context; throws where its machine cannot be made.
  using Visit = std::function<Context&()>;
  /// What is done on a desk's thread. Throws nothing.
  using Job = std::function<void(const Visit& visit)>;
  void submit_search(Standing standing, Job job);
  /// From where the session stood when that was last noted.
  void submit_strip(Job job);
  /// Notes where the session stands; on its thread.
  void note();

 private:
  struct Beside;
  struct Place;
  void submit_to(Place& place, Standing standing, Job job);

  Context& session_;
  TimelineOptions options_;
  std::vector<std::string> symbol_files_;
  std::mutex mutex_;
  Standing last_;  ///< guarded by mutex_
  std::unique_ptr<Place> search_;
  std::unique_ptr<Place> strip_;
};

}  // namespace chronovisor::api
