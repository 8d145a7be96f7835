#include "gdbstub/session.h"

#include <algorithm>
#include <array>
#include <exception>

#include "base/error.h"
#include "gdbstub/documents.h"
#include "gdbstub/wire.h"

namespace chronovisor::gdb {

namespace {

using Match = Session::Match;

// 'O' packets are kept short enough for any client.
constexpr std::size_t kConsoleBytesPerPacket = 4096;
constexpr std::size_t kMaxMonitorOutputBytes = std::size_t{16} << 20;

bool matches(const Session::Command& command, std::string_view packet) {
  if (!packet.starts_with(command.prefix)) return false;
  if (command.match == Match::prefix) return true;
  if (packet.size() == command.prefix.size()) return true;
  if (command.match == Match::exact) return false;
  return std::string_view(":;,").find(packet[command.prefix.size()]) != std::string_view::npos;
}

}  // namespace

std::span<const Session::Command> Session::commands() {
  static constexpr auto kCommands = std::to_array<Command>({
      {"!", Match::exact, &Session::extended_mode},
      {"?", Match::exact, &Session::stop_reason},
      {"qSupported", Match::token, &Session::supported},
      {"QStartNoAckMode", Match::exact, &Session::start_no_ack},
      {"vMustReplyEmpty", Match::exact, &Session::must_reply_empty},
      {"qSymbol", Match::token, &Session::symbol},
      {"qXfer", Match::token, &Session::transfer},
      {"qRcmd", Match::token, &Session::monitor},
      {"qSearch:memory", Match::token, &Session::search_memory},
      {"qCRC", Match::token, &Session::checksum_memory},
      {"H", Match::prefix, &Session::set_thread},
      {"T", Match::prefix, &Session::thread_alive},
      {"qC", Match::exact, &Session::current_thread},
      {"qfThreadInfo", Match::exact, &Session::first_threads},
      {"qsThreadInfo", Match::exact, &Session::more_threads},
      {"qThreadExtraInfo", Match::token, &Session::thread_extra_info},
      {"qAttached", Match::token, &Session::was_attached},
      {"vAttach", Match::token, &Session::attach},
      {"D", Match::token, &Session::detach},
      {"k", Match::exact, &Session::kill},
      {"vKill", Match::token, &Session::kill_process},
      {"vRun", Match::token, &Session::run_program},
      {"R", Match::prefix, &Session::restart_program},
      {"g", Match::token, &Session::read_registers},
      {"G", Match::prefix, &Session::write_registers},
      {"p", Match::prefix, &Session::read_register},
      {"P", Match::prefix, &Session::write_register},
      {"m", Match::prefix, &Session::read_memory},
      {"M", Match::prefix, &Session::write_memory},
      {"x", Match::prefix, &Session::read_binary},
      {"X", Match::prefix, &Session::write_binary},
      {"vCont?", Match::exact, &Session::resume_threads_list},
      {"vCont", Match::token, &Session::resume_threads},
      {"bs", Match::exact, &Session::reverse_step},
      {"bc", Match::exact, &Session::reverse_continue},
      {"c", Match::prefix, &Session::resume_forward},
      {"C", Match::prefix, &Session::resume_with_signal},
      {"s", Match::prefix, &Session::resume_step},
      {"S", Match::prefix, &Session::resume_step_with_signal},
      {"Z", Match::prefix, &Session::insert_breakpoint},
      {"z", Match::prefix, &Session::remove_breakpoint},
      {"QThreadSuffixSupported", Match::exact, &Session::thread_suffix},
      {"QListThreadsInStopReply", Match::exact, &Session::list_threads_in_stop},
      {"QEnableErrorStrings", Match::exact, &Session::error_strings},
      {"qHostInfo", Match::exact, &Session::host_info},
      {"qProcessInfo", Match::exact, &Session::process_info},
      {"qMemoryRegionInfo", Match::token, &Session::memory_region_info},
      {"qRegisterInfo", Match::prefix, &Session::register_info},
      {"qThreadStopInfo", Match::prefix, &Session::thread_stop_info},
      {"qqemu.Supported", Match::exact, &Session::qemu_supported},
      {"qqemu.PhyMemMode", Match::exact, &Session::physical_memory_mode},
      {"qqemu.sstepbits", Match::exact, &Session::step_modes},
      {"Qqemu.sstepbits", Match::exact, &Session::step_modes},
      {"qqemu.sstep", Match::exact, &Session::step_mode},
      {"Qqemu.sstep=", Match::prefix, &Session::set_step_mode},
      {"Qqemu.PhyMemMode", Match::token, &Session::set_physical_memory_mode},
      {"jThreadsInfo", Match::exact, &Session::threads_info},
  });
  return kCommands;
}

Session::Session(DebugTarget& target) : target_(target) { target_.client_attached(); }

Session::~Session() {
  forget_breakpoints();
  target_.client_detached();
}

Answer Session::handle(std::string_view packet) {
  const auto found = std::find_if(commands().begin(), commands().end(),
                                  [&](const Command& command) { return matches(command, packet); });
  if (found == commands().end()) return Answer::unsupported();
  PacketReader reader(packet);
  reader.take(found->prefix);
  try {
    return (this->*found->handler)(reader);
  } catch (const Error& failure) {
    return error(failure.what());
  } catch (const std::bad_alloc&) {
    return error("out of memory");
  }
}

Answer Session::handle_oversized() {
  return error(join({"packet of more than ", std::to_string(kMaxPacketBytes), " bytes"}));
}

Answer Session::error(std::string_view text) const {
  if (error_strings_) return Answer::of(join({"E01;", hex_text(text)}));
  if (!offers_.error_messages) return Answer::of("E01");
  return Answer::of(join({"E.", plain_text(text)}));
}

std::string Session::plain_text(std::string_view text) {
  // gdb shows an error's text as it stands and does not undo escapes in it.
  std::string shown;
  for (const char c : text) {
    const bool plain = c >= 0x20 && c < 0x7f && c != '#' && c != '$' && c != '}' && c != '*';
    shown.push_back(plain ? c : ' ');
  }
  return shown;
}

std::string Session::thread_id() const { return offers_.multiprocess ? "p1.1" : "1"; }

bool Session::names_our_thread(PacketReader& packet) const {
  const auto number = [&]() -> std::optional<std::uint64_t> {
    if (packet.take("-1")) return std::nullopt;
    return packet.hex();
  };
  const auto ours = [](std::optional<std::uint64_t> id) { return !id || *id <= 1; };
  if (!packet.take('p')) return ours(number());
  const bool process = ours(number());
  return (!packet.take('.') || ours(number())) && process;
}

void Session::skip_thread_suffix(PacketReader& packet) const {
  if (packet.take(";thread:")) {
    if (!names_our_thread(packet)) packet.fail("no such thread");
    packet.take(';');
  }
  packet.take(';');
  packet.expect_end();
}

Answer Session::extended_mode(PacketReader&) {
  extended_ = true;
  return Answer::of("OK");
}

ClientOffers ClientOffers::parse(std::string_view packet) {
  ClientOffers offers;
  PacketReader reader(packet);
  reader.take("qSupported");
  reader.take(':');
  while (!reader.at_end()) {
    const std::string_view feature = reader.until(';');
    if (feature == "multiprocess+") offers.multiprocess = true;
    if (feature == "swbreak+") offers.swbreak = true;
    if (feature == "hwbreak+") offers.hwbreak = true;
    if (feature == "error-message+") offers.error_messages = true;
  }
  return offers;
}

std::string Session::supported_answer(std::string_view packet, bool reverse,
                                      std::string_view note) {
  const ClientOffers offers = ClientOffers::parse(packet);
  std::string reply = join({"PacketSize=", hex_number(kMaxPacketBytes),
                            ";QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+"
                            ";qXfer:memory-map:read+;vContSupported+;ConditionalBreakpoints+"
                            ";BreakpointCommands+;binary-upload+"});
  if (offers.multiprocess) reply += ";multiprocess+";
  if (offers.swbreak) reply += ";swbreak+";
  if (offers.hwbreak) reply += ";hwbreak+";
  if (offers.error_messages) reply += ";error-message+";
  if (reverse) reply += ";ReverseStep+;ReverseContinue+";
  if (!note.empty()) reply.append(";").append(note);
  return reply;
}

Answer Session::supported(PacketReader& packet) {
  offers_ = ClientOffers::parse(packet.all());
  return Answer::of(supported_answer(packet.all(), target_.supports_reverse(), {}));
}

Answer Session::start_no_ack(PacketReader&) {
  Answer answer = Answer::of("OK");
  answer.enter_no_ack = true;
  return answer;
}

Answer Session::must_reply_empty(PacketReader&) { return Answer::unsupported(); }

Answer Session::symbol(PacketReader&) { return Answer::of("OK"); }

Answer Session::set_thread(PacketReader& packet) {
  if (!packet.take('g') && !packet.take('c')) packet.fail("expected 'g' or 'c'");
  const bool ours = names_our_thread(packet);
  packet.expect_end();
  return ours ? Answer::of("OK") : error("no such thread");
}

Answer Session::thread_alive(PacketReader& packet) {
  const bool ours = names_our_thread(packet);
  packet.expect_end();
  return ours && process_exists_ ? Answer::of("OK") : error("no such thread");
}

Answer Session::current_thread(PacketReader&) {
  return process_exists_ ? Answer::of(join({"QC", thread_id()})) : error("no process");
}

Answer Session::first_threads(PacketReader&) {
  interrupted_at_.reset();
  return Answer::of(process_exists_ ? join({"m", thread_id()}) : "l");
}

Answer Session::more_threads(PacketReader&) { return Answer::of("l"); }

Answer Session::thread_extra_info(PacketReader& packet) {
  packet.expect(',');
  if (!names_our_thread(packet)) packet.fail("no such thread");
  return Answer::of(hex_text(target_.thread_description()));
}

// Attached, so that a client that quits detaches instead of killing.
Answer Session::was_attached(PacketReader&) { return Answer::of("1"); }

Answer Session::attach(PacketReader& packet) {
  packet.expect(';');
  if (packet.hex() != 1) packet.fail("there is one process, number 1");
  process_exists_ = true;
  return Answer::of(stop_packet());
}

Answer Session::detach(PacketReader& packet) {
  if (packet.take(';') && packet.hex() != 1) packet.fail("there is one process, number 1");
  forget_breakpoints();
  Answer answer = Answer::of("OK");
  process_exists_ = false;
  answer.end = !extended_;
  return answer;
}

Answer Session::kill(PacketReader&) {
  forget_breakpoints();
  process_exists_ = false;
  Answer answer;
  answer.end = !extended_;
  return answer;
}

Answer Session::kill_process(PacketReader& packet) {
  packet.expect(';');
  if (packet.hex() != 1) packet.fail("there is one process, number 1");
  forget_breakpoints();
  process_exists_ = false;
  return Answer::of("OK");
}

std::string Session::transfer_document(std::string_view object, std::string_view annex) const {
  if (object == "features" && annex == "target.xml") return target_xml(target_.description());
  if (object == "memory-map" && annex.empty()) return memory_map_xml(target_.memory_map());
  if (object == "threads" && annex.empty()) {
    if (!process_exists_) return "<?xml version=\"1.0\"?>\n<threads>\n</threads>\n";
    return threads_xml(thread_id(), target_.thread_description());
  }
  return {};
}

Answer Session::transfer(PacketReader& packet) {
  packet.expect(':');
  const std::string object(packet.until(':'));
  if (object != "features" && object != "memory-map" && object != "threads") {
    return Answer::unsupported();
  }
  if (packet.until(':') != "read") return Answer::unsupported();
  const std::string annex(packet.until(':'));
  const std::uint64_t offset = packet.hex();
  packet.expect(',');
  const std::uint64_t length = packet.hex();
  packet.expect_end();
  if (object == "threads") interrupted_at_.reset();
  // Made anew when a reading begins; later pieces come from the same text.
  const std::string name = join({object, ":", annex});
  if (offset == 0 || name != document_name_) {
    document_ = transfer_document(object, annex);
    document_name_ = name;
  }
  // "E00" is the protocol's word for an annex that does not exist.
  if (document_.empty()) return Answer::of("E00");
  if (offset >= document_.size()) return Answer::of("l");
  const std::string_view left = std::string_view(document_).substr(offset);
  // Every byte may need an escape.
  const std::size_t most = std::min<std::uint64_t>(length, kMaxPacketBytes / 2 - 1);
  std::string reply(left.size() > most ? "m" : "l");
  return Answer::of(reply.append(left.substr(0, most)));
}

void Session::append_console(std::vector<std::string>& packets, std::string_view text) {
  while (!text.empty()) {
    packets.push_back(join({"O", hex_text(text.substr(0, kConsoleBytesPerPacket))}));
    text.remove_prefix(std::min(text.size(), kConsoleBytesPerPacket));
  }
}

Answer Session::monitor(PacketReader& packet) {
  packet.expect(',');
  const std::optional<Bytes> raw = decode_hex(packet.rest());
  if (!raw) packet.fail("expected pairs of hexadecimal digits");
  Answer answer;
  answer.life = SignOfLife::console;
  answer.work = [this, command = std::string(raw->begin(), raw->end())](CancelToken cancel) {
    std::string text;
    Answer result;
    const auto collect = [&](std::string_view piece) {
      text += piece.substr(0, kMaxMonitorOutputBytes - text.size());
    };
    std::string_view status = "OK";
    try {
      target_.monitor(command, collect, cancel);
    } catch (const Error& failure) {
      collect(join({failure.what(), "\n"}));
      status = "E01";
    }
    append_console(result.packets, text);
    result.packets.emplace_back(status);
    return result;
  };
  return answer;
}

}  // namespace chronovisor::gdb
