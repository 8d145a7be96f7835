#include "recorder/edit/new_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "recorder/format/chunk.h"
#include "recorder/format/recording_part.h"

namespace chronovisor {
namespace {

constexpr const char* kStandardOutput = "-";

std::optional<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

bool is_recording(const std::string& path) {
  try {
    const PosixInputFile file(path);
    Bytes header(std::min<std::uint64_t>(file.size(), kFileHeaderSize));
    header.resize(file.read(0, header));
    (void)decode_file_header(header, path);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Standard output as a file that grows; what it leads to is nobody's to sync or cut.
class StandardOutputFile final : public OutputFile {
 public:
  std::size_t write_some(ByteView data) override {
    for (;;) {
      const ssize_t written = ::write(STDOUT_FILENO, data.data(), data.size());
      if (written > 0) {
        size_ += static_cast<std::uint64_t>(written);
        return static_cast<std::size_t>(written);
      }
      if (written < 0 && errno == EINTR) continue;
      throw file_error(ErrorCode::host, name_, "write", written == 0 ? EIO : errno);
    }
  }
  void sync() override {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  void truncate(std::uint64_t /*size_bytes*/) override {}
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::string name_ = "standard output";
  std::uint64_t size_ = 0;
};

/// The file under its temporary name; messages call it what it is to become.
class BesideFile final : public OutputFile {
 public:
  BesideFile(const std::string& temporary, std::string target, CancelToken cancel)
      : target_(std::move(target)), temporary_(temporary), cancel_(cancel) {
    named([&] { file_.emplace(temporary, ExistingFile::refuse); });
  }
  std::size_t write_some(ByteView data) override {
    if (cancel_.requested()) throw Error(ErrorCode::host, target_ + ": interrupted");
    std::size_t written = 0;
    named([&] { written = file_->write_some(data); });
    return written;
  }
  void sync() override {
    named([&] { file_->sync(); });
  }
  [[nodiscard]] std::uint64_t size() const override { return file_->size(); }
  void truncate(std::uint64_t size_bytes) override {
    named([&] { file_->truncate(size_bytes); });
  }
  [[nodiscard]] const std::string& name() const override { return target_; }

 private:
  template <class Action>
  void named(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      std::string text = error.what();
      if (text.starts_with(temporary_)) text.replace(0, temporary_.size(), target_);
      throw Error(error.code(), text);
    }
  }

  std::string target_;
  std::string temporary_;
  CancelToken cancel_;
  std::optional<PosixOutputFile> file_;
};

constexpr std::string_view kNewSuffix = ".new";

/// Of a name "<target>.<process>-<number>.new" the process; nothing: it is no such name.
std::optional<pid_t> process_of(std::string_view name, std::string_view target) {
  if (!name.starts_with(target) || !name.ends_with(kNewSuffix)) return std::nullopt;
  name.remove_prefix(target.size());
  if (name.size() < kNewSuffix.size() + 4 || name.front() != '.') return std::nullopt;
  name = name.substr(1, name.size() - 1 - kNewSuffix.size());
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.size() < 10 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos || !is_number(name.substr(0, dash)) ||
      !is_number(name.substr(dash + 1))) {
    return std::nullopt;
  }
  return static_cast<pid_t>(std::stol(std::string(name.substr(0, dash))));
}

/// Whether nobody writes the file: its process is gone, and nobody has it locked.
bool is_left(const std::string& path, pid_t process) {
  if (process == ::getpid() || ::kill(process, 0) == 0 || errno != ESRCH) return false;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return false;
  const bool is_free = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  ::close(descriptor);
  return is_free;
}

/// Removes what processes that were killed have begun instead of `target`.
std::vector<std::string> remove_leftovers(const std::string& target) {
  std::vector<std::string> removed;
  const std::filesystem::path path(target);
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end;
       at.increment(failed)) {
    const auto process = process_of(at->path().filename().string(), path.filename().string());
    if (!process || !is_left(at->path().string(), *process)) continue;
    if (::unlink(at->path().c_str()) == 0) removed.push_back(at->path().string());
  }
  return removed;
}

/// fsync of a file or a folder; what cannot be synced is not damage.
void sync_path(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  const int result = ::fsync(descriptor);
  const int error_number = errno;
  ::close(descriptor);
  if (result < 0 && error_number != EINVAL && error_number != EROFS) {
    throw file_error(ErrorCode::host, path, "sync", error_number);
  }
}

}  // namespace

void require_free_output(const OutputPlan& plan) {
  if (plan.path == kStandardOutput) return;
  const auto there = status_of(plan.path);
  if (!there) return;
  const auto require_another = [&](const std::string& input) {
    const auto other = status_of(input);
    if (!other || other->st_dev != there->st_dev || other->st_ino != there->st_ino) return;
    throw Error(ErrorCode::usage, plan.path + ": is " +
                                      (input == plan.path ? "what is read" : input) +
                                      " itself, which would be lost; give another name");
  };
  for (const std::string& input : plan.inputs) {
    // A recording in parts is read, and lost, with all of them; the input is one of these.
    const std::string first = first_part_path(input);
    require_another(first);
    for (const std::string& part : further_parts(first)) require_another(part);
  }
  if (!S_ISREG(there->st_mode) || there->st_size == 0 || plan.force) return;
  const bool recording = is_recording(plan.path);
  if (plan.replaceable == Replaceable::recordings && recording) return;
  if (plan.replaceable == Replaceable::all_but_recordings && !recording) return;
  throw Error(ErrorCode::usage, plan.path + ": exists and is " +
                                    (recording ? "a recording" : "no recording") +
                                    "; choose another name, or --force to replace it");
}

void require_free_serial(const std::string& serial, const OutputPlan& like) {
  constexpr std::string_view kFilePrefix = "file:";
  if (!serial.starts_with(kFilePrefix)) return;
  OutputPlan plan = like;
  plan.path = serial.substr(kFilePrefix.size());
  plan.replaceable = Replaceable::all_but_recordings;
  require_free_output(plan);
}

NewFile::NewFile(OutputPlan plan, CancelToken cancel) : plan_(std::move(plan)), cancel_(cancel) {
  require_free_output(plan_);
}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

std::unique_ptr<OutputFile> NewFile::open() {
  CHECK_THAT(target_.empty(), "a new file is opened once");
  if (plan_.path == kStandardOutput) {
    target_ = plan_.path;
    return std::make_unique<StandardOutputFile>();
  }
  std::error_code failed;
  const std::filesystem::path real = std::filesystem::canonical(plan_.path, failed);
  target_ = failed ? plan_.path : real.string();
  if (const auto there = status_of(target_); there && !S_ISREG(there->st_mode)) {
    if (S_ISDIR(there->st_mode)) throw file_error(ErrorCode::host, plan_.path, "create", EISDIR);
    return std::make_unique<PosixOutputFile>(target_, ExistingFile::replace);
  }
  removed_ = remove_leftovers(target_);
  // A process of the same number may have left one behind when it was killed.
  std::string temporary;
  for (unsigned n = 0; temporary.empty() || std::filesystem::exists(temporary, failed); ++n) {
    temporary = target_ + "." + std::to_string(::getpid()) + "-" + std::to_string(n) +
                std::string(kNewSuffix);
  }
  auto file = std::make_unique<BesideFile>(temporary, plan_.path, cancel_);
  temporary_ = temporary;
  return file;
}

void NewFile::commit() {
  if (temporary_.empty()) return;
  if (const auto there = status_of(target_)) ::chmod(temporary_.c_str(), there->st_mode & 07777);
  sync_path(temporary_, 0);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    throw file_error(ErrorCode::host, plan_.path, "rename into place", errno);
  }
  temporary_.clear();
  const std::string folder = std::filesystem::path(target_).parent_path().string();
  sync_path(folder.empty() ? "." : folder, O_DIRECTORY);
}

}  // namespace chronovisor
