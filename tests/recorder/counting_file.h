// A file in memory that counts what is read of it. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "recorder/format/file.h"

namespace chronovisor::testing {

class CountingFile final : public InputFile {
 public:
  explicit CountingFile(Bytes bytes) : file_(std::move(bytes)) {}
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    const std::size_t count = file_.read(offset, out);
    bytes_read += count;
    return count;
  }
  [[nodiscard]] std::uint64_t size() const override { return file_.size(); }
  [[nodiscard]] const std::string& name() const override { return file_.name(); }
  mutable std::atomic<std::uint64_t> bytes_read{0};

 private:
  MemoryInputFile file_;
};

}  // namespace chronovisor::testing
