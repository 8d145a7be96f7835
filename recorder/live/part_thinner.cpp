#include "recorder/live/part_thinner.h"

#include <sys/resource.h>
#include <unistd.h>

#include <exception>
#include <system_error>

#include "base/error.h"
#include "base/signals_blocked.h"
#include "recorder/edit/new_file.h"
#include "recorder/edit/rewrite.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {
namespace {

constexpr int kLeastUrgent = 19;

}  // namespace

void PartThinner::halve(const std::string& path) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(path);
  }
  changed_.notify_all();
  if (thread_.joinable()) return;
  const SignalsBlocked blocked;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // Without a thread parts stay as they are.
  }
}

void PartThinner::stop() {
  {
    const std::lock_guard lock(mutex_);
    cancel_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void PartThinner::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (waiting_.empty() && !working_) || !thread_.joinable(); });
}

void PartThinner::run() {
  // Of this thread alone, as Linux has it.
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLeastUrgent);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return cancel_ || !waiting_.empty(); });
    if (cancel_) return;
    const std::string path = std::move(waiting_.front());
    waiting_.pop_front();
    working_ = true;
    lock.unlock();
    rewrite(path);
    lock.lock();
    working_ = false;
    changed_.notify_all();
  }
}

void PartThinner::rewrite(const std::string& path) {
  try {
    ReaderOptions how;
    how.alone = true;
    const RecordingReader reader(path, how);
    if (!reader.damage().empty()) return;
    const RecordingReader* const source = &reader;
    RewriteOptions options;
    options.keep_every = 2;
    options.writer = options_;
    options.writer.part = reader.part();
    options.part_follows = true;
    NewFile output({path, {}, true}, cancel_);
    rewrite_recording({&source, 1}, output.open(), options);
    output.commit();
  } catch (const std::exception&) {
    // The part stays as it is, also where the host is short of memory; what is wrong with it shows
    // where it is used.
  }
}

}  // namespace chronovisor
