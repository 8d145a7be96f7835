// Answers as text, for people.
#include <fmt/format.h>

#include <algorithm>

#include "host/host.h"
#include "session/answer.h"
#include "session/run_summary.h"

namespace chronovisor::session {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

std::string at(Position position) { return grouped(position.steps); }

/// Text out of a file, as a terminal can take it.
std::string plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string text(const HelpAnswer& answer) {
  std::string out;
  for (const HelpAnswer::Row& row : answer.rows) {
    out += fmt::format("{:<36} {}\n", row.usage, row.help);
  }
  return out;
}

std::string text(const WhenAnswer& answer) {
  std::string out = fmt::format("position {} of {}", at(answer.moment.position), at(answer.end));
  if (answer.moment.deliveries != 0) {
    out += fmt::format(" (after {} deliveries)", answer.moment.deliveries);
  }
  out += fmt::format("; virtual time {}.{:09} s; {}, CPL {}", answer.virtual_ns / kNsPerSecond,
                     answer.virtual_ns % kNsPerSecond, answer.mode, answer.cpl);
  if (answer.halted) out += ", halted";
  if (answer.ended) out += "; " + ending_text(*answer.ended);
  if (answer.whereabouts == Whereabouts::live) {
    out += "; live, recorded in " + answer.live_file + " (discard ends it and goes back)";
  } else if (answer.whereabouts == Whereabouts::branch) {
    out += "; on a branch (discard goes back)";
  }
  return out + "\n";
}

std::string text(const InfoAnswer& answer) {
  std::string out = fmt::format("recording    {} ({}), made {} on {}\n", answer.file,
                                size_text(answer.file_bytes), answer.created_utc, answer.host);
  out += fmt::format("guest        {}{}{}, {} of memory, engine {}\n", answer.kernel,
                     answer.command_line.empty() ? "" : " ", answer.command_line,
                     size_text(answer.memory_bytes), answer.engine);
  if (answer.parent) {
    out += fmt::format("parent       {} at position {}{}\n", answer.parent->name,
                       at(answer.parent->position),
                       answer.parent->changed_by_hand ? ", changed by hand" : "");
  }
  out += fmt::format("positions    {} to {}\n", at(answer.start), at(answer.end));
  if (answer.ended) {
    out += fmt::format("ended        {}{}\n", answer.ended->by_guest ? "by the guest: " : "",
                       ending_words(*answer.ended));
  } else {
    out += "ended        not known: the recorder was killed\n";
  }
  out += fmt::format("checkpoints  {} recorded, {} in memory here\n", answer.checkpoints,
                     size_text(answer.cache_bytes));
  out += fmt::format("inputs       {}\n", grouped(answer.inputs));
  for (const std::string& damage : answer.damage) out += "damage       " + damage + "\n";
  return out;
}

std::string text(const StripAnswer& answer) {
  std::string pointer(answer.strip.size(), ' ');
  pointer[answer.column] = '^';
  const char* where = answer.whereabouts == Whereabouts::live     ? " (live)"
                      : answer.whereabouts == Whereabouts::branch ? " (a branch)"
                                                                  : "";
  return fmt::format("[{}]\n|{}|\n|{}| {}{}\n", answer.strip, answer.marks, pointer,
                     at(answer.here), where) +
         fmt::format("{} to {}; + checkpoint, . console, i input, b bookmark, ^ here\n",
                     at(answer.start), at(answer.end));
}

std::string text(const ArmedAnswer& answer) {
  return fmt::format("position {} is next: continue, or reverse-continue, goes there\n",
                     at(answer.position));
}

std::string text(const BookmarksAnswer& answer) {
  std::string out;
  for (const Bookmark& mark : answer.bookmarks) {
    out += fmt::format("{:>20}  {}\n", at(mark.position), plain(mark.name));
  }
  return out.empty() ? "no bookmarks; bookmark NAME makes one\n" : out;
}

std::string text(const BookmarkSetAnswer& answer) {
  const std::string is =
      fmt::format("{} is position {}", answer.bookmark.name, at(answer.bookmark.position));
  if (answer.live) return fmt::format("{} of {}\n", is, answer.file);
  if (!answer.trouble.empty()) {
    return fmt::format("{}, kept only until this server ends ({})\n", is, answer.trouble);
  }
  return fmt::format("{}, kept in {}\n", is, answer.file);
}

std::string text(const BookmarkDeletedAnswer& answer) {
  if (answer.trouble.empty()) return answer.name + " is no more\n";
  return fmt::format("{} is no more, until this server ends ({})\n", answer.name, answer.trouble);
}

std::string text(const EventsAnswer& answer) {
  std::string out;
  const auto add = [&](const EventsAnswer::Event& event) {
    out += fmt::format("{:>20}  {}\n", at(event.moment.position), event.text);
  };
  if (answer.earlier > 0) out += fmt::format("{} earlier ones\n", answer.earlier);
  for (const EventsAnswer::Event& event : answer.before) add(event);
  out += fmt::format("{:>20}  -- here --\n", at(answer.here));
  for (const EventsAnswer::Event& event : answer.after) add(event);
  if (answer.later > 0) out += fmt::format("{} later ones\n", answer.later);
  return out;
}

std::string text(const PacketAnswer& answer) {
  constexpr std::size_t kBytesInLine = 16;
  const PacketPlace& place = answer.place;
  const bool received = place.direction == PacketPlace::Direction::received;
  std::string out =
      fmt::format("packet {} {} net{} at position {}: {} bytes{}{}\n", at(Position{place.number}),
                  received ? "came to" : "was sent by", place.card, at(place.position),
                  place.length_bytes, answer.text.empty() ? "" : ", ", answer.text);
  for (std::size_t from = 0; from < answer.bytes.size(); from += kBytesInLine) {
    out += fmt::format("  {:04x} ", from);
    for (std::size_t n = from; n < std::min(from + kBytesInLine, answer.bytes.size()); ++n) {
      out += fmt::format(" {:02x}", answer.bytes[n]);
    }
    out += "\n";
  }
  return out + "continue, or reverse-continue, goes there\n";
}

/// "ide: READ DMA, LBA 2048, 8 sectors, into 0x1f000; started by the access at position N"
std::string writer_text(const Store& store) {
  std::string text = store.device;
  if (!store.request.text.empty()) text += ": " + store.request.text;
  if (store.packet) text += fmt::format(" (packet {})", at(Position{*store.packet}));
  if (store.request.started_steps != kNever) {
    text += "; started by the access at position " + at(Position{store.request.started_steps});
  }
  return text;
}

std::string text(const LastWriteAnswer& answer) {
  if (!answer.store.device.empty()) {
    return fmt::format(
        "{:#x} was last written at position {} by {}: {} -> {}\n"
        "continue, or reverse-continue, goes there\n",
        answer.store.first_byte, at(answer.store.moment.position), writer_text(answer.store),
        answer.store.before, answer.store.after);
  }
  return fmt::format(
      "{:#x} was last written at position {} by the instruction at {:#x}: {} -> {}\n"
      "continue, or reverse-continue, goes there\n",
      answer.store.first_byte, at(answer.store.moment.position), answer.store.pc,
      answer.store.before, answer.store.after);
}

std::string text(const HistoryAnswer& answer) {
  std::string out;
  for (const Store& store : answer.stores) {
    const std::string by =
        store.device.empty() ? fmt::format("{:#018x}", store.pc) : writer_text(store);
    out += fmt::format("{:>20}  {}  {} -> {}\n", at(store.moment.position), by, store.before,
                       store.after);
  }
  if (!answer.complete && answer.stores.size() < answer.asked) {
    out += "interrupted: there may be earlier writes\n";
  } else if (out.empty() && answer.complete) {
    out = fmt::format("{:#x} was not written before position {}\n", answer.address,
                      at(answer.before));
  } else if (out.empty()) {
    out = "no writes were asked for\n";
  }
  return out;
}

std::string text(const FoundAnswer& answer) {
  return fmt::format("{:#x}: position {}, {} {:#x}\ncontinue, or reverse-continue, goes there\n",
                     answer.address, at(answer.moment.position),
                     answer.direction == Direction::forward ? "then at" : "at the instruction at",
                     answer.pc);
}

std::string text(const QueryDocument& document) {
  const QueryAnswer& answer = document.answer;
  std::string out = answer_text(document);
  if (out.empty()) return "nothing found\n";
  if (answer.query.select == QuerySelect::all && answer.count > answer.entries.size()) {
    out += fmt::format("there are {}; the first {} are listed\n", grouped(answer.count),
                       grouped(answer.entries.size()));
  }
  return out;
}

std::string text(const StepAnswer& answer) {
  return fmt::format(
      "{} steps {}{}: position {} is next: continue, or reverse-continue, goes there\n",
      grouped(answer.taken), answer.direction == Direction::forward ? "on" : "back",
      answer.taken < answer.asked
          ? (answer.direction == Direction::forward ? ", where the recording ends"
                                                    : ", where the recording begins")
          : "",
      at(answer.moment.position));
}

std::string text(const AddressSpaceAnswer& answer) {
  const std::string here = fmt::format("the present one is {:#x}", answer.here);
  return answer.chosen
             ? fmt::format("breakpoints at user addresses count in address space {:#x}; {}\n",
                           *answer.chosen, here)
             : fmt::format("breakpoints at user addresses count in every address space; {}\n",
                           here);
}

/// QEMU's words, but for the address in a process of the host that no guest here has: what
/// scripts take for one, a number behind "is" or at the end, is not said.
std::string text(const AddressAnswer& answer) {
  using What = AddressRequest::What;
  const std::uint64_t address = answer.request.address;
  if (answer.request.what == What::gva2gpa) {
    return answer.physical ? fmt::format("gpa: {:#x}\n", *answer.physical) : "Unmapped\n";
  }
  switch (answer.kind) {
    case AddressAnswer::Kind::none:
      return fmt::format("No memory is mapped at address {:#x}\n", address);
    case AddressAnswer::Kind::device:
      return fmt::format("Memory at address {:#x} is not RAM\n", address);
    case AddressAnswer::Kind::memory:
      break;
  }
  return fmt::format(
      "Host {} address for {:#x} (pc.ram): there is none, this guest is replayed; xp reads its "
      "memory\n",
      answer.request.what == What::gpa2hva ? "virtual" : "physical", address);
}

std::string text(const ExamineAnswer& answer) {
  const std::size_t size = answer.request.size;
  const std::size_t a_line = (size == 1 ? 8 : 16) / size;
  const unsigned bits = static_cast<unsigned>(size) * 8;
  std::string out;
  for (std::size_t n = 0; n < answer.values.size(); ++n) {
    if (n % a_line == 0) {
      out += fmt::format("{}{:016x}:", n == 0 ? "" : "\n", answer.request.address + n * size);
    }
    const std::uint64_t value = answer.values[n];
    const auto narrow = static_cast<std::int64_t>(value << (64 - bits)) >> (64 - bits);
    switch (answer.request.format) {
      case 'd':
        out += fmt::format(" {:>{}}", narrow, (bits * 10 + 32) / 33);
        break;
      case 'u':
        out += fmt::format(" {:>{}}", value, (bits * 10 + 32) / 33);
        break;
      case 'o':
        out += fmt::format(" 0{:0{}o}", value, (bits + 2) / 3);
        break;
      case 'c':
        out += value >= 0x20 && value < 0x7f ? fmt::format(" '{}'", static_cast<char>(value))
                                             : fmt::format(" '\\x{:02x}'", value);
        break;
      default:
        out += fmt::format(" 0x{:0{}x}", value, size * 2);
    }
  }
  if (!answer.values.empty()) out += "\n";
  if (answer.unreadable) {
    out += fmt::format("Cannot access memory: {} {:#x} is {}\n",
                       answer.request.physical ? "physical" : "linear", *answer.unreadable,
                       answer.request.physical
                           ? "no memory, and reading a device there might change it"
                           : "not mapped to memory");
  }
  return out;
}

std::string text(const CpuDump& answer) { return session::text_of(answer); }
std::string text(const std::vector<MappedRange>& answer) { return session::text_of(answer); }
std::string text(const std::vector<MappedPage>& answer) { return session::text_of(answer); }
std::string text(const LapicDump& answer) { return session::text_of(answer); }
std::string text(const PicDump& answer) { return session::text_of(answer); }

std::string text(const VersionAnswer& answer) {
  return fmt::format("chronovisor {}\n", answer.version);
}

std::string text(const BranchAnswer& answer) {
  if (answer.already) return "on a branch already\n";
  return fmt::format("a branch from position {}: the machine goes on without recorded input\n",
                     at(answer.position));
}

std::string text(const DiscardAnswer& answer) {
  return (answer.live_report.empty() ? "" : answer.live_report + "\n") +
         fmt::format(
             "back on the timeline at position {}: continue, or reverse-continue, "
             "arrives there\n",
             at(answer.position));
}

std::string text(const MediumAnswer& answer) {
  if (answer.file.empty()) return answer.drive + ": the disc is taken out as the guest goes on\n";
  return answer.drive + ": " + answer.file + " is put in as the guest goes on\n";
}

std::string text(const LiveAnswer& answer) {
  return fmt::format("live from position {}, recorded in {}\n", at(answer.position), answer.file) +
         (answer.terminal.empty() ? "the guest gets no input\n"
                                  : "the guest's serial line is " + answer.terminal + "\n");
}

std::string text(const SettingAnswer& answer) { return answer.meaning + "\n"; }

std::string text(const TranslateAnswer& answer) {
  return answer.physical
             ? fmt::format("linear {:#x} is physical {:#x}\n", answer.address, *answer.physical)
             : fmt::format("linear {:#x} is not mapped\n", answer.address);
}

std::string text(const PixelAnswer& answer) {
  return fmt::format(
      "pixel {}, {} is {}, of {} bytes at physical {:#x}\n"
      "last-write phys {:#x} {} says who drew it\n",
      answer.x, answer.y, answer.color, answer.length_bytes, answer.address, answer.address,
      answer.length_bytes);
}

std::string text(const WalkAnswer& answer) {
  if (!answer.paging) {
    return fmt::format("paging is off: linear {0:#x} is physical {0:#x}\n", answer.result.address);
  }
  std::string out = fmt::format("CR3  {:#018x}\n", answer.cr3);
  for (const WalkAnswer::Entry& entry : answer.entries) {
    out += fmt::format("{:<4} entry {:3} {} {:#x}: {:#018x}{}\n", entry.level, entry.index,
                       entry.in_register ? "in a register, of" : "at physical", entry.place,
                       entry.value, entry.flags);
  }
  if (answer.trouble.empty()) return out + text(answer.result);
  return out + fmt::format("linear {:#x} {}\n", answer.result.address, answer.trouble);
}

std::string text(const DisassembleAnswer& answer) {
  std::string out;
  for (const DisassembleAnswer::Line& line : answer.lines) {
    out += fmt::format("{} {:#x}: {}\n", line.here ? "=>" : "  ", line.address,
                       line.text.empty() ? "not mapped" : line.text);
  }
  return out;
}

std::string text(const LinuxKernelAnswer& answer) {
  return fmt::format("{}\n_text is at {:#018x}\n", answer.version, answer.text);
}

std::string text(const LinuxLogAnswer& answer) {
  std::string out;
  for (const linux_guest::LogLine& line : answer.lines) {
    out += fmt::format("[{:5}.{:06}] {}\n", line.time_ns / kNsPerSecond,
                       line.time_ns % kNsPerSecond / 1000, line.text);
  }
  return out;
}

std::string text(const LinuxTasksAnswer& answer) {
  std::string out = "    PID  PARENT THREADS STATE  TASK_STRUCT         NAME\n";
  for (const linux_guest::Task& task : answer.tasks) {
    out += fmt::format("{}{:6} {:7} {:7} {}      {:#018x}  {}\n", task.on_cpu ? '*' : ' ', task.pid,
                       task.parent, task.threads, task.state, task.address,
                       task.kernel_thread ? "[" + task.name + "]" : task.name);
  }
  return out;
}

std::string text(const LinuxModulesAnswer& answer) {
  if (answer.modules.empty()) return "no modules are loaded here\n";
  std::string out;
  for (const LinuxModulesAnswer::Module& module : answer.modules) {
    out += fmt::format("{:#018x} {:>9}  {}  ({} symbols)\n", module.base, module.size, module.name,
                       module.symbols);
  }
  return out;
}

}  // namespace

std::string text_of(const Answer& answer) {
  return std::visit([](const auto& one) { return text(one); }, answer);
}

}  // namespace chronovisor::session
