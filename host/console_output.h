// Owns where a guest's console goes: the terminal, a file, or nowhere. The
// machine's thread.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "vmm/machine/machine.h"

namespace chronovisor {

class ConsoleOutput final : public OutputObserver {
 public:
  /// @param serial "stdio", "none" or "file:PATH"
  /// Throws Error{usage} for anything else, Error{host} if the file cannot be made.
  /// @param standard what "stdio" means: stdout, or stderr when stdout carries data
  ConsoleOutput(const std::string& serial, std::FILE* standard);
  ~ConsoleOutput() override;
  ConsoleOutput(const ConsoleOutput&) = delete;
  ConsoleOutput& operator=(const ConsoleOutput&) = delete;

  /// Text of the first serial port and of the debug console, which share the place.
  void output(Position position, const Output& output) override;
  void flush();
  [[nodiscard]] bool on_standard_stream() const { return file_ != nullptr && !owned_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void write(std::uint8_t byte);
  std::unique_ptr<std::FILE, Close> owned_;
  std::FILE* file_ = nullptr;
};

}  // namespace chronovisor
