// Makes the small recordings that the recorder's tests take apart, and walks
// everything in a recording into text that can be compared.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "recorder/format/file.h"
#include "recorder/format/recording_reader.h"
#include "recorder/format/recording_writer.h"

namespace chronovisor::testing {

inline FileId test_id(std::uint8_t seed = 7) {
  FileId id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(seed * 31 + i * 17);
  }
  return id;
}

/// A page whose content follows from `seed`; seed 0 is a page of zeros. Most
/// of it is constant, so that it compresses and test files stay small.
inline Bytes test_page(std::uint64_t seed) {
  Bytes page(kPageSize, static_cast<std::uint8_t>(seed));
  for (std::size_t i = 0; i < 8; ++i) page[100 + i] = static_cast<std::uint8_t>(seed >> (8 * i));
  return page;
}

/// Page contents by page number, turned into what the writer wants.
struct TestPages {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seeds;  ///< page, seed

  [[nodiscard]] std::vector<PageRecord> records() const {
    std::vector<PageRecord> list;
    for (const auto& [page, seed] : seeds) list.push_back({page, hash128(test_page(seed))});
    return list;
  }
  [[nodiscard]] PageProvider provider() const {
    return [this](const PageRecord& record, PageBytes out) {
      for (const auto& [page, seed] : seeds) {
        if (page != record.page) continue;
        const Bytes content = test_page(seed);
        std::copy(content.begin(), content.end(), out.begin());
      }
    };
  }
};

inline InputEvent serial_input(std::uint64_t steps, std::uint64_t idle_ns, char byte) {
  return {Position{steps}, idle_ns, InputKind::serial_byte, 0, {static_cast<std::uint8_t>(byte)}};
}

inline void write_checkpoint(RecordingWriter& writer, std::uint64_t steps,
                             std::optional<std::uint32_t> parent, const TestPages& pages) {
  CheckpointRecord record;
  record.position = Position{steps};
  record.idle_ns = steps / 2;
  record.digest = hash128(as_bytes("digest " + std::to_string(steps)));
  record.parent = parent;
  record.sections = {{"cpu", Bytes{1, 2, 3, static_cast<std::uint8_t>(steps)}}, {"pit", Bytes(20)}};
  record.pages = pages.records();
  writer.checkpoint(record, pages.provider());
}

/// Writes one of everything. `finish` false leaves the file as a killed
/// recorder would.
inline void write_sample(std::unique_ptr<OutputFile> file, const FileId& id = test_id(),
                         bool finish = true, const WriterOptions& options = {}) {
  RecordingWriter writer(std::move(file), id, R"({"machine":"pc"})", options);
  writer.embed_image("kernel", "/boot/vmlinuz", MemoryInputFile(Bytes(3000, 0x41), "vmlinuz"));
  writer.reference_image("disk0", "/images/disk", MemoryInputFile(Bytes(500, 0x42), "disk"));
  write_checkpoint(writer, 0, {}, {{{1, 11}, {2, 0}, {5, 12}}});
  writer.input(serial_input(10, 0, 'a'));
  writer.input({Position{20}, 5, InputKind::wakeup, 0, wakeup_payload(500)});
  writer.input({Position{20}, 500, InputKind::key, 1, {0x1e, 0x9e}});
  writer.console({Position{21}, 500, ConsoleChannel::serial0, as_bytes("hello\n")});
  writer.digest({Position{22}, hash128(as_bytes("x"))});
  writer.advance_to(Position{30});
  writer.flush();
  writer.interval_index(Position{0}, Position{30}, Bytes{9, 8, 7});
  write_checkpoint(writer, 40, 0, {{{1, 13}, {7, 11}, {9, 14}}});
  writer.bookmark({Position{41}, "before the crash"});
  writer.input(serial_input(50, 600, 'b'));
  writer.console({Position{52}, 600, ConsoleChannel::debug_port, as_bytes("!")});
  writer.advance_to(Position{60});
  if (finish) {
    writer.finish(R"({"exit":"poweroff"})");
  } else {
    writer.flush();
  }
}

/// Blocks of the index so small that the sample fills them.
inline WriterOptions tiny_blocks() {
  WriterOptions options;
  options.index_blocks = BlockShape{4, 2};
  options.mark_every_bytes = 1500;
  return options;
}

inline Bytes sample_bytes(const FileId& id = test_id(), bool finish = true,
                          const WriterOptions& options = {}) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  write_sample(std::move(file), id, finish, options);
  return *bytes;
}

/// What a walk over all of a recording saw, and the errors on the way.
struct Walk {
  std::vector<std::string> facts;
  std::vector<std::string> problems;
  std::uint64_t usable_to = 0;
  bool opened = false;
};

template <class Action>
void attempt(Walk& walk, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    walk.problems.emplace_back(error.what());
  }
}

inline std::string hex_of(ByteView bytes) { return hash128(bytes).hex(); }

inline void walk_checkpoint(Walk& walk, const RecordingReader& reader, std::size_t i) {
  const CheckpointInfo& info = reader.checkpoints()[i];
  const std::string name = "checkpoint " + std::to_string(info.position.steps) + " ";
  walk.facts.push_back(name + info.digest.hex() + " " + std::to_string(info.idle_ns));
  attempt(walk, [&] {
    for (const Section& section : reader.load_sections(i)) {
      walk.facts.push_back(name + section.name + " " + hex_of(section.bytes));
    }
  });
  attempt(walk, [&] {
    for (const PageRecord& page : reader.page_delta(i)) {
      Bytes content(kPageSize);
      reader.read_page(page.content, PageBytes(content.data(), kPageSize));
      walk.facts.push_back(name + "page " + std::to_string(page.page) + " " + hex_of(content));
    }
  });
}

inline void walk_log(Walk& walk, const RecordingReader& reader) {
  attempt(walk, [&] {
    InputCursor cursor(reader);
    while (const InputEvent* event = cursor.peek()) {
      walk.facts.push_back("input " + std::to_string(event->position.steps) + " " +
                           std::to_string(event->idle_ns) + " " + input_kind_name(event->kind) +
                           " " + std::to_string(event->device) + " " + hex_of(event->payload));
      cursor.pop();
    }
  });
  attempt(walk, [&] {
    for (const DigestRecord& digest : reader.digests()) {
      walk.facts.push_back("digest " + std::to_string(digest.position.steps) + digest.digest.hex());
    }
  });
  attempt(walk, [&] {
    reader.for_each_console([&](const ConsoleView& view) {
      walk.facts.push_back(
          "console " + std::to_string(view.position.steps) + " " + std::to_string(view.idle_ns) +
          " " + std::to_string(static_cast<int>(view.channel)) + " " + hex_of(view.bytes));
    });
  });
}

inline Walk walk_recording(std::shared_ptr<const InputFile> file) {
  Walk walk;
  attempt(walk, [&] {
    const RecordingReader reader(std::move(file));
    walk.opened = true;
    walk.usable_to = reader.usable_to().steps;
    for (const Damage& damage : reader.damage()) walk.problems.push_back(damage.message);
    attempt(walk, [&] {
      for (const Damage& damage : reader.verify_bytes()) walk.problems.push_back(damage.message);
    });
    walk.facts.push_back("metadata " + reader.metadata_json());
    attempt(walk, [&] { walk.facts.push_back("summary " + reader.summary_json().value_or("-")); });
    for (std::size_t i = 0; i < reader.images().size(); ++i) {
      const ImageInfo& image = reader.images()[i];
      walk.facts.push_back("image " + image.role + image.path + image.hash.hex());
      if (image.storage == ImageStorage::referenced) continue;
      attempt(walk, [&] { walk.facts.push_back(hex_of(reader.read_image(i, 1u << 20))); });
    }
    for (std::size_t i = 0; i < reader.checkpoints().size(); ++i) walk_checkpoint(walk, reader, i);
    walk_log(walk, reader);
    for (std::size_t i = 0; i < reader.intervals().size(); ++i) {
      attempt(walk, [&] { walk.facts.push_back("interval " + hex_of(reader.load_interval(i))); });
    }
    attempt(walk, [&] {
      for (const Bookmark& mark : reader.bookmarks()) walk.facts.push_back("mark " + mark.name);
    });
  });
  return walk;
}

inline Walk walk_bytes(Bytes bytes) {
  return walk_recording(std::make_shared<MemoryInputFile>(std::move(bytes), "recording.cvr"));
}

}  // namespace chronovisor::testing
