#include "session/words.h"

#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "host/host.h"
#include "session/near_names.h"

namespace chronovisor::session {
namespace {

/// Splits at white space, outside "...".
std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool any = false;
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
      any = true;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
      if (any) words.push_back(std::exchange(word, {}));
      any = false;
    } else {
      word += c;
      any = true;
    }
  }
  if (quoted) throw Error(ErrorCode::usage, "a \" without its other one");
  if (any) words.push_back(word);
  return words;
}

[[noreturn]] void refuse_unknown(const std::string& verb) {
  std::vector<std::string> names;
  for (const WordCommand& row : word_commands()) names.emplace_back(row.name);
  throw Error(ErrorCode::usage,
              fmt::format("unknown monitor command \"{}\"{}; monitor help lists them", verb,
                          near_hint(verb, names)));
}

Request parse_bookmark(Words& words) {
  if (words.empty()) return ListBookmarksRequest{};
  if (words.take("--delete")) return DeleteBookmarkRequest{words.word("NAME")};
  const bool move = words.take("--move");
  return SetBookmarkRequest{words.word("NAME"), move};
}

Request parse_strip(Words& words) {
  const StripRequest request{words.number_or("COLUMNS", StripRequest{}.columns)};
  if (request.columns < 8 || request.columns > 1000) words.refuse("between 8 and 1000 columns");
  return request;
}

void require_range(const Words& words, std::uint64_t address, std::uint64_t length) {
  constexpr std::uint64_t kMostBytes = 1U << 20;
  if (length == 0 || length > kMostBytes || address + (length - 1) < address) {
    words.refuse("between 1 byte and 1 MiB can be watched");
  }
}

template <typename R>
R parse_range(Words& words) {
  R request;
  request.physical = words.take("phys");
  request.address = words.number("ADDRESS");
  request.length = words.number_or("BYTES", request.length);
  require_range(words, request.address, request.length);
  return request;
}

Request parse_history(Words& words) {
  constexpr std::uint64_t kMostWrites = 1000;
  auto request = parse_range<HistoryRequest>(words);
  request.count = words.number_or("COUNT", request.count);
  if (request.count == 0 || request.count > kMostWrites) {
    words.refuse("COUNT is from 1 to 1000");
  }
  return request;
}

Request parse_query(Words& words) {
  constexpr std::uint64_t kMostListed = 1000;
  QueryRequest request;
  Query& query = request.query;
  if (words.take("executes")) {
    query.kind = QueryKind::executes;
  } else if (words.take("value")) {
    query.kind = QueryKind::value;
    query.length = 8;
  } else if (words.take("writes")) {
    query.physical = words.take("phys");
  } else {
    words.refuse("writes, executes or value");
  }
  query.address = words.number("ADDRESS");
  query.limit = kMostListed;
  const auto select = [&] {
    if (words.take("first")) {
      query.select = QuerySelect::first;
    } else if (words.take("last")) {
      query.select = QuerySelect::last;
    } else if (words.take("count")) {
      query.select = QuerySelect::count;
    }
    return query.select != QuerySelect::all;
  };
  if (!select()) {
    query.length = words.number_or("BYTES", query.length);
    (void)select();
  }
  return request;
}

Request parse_disassemble(Words& words) {
  DisassembleRequest request;
  if (!words.empty()) request.address = words.number("ADDRESS");
  request.count = words.number_or("COUNT", request.count);
  if (request.count == 0 || request.count > 10'000) words.refuse("COUNT is from 1 to 10000");
  return request;
}

Request parse_watch(Words& words) {
  WatchRequest request;
  if (words.take("backward")) request.direction = Direction::backward;
  request.physical = words.take("phys");
  request.address = words.number("ADDRESS");
  if (!words.empty() && words.peek() != "if") request.length = words.number("BYTES");
  require_range(words, request.address, request.length);
  request.condition = words.condition();
  return request;
}

template <Direction kDirection>
Request parse_reached(Words& words) {
  const std::uint64_t address = words.number("ADDRESS");
  return ReachedRequest{address, kDirection, words.condition()};
}

template <Direction kDirection>
Request parse_steps(Words& words) {
  const StepRequest request{words.number_or("COUNT", 1), kDirection};
  if (request.count == 0) words.refuse("COUNT is at least 1");
  return request;
}

Request parse_eject(Words& words) {
  ChangeMediumRequest request;
  request.force = words.take("-f");
  request.drive = words.word("DRIVE");
  return request;
}

Request parse_change(Words& words) {
  ChangeMediumRequest request;
  request.force = words.take("-f");
  request.drive = words.word("DRIVE");
  request.file = words.word("FILE");
  if (!words.empty()) request.format = words.word("FORMAT");
  return request;
}

Request parse_address_space(Words& words) {
  using Which = AddressSpaceRequest::Which;
  if (words.empty()) return AddressSpaceRequest{Which::show, 0};
  if (words.take("here")) return AddressSpaceRequest{Which::here, 0};
  if (words.take("off")) return AddressSpaceRequest{Which::off, 0};
  return AddressSpaceRequest{Which::cr3, words.number("CR3")};
}

Request parse_info(Words& words) {
  using What = DumpRequest::What;
  if (words.empty()) return InfoRequest{};
  static constexpr std::array<std::pair<std::string_view, What>, 6> kDumps{
      {{"registers", What::registers},
       {"mem", What::mem},
       {"tlb", What::tlb},
       {"lapic", What::lapic},
       {"pic", What::pic},
       {"version", What::version}}};
  for (const auto& [name, what] : kDumps) {
    if (words.take(name)) return DumpRequest{what};
  }
  words.refuse("\"" + words.peek() + "\" is none of these");
}

/// "/8xg": a count, a format and a size, in any order behind the count.
void parse_format(Words& words, const std::string& text, ExamineRequest& request) {
  static constexpr std::string_view kSizes = "bhwg";
  const std::size_t digits = text.find_first_not_of("0123456789", 1);
  const std::string count = text.substr(1, digits == std::string::npos ? digits : digits - 1);
  if (!count.empty()) request.count = parse_number(count, "/FMT");
  for (const char c : digits == std::string::npos ? std::string() : text.substr(digits)) {
    const std::size_t size = kSizes.find(c);
    if (size != std::string_view::npos) {
      request.size = std::size_t{1} << size;
    } else if (std::string_view("xduoc").find(c) != std::string_view::npos) {
      request.format = c;
      if (c == 'c') request.size = 1;
    } else {
      words.refuse(fmt::format("\"{}\" is no format: a count, one of xduoc, one of bhwg", text));
    }
  }
  if (request.count == 0 || request.count > 65'536) words.refuse("from 1 to 65536 at once");
}

template <AddressRequest::What kWhat>
Request parse_where(Words& words) {
  return AddressRequest{kWhat, words.number("ADDRESS")};
}

template <bool kPhysical>
Request parse_examine(Words& words) {
  ExamineRequest request;
  request.physical = kPhysical;
  if (!words.empty() && words.peek().starts_with("/")) {
    parse_format(words, words.word("/FMT"), request);
  }
  request.address = words.number("ADDRESS");
  return request;
}

template <Setting kSetting>
Request parse_setting(Words& words) {
  return SettingRequest{kSetting, words.on_or_off()};
}

template <typename R>
Request parse_nothing(Words&) {
  return R{};
}

template <typename R>
Request parse_address(Words& words) {
  return R{words.number("ADDRESS")};
}

constexpr auto kCommands = std::to_array<WordCommand>({
    {"when", "", "where we are: position, virtual time, CPU mode", parse_nothing<WhenRequest>},
    {"seek", "POSITION|+N|-N|start|end|packet:N|BOOKMARK|FUNCTION",
     "arms a destination; the next continue or reverse-continue goes there",
     [](Words& words) -> Request { return SeekRequest{words.word("a place")}; }},
    {"info", "[registers | mem | tlb | lapic | pic | version]",
     "what was recorded; or the machine here, in QEMU's words", parse_info},
    {"timeline", "[COLUMNS]", "draws the recording as a strip", parse_strip},
    {"bookmark", "[NAME | --move NAME | --delete NAME]",
     "names this position, in the recording; without NAME lists them", parse_bookmark},
    {"events", "[STEPS]", "inputs, interrupts and exceptions within STEPS of here (1000000)",
     [](Words& words) -> Request {
       return EventsRequest{words.number_or("STEPS", EventsRequest{}.span)};
     }},
    {"packet", "NUMBER", "a packet of the network, by its number; arms where it came or went",
     [](Words& words) -> Request { return PacketRequest{words.number("NUMBER")}; }},
    {"last-write", "[phys] ADDRESS [BYTES]", "who wrote there last; arms the place as destination",
     [](Words& words) -> Request { return parse_range<LastWriteRequest>(words); }},
    {"history", "[phys] ADDRESS [BYTES [COUNT]]", "the last COUNT (10) writes there",
     parse_history},
    {"query", "writes [phys]|executes|value ADDRESS [BYTES] [first|last|count]",
     "who wrote, what ran, what values: in the whole recording", parse_query},
    {"watch", "[backward] [phys] ADDRESS [BYTES] [if CONDITION]",
     "the next write there, or the last, for which CONDITION holds; arms its place", parse_watch},
    {"last-reached", "ADDRESS [if CONDITION]", "the last arrival at an instruction; arms its place",
     parse_reached<Direction::backward>},
    {"next-reached", "ADDRESS [if CONDITION]", "the next arrival at an instruction; arms its place",
     parse_reached<Direction::forward>},
    {"step", "[COUNT]", "so many steps on, at once; arms their end",
     parse_steps<Direction::forward>},
    {"reverse-step", "[COUNT]", "so many steps back, at once; arms their end",
     parse_steps<Direction::backward>},
    {"address-space", "[here | off | CR3]",
     "in which one breakpoints at user addresses count (every)", parse_address_space},
    {"branch", "", "leaves the timeline here, as a change of memory or registers does",
     parse_nothing<BranchRequest>},
    {"go-live", kGoLiveArguments, "goes on with input from outside, recorded in FILE",
     [](Words& words) -> Request { return GoLiveRequest{parse_go_live(words.rest())}; }},
    {"change", "[-f] DRIVE FILE [FORMAT]",
     "puts a disc into a drive of a live branch: cd0; -f: also into a locked one", parse_change},
    {"eject", "[-f] DRIVE", "takes the disc out of a drive of a live branch", parse_eject},
    {"discard", "", "leaves a branch for the timeline; the next continue arrives there",
     parse_nothing<DiscardRequest>},
    {"skip-interrupts", "on|off", "stepping passes over handlers merely delivered (on)",
     parse_setting<Setting::skip_interrupts>},
    {"linear-pc", "on|off", "the program counter includes the base of CS (on)",
     parse_setting<Setting::linear_pc>},
    {"phys", "on|off", "memory commands use physical addresses (off)",
     parse_setting<Setting::physical_memory>},
    {"translate", "ADDRESS", "linear to physical", parse_address<TranslateRequest>},
    {"walk", "ADDRESS", "the page-table entries on the way to a linear address",
     parse_address<WalkRequest>},
    {"disassemble", "[ADDRESS [COUNT]]", "instructions, by the CPU's present mode",
     parse_disassemble},
    {"x", "[/FMT] ADDRESS", "memory by linear address; FMT as in QEMU: 8xg, 2dw",
     parse_examine<false>},
    {"xp", "[/FMT] ADDRESS", "memory by physical address", parse_examine<true>},
    {"gva2gpa", "ADDRESS", "linear to physical, in QEMU's words",
     parse_where<AddressRequest::What::gva2gpa>},
    {"gpa2hva", "ADDRESS", "whether a physical address is memory, in QEMU's words",
     parse_where<AddressRequest::What::gpa2hva>},
    {"gpa2hpa", "ADDRESS", "the same", parse_where<AddressRequest::What::gpa2hpa>},
    {"pixel", "X Y", "a pixel of the screen: its colour, and the memory that it is drawn from",
     [](Words& words) -> Request {
       const std::uint64_t x = words.number("X");
       return PixelRequest{x, words.number("Y")};
     }},
    {"linux-kernel", "", "the guest kernel's version and where it is",
     parse_nothing<LinuxKernelRequest>},
    {"linux-log", "", "the guest kernel's log buffer", parse_nothing<LinuxLogRequest>},
    {"linux-tasks", "", "the guest's processes", parse_nothing<LinuxTasksRequest>},
    {"linux-modules", "", "the guest kernel's modules", parse_nothing<LinuxModulesRequest>},
    {"help", "", "this list; json COMMAND answers a command as JSON", parse_nothing<HelpRequest>},
});

}  // namespace

std::string Words::word(std::string_view what) {
  if (empty()) refuse(fmt::format("{} is missing", what));
  return words_[at_++];
}

std::uint64_t Words::number(std::string_view what) {
  const std::string text = word(what);
  try {
    return parse_number(text, std::string(command_));
  } catch (const Error&) {
    refuse(fmt::format("{}: \"{}\" is not a number", what, text));
  }
}

std::uint64_t Words::number_or(std::string_view what, std::uint64_t otherwise) {
  return empty() ? otherwise : number(what);
}

std::string Words::condition() {
  if (!take("if")) return {};
  std::string text;
  for (const std::string& word : rest()) text += (text.empty() ? "" : " ") + word;
  if (text.empty()) refuse("CONDITION is missing");
  return text;
}

bool Words::on_or_off() {
  if (take("on")) return true;
  if (take("off")) return false;
  refuse(empty() ? "on or off is missing" : "\"" + peek() + "\" is neither on nor off");
}

std::vector<std::string> Words::rest() {
  std::vector<std::string> rest(words_.begin() + static_cast<std::ptrdiff_t>(at_), words_.end());
  at_ = words_.size();
  return rest;
}

bool Words::take(std::string_view word) {
  if (empty() || peek() != word) return false;
  ++at_;
  return true;
}

void Words::refuse(const std::string& why) const {
  throw Error(ErrorCode::usage, fmt::format("{}: {}; usage: {}{}{}", command_, why, command_,
                                            usage_.empty() ? "" : " ", usage_));
}

std::span<const WordCommand> word_commands() { return kCommands; }

Request parse_request(std::string_view line) {
  std::vector<std::string> all = split(line);
  if (all.empty()) return HelpRequest{};
  std::string verb = all.front();
  all.erase(all.begin());
  // As it is typed to gdb and QEMU: x/8xg.
  if (const std::size_t slash = verb.find('/'); slash != std::string::npos) {
    all.insert(all.begin(), verb.substr(slash));
    verb.resize(slash);
  }
  for (const WordCommand& row : kCommands) {
    if (row.name != verb) continue;
    Words words(row.name, row.arguments, std::move(all));
    Request request = row.parse(words);
    if (!words.empty()) words.refuse("\"" + words.peek() + "\" is too much");
    return request;
  }
  refuse_unknown(verb);
}

}  // namespace chronovisor::session
