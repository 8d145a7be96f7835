#include "recorder/live/background_packer.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/signals_blocked.h"

namespace chronovisor {
namespace {

/// Buffers kept for the next pages.
constexpr std::size_t kMostBuffers = 8;

/// Pages that are kept as they are need no recipes.
bool is_plain(const std::vector<PageRecipe>& recipes) {
  return std::all_of(recipes.begin(), recipes.end(),
                     [](const PageRecipe& recipe) { return recipe.like == PageLikeness::zeros; });
}

}  // namespace

BackgroundPacker::~BackgroundPacker() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    waiting_.clear();
  }
  submitted_.notify_one();
  thread_.join();
}

void BackgroundPacker::start() {
  const SignalsBlocked blocked;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    throw Error{ErrorCode::host, std::string("no thread to compress with: ") + error.what()};
  }
}

void BackgroundPacker::add_image(std::uint64_t image, Bytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.emplace_back(Image{image, std::move(bytes)});
  }
  submitted_.notify_one();
}

Bytes BackgroundPacker::buffer() {
  const std::lock_guard lock(mutex_);
  if (buffers_.empty()) return Bytes(NewPages::kMost * kPageSize);
  Bytes buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void BackgroundPacker::submit(NewPages pages) {
  CHECK_THAT(pages.bytes.size() >= pages.pages.size() * kPageSize, "a page without bytes");
  if (!thread_.joinable()) start();
  bytes_in_flight_ += pages.pages.size() * kPageSize;
  {
    const std::lock_guard lock(mutex_);
    waiting_.emplace_back(std::move(pages));
  }
  submitted_.notify_one();
}

PackedPages BackgroundPacker::take_locked() {
  if (ready_.empty()) std::rethrow_exception(failure_);
  PackedPages batch = std::move(ready_.front());
  ready_.pop_front();
  bytes_in_flight_ -= batch.pages.pages.size() * kPageSize;
  return batch;
}

std::optional<PackedPages> BackgroundPacker::take_ready() {
  const std::lock_guard lock(mutex_);
  if (ready_.empty() && failure_ == nullptr) return std::nullopt;
  return take_locked();
}

PackedPages BackgroundPacker::take() {
  std::unique_lock lock(mutex_);
  packed_.wait(lock, [this] { return !ready_.empty() || failure_ != nullptr; });
  return take_locked();
}

void BackgroundPacker::run() {
  std::unique_lock lock(mutex_);
  try {
    while (true) {
      submitted_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
      if (stop_) return;
      std::variant<Image, NewPages> work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      std::visit([this](auto& one) { pack(one); }, work);
      lock.lock();
    }
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    failure_ = std::current_exception();
    packed_.notify_one();
  }
}

void BackgroundPacker::pack(Image& image) {
  if (like_.has_room(image.bytes.size())) like_.add_image(image.image, std::move(image.bytes));
}

void BackgroundPacker::pack(NewPages& pages) {
  for (std::size_t n = 0; n < pages.pages.size(); ++n) {
    const NewPages::Page& page = pages.pages[n];
    const ByteView bytes = ByteView(pages.bytes).subspan(n * kPageSize, kPageSize);
    CHECK_THAT(hash128(bytes) == page.content, "a page's content and hash belong together");
    if (batch_.data.empty()) batch_.data.reserve(batch_bytes_);
    batch_.recipes.push_back(
        page.recipe ? *page.recipe : like_.recipe(page.page, bytes, page.ordinal, batch_.data));
    batch_.pages.pages.push_back(page.content);
    const bool is_full =
        batch_.data.size() >= batch_bytes_ || batch_.recipes.size() == kMaxPagesPerBatch;
    if (is_full) finish_batch(false);
  }
  if (pages.last) finish_batch(true);
  const std::lock_guard lock(mutex_);
  if (buffers_.size() < kMostBuffers) buffers_.push_back(std::move(pages.bytes));
}

void BackgroundPacker::finish_batch(bool last) {
  PackedPages packed;
  packed.last = last;
  if (!batch_.recipes.empty()) {
    const bool plain = is_plain(batch_.recipes);
    packed.type = plain ? ChunkType::page_batch : ChunkType::page_recipes;
    encoder_.pack(plain ? batch_.data : encode_recipes(batch_.recipes, batch_.data), level_,
                  packed.chunk);
    packed.pages = std::move(batch_.pages);
  }
  batch_ = {};
  const std::lock_guard lock(mutex_);
  ready_.push_back(std::move(packed));
  packed_.notify_one();
}

}  // namespace chronovisor
