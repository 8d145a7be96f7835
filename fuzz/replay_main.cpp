// Feeds files, and all files in folders, to a fuzz target: the corpus as a test,
// and a crashing input under a debugger, without libFuzzer. A file NAME.inputs
// holds many inputs, each behind its length (4 bytes, little endian); pack_corpus
// makes them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::optional<Bytes> contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return Bytes{std::istreambuf_iterator<char>(in), {}};
}

/// Feeds each input of a pack.
/// @return how many there are; nothing when the pack is cut short
std::optional<std::size_t> feed_pack(const Bytes& pack) {
  constexpr std::size_t kLengthBytes = 4;
  std::size_t count = 0;
  for (std::size_t at = 0; at < pack.size(); ++count) {
    if (pack.size() - at < kLengthBytes) return std::nullopt;
    std::size_t length = 0;
    for (std::size_t n = kLengthBytes; n-- > 0;) length = length << 8 | pack[at + n];
    at += kLengthBytes;
    if (pack.size() - at < length) return std::nullopt;
    // A copy of its own: reading past its end must be noticed.
    const Bytes input(pack.begin() + static_cast<std::ptrdiff_t>(at),
                      pack.begin() + static_cast<std::ptrdiff_t>(at + length));
    LLVMFuzzerTestOneInput(input.data(), input.size());
    at += length;
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::size_t inputs = 0;
  for (const fs::path& path : files) {
    const std::optional<Bytes> bytes = contents(path);
    if (!bytes) {
      std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
      return 1;
    }
    std::printf("%s\n", path.c_str());
    std::fflush(stdout);
    if (path.extension() != ".inputs") {
      LLVMFuzzerTestOneInput(bytes->data(), bytes->size());
      ++inputs;
      continue;
    }
    const std::optional<std::size_t> count = feed_pack(*bytes);
    if (!count) {
      std::fprintf(stderr, "%s: is cut short\n", path.c_str());
      return 1;
    }
    inputs += *count;
  }
  std::printf("%zu inputs\n", inputs);
  return inputs == 0 ? 1 : 0;
}
