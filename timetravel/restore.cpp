#include "timetravel/restore.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "base/error.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

/// The newest content of each page along the chain of parents.
std::map<std::uint64_t, PageRecord> pages_at(const RecordingReader& reader,
                                             std::size_t checkpoint) {
  std::map<std::uint64_t, PageRecord> pages;
  std::optional<std::size_t> at = checkpoint;
  while (at) {
    for (const PageRecord& page : reader.page_delta(*at)) pages.emplace(page.page, page);
    const auto& parent = reader.checkpoints()[*at].parent;
    at = parent ? std::optional<std::size_t>(*parent) : std::nullopt;
  }
  return pages;
}

}  // namespace

void restore_checkpoint(Machine& machine, const RecordingReader& reader, std::size_t checkpoint) {
  (void)machine.close_epoch();
  std::map<std::uint64_t, PageRecord> pages = pages_at(reader, checkpoint);
  machine.pages().for_each_page([&](std::uint64_t page) {
    pages.emplace(page, PageRecord{page, Machine::zero_page_hash()});
  });
  std::array<std::uint8_t, kPageSize> bytes{};
  std::vector<PageRecord> kept;
  for (const auto& [page, record] : pages) {
    if (!machine.pages().has_page(page)) {
      throw Error(ErrorCode::bad_input, reader.name() + ": a checkpoint has page " +
                                            std::to_string(page) +
                                            ", outside the machine's memory");
    }
    if (machine.page_hash(page) == record.content) continue;
    if (record.place) {
      kept.push_back(record);
    } else {
      machine.replace_page(page, bytes, record.content);
    }
  }
  // In the order of the file, so that each batch is unpacked once.
  std::ranges::sort(kept, {}, &PageRecord::place);
  for (const PageRecord& record : kept) {
    reader.read_page(record.content, bytes, record.place);
    machine.replace_page(record.page, bytes, record.content);
  }
  machine.load_sections(reader.load_sections(checkpoint));
}

std::unique_ptr<Machine> machine_at_checkpoint(const RecordingReader& reader,
                                               std::size_t checkpoint) {
  auto machine = std::make_unique<Machine>(inspectable_start_of(reader).machine);
  restore_checkpoint(*machine, reader, checkpoint);
  return machine;
}

}  // namespace chronovisor
