// Makes small recordings whose pages are kept in every way there is: as they are, as a
// difference, as pieces of images packed and unpacked, and as blocks of a disk.
#pragma once

#include <cstring>
#include <map>
#include <utility>

#include "tests/recorder/sample_recording.h"

namespace chronovisor::testing {

/// Contents of pages of memory.
using PageContents = std::map<std::uint64_t, Bytes>;

inline void write_pages(RecordingWriter& writer, std::uint64_t steps,
                        std::optional<std::uint32_t> parent, const PageContents& pages) {
  CheckpointRecord record;
  record.position = Position{steps};
  record.digest = hash128(as_bytes("digest " + std::to_string(steps)));
  record.parent = parent;
  record.sections = {{"cpu", Bytes{1, 2, 3}}};
  for (const auto& [page, bytes] : pages) record.pages.push_back({page, hash128(bytes)});
  writer.checkpoint(record, [&](const PageRecord& page, PageBytes out) {
    const Bytes& bytes = pages.at(page.page);
    std::copy(bytes.begin(), bytes.end(), out.begin());
  });
}

inline Bytes joined(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// `content` as LZ4's legacy format has it, all of it literal.
inline Bytes lz4_literal(const Bytes& content) {
  Bytes block = {0xf0};
  std::size_t left = content.size() - 15;
  for (; left >= 255; left -= 255) block.push_back(255);
  block.push_back(static_cast<std::uint8_t>(left));
  block = joined(block, content);
  ByteWriter out;
  out.integer(std::uint32_t{0x184c2102});
  out.integer(static_cast<std::uint32_t>(block.size()));
  out.bytes(block);
  return out.take();
}

/// A kernel image that carries `packed`, which unpacks to so many bytes.
inline Bytes kernel_image(const Bytes& packed, std::size_t unpacked_bytes) {
  Bytes image(1024);
  image[0x1f1] = 1;
  std::memcpy(image.data() + 0x202, "HdrS", 4);
  image[0x206] = 0x0f;
  image[0x207] = 2;
  ByteWriter fields;
  fields.integer(std::uint32_t{0});
  fields.integer(static_cast<std::uint32_t>(packed.size() + 4));
  std::copy(fields.data().begin(), fields.data().end(), image.begin() + 0x248);
  ByteWriter size;
  size.integer(static_cast<std::uint32_t>(unpacked_bytes));
  return joined(joined(image, packed), size.take());
}

/// `page` with `count` bytes changed.
inline Bytes changed(Bytes page, std::size_t count, std::uint8_t by = 0x55) {
  for (std::size_t n = 0; n < count; ++n) page[(n * 40 + 16) % page.size()] ^= by;
  return page;
}

inline void write_recipe_sample(std::unique_ptr<OutputFile> file, bool finish = true) {
  RecordingWriter writer(std::move(file), test_id(), R"({"machine":"pc"})");
  const Bytes kernel = joined(test_page(70), test_page(71));
  const Bytes initrd = joined(test_page(80), test_page(81));
  writer.embed_image("kernel", "/boot/vmlinuz",
                     MemoryInputFile(kernel_image(lz4_literal(kernel), kernel.size()), "vmlinuz"));
  writer.embed_image("initrd", "/boot/initrd", MemoryInputFile(initrd, "initrd"));
  writer.block(0, 3, test_page(90));
  const Bytes page = test_page(11);
  write_pages(writer, 0, {},
              {{1, page}, {2, test_page(80)}, {3, test_page(81)}, {5, test_page(70)}});
  writer.input(serial_input(10, 0, 'a'));
  // A page changes little by little; one is like the kernel, but not quite.
  write_pages(writer, 20, 0,
              {{1, changed(page, 3)}, {6, changed(test_page(71), 2)}, {7, test_page(90)}});
  write_pages(writer, 40, 1, {{1, changed(page, 90)}, {5, test_page(0)}, {8, test_page(12)}});
  write_pages(writer, 50, 2, {{1, changed(page, 95)}});
  writer.advance_to(Position{60});
  if (finish) {
    writer.finish(R"({"exit":"poweroff"})");
  } else {
    writer.flush();
  }
}

inline Bytes recipe_sample_bytes(bool finish = true) {
  auto file = std::make_unique<MemoryOutputFile>();
  const auto bytes = file->bytes();
  write_recipe_sample(std::move(file), finish);
  return *bytes;
}

}  // namespace chronovisor::testing
