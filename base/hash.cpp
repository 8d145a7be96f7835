#include "base/hash.h"

#include <xxhash.h>

#include <cstdio>

#include "base/error.h"

namespace chronovisor {

std::string Hash128::hex() const {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text.data();
}

Hash128 hash128(ByteView data) {
  const XXH128_hash_t h = XXH3_128bits(data.data(), data.size());
  return {h.low64, h.high64};
}

std::uint64_t hash64(ByteView data) { return XXH3_64bits(data.data(), data.size()); }

struct Hasher::Impl {
  XXH3_state_t* state = XXH3_createState();
  Impl() {
    CHECK_THAT(state != nullptr, "out of memory");
    XXH3_128bits_reset(state);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { XXH3_freeState(state); }
};

Hasher::Hasher() : impl_(std::make_unique<Impl>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(ByteView data) { XXH3_128bits_update(impl_->state, data.data(), data.size()); }

Hash128 Hasher::finish() const {
  const XXH128_hash_t h = XXH3_128bits_digest(impl_->state);
  return {h.low64, h.high64};
}

}  // namespace chronovisor
