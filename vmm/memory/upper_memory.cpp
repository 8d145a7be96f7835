#include "vmm/memory/upper_memory.h"

namespace chronovisor {

void UpperMemory::set_rules(std::uint64_t begin, Access access) {
  const bool as_ram = access.read && access.write;
  for (std::uint64_t at = begin; at < begin + kSegmentBytes; at += kPageSize) {
    if (as_ram) {
      ram_.remove_use(at / kPageSize, kPageWritesToBus);
    } else {
      ram_.add_use(at / kPageSize, kPageWritesToBus);
    }
  }
  writes_changed_();
}

void UpperMemory::show_rom(std::uint64_t begin) {
  Bytes content(kSegmentBytes, 0xff);
  if (begin >= kRomBegin) rom_->read(rom_->size() - (kEnd - begin), content);
  set_rules(begin, {});
  (void)ram_.write({begin}, content);
}

/// The rules come last: until then the memory here takes what is written.
void UpperMemory::change(std::uint64_t begin, Access from, Access to) {
  if (from == to) return;
  Bytes content(kSegmentBytes);
  if (from.read && !to.read) {
    (void)ram_.read({begin}, content);
    hidden_->write(begin - kBegin, content);
    show_rom(begin);
  } else if (!from.read && to.read) {
    hidden_->read(begin - kBegin, content);
    set_rules(begin, {});
    (void)ram_.write({begin}, content);
  }
  set_rules(begin, to);
}

void UpperMemory::write_hidden(std::uint64_t address, std::uint8_t value) {
  hidden_->write(address - kBegin, ByteView(&value, 1));
}

}  // namespace chronovisor
