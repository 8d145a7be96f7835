#include "vmm/memory/page_space.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace chronovisor {
namespace {

constexpr std::uint64_t kRegionAlignment = 65536;
constexpr std::uint64_t kMostPages = 1ULL << 32;
constexpr std::size_t kMostRegions = 256;
constexpr std::size_t kMostNameBytes = 100;

const std::string kFirstPage = ".first_page";
const std::string kPages = ".pages";

std::uint64_t aligned(std::uint64_t page) {
  return (page + kRegionAlignment - 1) / kRegionAlignment * kRegionAlignment;
}

/// What one page adds to its region's sum.
Hash128 share_of(std::uint64_t page, const Hash128& content) {
  std::array<std::uint64_t, 3> bytes{page, content.low, content.high};
  return hash128({reinterpret_cast<const std::uint8_t*>(bytes.data()), sizeof(bytes)});
}

}  // namespace

const Hash128& PageSpace::zero_hash() {
  static const Hash128 hash = hash128(Bytes(kPageSize, 0));
  return hash;
}

PageSpace::PageSpace(Ram& ram)
    : ram_(ram), page_count_(ram.page_count()), ram_hashes_(ram.page_count(), zero_hash()) {}

PagedRegion& PageSpace::add_region(std::string name, std::uint64_t size_bytes) {
  return add(std::make_unique<PagedRegion>(std::move(name), size_bytes));
}

PagedRegion& PageSpace::add_rom(std::string name, std::uint64_t size_bytes) {
  PagedRegion& rom = add(std::make_unique<PagedRegion>(std::move(name), ram_.add_rom(size_bytes)));
  rom_ = regions_.size() - 1;
  return rom;
}

PagedRegion& PageSpace::add(std::unique_ptr<PagedRegion> memory) {
  const std::string& name = memory->name();
  CHECK_THAT(region(name) == nullptr, name);
  CHECK_THAT(!name.empty() && name.size() <= kMostNameBytes && regions_.size() < kMostRegions,
             name);
  Region added{std::move(memory), aligned(page_count_), {}, {}};
  const std::uint64_t end = added.first_page + added.memory->page_count();
  if (end > kMostPages) {
    throw Error(ErrorCode::usage, "the regions of a machine have more than 16 TiB together");
  }
  page_count_ = end;
  return *regions_.emplace_back(std::move(added)).memory;
}

PagedRegion* PageSpace::region(std::string_view name) {
  for (Region& region : regions_) {
    if (region.memory->name() == name) return region.memory.get();
  }
  return nullptr;
}

std::vector<RegionPlace> PageSpace::layout() const {
  std::vector<RegionPlace> places;
  for (const Region& region : regions_) {
    places.push_back({region.memory->name(), region.first_page, region.memory->page_count()});
  }
  return places;
}

std::optional<std::size_t> PageSpace::region_of(std::uint64_t page) const {
  for (std::size_t n = 0; n < regions_.size(); ++n) {
    const Region& region = regions_[n];
    if (page >= region.first_page && page - region.first_page < region.memory->page_count()) {
      return n;
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> PageSpace::processor_page(std::uint64_t page) const {
  if (page < ram_.page_count()) return page;
  if (!rom_ || region_of(page) != rom_) return std::nullopt;
  return ram_.page_count() + (page - regions_[*rom_].first_page);
}

bool PageSpace::has_page(std::uint64_t page) const {
  return page < ram_hashes_.size() || region_of(page).has_value();
}

ByteView PageSpace::bytes(std::uint64_t page) const {
  if (page < ram_hashes_.size()) return {ram_.host(page * kPageSize), kPageSize};
  const auto index = region_of(page);
  CHECK_THAT(index, "a page of the machine");
  const Region& region = regions_[*index];
  return region.memory->page(page - region.first_page);
}

const Hash128& PageSpace::hash(std::uint64_t page) const {
  if (page < ram_hashes_.size()) return ram_hashes_[page];
  const auto index = region_of(page);
  if (!index) return zero_hash();  // a gap
  const Region& region = regions_[*index];
  const auto found = region.hashes.find(static_cast<std::uint32_t>(page - region.first_page));
  return found == region.hashes.end() ? zero_hash() : found->second;
}

void PageSpace::for_each_page(const std::function<void(std::uint64_t)>& visit) const {
  for (std::uint64_t page = 0; page < ram_hashes_.size(); ++page) {
    if (ram_hashes_[page] != zero_hash()) visit(page);
  }
  for (const Region& region : regions_) {
    std::vector<std::uint32_t> pages;
    pages.reserve(region.hashes.size());
    for (const auto& [page, content] : region.hashes) pages.push_back(page);
    std::sort(pages.begin(), pages.end());
    for (const std::uint32_t page : pages) visit(region.first_page + page);
  }
}

void PageSpace::set_hash(Region& region, std::uint64_t page, const Hash128& hash) {
  const auto number = static_cast<std::uint32_t>(page);
  const auto known = region.hashes.find(number);
  if (known != region.hashes.end()) {
    const Hash128 old = share_of(page, known->second);
    region.sum.low -= old.low;
    region.sum.high -= old.high;
  }
  if (hash == zero_hash()) {
    if (known != region.hashes.end()) region.hashes.erase(known);
    return;
  }
  const Hash128 share = share_of(page, hash);
  region.sum.low += share.low;
  region.sum.high += share.high;
  region.hashes[number] = hash;
}

void PageSpace::hash_dirty_pages() {
  for (const std::uint32_t page : ram_.dirty_pages()) {
    ram_hashes_[page] = hash128({ram_.host(page * kPageSize), kPageSize});
    changed_.push_back(page);
  }
  ram_.new_epoch();
  for (Region& region : regions_) {
    for (const std::uint32_t page : region.memory->dirty_pages()) {
      set_hash(region, page, hash128(region.memory->page(page)));
      changed_.push_back(static_cast<std::uint32_t>(region.first_page + page));
    }
    region.memory->new_epoch();
  }
}

std::vector<std::uint32_t> PageSpace::take_changed() {
  std::sort(changed_.begin(), changed_.end());
  changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
  return std::exchange(changed_, {});
}

void PageSpace::replace(std::uint64_t page, ByteView bytes, const Hash128& hash) {
  CHECK_THAT(bytes.size() == kPageSize && has_page(page), "a page of the machine");
  if (page < ram_hashes_.size()) {
    std::memcpy(ram_.replaced(page).data(), bytes.data(), kPageSize);
    ram_hashes_[page] = hash;
    return;
  }
  Region& region = regions_[*region_of(page)];
  const std::uint64_t number = page - region.first_page;
  if (hash == zero_hash()) {
    region.memory->clear_page(number);
  } else {
    region.memory->replace_page(number, bytes);
  }
  set_hash(region, number, hash);
}

void PageSpace::defer(std::uint64_t page, const Hash128& hash) {
  CHECK_THAT(page < ram_hashes_.size(), "a page of RAM");
  ram_.defer(page);
  ram_hashes_[page] = hash;
}

void PageSpace::add_to(Hasher& hasher) const {
  hasher.add({reinterpret_cast<const std::uint8_t*>(ram_hashes_.data()),
              ram_hashes_.size() * sizeof(Hash128)});
  for (const Region& region : regions_) {
    hasher.add({reinterpret_cast<const std::uint8_t*>(&region.sum), sizeof(region.sum)});
  }
}

void PageSpace::visit_layout(StateVisitor& visitor) {
  for (const Region& region : regions_) {
    const std::string& name = region.memory->name();
    std::uint64_t first_page = region.first_page;
    std::uint64_t pages = region.memory->page_count();
    visitor.field(name + kFirstPage, first_page);
    visitor.field(name + kPages, pages);
    if (first_page != region.first_page || pages != region.memory->page_count()) {
      throw Error(ErrorCode::bad_input,
                  "state section " + std::string(kRegionsSection) + ": region " + name + " has " +
                      std::to_string(pages) + " pages from " + std::to_string(first_page) +
                      " on; in this machine it has " + std::to_string(region.memory->page_count()) +
                      " from " + std::to_string(region.first_page) + " on");
    }
  }
}

std::vector<RegionPlace> regions_of(std::span<const Section> sections) {
  std::vector<RegionPlace> places;
  for (const Section& section : sections) {
    if (section.name != kRegionsSection) continue;
    for (ByteReader in(section.bytes, "state section regions"); !in.at_end();) {
      RegionPlace place;
      const auto number = [&](const std::string& suffix) {
        const std::string field = in.sized_text(kMostNameBytes + 16);
        ByteReader value(in.sized_bytes(sizeof(std::uint64_t)), "state section regions");
        if (field.size() <= suffix.size() || !field.ends_with(suffix)) {
          in.fail("field " + field + " is not that of a region");
        }
        place.name = field.substr(0, field.size() - suffix.size());
        return value.integer<std::uint64_t>();
      };
      place.first_page = number(kFirstPage);
      place.page_count = number(kPages);
      if (place.first_page >= kMostPages || place.page_count > kMostPages - place.first_page) {
        in.fail("region " + place.name + " is out of range");
      }
      places.push_back(std::move(place));
    }
  }
  return places;
}

}  // namespace chronovisor
