#include "recorder/edit/rewrite.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.h"
#include "recorder/format/checkpoint_chain.h"
#include "recorder/format/frame_cursor.h"
#include "recorder/format/page_table.h"
#include "recorder/format/start_condition.h"

namespace chronovisor {
namespace {

/// A disk that the recording refers to.
bool is_medium(const ImageInfo& image) {
  return image.storage == ImageStorage::referenced && image.role.starts_with("disk");
}

/// All pages of a memory that are not zero, ascending.
using PageList = ChainPages::PageList;

/// `base` with the pages of `delta` put over it.
PageList merged(const PageList& base, const PageList& delta) {
  PageList result;
  result.reserve(base.size() + delta.size());
  auto from = base.begin();
  for (const PageRecord& page : delta) {
    while (from != base.end() && from->page < page.page) result.push_back(*from++);
    if (from != base.end() && from->page == page.page) ++from;
    if (page.content != zero_page_hash()) result.push_back(page);
  }
  result.insert(result.end(), from, base.end());
  return result;
}

/// What turns `before` into `after`; pages that became zero are named as such.
PageList difference(const PageList& before, const PageList& after) {
  PageList result;
  auto old = before.begin();
  for (const PageRecord& page : after) {
    while (old != before.end() && old->page < page.page) {
      result.push_back({(old++)->page, zero_page_hash()});
    }
    const bool is_there = old != before.end() && old->page == page.page;
    if (!is_there || old->content != page.content) result.push_back(page);
    if (is_there) ++old;
  }
  for (; old != before.end(); ++old) result.push_back({old->page, zero_page_hash()});
  return result;
}

/// The whole page lists of one recording's checkpoints, cheapest in order.
class CheckpointPages {
 public:
  explicit CheckpointPages(const RecordingReader& reader) : reader_(reader) {}

  const PageList& at(std::size_t checkpoint) {
    std::vector<std::size_t> chain;
    std::size_t next = checkpoint;
    while (next != kNone && next != known_) {
      chain.push_back(next);
      const auto& parent = reader_.checkpoints()[next].parent;
      next = parent ? *parent : kNone;
    }
    if (next == kNone) pages_.clear();
    for (auto i = chain.rbegin(); i != chain.rend(); ++i) {
      pages_ = merged(pages_, reader_.page_delta(*i));
    }
    known_ = checkpoint;
    return pages_;
  }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};
  const RecordingReader& reader_;
  std::size_t known_ = kNone;  ///< the checkpoint that pages_ is of
  PageList pages_;
};

class Rewriter {
 public:
  Rewriter(std::span<const RecordingReader* const> sources, const RewriteOptions& options)
      : sources_(sources), options_(options) {
    CHECK_THAT(!sources.empty(), "something to rewrite");
    for (const RecordingReader* source : sources) require_positions(*source);
    require_one_guest();
    last_end_ = sources.back()->usable_to();
    end_ = std::min(options.to, last_end_);
    start_ = choose_start();
    if (end_ < start_) {
      throw Error(ErrorCode::usage, sources[0]->name() + ": nothing lies between position " +
                                        grouped(start_.steps) + " and " + grouped(end_.steps));
    }
  }

  RewriteResult run(std::unique_ptr<OutputFile> file) {
    WriterOptions writer_options = options_.writer;
    writer_options.start = start_;
    writer_.emplace(std::move(file), FileId::random(), sources_[0]->metadata_json(),
                    writer_options);
    RewriteResult result;
    copy_images(result);
    copy_blocks();
    for (std::size_t i = 0; i < sources_.size(); ++i) copy_run(i);
    writer_->advance_to(end_);
    writer_->flush();
    copy_digests();
    copy_console();
    copy_marks();
    if (options_.part_follows) writer_->note_next_part();
    writer_->finish(summary());
    result.start = start_;
    result.end = end_;
    result.bytes = writer_->file_bytes();
    result.checkpoints = writer_->checkpoint_count();
    return result;
  }

 private:
  void require_one_guest() const {
    for (std::size_t i = 1; i < sources_.size(); ++i) {
      if (sources_[i]->metadata_json() != sources_[0]->metadata_json()) {
        throw Error(ErrorCode::bad_input, sources_[i]->name() + ": is not a part of the run in " +
                                              sources_[0]->name() +
                                              " (another starting condition)");
      }
      const Position gap = sources_[i - 1]->usable_to();
      if (sources_[i]->start() > gap || sources_[i]->start() < sources_[i - 1]->start()) {
        throw Error(ErrorCode::bad_input,
                    sources_[i]->name() + ": starts at position " +
                        grouped(sources_[i]->start().steps) + ", but " + sources_[i - 1]->name() +
                        " covers " + grouped(sources_[i - 1]->start().steps) + " to " +
                        grouped(gap.steps) + "; give the parts in order, without a gap");
      }
    }
  }

  [[nodiscard]] Position choose_start() const {
    const Position first = sources_[0]->start();
    if (!options_.from) return first;
    std::optional<Position> best;
    for (const RecordingReader* source : sources_) {
      if (const auto i = source->checkpoint_before(*options_.from)) {
        best = std::max(best.value_or(Position{}), source->checkpoints()[*i].position);
      }
    }
    return best.value_or(first);
  }

  void copy_images(RewriteResult& result) {
    const std::vector<ImageInfo>& images = sources_[0]->images();
    if (start_ != sources_[0]->start()) {
      // They only make the machine at power-on; but disks are read all the time.
      for (const ImageInfo& image : images) {
        if (is_medium(image)) {
          writer_->reference_image(image);
          ++result.images;
        } else {
          ++result.images_dropped;
        }
      }
      return;
    }
    for (std::size_t i = 0; i < images.size(); ++i) {
      if (images[i].storage == ImageStorage::referenced) {
        writer_->reference_image(images[i]);
      } else {
        writer_->embed_image(images[i].role, images[i].path, *sources_[0]->open_image(i));
      }
    }
    result.images = images.size();
  }

  /// What was read of disks on the way to the end: what a part of the run reads again may
  /// have been kept long before it.
  void copy_blocks() {
    Bytes content(kBlockBytes);
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      for (const BlockEntry& entry : sources_[i]->block_entries_to(end_of(i))) {
        const auto kind = sources_[i]->read_block(entry.medium, entry.block,
                                                  std::span(content).first<kBlockBytes>());
        const bool readable = kind != BlockKind::unreadable;
        writer_->block(entry.medium, entry.block,
                       readable ? std::optional<ByteView>(content) : std::nullopt);
      }
    }
  }

  /// Where the part taken from source `i` ends.
  [[nodiscard]] Position end_of(std::size_t i) const {
    return i + 1 < sources_.size() ? std::min(end_, sources_[i + 1]->start()) : end_;
  }

  /// Inputs and checkpoints of source `i`, in the order of their positions.
  void copy_run(std::size_t i) {
    const RecordingReader& source = *sources_[i];
    const Position end = end_of(i);
    const bool is_last = i + 1 == sources_.size();
    if (end < start_ || (!is_last && end == start_)) return;
    CheckpointPages pages(source);
    RunLog log{InputCursor(source, start_), FrameCursor(source, start_),
               frames_received_ - received_before(source, start_)};
    for (std::size_t n = 0; n < source.checkpoints().size(); ++n) {
      const Position at = source.checkpoints()[n].position;
      if (at < start_) continue;
      if (at > end || (at == end && !is_last)) break;
      if (!wants_checkpoint()) continue;
      copy_log(log, at);
      copy_checkpoint(source, n, pages.at(n));
    }
    // What was taken at the very end is of use only if nothing was cut off.
    const bool is_whole = is_last && end == last_end_;
    copy_log(log, is_whole ? Position{kNever} : end);
  }

  [[nodiscard]] bool wants_checkpoint() {
    const std::uint64_t number = checkpoints_seen_++;
    if (options_.keep_every != 0) return number % options_.keep_every == 0;
    return number == 0 && (start_ != Position{} || !begins_at_power_on(*sources_[0]));
  }

  /// What came and went in a source, from some place on.
  struct RunLog {
    InputCursor inputs;
    FrameCursor frames;
    std::uint64_t received_elsewhere;  ///< to be added to what frames say of received ones
  };

  /// Frames that the source received before `position`. The sum with what was received
  /// elsewhere may wrap, and comes right again.
  static std::uint64_t received_before(const RecordingReader& source, Position position) {
    std::uint64_t count = 0;
    if (source.frame_chunks() == 0) return count;
    for (InputCursor cursor(source); const InputEvent* event = cursor.peek(); cursor.pop()) {
      if (event->position >= position) break;
      if (event->kind == InputKind::network_frame) ++count;
    }
    return count;
  }

  void copy_log(RunLog& log, Position before) {
    while (true) {
      const InputEvent* event = log.inputs.peek();
      const SentFrame* frame = log.frames.peek();
      if (event != nullptr && event->position >= before) event = nullptr;
      if (frame != nullptr && frame->position >= before) frame = nullptr;
      if (event == nullptr && frame == nullptr) return;
      if (event == nullptr || (frame != nullptr && frame->position < event->position)) {
        copy_frame(*frame, log.received_elsewhere);
        log.frames.pop();
      } else {
        copy_input(*event);
        log.inputs.pop();
      }
    }
  }

  void copy_frame(SentFrame frame, std::uint64_t received_elsewhere) {
    frame.received += received_elsewhere;
    if (frame.position < last_frame_.position || frame.idle_ns < last_frame_.idle_ns ||
        frame.received < last_frame_.received) {
      throw Error(ErrorCode::bad_input, sources_[0]->name() +
                                            ": sent frames go back in time at position " +
                                            grouped(frame.position.steps));
    }
    last_frame_ = frame;
    writer_->sent_frame(frame);
  }

  void copy_input(const InputEvent& event) {
    if (event.idle_ns < idle_ns_ || event.position < last_input_) {
      throw Error(ErrorCode::bad_input, sources_[0]->name() +
                                            ": inputs go back in time at position " +
                                            grouped(event.position.steps));
    }
    idle_ns_ = event.idle_ns;
    last_input_ = event.position;
    if (event.kind == InputKind::network_frame) ++frames_received_;
    writer_->input(event);
  }

  void copy_checkpoint(const RecordingReader& source, std::size_t n, const PageList& pages) {
    const CheckpointInfo& info = source.checkpoints()[n];
    CheckpointRecord record;
    record.position = info.position;
    record.idle_ns = info.idle_ns;
    record.digest = info.digest;
    record.sections = source.load_sections(n);
    const auto number = static_cast<std::uint32_t>(writer_->checkpoint_count());
    record.parent = chain_parent(number);
    record.pages = difference(written_.of_parent(number), pages);
    writer_->checkpoint(record, [&](const PageRecord& page, PageBytes out) {
      source.read_page(page.content, out, page.place);
    });
    written_.taken(number, pages);
  }

  void copy_digests() {
    std::map<Position, Hash128> digests;
    for (const RecordingReader* source : sources_) {
      for (const DigestRecord& record : source->digests()) digests[record.position] = record.digest;
      for (const CheckpointInfo& info : source->checkpoints()) digests[info.position] = info.digest;
    }
    for (const auto& [position, digest] : digests) {
      if (position >= start_ && position <= end_) writer_->digest({position, digest});
    }
  }

  void copy_console() {
    ConsoleView last;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const Position end = end_of(i);
      const bool is_last = i + 1 == sources_.size();
      sources_[i]->for_each_console([&](const ConsoleView& view) {
        if (view.position < start_ || view.position > end) return;
        if (view.position == end && !is_last) return;
        if (view.position < last.position || view.idle_ns < last.idle_ns) {
          throw Error(ErrorCode::bad_input, sources_[i]->name() +
                                                ": console output goes back in time at position " +
                                                grouped(view.position.steps));
        }
        last = view;
        writer_->console(view);
      });
    }
  }

  void copy_marks() {
    for (const RecordingReader* source : sources_) {
      for (const Bookmark& bookmark : source->bookmarks()) {
        if (bookmark.position >= start_ && bookmark.position <= end_) writer_->bookmark(bookmark);
      }
      for (std::size_t n = 0; n < source->intervals().size(); ++n) {
        const IntervalInfo& interval = source->intervals()[n];
        if (interval.from < start_ || interval.to > end_) continue;
        try {
          writer_->interval_index(interval.from, interval.to, source->load_interval(n));
        } catch (const Error& error) {
          // A damaged index is left out: it can be made again.
          if (error.code() != ErrorCode::bad_input) throw;
        }
      }
    }
  }

  [[nodiscard]] std::optional<std::string> summary() const {
    if (options_.summary_json) return options_.summary_json;
    if (end_ != last_end_) return std::nullopt;
    return sources_.back()->summary_json();
  }

  std::span<const RecordingReader* const> sources_;
  const RewriteOptions& options_;
  std::optional<RecordingWriter> writer_;
  Position start_;
  Position end_;
  Position last_end_;
  std::uint64_t checkpoints_seen_ = 0;
  std::uint64_t idle_ns_ = 0;
  Position last_input_;
  std::uint64_t frames_received_ = 0;  ///< that were copied
  SentFrame last_frame_;
  ChainPages written_;
};

}  // namespace

RewriteResult rewrite_recording(std::span<const RecordingReader* const> sources,
                                std::unique_ptr<OutputFile> file, const RewriteOptions& options) {
  return Rewriter(sources, options).run(std::move(file));
}

Position position_at_virtual_time(const RecordingReader& reader, std::uint64_t virtual_ns) {
  const std::uint64_t ns_per_step = start_of(reader).machine.ns_per_step;
  Position best;
  for (const CheckpointInfo& info : reader.checkpoints()) {
    if (info.position.steps * ns_per_step + info.idle_ns <= virtual_ns) best = info.position;
  }
  return best;
}

}  // namespace chronovisor
