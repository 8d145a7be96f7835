// export: a recording in the formats of other tools.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/perfetto.h"
#include "api/profile.h"
#include "base/error.h"
#include "base/hash.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/folded_shard.h"
#include "cli/long_run.h"
#include "cli/network_options.h"
#include "cli/open_recording.h"
#include "cli/option_values.h"
#include "cli/output_options.h"
#include "cli/parser.h"
#include "cli/recorded_range.h"
#include "cli/shard_option.h"
#include "host/host.h"
#include "inspect/export/cast.h"
#include "inspect/export/disk.h"
#include "inspect/export/pcapng.h"
#include "inspect/export/png.h"
#include "inspect/export/screen.h"
#include "inspect/export/trace.h"
#include "inspect/export/vmcore.h"
#include "inspect/linux/kernel.h"
#include "recorder/edit/new_file.h"
#include "recorder/format/file.h"
#include "recorder/format/recorded_media.h"
#include "recorder/format/start_condition.h"
#include "session/media_beyond.h"
#include "session/query_document.h"
#include "timetravel/restore.h"
#include "timetravel/timeline.h"

namespace chronovisor::cli {
namespace {

struct ExportOptions {
  std::string file;
  std::string format;
  std::string output = "-";
  std::string at;
  std::string from;
  std::string to;
  std::optional<unsigned> width;
  std::optional<unsigned> height;
  std::string disk;
  std::string base;
  std::string every;
  std::string shard;
  std::vector<std::string> symbols;
  bool partial = false;
  bool force = false;
};

/// Text on its way into a file.
class TextOutput {
 public:
  explicit TextOutput(std::unique_ptr<OutputFile> file) : file_(std::move(file)) {}
  void write(std::string_view text) {
    held_ += text;
    if (held_.size() >= kHeldBytes) finish();
  }
  void finish() {
    file_->append(as_bytes(held_));
    held_.clear();
  }

 private:
  static constexpr std::size_t kHeldBytes = 1U << 16;
  std::unique_ptr<OutputFile> file_;
  std::string held_;
};

void travel(Timeline& timeline, Position position) {
  if (timeline.seek({position, 0}, stop_signal()) == TravelStop::interrupted) {
    throw Error(ErrorCode::host, "interrupted");
  }
}

/// Of the thread that a Linux guest runs; 0 for other guests.
std::uint32_t current_pid(Machine& machine) {
  try {
    const auto task = linux_guest::Kernel(machine).current();
    return task ? task->pid : 0;
  } catch (const Error&) {
    return 0;  // no Linux kernel is up here: the core is of use without
  }
}

/// The machine at the position asked for, and what it takes to have it.
class MachineThere {
 public:
  MachineThere(const ExportOptions& options, const RecordingReader& reader)
      : position_(covered_place(options.at.empty() ? "end" : options.at, reader, "--at")) {
    // A recorded state needs no replay, so it can be had of a machine of any behaviour.
    const auto checkpoint = reader.checkpoint_before(position_);
    if (checkpoint && reader.checkpoints()[*checkpoint].position == position_) {
      recorded_ = machine_at_checkpoint(reader, *checkpoint);
    } else {
      travel(timeline_.emplace(reader, TimelineOptions{}), position_);
    }
  }
  [[nodiscard]] Position position() const { return position_; }
  [[nodiscard]] Machine& machine() { return recorded_ ? *recorded_ : timeline_->machine(); }

 private:
  Position position_;
  std::unique_ptr<Machine> recorded_;
  std::optional<Timeline> timeline_;
};

/// Nothing but zeros.
class NoMedia final : public MediaSource {
 public:
  bool read_block(std::uint32_t /*medium*/, std::uint64_t /*block*/, Block out) override {
    std::fill(out.begin(), out.end(), std::uint8_t{0});
    return true;
  }
};

/// What the recorded run did not read of a disk is in its image alone.
std::shared_ptr<MediaSource> image_beyond(const ExportOptions& options,
                                          const RecordingReader& reader, std::uint32_t drive) {
  if (options.partial) return std::make_shared<NoMedia>();
  try {
    return session::drive_image(reader, drive, options.base);
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) +
                                  " (the recording holds only what the guest read: --base names "
                                  "the image, --partial leaves zeros for the rest)");
  }
}

/// With holes where there are zeros, if it is a file.
void write_raw(const DiskView& disk, NewFile& output, const std::string& name) {
  const std::unique_ptr<OutputFile> file = output.open();
  const bool sparse = name != "-" && std::filesystem::is_regular_file(output.name_until_commit());
  if (sparse) {
    const SparseFile holes(output.name_until_commit(), disk.size_bytes());
    for_each_block(disk, [&](std::uint64_t block, ByteView content) {
      if (stop_signal()) throw Error(ErrorCode::host, "interrupted");
      const std::uint64_t at = block * kMediumBlockBytes;
      holes.write(at, content.first(static_cast<std::size_t>(
                          std::min<std::uint64_t>(content.size(), disk.size_bytes() - at))));
    });
    return;
  }
  Bytes content(kMediumBlockBytes);
  for (std::uint64_t block = 0; block < disk.blocks(); ++block) {
    if (stop_signal()) throw Error(ErrorCode::host, "interrupted");
    disk.read(block, std::span(content).first<kMediumBlockBytes>());
    const std::uint64_t left = disk.size_bytes() - block * kMediumBlockBytes;
    file->append(ByteView(content).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(content.size(), left))));
  }
}

void disk(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  const std::uint64_t number = options.disk.empty() ? 0 : parse_number(options.disk, "--disk");
  if (number >= start_of(reader).machine.drives.size()) {
    throw Error(ErrorCode::usage,
                reader.name() + ": its machine has no disk " + std::to_string(number));
  }
  const auto drive = static_cast<std::uint32_t>(number);
  if (start_of(reader).machine.drives[drive].size_bytes == 0) {
    throw Error(ErrorCode::usage, reader.name() + ": drive " + std::to_string(number) +
                                      " is a CD-ROM drive that began without a disc: there is "
                                      "nothing to write");
  }
  if (!options.partial && options.base.empty()) {  // what is read beside the recording
    require_free_output({options.output, {start_of(reader).drive_images[drive].file}, true});
  }
  MachineThere there(options, reader);
  const auto media = std::make_shared<RecordedMedia>(reader);
  media->set_beyond(image_beyond(options, reader, drive));
  const DiskView view(there.machine(), drive, *media);
  if (options.format == "raw") {
    write_raw(view, output, options.output);
  } else {
    export_qcow2(view, *output.open());
  }
  std::fprintf(stderr, "chronovisor: %s: disk %u of %s at position %s; the guest wrote %s of it\n",
               options.output.c_str(), drive, size_text(view.size_bytes()).c_str(),
               grouped(there.position().steps).c_str(),
               size_text(view.written_blocks() * kMediumBlockBytes).c_str());
}

void vmcore(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  MachineThere there(options, reader);
  Machine& machine = there.machine();
  const VmcoreFacts facts = export_vmcore(machine, current_pid(machine), *output.open());
  std::fprintf(
      stderr, "chronovisor: %s: %s, the machine at position %s; %s\n", options.output.c_str(),
      size_text(facts.bytes).c_str(), grouped(machine.position().steps).c_str(),
      facts.vmcoreinfo.empty() ? "no VMCOREINFO was found in its memory"
                               : facts.vmcoreinfo.substr(0, facts.vmcoreinfo.find('\n')).c_str());
}

/// What the machine shows: as PNG, or the characters of a text mode.
void screen(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  MachineThere there(options, reader);
  const Machine& machine = there.machine();
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::bad_input, reader.name() + ": " + why);
  };
  if (screen_is_unset(machine)) {
    refuse("the screen shows nothing at position " + grouped(there.position().steps) +
           ": no mode was set yet; --at names a later one");
  }
  if (options.format == "png") {
    const auto image = screen_of(machine);
    if (!image) refuse("its machine, of the model " + machine.config().model + ", has no screen");
    output.open()->append(png_of(image->width, image->height, image->rgb));
    return;
  }
  const auto lines = screen_text_of(machine);
  if (!lines) refuse("its machine, of the model " + machine.config().model + ", has no screen");
  if (lines->empty()) refuse("the screen shows graphics there; --format png draws it");
  TextOutput out(output.open());
  for (const std::string& line : *lines) out.write(line + "\n");
  out.finish();
}

void trace(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  const Position from =
      covered_place(options.from.empty() ? "start" : options.from, reader, "--from");
  const Position to = covered_place(options.to.empty() ? "end" : options.to, reader, "--to");
  if (to < from) throw Error(ErrorCode::usage, "--to is before --from");
  Timeline timeline(reader, {});
  travel(timeline, from);
  TextOutput out(output.open());
  export_trace(timeline.machine(), to, [&](std::string_view text) {
    if (stop_signal()) throw Error(ErrorCode::host, "interrupted");
    out.write(text);
  });
  out.finish();
}

std::vector<std::string> digests_of(const std::vector<std::string>& files) {
  constexpr std::uint64_t kMostFileBytes = 1ULL << 30;
  std::vector<std::string> digests;
  for (const std::string& file : files) {
    digests.push_back(hash128(read_whole_file(file, kMostFileBytes)).hex());
  }
  return digests;
}

/// Call stacks at every Nth step: folded, or on tracks.
void profile(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  api::SampleOptions how;
  how.from = covered_place(options.from.empty() ? "start" : options.from, reader, "--from",
                           options.symbols);
  how.to = covered_place(options.to.empty() ? "end" : options.to, reader, "--to", options.symbols);
  if (how.to < how.from) throw Error(ErrorCode::usage, "--to is before --from");
  constexpr std::uint64_t kUsualSamples = 2000;
  how.every = options.every.empty()
                  ? std::max<std::uint64_t>((how.to.steps - how.from.steps) / kUsualSamples, 1)
                  : parse_number(options.every, "--every");
  if (how.every == 0) throw Error(ErrorCode::usage, "--every: 0 is not from 1 on");
  const Shard shard = shard_of(options.shard);
  const api::SampleOptions all = how;
  how = api::part_of(how, shard);
  Timeline timeline(reader, {});
  session::GuestNames names(timeline, options.symbols);
  TextOutput out(output.open());
  const auto write = [&](std::string_view text) { out.write(text); };
  if (options.format == "folded" && !options.shard.empty()) {
    const FoldedQuestion question{session::queried(reader).id, all.from, all.to, all.every,
                                  digests_of(options.symbols)};
    std::uint64_t lines = 0;
    write(folded_head(question, shard));
    api::export_folded(timeline, names, how, stop_signal(), [&](std::string_view line) {
      ++lines;
      write(line);
    });
    write(folded_tail(lines));
  } else if (options.format == "folded") {
    api::export_folded(timeline, names, how, stop_signal(), write);
  } else if (options.format == "perfetto") {
    api::export_perfetto(timeline, names, how, stop_signal(), write);
  } else {
    api::export_chrome_trace(timeline, names, how, stop_signal(), write);
  }
  out.finish();
}

void cast(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  TextOutput out(output.open());
  CastOptions shape;
  if (options.width) shape.width = *options.width;
  if (options.height) shape.height = *options.height;
  export_cast(reader, shape, [&](std::string_view text) { out.write(text); });
  out.finish();
}

/// What the networks of a live run lost, as far as its summary says.
std::vector<std::uint64_t> frames_dropped(const RecordingReader& reader) {
  std::vector<std::uint64_t> dropped;
  const auto summary = reader.summary_json();
  const auto json = nlohmann::json::parse(summary.value_or(""), nullptr, false);
  if (!json.is_object() || !json.contains("network") || !json["network"].is_array()) return dropped;
  for (const nlohmann::json& card : json["network"]) {
    const bool known = card.is_object() && card.contains("received_dropped") &&
                       card["received_dropped"].is_number_unsigned();
    dropped.push_back(known ? card["received_dropped"].get<std::uint64_t>() : 0);
  }
  return dropped;
}

void pcapng(const ExportOptions& options, const RecordingReader& reader, NewFile& output) {
  const StartCondition start = start_of(reader);
  require_network_card(start.machine, reader.name());
  PacketWalk walk;
  if (!options.from.empty()) walk.from = covered_place(options.from, reader, "--from");
  if (!options.to.empty()) walk.to = covered_place(options.to, reader, "--to");
  walk.cancel = stop_signal();
  Progress progress(true);
  walk.progress = [&](Position here) {
    progress.show(progress_text("replaying", here.steps, reader.usable_to().steps));
  };
  const std::unique_ptr<OutputFile> file = output.open();
  PcapngWriter writer(start, [&](ByteView bytes) { file->append(bytes); });
  for_each_packet(reader, walk, [&](const WholePacket& packet) {
    writer.packet(packet);
    return true;
  });
  writer.finish(frames_dropped(reader));
  std::fprintf(stderr, "chronovisor: %s: %s packets\n", options.output.c_str(),
               grouped(writer.packets()).c_str());
}

/// Throws Error{usage} for an option that says nothing about this format.
void require_fitting_options(const ExportOptions& options) {
  const bool disk = options.format == "raw" || options.format == "qcow2";
  const auto only_for = [&](std::initializer_list<std::string_view> formats, const char* option,
                            bool given) {
    if (!given || std::find(formats.begin(), formats.end(), options.format) != formats.end())
      return;
    std::string all;
    for (const std::string_view format : formats) {
      if (!all.empty()) all += format == *(formats.end() - 1) ? " or " : ", ";
      all += format;
    }
    throw Error(ErrorCode::usage,
                std::string(option) + " goes with --format " + all + ", not " + options.format);
  };
  only_for({"vmcore", "png", "screen-text", "raw", "qcow2"}, "--at", !options.at.empty());
  only_for({"raw", "qcow2"}, "--disk", !options.disk.empty());
  only_for({"raw", "qcow2"}, "--base", !options.base.empty());
  only_for({"raw", "qcow2"}, "--partial", options.partial);
  only_for({"trace", "pcapng", "folded", "chrome-trace", "perfetto"}, "--from",
           !options.from.empty());
  only_for({"trace", "pcapng", "folded", "chrome-trace", "perfetto"}, "--to", !options.to.empty());
  only_for({"folded", "chrome-trace", "perfetto"}, "--every", !options.every.empty());
  only_for({"folded"}, "--shard", !options.shard.empty());
  only_for({"folded", "chrome-trace", "perfetto"}, "--symbols", !options.symbols.empty());
  only_for({"cast"}, "--width", options.width.has_value());
  only_for({"cast"}, "--height", options.height.has_value());
  if (options.partial && !options.base.empty()) {
    throw Error(ErrorCode::usage, "--partial leaves out what --base is for");
  }
  if (options.format == "trace" && options.from.empty() && options.to.empty()) {
    throw Error(ErrorCode::usage,
                "--format trace needs --from or --to: a line an instruction of everything is "
                "rarely meant (--from start --to end)");
  }
  if (options.format == "vmcore" || options.format == "png" || options.format == "pcapng" ||
      options.format == "perfetto" || disk) {
    require_no_terminal(options.output);
  }
  if (options.force && options.output == "-") {
    throw Error(ErrorCode::usage, "--force goes with --output");
  }
}

int export_recording(const ExportOptions& options) {
  require_fitting_options(options);
  require_range_syntax(options.from, options.to);
  std::vector<std::string> inputs{options.file};
  if (!options.base.empty()) inputs.push_back(options.base);
  NewFile output({options.output, inputs, options.force}, stop_signal());
  watch_stop_signals();
  const auto opened = open_with_positions(options.file);
  const RecordingReader& reader = *opened;
  warn_of_damage(reader);
  if (options.format == "cast") {
    cast(options, reader, output);
  } else if (options.format == "vmcore") {
    vmcore(options, reader, output);
  } else if (options.format == "png" || options.format == "screen-text") {
    screen(options, reader, output);
  } else if (options.format == "raw" || options.format == "qcow2") {
    disk(options, reader, output);
  } else if (options.format == "pcapng") {
    pcapng(options, reader, output);
  } else if (options.format == "folded" || options.format == "chrome-trace" ||
             options.format == "perfetto") {
    profile(options, reader, output);
  } else {
    trace(options, reader, output);
  }
  output.commit();
  return kDone;
}

}  // namespace

void add_export(Command& app, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  Command command = app.add_subcommand("export", "Write a recording in the formats of other tools");
  command.add_option("file", options->file, "The recording").type_name("FILE").required();
  command
      .add_option(
          "--format", options->format,
          "cast: the console, for asciinema; vmcore: an ELF core, for crash, drgn and "
          "gdb; trace: one instruction a line; raw, qcow2: a disk; png: the "
          "screen; screen-text: its characters; folded: call stacks, for flame graphs; "
          "perfetto: who ran when, interrupts and what the log says on tracks; chrome-trace: the "
          "same without interrupts, as JSON; pcapng: the network's packets, for Wireshark "
          "and tshark")
      .required()
      .type_name("cast|vmcore|trace|raw|qcow2|png|screen-text|folded|chrome-trace|perfetto|pcapng")
      .one_of({"cast", "vmcore", "trace", "raw", "qcow2", "png", "screen-text", "folded",
               "chrome-trace", "perfetto", "pcapng"});
  add_output_option(command, options->output, "Where to (-: standard output)");
  add_force_flag(command, options->force, Replaceable::nothing);
  command
      .add_option("--at", options->at, "vmcore, raw, qcow2, png, screen-text: the position (end)")
      .type_name(kPlaceValues);
  command.add_option("--disk", options->disk, "raw, qcow2: which drive, as recorded (0)")
      .type_name("NUMBER");
  command
      .add_option("--base", options->base,
                  "raw, qcow2: the image, if it is not where it was when it was recorded")
      .type_name("FILE");
  command.add_flag("--partial", options->partial,
                   "raw, qcow2: without the image, zeros where the guest read and wrote nothing");
  command
      .add_option("--from", options->from,
                  "trace, pcapng, folded, chrome-trace, perfetto: the first position (start)")
      .type_name(kPlaceValues);
  command
      .add_option("--to", options->to,
                  "trace, pcapng, folded, chrome-trace, perfetto: the position to stop at (end)")
      .type_name(kPlaceValues);
  command
      .add_option(
          "--every", options->every,
          "folded, chrome-trace, perfetto: steps between two samples (a 2000th of the stretch)")
      .type_name("NUMBER");
  command
      .add_option(
          "--symbols", options->symbols,
          "folded, chrome-trace, perfetto: ELF file of a program of the guest's, for names; may be "
          "given again")
      .type_name("FILE")
      .allow_extra_args(false);
  add_shard_option(command, options->shard,
                   "folded: only the Ith of N parts of the samples; merge joins the lines");
  command.add_option("--width", options->width, "cast: columns of the terminal (80)")
      .type_name("NUMBER")
      .in_range(1, 10'000);
  command.add_option("--height", options->height, "cast: rows of the terminal (24)")
      .type_name("NUMBER")
      .in_range(1, 10'000);
  command.callback(
      [options, &action] { action = [options] { return export_recording(*options); }; });
}

}  // namespace chronovisor::cli
