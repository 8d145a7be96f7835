#include "timetravel/state_difference.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

constexpr std::size_t kBytesShown = 16;

/// Where a page is: in a region, or in RAM with the layout of vmm/memory/ram.h.
void place_page(std::uint64_t page, const std::vector<RegionPlace>& regions,
                PageDifference& difference) {
  for (const RegionPlace& region : regions) {
    if (page < region.first_page || page - region.first_page >= region.page_count) continue;
    difference.region = region.name;
    difference.page = {(page - region.first_page) * kPageSize};
    return;
  }
  const std::uint64_t offset = page * kPageSize;
  difference.page = {offset < Ram::kLowLimit ? offset : offset - Ram::kLowLimit + Ram::kHighBase};
}

/// How many pages the machine of a recorded checkpoint has.
std::uint64_t pages_at(const RecordingReader& reader, std::size_t checkpoint) {
  std::uint64_t count = inspectable_start_of(reader).machine.memory_bytes / kPageSize;
  for (const RegionPlace& region : regions_of(reader.load_sections(checkpoint))) {
    count = std::max(count, region.first_page + region.page_count);
  }
  return count;
}

/// `pages` as one of a memory of `count` pages, the further ones zeros.
PageMap widened(const PageMap& pages, std::uint64_t count) {
  if (pages.page_count() == count) return pages;
  PageMap wide(count, Machine::zero_page_hash());
  pages.for_each_difference(PageMap(pages.page_count(), Machine::zero_page_hash()),
                            [&](std::uint64_t page) { wide.set(page, pages.content(page)); });
  return wide;
}

void compare_fields(StateView& left, StateView& right, StateDifference& difference) {
  const std::vector<Section> lefts = left.sections();
  const std::vector<Section> rights = right.sections();
  const auto find = [](const std::vector<Section>& sections, const std::string& name) -> ByteView {
    for (const Section& section : sections) {
      if (section.name == name) return section.bytes;
    }
    return {};
  };
  const auto add = [&](const std::string& name, ByteView a, ByteView b) {
    for (FieldDifference& field : compare_sections(a, b, name)) {
      difference.fields.push_back(
          {name, std::move(field.field), std::move(field.left), std::move(field.right)});
    }
  };
  for (const Section& section : lefts) add(section.name, section.bytes, find(rights, section.name));
  for (const Section& section : rights) {
    if (find(lefts, section.name).empty()) add(section.name, {}, section.bytes);
  }
}

PageDifference compare_page(StateView& left, StateView& right, std::uint64_t page,
                            const std::vector<RegionPlace>& regions) {
  std::array<std::uint8_t, kPageSize> a{};
  std::array<std::uint8_t, kPageSize> b{};
  if (page < left.pages().page_count()) left.read_page(page, a);
  if (page < right.pages().page_count()) right.read_page(page, b);
  PageDifference difference;
  place_page(page, regions, difference);
  for (std::size_t i = kPageSize; i-- > 0;) {
    if (a[i] == b[i]) continue;
    difference.offset = static_cast<std::uint32_t>(i);
    ++difference.differing_bytes;
  }
  const std::size_t shown = std::min(kBytesShown, kPageSize - difference.offset);
  difference.left.assign(a.begin() + difference.offset, a.begin() + difference.offset + shown);
  difference.right.assign(b.begin() + difference.offset, b.begin() + difference.offset + shown);
  return difference;
}

}  // namespace

LiveState::LiveState(Machine& machine)
    : machine_(machine), pages_(machine.pages().page_count(), Machine::zero_page_hash()) {
  static_cast<void>(machine_.digest());  // brings the page hashes up to date
  machine_.pages().for_each_page(
      [this](std::uint64_t page) { pages_.set(page, machine_.page_hash(page)); });
}

std::vector<Section> LiveState::sections() { return machine_.save_sections(); }
void LiveState::read_page(std::uint64_t page, PageBytes out) {
  if (machine_.pages().has_page(page)) {
    std::memcpy(out.data(), machine_.pages().bytes(page).data(), kPageSize);
  } else {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
  }
}

RecordedState::RecordedState(const RecordingReader& reader, std::size_t checkpoint)
    : reader_(reader),
      checkpoint_(reader.checkpoints().size()),
      pages_(pages_at(reader, checkpoint), Machine::zero_page_hash()) {
  move_to(checkpoint);
}

void RecordedState::move_to(std::size_t checkpoint) {
  if (checkpoint == checkpoint_) return;
  const auto parent_of = [&](std::size_t child) { return reader_.checkpoints()[child].parent; };
  if (const auto parent = parent_of(checkpoint); !parent || *parent != checkpoint_) {
    pages_.become(PageMap(pages_.page_count(), Machine::zero_page_hash()));
    std::vector<std::size_t> chain;
    for (auto at = parent; at; at = parent_of(*at)) chain.push_back(*at);
    for (auto at = chain.rbegin(); at != chain.rend(); ++at) apply_delta(*at);
  }
  apply_delta(checkpoint);
  checkpoint_ = checkpoint;
}

void RecordedState::apply_delta(std::size_t checkpoint) {
  for (const PageRecord& page : reader_.page_delta(checkpoint)) {
    if (page.page >= pages_.page_count()) {
      throw Error(ErrorCode::bad_input, reader_.name() + ": a checkpoint has page " +
                                            std::to_string(page.page) +
                                            ", outside the machine's memory");
    }
    pages_.set_recorded(page.page, page.content, page.place);
  }
}

std::vector<Section> RecordedState::sections() { return reader_.load_sections(checkpoint_); }

void RecordedState::read_page(std::uint64_t page, PageBytes out) {
  if (pages_.content(page) == Machine::zero_page_hash()) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
  } else {
    reader_.read_page(pages_.content(page), out, pages_.place(page));
  }
}

StateDifference compare_states(StateView& left, StateView& right) {
  StateDifference difference;
  compare_fields(left, right, difference);
  const std::uint64_t count = std::max(left.pages().page_count(), right.pages().page_count());
  std::vector<RegionPlace> regions = regions_of(left.sections());
  if (regions.empty()) regions = regions_of(right.sections());
  widened(left.pages(), count)
      .for_each_difference(widened(right.pages(), count), [&](std::uint64_t page) {
        ++difference.differing_pages;
        if (difference.pages.size() < kMostPagesReported) {
          difference.pages.push_back(compare_page(left, right, page, regions));
        }
      });
  return difference;
}

}  // namespace chronovisor
