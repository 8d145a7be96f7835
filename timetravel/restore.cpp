#include "timetravel/restore.h"

#include <array>
#include <map>

#include "base/error.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {

void restore_checkpoint(Machine& machine, const RecordingReader& reader, std::size_t checkpoint) {
  // The newest content of each page along the chain of parents.
  std::map<std::uint64_t, Hash128> pages;
  std::optional<std::size_t> at = checkpoint;
  while (at) {
    for (const PageRecord& page : reader.page_delta(*at)) pages.emplace(page.page, page.content);
    const auto& parent = reader.checkpoints()[*at].parent;
    at = parent ? std::optional<std::size_t>(*parent) : std::nullopt;
  }
  std::array<std::uint8_t, kPageSize> bytes{};
  for (const auto& [page, content] : pages) {
    if (!machine.pages().has_page(page)) {
      throw Error(ErrorCode::bad_input, reader.name() + ": a checkpoint has page " +
                                            std::to_string(page) +
                                            ", outside the machine's memory");
    }
    if (content == Machine::zero_page_hash()) continue;
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
