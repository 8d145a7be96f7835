#include "vmm/cpu/translate/code_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace chronovisor::translate {

CodeBuffer::CodeBuffer(std::size_t bytes) : bytes_(bytes) {
  const auto fail = [](const char* what) {
    throw Error(ErrorCode::host, std::string("translator: ") + what + ": " + std::strerror(errno) +
                                     " (--translate off runs without)");
  };
  const int file = memfd_create("chronovisor-code", MFD_CLOEXEC);
  if (file < 0) fail("memfd_create");
  if (ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    close(file);
    fail("ftruncate");
  }
  void* writable = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  void* executable = mmap(nullptr, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
  close(file);
  if (writable == MAP_FAILED || executable == MAP_FAILED) {
    if (writable != MAP_FAILED) munmap(writable, bytes);
    if (executable != MAP_FAILED) munmap(executable, bytes);
    fail("mmap of code");
  }
  writable_ = static_cast<std::uint8_t*>(writable);
  executable_ = static_cast<std::uint8_t*>(executable);
}

CodeBuffer::~CodeBuffer() {
  munmap(writable_, bytes_);
  munmap(executable_, bytes_);
}

}  // namespace chronovisor::translate
