// Owns the loading of libraries that the program needs for one thing only and runs
// without. Any thread.
#pragma once

#include <string>

namespace chronovisor {

class DynamicLibrary {
 public:
  struct Name {
    const char* file;     ///< "libslirp.so.0"
    const char* title;    ///< "libslirp"
    const char* package;  ///< Debian's
    const char* wanted;   ///< what asks for it, an option
  };
  /// It stays loaded. Throws Error{host} when the host has none, or this program cannot
  /// load any.
  explicit DynamicLibrary(const Name& name);

  /// Throws Error{host} when it has no such function.
  template <class Function>
  void find(const char* name, Function& function) const {
    function = reinterpret_cast<Function>(symbol(name));
  }

 private:
  [[nodiscard]] void* symbol(const char* name) const;

  Name name_;
  void* handle_ = nullptr;
};

}  // namespace chronovisor
