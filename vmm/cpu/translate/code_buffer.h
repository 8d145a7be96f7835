// Owns the memory of emitted code: one anonymous file mapped twice, to write and
// to execute, so that no page is ever both. Knows no instruction. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chronovisor::translate {

class CodeBuffer {
 public:
  /// Throws Error{host} when the host refuses executable memory.
  explicit CodeBuffer(std::size_t bytes);
  ~CodeBuffer();
  CodeBuffer(const CodeBuffer&) = delete;
  CodeBuffer& operator=(const CodeBuffer&) = delete;

  [[nodiscard]] std::size_t size() const { return bytes_; }
  [[nodiscard]] std::uint8_t* writable() const { return writable_; }
  /// The same byte, where it can be executed.
  [[nodiscard]] const std::uint8_t* executable(std::size_t offset) const {
    return executable_ + offset;
  }

 private:
  std::size_t bytes_;
  std::uint8_t* writable_ = nullptr;
  std::uint8_t* executable_ = nullptr;
};

}  // namespace chronovisor::translate
