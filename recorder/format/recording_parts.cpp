// The side of RecordingReader that opens files and joins those of one recording.
#include <algorithm>
#include <filesystem>
#include <iterator>

#include "base/error.h"
#include "recorder/format/page_table.h"
#include "recorder/format/recording_reader.h"

namespace chronovisor {
namespace {

/// Of each part so much of the index may be kept decoded, however many parts there are.
constexpr std::size_t kLeastBlockBytes = std::size_t{64} << 10;

/// Of a file in memory, or one that is looked at alone, there is no other part.
RecordingReader::PartProvider only(std::shared_ptr<const InputFile> file) {
  return [file = std::move(file)](std::uint64_t number) { return number == 0 ? file : nullptr; };
}

/// The parts that lie beside the file at `path`.
RecordingReader::PartProvider beside(const std::string& path) {
  return [path,
          first = std::string()](std::uint64_t number) mutable -> std::shared_ptr<const InputFile> {
    if (number == 0) return std::make_shared<PosixInputFile>(path);
    // The first that is asked for follows the one at the path.
    if (first.empty()) first = first_part_path(path, number - 1);
    const std::string other = part_path(first, number);
    std::error_code failed;
    if (!std::filesystem::exists(other, failed)) return nullptr;
    return std::make_shared<PosixInputFile>(other);
  };
}

}  // namespace

RecordingReader::RecordingReader(std::shared_ptr<const InputFile> file, ReaderOptions options)
    : RecordingReader(only(std::move(file)), options) {}

RecordingReader::RecordingReader(const std::string& path, ReaderOptions options)
    : RecordingReader(beside(path), options) {}

void RecordingReader::open(const PartProvider& parts, const ReaderOptions& options) {
  files_.push_back(std::make_unique<File>(parts(0), options.index_bytes, options.rescan));
  const RecordingFile& first = files_.front()->file;
  damage_ = first.damage();
  const Bytes metadata = read_chunk(*first.index().metadata, ChunkType::metadata);
  metadata_json_.assign(metadata.begin(), metadata.end());
  note_part();
  if (!note_ || options.alone) return;
  open_following(parts, options);
  if (files_.size() == 1) return;
  std::vector<RecordingIndex::Piece> pieces;
  for (const auto& file : files_) {
    pieces.push_back({&file->file.index(), file->base});
    file->file.blocks().limit(std::max(options.index_bytes / files_.size(), kLeastBlockBytes));
  }
  joined_ = RecordingIndex::joined(pieces);
}

/// A damaged note is no reason not to open the file.
void RecordingReader::note_part() {
  const RecordingFile& first = files_.front()->file;
  try {
    note_ = first.part();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    if (damage_.empty()) {
      damage_.push_back({DamageKind::damaged_chunk,
                         0,
                         {},
                         first.usable_to(),
                         std::string(error.what()) + "; parts that follow are not looked for"});
    }
  }
}

Position RecordingReader::File::begin() const {
  // One that is just begun has a checkpoint and nothing else.
  const RecordingIndex& index = file.index();
  if (!index.inputs.empty() || index.checkpoints.empty()) return index.start();
  return index.checkpoints.front().position;
}

Position RecordingReader::File::end() const { return std::max(begin(), file.usable_to()); }

void RecordingReader::refuse_following(const std::string& why) {
  const Position end = files_.back()->end();
  damage_.push_back({DamageKind::missing_part,
                     0,
                     {},
                     end,
                     why + "; the recording is usable up to position " + grouped(end.steps) +
                         ", and parts behind that open by the name of the first of them"});
}

/// Why a file is not the part that follows; nothing: it is.
std::optional<std::string> RecordingReader::trouble_with(const File& next) const {
  const File& last = *files_.back();
  const std::uint64_t number = note_->number + files_.size();
  const auto note = next.file.part();
  if (!note || note->run != note_->run || note->number != number) {
    return next.file.name() + ": is not part " + std::to_string(number) +
           " of the recording that " + name() + " is of";
  }
  if (next.begin() != last.end()) {
    return next.file.name() + ": begins at position " + grouped(next.begin().steps) + ", but " +
           last.file.name() + " goes up to position " + grouped(last.end().steps);
  }
  return std::nullopt;
}

void RecordingReader::open_following(const PartProvider& parts, const ReaderOptions& options) {
  while (files_.back()->file.goes_on()) {
    const std::uint64_t number = note_->number + files_.size();
    std::unique_ptr<File> next;
    try {
      // What is in its place may be no file at all.
      const auto opened = number <= kMostParts ? parts(number) : nullptr;
      if (opened == nullptr) {
        return refuse_following(part_path(first_part_path(name(), note_->number), number) +
                                ": part " + std::to_string(number) + " is missing");
      }
      next = std::make_unique<File>(opened, options.index_bytes, options.rescan);
      // One that is only just begun holds nothing yet.
      const bool is_begun = !next->file.index().checkpoints.empty();
      if (is_begun) {
        if (const auto trouble = trouble_with(*next)) return refuse_following(*trouble);
        next->base = base_behind(*files_.back());
        count_frames(*files_.back(), *next);
      }
      damage_.insert(damage_.end(), next->file.damage().begin(), next->file.damage().end());
      if (!is_begun) return;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_input) throw;
      return refuse_following(error.what());
    }
    files_.push_back(std::move(next));
  }
}

/// What lies before the file behind `file`.
PartBase RecordingReader::base_behind(File& file) const {
  const std::uint64_t pages = file.base.pages + file.file.number_pages();
  const std::uint64_t checkpoints = file.base.checkpoints + file.file.index().checkpoints.size();
  if (pages > kMostNumbered || checkpoints > kMostNumbered) {
    throw Error{ErrorCode::bad_input, name() + ": more pages than can be numbered"};
  }
  return {file.base.chunks + file.file.index().chunks.size(),
          static_cast<std::uint32_t>(checkpoints), static_cast<std::uint32_t>(pages)};
}

/// How many frames went and came before `next`, which follows `before`.
void RecordingReader::count_frames(const File& before, File& next) const {
  next.frames_sent = before.frames_sent;
  next.frames_received = before.frames_received;
  const RecordingIndex& index = before.file.index();
  if (index.frames.empty()) return;
  const std::uint64_t sequence = index.frames.back().sequence;
  const FrameChunk last = decode_frame_chunk(
      before.file.read_chunk(sequence, ChunkType::sent_frames), before.file.place(sequence));
  next.frames_sent += last.sent + last.frames.size();
  if (!index.tallies) return;
  const auto received =
      index.tallies->inputs.find(static_cast<std::uint8_t>(InputKind::network_frame));
  if (received != index.tallies->inputs.end()) next.frames_received += received->second;
}

const RecordingReader::File& RecordingReader::file_of(std::uint64_t sequence) const {
  const auto after = std::partition_point(files_.begin(), files_.end(), [&](const auto& file) {
    return file->base.chunks <= sequence;
  });
  return **std::prev(after);
}

std::uint64_t RecordingReader::file_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& file : files_) bytes += file->file.size_bytes();
  return bytes;
}

std::vector<RecordingReader::Part> RecordingReader::parts() const {
  std::vector<Part> parts;
  for (const auto& file : files_) {
    const std::uint64_t number = (note_ ? note_->number : 1) + parts.size();
    parts.push_back(
        {file->file.name(), number, file->begin(), file->end(), file->file.size_bytes()});
  }
  return parts;
}

}  // namespace chronovisor
