#include "api/desks.h"

#include <optional>
#include <utility>

namespace chronovisor::api {
namespace {

/// The checkpoints in memory of a machine beside the session take so much less.
constexpr std::uint64_t kCacheShare = 4;

}  // namespace

/// A machine of its own on the recording, made when there is something to do for it.
struct Desks::Beside {
  Beside(const RecordingReader& reader, const TimelineOptions& options,
         const std::vector<std::string>& symbol_files)
      : timeline(reader, options),
        session(timeline, AllowedFiles::none("a session beside another names no files"),
                symbol_files),
        context(session, {}) {}

  Timeline timeline;
  session::DebugSession session;
  Context context;
};

/// A thread, and what it works with.
struct Desks::Place {
  std::optional<Beside> beside;  ///< of the executor's thread
  session::Executor executor;
};

Desks::Desks(Context& session, session::Executor& executor, const TimelineOptions& timeline,
             std::vector<std::string> symbol_files)
    : session_(session),
      options_(timeline),
      symbol_files_(std::move(symbol_files)),
      search_(std::make_unique<Place>()),
      strip_(std::make_unique<Place>()) {
  options_.cache_bytes /= kCacheShare;
  session_.set_desks(this);
  executor.run([this] { note(); });
}

Desks::~Desks() { session_.set_desks(nullptr); }

void Desks::note() {
  Standing standing = session_.standing();
  const std::lock_guard lock(mutex_);
  last_ = std::move(standing);
}

void Desks::submit_to(Place& place, Standing standing, Job job) {
  place.executor.submit([this, &place, standing = std::move(standing), job = std::move(job)] {
    job([&]() -> Context& {
      if (!place.beside) {
        place.beside.emplace(session_.timeline().reader(), options_, symbol_files_);
      }
      place.beside->context.stand_in(standing);
      return place.beside->context;
    });
  });
}

void Desks::submit_search(Standing standing, Job job) {
  submit_to(*search_, std::move(standing), std::move(job));
}

void Desks::submit_strip(Job job) {
  Standing standing;
  {
    const std::lock_guard lock(mutex_);
    standing = last_;
  }
  submit_to(*strip_, std::move(standing), std::move(job));
}

}  // namespace chronovisor::api
