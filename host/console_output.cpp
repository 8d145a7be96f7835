#include "host/console_output.h"

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace chronovisor {
namespace {

std::string_view option_of(ConsoleOutput::Of of) {
  switch (of) {
    case ConsoleOutput::Of::guest:
      return "--serial";
    case ConsoleOutput::Of::firmware:
      return "--debugcon";
    case ConsoleOutput::Of::console:
      return "--console";
    case ConsoleOutput::Of::parallel:
      return "--parallel";
  }
  return "a console";
}

bool belongs(ConsoleOutput::Of of, const Output& output) {
  switch (of) {
    case ConsoleOutput::Of::guest:
      return output.device == 0 &&
             (output.kind == OutputKind::serial || output.kind == OutputKind::debug);
    case ConsoleOutput::Of::firmware:
      return output.device == 1 && output.kind == OutputKind::debug;
    case ConsoleOutput::Of::console:
      return output.kind == OutputKind::console;
    case ConsoleOutput::Of::parallel:
      return output.kind == OutputKind::parallel;
  }
  return false;
}

}  // namespace

ConsoleOutput::ConsoleOutput(const std::string& place, std::FILE* standard, Of of) : of_(of) {
  if (place == "stdio") {
    file_ = standard;
  } else if (place.starts_with("file:") && place.size() > 5) {
    const std::string path = place.substr(5);
    owned_.reset(std::fopen(path.c_str(), "wb"));
    if (!owned_) {
      throw Error(ErrorCode::host, path + ": cannot be written: " + std::strerror(errno));
    }
    file_ = owned_.get();
    name_ = path;
  } else if (place != "none") {
    throw Error(ErrorCode::usage, std::string(option_of(of)) + ": \"" + place +
                                      "\" is none of stdio, none and file:PATH");
  }
}

ConsoleOutput::~ConsoleOutput() { flush(); }

void ConsoleOutput::flush() {
  if (file_ != nullptr && failure_ == 0 && std::fflush(file_) != 0) note_failure();
}

void ConsoleOutput::note_failure() {
  failure_ = errno;
  if (stop_ != nullptr) *stop_ = true;
}

void ConsoleOutput::finish() {
  flush();
  if (failure_ == 0) return;
  throw Error(ErrorCode::host,
              name_ + ": the console cannot be written: " + std::strerror(failure_));
}

void ConsoleOutput::write(std::uint8_t byte) {
  if (file_ == nullptr || failure_ != 0) return;
  if (std::fputc(byte, file_) == EOF) note_failure();
  // Somebody may be looking: a prompt and what is typed behind it end in no newline.
  if (byte == '\n' || !owned_) flush();
}

void ConsoleOutput::output(Position /*position*/, const Output& output) {
  if (!belongs(of_, output)) return;
  for (const std::uint8_t byte : output.payload) write(byte);
}

}  // namespace chronovisor
