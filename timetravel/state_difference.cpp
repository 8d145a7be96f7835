#include "timetravel/state_difference.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

constexpr std::size_t kBytesShown = 16;

/// Physical address of a page of RAM; the layout is the one in vmm/memory/ram.h.
GuestPhysical physical_of(std::uint64_t page, std::uint64_t page_count) {
  const std::uint64_t offset = page * kPageSize;
  const std::uint64_t low_end = std::min(page_count * kPageSize, Ram::kLowLimit);
  return {offset < low_end ? offset : offset - low_end + Ram::kHighBase};
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

PageDifference compare_page(StateView& left, StateView& right, std::uint64_t page) {
  std::array<std::uint8_t, kPageSize> a{};
  std::array<std::uint8_t, kPageSize> b{};
  if (page < left.page_count()) left.read_page(page, a);
  if (page < right.page_count()) right.read_page(page, b);
  PageDifference difference;
  difference.page = physical_of(page, std::max(left.page_count(), right.page_count()));
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

LiveState::LiveState(Machine& machine) : machine_(machine) {
  static_cast<void>(machine_.digest());  // brings the page hashes up to date
}

std::vector<Section> LiveState::sections() { return machine_.save_sections(); }
std::uint64_t LiveState::page_count() { return machine_.ram().page_count(); }
Hash128 LiveState::page_hash(std::uint64_t page) { return machine_.page_hash(page); }
void LiveState::read_page(std::uint64_t page, PageBytes out) {
  std::memcpy(out.data(), machine_.ram().host(page * kPageSize), kPageSize);
}

RecordedState::RecordedState(const RecordingReader& reader, std::size_t checkpoint)
    : reader_(reader), checkpoint_(reader.checkpoints().size()) {
  move_to(checkpoint);
}

void RecordedState::move_to(std::size_t checkpoint) {
  if (checkpoint == checkpoint_) return;
  const auto parent_of = [&](std::size_t child) { return reader_.checkpoints()[child].parent; };
  if (const auto parent = parent_of(checkpoint); !parent || *parent != checkpoint_) {
    pages_.assign(runnable_start_of(reader_).machine.memory_bytes / kPageSize,
                  Machine::zero_page_hash());
    std::vector<std::size_t> chain;
    for (auto at = parent; at; at = parent_of(*at)) chain.push_back(*at);
    for (auto at = chain.rbegin(); at != chain.rend(); ++at) apply_delta(*at);
  }
  apply_delta(checkpoint);
  checkpoint_ = checkpoint;
}

void RecordedState::apply_delta(std::size_t checkpoint) {
  for (const PageRecord& page : reader_.page_delta(checkpoint)) {
    if (page.page >= pages_.size()) {
      throw Error(ErrorCode::bad_input, reader_.name() + ": a checkpoint has page " +
                                            std::to_string(page.page) +
                                            ", outside the machine's memory");
    }
    pages_[page.page] = page.content;
  }
}

std::vector<Section> RecordedState::sections() { return reader_.load_sections(checkpoint_); }

void RecordedState::read_page(std::uint64_t page, PageBytes out) {
  if (pages_[page] == Machine::zero_page_hash()) {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
  } else {
    reader_.read_page(pages_[page], out);
  }
}

StateDifference compare_states(StateView& left, StateView& right) {
  StateDifference difference;
  compare_fields(left, right, difference);
  const std::uint64_t count = std::max(left.page_count(), right.page_count());
  const auto hash_of = [](StateView& view, std::uint64_t page) {
    return page < view.page_count() ? view.page_hash(page) : Machine::zero_page_hash();
  };
  for (std::uint64_t page = 0; page < count; ++page) {
    if (hash_of(left, page) == hash_of(right, page)) continue;
    ++difference.differing_pages;
    if (difference.pages.size() < kMostPagesReported) {
      difference.pages.push_back(compare_page(left, right, page));
    }
  }
  return difference;
}

}  // namespace chronovisor
