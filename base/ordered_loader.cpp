#include "base/ordered_loader.h"

#include <cstring>

namespace chronovisor {

/// A varint length and so many bytes. Lengths of four bytes and more are left to
/// StateLoader.
ByteView OrderedLoader::sized() {
  std::size_t length = 0;
  std::size_t at = 0;
  for (unsigned shift = 0; shift < 21; shift += 7) {
    if (at == rest_.size()) break;
    const std::uint8_t byte = rest_[at++];
    length |= std::size_t{byte & 0x7fU} << shift;
    if ((byte & 0x80) != 0) continue;
    if (length > rest_.size() - at) break;
    const ByteView value = rest_.subspan(at, length);
    rest_ = rest_.subspan(at + length);
    return value;
  }
  fits_ = false;
  return {};
}

ByteView OrderedLoader::next(std::string_view name) {
  if (!fits_) return {};
  const ByteView there = sized();
  fits_ = fits_ && there.size() == name.size() &&
          std::memcmp(there.data(), name.data(), name.size()) == 0;
  return fits_ ? sized() : ByteView{};
}

void OrderedLoader::raw(std::string_view name, void* data, std::size_t size) {
  const ByteView value = next(name);
  fits_ = fits_ && value.size() == size;
  if (fits_ && size != 0) std::memcpy(data, value.data(), size);
}

void OrderedLoader::list(std::string_view name, std::size_t element_size, std::size_t most,
                         std::size_t /*count*/, const std::function<void*(std::size_t)>& resize) {
  const ByteView value = next(name);
  const std::size_t count = value.size() / element_size;
  fits_ = fits_ && value.size() % element_size == 0 && count <= most;
  if (!fits_) return;
  void* const destination = resize(count);
  if (count != 0) std::memcpy(destination, value.data(), value.size());
}

}  // namespace chronovisor
