// Owns where a console goes: the terminal, a file, or nowhere. The
// machine's thread.
#pragma once

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>

#include "vmm/machine/machine.h"

namespace chronovisor {

class ConsoleOutput final : public OutputObserver {
 public:
  enum class Of : std::uint8_t {
    guest,     ///< the first serial port and the debug console, which share the place
    firmware,  ///< the console of firmware
    console,   ///< that of virtio
    parallel,  ///< the printer's port
  };
  /// @param place "stdio", "none" or "file:PATH"
  /// Throws Error{usage} for anything else, Error{host} if the file cannot be made.
  /// @param standard what "stdio" means: stdout, or stderr when stdout carries data
  ConsoleOutput(const std::string& place, std::FILE* standard, Of of = Of::guest);
  ~ConsoleOutput() override;
  ConsoleOutput(const ConsoleOutput&) = delete;
  ConsoleOutput& operator=(const ConsoleOutput&) = delete;

  void output(Position position, const Output& output) override;
  void flush();
  /// When the output can no longer be written, `stop` becomes true.
  void stop_on_failure(std::atomic<bool>& stop) { stop_ = &stop; }
  /// Writes what is left. Throws Error{host} when something could not be written.
  void finish();
  [[nodiscard]] bool on_standard_stream() const { return file_ != nullptr && !owned_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void write(std::uint8_t byte);
  void note_failure();
  const Of of_;
  std::unique_ptr<std::FILE, Close> owned_;
  std::FILE* file_ = nullptr;
  std::string name_ = "standard output";
  std::atomic<bool>* stop_ = nullptr;
  int failure_ = 0;  ///< errno of the first write that failed
};

}  // namespace chronovisor
