#include "timetravel/restore.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

/// The newest content of each page along the chain of parents.
std::map<std::uint64_t, Hash128> pages_at(const RecordingReader& reader, std::size_t checkpoint) {
  std::map<std::uint64_t, Hash128> pages;
  std::optional<std::size_t> at = checkpoint;
  while (at) {
    for (const PageRecord& page : reader.page_delta(*at)) pages.emplace(page.page, page.content);
    const auto& parent = reader.checkpoints()[*at].parent;
    at = parent ? std::optional<std::size_t>(*parent) : std::nullopt;
  }
  return pages;
}

}  // namespace

void restore_checkpoint(Machine& machine, const RecordingReader& reader, std::size_t checkpoint) {
  (void)machine.close_epoch();
  std::map<std::uint64_t, Hash128> pages = pages_at(reader, checkpoint);
  machine.pages().for_each_page(
      [&](std::uint64_t page) { pages.emplace(page, Machine::zero_page_hash()); });
  std::array<std::uint8_t, kPageSize> bytes{};
  std::vector<std::tuple<std::uint64_t, std::uint64_t, Hash128>> kept;  // by place in the file
  for (const auto& [page, content] : pages) {
    if (!machine.pages().has_page(page)) {
      throw Error(ErrorCode::bad_input, reader.name() + ": a checkpoint has page " +
                                            std::to_string(page) +
                                            ", outside the machine's memory");
    }
    if (machine.page_hash(page) == content) continue;
    if (content == Machine::zero_page_hash()) {
      machine.replace_page(page, bytes, content);
    } else {
      kept.emplace_back(reader.page_place(content), page, content);
    }
  }
  // In the order of the file, so that each batch is unpacked once.
  std::sort(kept.begin(), kept.end(), [](const auto& left, const auto& right) {
    return std::tie(std::get<0>(left), std::get<1>(left)) <
           std::tie(std::get<0>(right), std::get<1>(right));
  });
  for (const auto& [place, page, content] : kept) {
    reader.read_page(content, bytes);
    machine.replace_page(page, bytes, content);
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
