// Owns the two narrow views of a file that recordings are written and read
// through, with their implementations: POSIX, in memory, and one that fails on
// purpose. Knows nothing of chunks. An OutputFile belongs to one thread; the
// const reads of an InputFile may come from any thread at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace chronovisor {

/// The error of a failed system call: names the file, the operation and what
/// the host said. `code` is host for writes, bad_input for an input that
/// cannot be opened.
[[nodiscard]] Error file_error(ErrorCode code, const std::string& file_name,
                               const std::string& operation, int error_number);

/// A file that only grows.
class OutputFile {
 public:
  virtual ~OutputFile() = default;

  /// Appends all of `data`, in as many writes as the host needs. Throws
  /// Error{host}; part of `data` may then be in the file.
  void append(ByteView data);
  /// Appends a part of `data`, at least one byte, and returns how many.
  /// Throws Error{host}.
  virtual std::size_t write_some(ByteView data) = 0;
  /// Returns when everything appended is on the medium. Throws Error{host}.
  virtual void sync() = 0;
  /// Bytes in the file.
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Cuts the file to `size_bytes`. Throws Error{host}.
  virtual void truncate(std::uint64_t size_bytes) = 0;
  /// What messages call the file.
  [[nodiscard]] virtual const std::string& name() const = 0;
};

enum class ExistingFile { refuse, replace };

/// One that is created is locked while it is open, as one that is edited is (edit/file_edit.h).
class PosixOutputFile final : public OutputFile {
 public:
  /// Creates `path`. Throws Error{host}, also when the file exists and
  /// `existing` is refuse.
  PosixOutputFile(const std::string& path, ExistingFile existing);
  /// Opens `path`, which its writer has locked, and cuts it to `size_bytes`. Throws Error{host}.
  PosixOutputFile(const std::string& path, std::uint64_t size_bytes);
  ~PosixOutputFile() override;
  PosixOutputFile(const PosixOutputFile&) = delete;
  PosixOutputFile& operator=(const PosixOutputFile&) = delete;

  std::size_t write_some(ByteView data) override;
  void sync() override;
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  void truncate(std::uint64_t size_bytes) override;
  [[nodiscard]] const std::string& name() const override { return path_; }

 private:
  void lock() const;
  void sync_directory() const;

  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
  bool directory_synced_ = false;
};

/// Writes parts of a file that is there; the rest of it are holes, which read as zeros.
class SparseFile {
 public:
  /// Throws Error{host}.
  SparseFile(const std::string& path, std::uint64_t size_bytes);
  ~SparseFile();
  SparseFile(const SparseFile&) = delete;
  SparseFile& operator=(const SparseFile&) = delete;
  /// Throws Error{host}.
  void write(std::uint64_t offset, ByteView data) const;

 private:
  std::string path_;
  int descriptor_ = -1;
};

/// A growing file in memory. The bytes outlive the object through `bytes()`.
class MemoryOutputFile final : public OutputFile {
 public:
  explicit MemoryOutputFile(std::string file_name = "memory.cvr")
      : name_(std::move(file_name)), bytes_(std::make_shared<Bytes>()) {}
  std::size_t write_some(ByteView data) override;
  void sync() override { synced_bytes_ = bytes_->size(); }
  [[nodiscard]] std::uint64_t size() const override { return bytes_->size(); }
  void truncate(std::uint64_t size_bytes) override;
  [[nodiscard]] const std::string& name() const override { return name_; }

  [[nodiscard]] std::shared_ptr<const Bytes> bytes() const { return bytes_; }
  /// How much of the file was there at the last sync.
  [[nodiscard]] std::uint64_t synced_bytes() const { return synced_bytes_; }

 private:
  std::string name_;
  std::shared_ptr<Bytes> bytes_;
  std::uint64_t synced_bytes_ = 0;
};

/// One planned failure of a FaultInjectingOutputFile.
struct FileFault {
  enum class Kind {
    no_space,        ///< the write fails with ENOSPC, nothing is written
    io_error,        ///< the write fails with EIO, nothing is written
    short_write,     ///< half is written and reported so; later writes work
    short_then_full  ///< half is written; every later write fails with ENOSPC
  };
  Kind kind = Kind::no_space;
  /// Which write fails, counted from 0.
  std::uint64_t at_write = 0;
};

/// Passes everything to another file and fails as planned. Failures other
/// than short_write stay: a full disk does not become empty by itself. A
/// truncate fails as well once a fault has happened when `truncate_fails`.
class FaultInjectingOutputFile final : public OutputFile {
 public:
  FaultInjectingOutputFile(std::unique_ptr<OutputFile> file, FileFault fault,
                           std::optional<std::uint64_t> fail_sync_at = std::nullopt,
                           bool truncate_fails = false)
      : file_(std::move(file)),
        fault_(fault),
        fail_sync_at_(fail_sync_at),
        truncate_fails_(truncate_fails) {}
  std::size_t write_some(ByteView data) override;
  void sync() override;
  [[nodiscard]] std::uint64_t size() const override { return file_->size(); }
  void truncate(std::uint64_t size_bytes) override;
  [[nodiscard]] const std::string& name() const override { return file_->name(); }
  /// How many writes were asked for so far.
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

 private:
  std::unique_ptr<OutputFile> file_;
  FileFault fault_;
  std::optional<std::uint64_t> fail_sync_at_;
  bool truncate_fails_;
  bool failed_ = false;
  std::uint64_t writes_ = 0;
  std::uint64_t syncs_ = 0;
};

/// A file read at any offset. All members are const and safe from any thread.
class InputFile {
 public:
  virtual ~InputFile() = default;
  /// Fills `out` from `offset`; returns the bytes read, fewer only at the end
  /// of the file. Throws Error{bad_input}.
  virtual std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) const = 0;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// Whether somebody who writes a recording has it locked.
  [[nodiscard]] virtual bool is_being_written() const { return false; }
};

class PosixInputFile final : public InputFile {
 public:
  /// Opens a regular file or block device. Throws Error{bad_input}.
  explicit PosixInputFile(const std::string& path);
  ~PosixInputFile() override;
  PosixInputFile(const PosixInputFile&) = delete;
  PosixInputFile& operator=(const PosixInputFile&) = delete;
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) const override;
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] const std::string& name() const override { return path_; }
  [[nodiscard]] bool is_being_written() const override;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// The content of a regular file or block device. Throws Error{bad_input}, also when it has
/// more than `most_bytes`.
[[nodiscard]] Bytes read_whole_file(const std::string& path, std::uint64_t most_bytes);

class MemoryInputFile final : public InputFile {
 public:
  explicit MemoryInputFile(Bytes bytes, std::string file_name = "memory.cvr")
      : name_(std::move(file_name)), bytes_(std::move(bytes)) {}
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) const override;
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::string name_;
  Bytes bytes_;
};

}  // namespace chronovisor
