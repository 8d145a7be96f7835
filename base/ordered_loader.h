// Owns the quick way of filling fields from a section: in the order in which they were
// saved, without a look-up of any. Decides nothing about a section that does not fit:
// StateLoader does, which takes any order and says what is wrong. One thread.
#pragma once

#include "base/state.h"

namespace chronovisor {

class OrderedLoader final : public StateVisitor {
 public:
  /// `section` must outlive it.
  explicit OrderedLoader(ByteView section) : rest_(section) {}
  /// Whether every field asked for was the next one, of its size, and none is left.
  /// Otherwise fields are as they were or loaded, and all are to be loaded anew.
  [[nodiscard]] bool fitted() const { return fits_ && rest_.empty(); }

 protected:
  void raw(std::string_view name, void* data, std::size_t size) override;
  void list(std::string_view name, std::size_t element_size, std::size_t most, std::size_t count,
            const std::function<void*(std::size_t)>& resize) override;

 private:
  /// The value of the next field, if that is its name.
  ByteView next(std::string_view name);
  ByteView sized();

  ByteView rest_;
  bool fits_ = true;
};

}  // namespace chronovisor
