#include "recorder/format/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace chronovisor {

namespace {

std::string at_byte(std::uint64_t offset) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(offset));
  return text;
}

std::string write_operation(std::size_t count, std::uint64_t offset) {
  return "write of " + std::to_string(count) + " bytes at byte " + at_byte(offset);
}

}  // namespace

Error file_error(ErrorCode code, const std::string& file_name, const std::string& operation,
                 int error_number) {
  return Error{code, file_name + ": " + operation + ": " +
                         std::error_code(error_number, std::generic_category()).message()};
}

void OutputFile::append(ByteView data) {
  while (!data.empty()) {
    const std::size_t written = write_some(data);
    CHECK_THAT(written > 0 && written <= data.size(), "write_some breaks its contract");
    data = data.subspan(written);
  }
}

PosixOutputFile::PosixOutputFile(const std::string& path, ExistingFile existing) : path_(path) {
  const int when_there = existing == ExistingFile::refuse ? O_EXCL : 0;
  // A pipe's open waits for its other end, but for this flag; then it is no file either.
  descriptor_ =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | when_there, 0666);
  if (descriptor_ < 0 && errno != ENXIO) throw file_error(ErrorCode::host, path, "create", errno);
  struct stat status {};
  if (descriptor_ < 0 || (::fstat(descriptor_, &status) == 0 && S_ISFIFO(status.st_mode))) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw Error(ErrorCode::host, path + ": is a pipe, where a file is needed");
  }
  if (!S_ISREG(status.st_mode)) {
    ::fcntl(descriptor_, F_SETFL, O_WRONLY);
    return;
  }
  try {
    lock();
    truncate(0);
  } catch (const Error&) {
    ::close(descriptor_);
    throw;
  }
}

/// Two that write to one file leave neither's content.
void PosixOutputFile::lock() const {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  throw Error(ErrorCode::host, path_ + ": is being written by another program");
}

PosixOutputFile::PosixOutputFile(const std::string& path, std::uint64_t size_bytes)
    : path_(path), directory_synced_(true) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw file_error(ErrorCode::host, path, "open for writing", errno);
  try {
    truncate(size_bytes);
  } catch (const Error&) {
    ::close(descriptor_);
    throw;
  }
}

PosixOutputFile::~PosixOutputFile() { ::close(descriptor_); }

std::size_t PosixOutputFile::write_some(ByteView data) {
  for (;;) {
    const ssize_t written = ::write(descriptor_, data.data(), data.size());
    if (written > 0) {
      size_ += static_cast<std::uint64_t>(written);
      return static_cast<std::size_t>(written);
    }
    if (written < 0 && errno == EINTR) continue;
    throw file_error(ErrorCode::host, path_, write_operation(data.size(), size_),
                     written == 0 ? EIO : errno);
  }
}

void PosixOutputFile::sync() {
  int result = 0;
  do {
    result = ::fdatasync(descriptor_);
  } while (result < 0 && errno == EINTR);
  // Pipes and some special files cannot be synced; that is not damage.
  if (result < 0 && errno != EINVAL && errno != EROFS) {
    throw file_error(ErrorCode::host, path_, "sync", errno);
  }
  if (!directory_synced_) sync_directory();
  directory_synced_ = true;
}

// A new file survives a power loss only when its name does.
void PosixOutputFile::sync_directory() const {
  const std::size_t slash = path_.rfind('/');
  std::string directory = ".";
  if (slash != std::string::npos) directory = slash == 0 ? "/" : path_.substr(0, slash);
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // a directory we may write to but not read
  const int result = ::fsync(descriptor);
  const int error_number = errno;
  ::close(descriptor);
  if (result < 0 && error_number != EINVAL && error_number != EROFS) {
    throw file_error(ErrorCode::host, directory, "sync of the directory", error_number);
  }
}

void PosixOutputFile::truncate(std::uint64_t size_bytes) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size_bytes)) < 0) {
    throw file_error(ErrorCode::host, path_, "truncate to " + std::to_string(size_bytes) + " bytes",
                     errno);
  }
  if (::lseek(descriptor_, static_cast<off_t>(size_bytes), SEEK_SET) < 0) {
    throw file_error(ErrorCode::host, path_, "seek", errno);
  }
  size_ = size_bytes;
}

std::size_t MemoryOutputFile::write_some(ByteView data) {
  bytes_->insert(bytes_->end(), data.begin(), data.end());
  return data.size();
}

void MemoryOutputFile::truncate(std::uint64_t size_bytes) {
  bytes_->resize(static_cast<std::size_t>(size_bytes));
}

std::size_t FaultInjectingOutputFile::write_some(ByteView data) {
  using Kind = FileFault::Kind;
  const std::uint64_t call = writes_++;
  const std::string operation = write_operation(data.size(), file_->size());
  if (failed_) throw file_error(ErrorCode::host, name(), operation, ENOSPC);
  if (call != fault_.at_write) return file_->write_some(data);
  const bool is_short = fault_.kind == Kind::short_write || fault_.kind == Kind::short_then_full;
  if (is_short) {
    failed_ = fault_.kind == Kind::short_then_full;
    return file_->write_some(data.first(std::max<std::size_t>(1, data.size() / 2)));
  }
  failed_ = true;
  throw file_error(ErrorCode::host, name(), operation,
                   fault_.kind == Kind::io_error ? EIO : ENOSPC);
}

void FaultInjectingOutputFile::sync() {
  if (fail_sync_at_ && syncs_++ == *fail_sync_at_) {
    failed_ = true;
    throw file_error(ErrorCode::host, name(), "sync", EIO);
  }
  file_->sync();
}

void FaultInjectingOutputFile::truncate(std::uint64_t size_bytes) {
  if (failed_ && truncate_fails_) throw file_error(ErrorCode::host, name(), "truncate", EIO);
  file_->truncate(size_bytes);
}

PosixInputFile::PosixInputFile(const std::string& path) : path_(path) {
  // A pipe's open waits for its other end, but for this flag, which plain files ignore.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw file_error(ErrorCode::bad_input, path, "open", errno);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  const int error_number = errno;
  if (known && S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    throw file_error(ErrorCode::bad_input, path, "open", EISDIR);
  }
  if (known && !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    ::close(descriptor_);
    throw Error(ErrorCode::bad_input, path + ": is neither a plain file nor a block device");
  }
  const off_t end = known ? ::lseek(descriptor_, 0, SEEK_END) : -1;
  if (end < 0) {
    const int seek_error = known ? errno : error_number;
    ::close(descriptor_);
    throw file_error(ErrorCode::bad_input, path, "seek to the end (a plain file is needed)",
                     seek_error);
  }
  size_ = static_cast<std::uint64_t>(end);
}

PosixInputFile::~PosixInputFile() { ::close(descriptor_); }

bool PosixInputFile::is_being_written() const {
  if (::flock(descriptor_, LOCK_SH | LOCK_NB) != 0) return errno == EWOULDBLOCK;
  ::flock(descriptor_, LOCK_UN);
  return false;
}

std::size_t PosixInputFile::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t count = ::pread(descriptor_, out.data() + done, out.size() - done,
                                  static_cast<off_t>(offset + done));
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count == 0) {
      break;
    } else if (errno != EINTR) {
      throw file_error(ErrorCode::bad_input, path_, "read at byte " + at_byte(offset + done),
                       errno);
    }
  }
  return done;
}

Bytes read_whole_file(const std::string& path, std::uint64_t most_bytes) {
  const PosixInputFile file(path);
  if (file.size() > most_bytes) {
    throw Error(ErrorCode::bad_input, path + ": is too large: " + std::to_string(file.size()) +
                                          " bytes, where " + std::to_string(most_bytes) +
                                          " are the most");
  }
  Bytes bytes(static_cast<std::size_t>(file.size()));
  if (file.read(0, bytes) != bytes.size()) {
    throw Error(ErrorCode::bad_input, path + ": changed while it was read");
  }
  return bytes;
}

std::size_t MemoryInputFile::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (offset >= bytes_.size()) return 0;
  const std::size_t start = static_cast<std::size_t>(offset);
  const std::size_t count = std::min(out.size(), bytes_.size() - start);
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(start), count, out.begin());
  return count;
}

SparseFile::SparseFile(const std::string& path, std::uint64_t size_bytes)
    : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw file_error(ErrorCode::host, path_, "open", errno);
  if (::ftruncate(descriptor_, static_cast<off_t>(size_bytes)) != 0) {
    const int error_number = errno;
    ::close(descriptor_);
    throw file_error(ErrorCode::host, path_, "make room in", error_number);
  }
}

SparseFile::~SparseFile() { ::close(descriptor_); }

void SparseFile::write(std::uint64_t offset, ByteView data) const {
  while (!data.empty()) {
    const ssize_t count =
        ::pwrite(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw file_error(ErrorCode::host, path_, "write", errno);
    data = data.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

}  // namespace chronovisor
